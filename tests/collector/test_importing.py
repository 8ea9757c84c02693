"""`edge-collector import`: scans on a stick become rows, once, and a receipt goes back."""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.bundle import read_receipt, write_bundle
from edge.chain import entries
from edge.collector.__main__ import main
from edge.messages import Scan, check_of
from edge.sealing import Signer, Verifier
from edge.storage.rows import Report
from edge.storage.storage import Storage
from tests.fakes import FakeClock, a_health, a_scan, came

EPOCH = "e" * 16
KEY = Signer(b"k" * 32)


class Centre:
    """A storage, a stick, and the command that brings them together."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture
        self.stick = folder / "stick"
        self.stick.mkdir()
        self.home = folder / "home"
        self.home.mkdir()
        self.storage = Storage(self.home / "storage.db")
        text = 'batch_scans = 7\nreceipt_key_file = "receipts.key"\n'
        text += f'[storage]\nurl = "{self.home}/storage.db"\n'
        # What these tests bring is years old by this machine's clock, where that is set.
        text += f'[retention]\nerase = false\nreceipts_file = "{self.home}/erased.jsonl"\n'
        self.settings = self.home / "collector.toml"
        self.settings.write_text(text)

    def bundle(self, scans: list[Scan], unit: str = "cong-1", key: Signer = KEY) -> Path:
        epoch = scans[0].epoch
        return write_bundle(self.stick, "pleiku", unit, epoch, scans, key, FakeClock())

    def take(self, *args: str | Path) -> tuple[int, str, str]:
        code = main(["--config", str(self.settings), "import", *map(str, args)])
        captured = self._capture.readouterr()
        return code, captured.out, captured.err

    def verifier(self) -> Verifier:
        """Knows this centre's receipts, by the key that its command prints."""
        assert main(["--config", str(self.settings), "key"]) == 0
        return Verifier(base64.b64decode(self._capture.readouterr().out))


@pytest.fixture
def centre(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Centre]:
    centre = Centre(tmp_path, capsys)
    yield centre
    centre.storage.close()


def test_a_bundle_becomes_rows_and_a_receipt_that_lets_the_unit_forget(centre: Centre) -> None:
    scans = [a_scan(seq) for seq in range(1, 41)]
    path = centre.bundle(scans)

    code, out, err = centre.take(path)

    assert (code, err) == (0, "")
    assert "40 scans of cong-1, 40 new, 0 repeats; signed with key" in out
    assert centre.storage.count() == 40
    receipt = path.with_name(path.name + ".receipt")
    (message,) = read_receipt(receipt, "cong-1", centre.verifier())
    assert [(r.first, r.last, r.check) for r in message.ranges] == [
        (1, 40, check_of(scan.id for scan in scans))
    ]
    assert sorted(p.name for p in centre.stick.iterdir()) == [path.name, path.name + ".receipt"]
    assert not [p for p in centre.home.iterdir() if p.name.startswith("tmp")]


def test_importing_again_is_harmless_and_gives_the_same_receipt(centre: Centre) -> None:
    scans = [a_scan(seq) for seq in range(1, 11)]
    centre.storage.store([came("pleiku", "cong-1", s) for s in scans[:4]], "2021")
    path = centre.bundle(scans)
    assert "10 scans of cong-1, 6 new, 4 repeats" in centre.take(path)[1]
    receipt = path.with_name(path.name + ".receipt").read_bytes()

    code, out, _ = centre.take(path, path)

    assert code == 0
    assert out.count("10 scans of cong-1, 0 new, 10 repeats") == 2
    assert path.with_name(path.name + ".receipt").read_bytes() == receipt
    assert centre.storage.count() == 10
    assert centre.storage.units()[0].doubles == 0


def test_for_a_file_that_is_missing_no_key_and_no_storage_are_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "collector.toml"
    settings.write_text(
        f'receipt_key_file = "receipts.key"\n[storage]\nurl = "{tmp_path}/storage.db"\n'
    )

    assert main(["import", str(tmp_path / "nope.bundle"), "--config", str(settings)]) == 1

    assert capsys.readouterr().err == f"error: {tmp_path}/nope.bundle: there is no such file\n"
    assert list(tmp_path.iterdir()) == [settings]


def test_a_damaged_bundle_is_refused_and_the_others_are_stored(centre: Centre) -> None:
    good = centre.bundle([a_scan(seq) for seq in (1, 2)])
    bad = centre.bundle([a_scan(seq) for seq in range(3, 100)])
    bad.write_bytes(bad.read_bytes()[:-40])

    code, out, err = centre.take(bad, good, centre.stick / "missing", centre.stick)

    assert code == 1
    assert len(out.splitlines()) == 1
    assert [line.partition(": ")[0] for line in err.splitlines()] == ["error"] * 3
    assert centre.storage.count() == 2
    assert not bad.with_name(bad.name + ".receipt").exists()


def test_another_key_is_refused_until_a_person_accepts_it(centre: Centre) -> None:
    centre.take(centre.bundle([a_scan(1)]))
    stranger = Signer(b"s" * 32)
    path = centre.bundle([a_scan(1, "f" * 16)], key=stranger)

    code, out, err = centre.take(path)
    assert (code, out) == (1, "")
    assert "import with --accept-new-key" in err
    assert centre.storage.count() == 1
    assert centre.storage.unit_key("cong-1") == KEY.public_key

    assert centre.take("--accept-new-key", path)[0] == 0
    assert centre.storage.unit_key("cong-1") == stranger.public_key
    assert centre.storage.count() == 2
    assert list(centre.storage.units()[0].held) == [EPOCH, "f" * 16]


def test_the_first_key_of_a_unit_is_told_and_each_unit_has_its_own(centre: Centre) -> None:
    first = centre.take("--json", centre.bundle([a_scan(1)]))[1]
    second = centre.take("--json", centre.bundle([a_scan(2)]))[1]
    other = centre.take("--json", centre.bundle([a_scan(1)], "cong-2", Signer(b"o" * 32)))[1]

    assert [json.loads(line)["is_first_key"] for line in (first, second, other)] == [
        True,
        False,
        True,
    ]
    assert json.loads(second)["scans"] == 1


def test_scans_that_come_past_the_retention_are_confirmed_and_erased_for_good(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()  # of 2 July 2021
    clock.synchronized = True
    monkeypatch.setattr("edge.collector.__main__.SystemClock", lambda: clock)
    centre.settings.write_text(centre.settings.read_text().replace("erase = false\n", ""))
    late = [a_scan(seq, at="2021-05-02T01:30:00.000Z", clock="ntp") for seq in range(1, 9)]
    new = [a_scan(seq, at="2021-07-01T01:30:00.000Z", clock="ntp") for seq in range(9, 12)]
    path = centre.bundle([*late, *new])

    code, out, err = centre.take(path)

    assert code == 0
    assert "11 scans of cong-1, 11 new, 0 repeats" in out
    assert "8 scans are past their time: erased at once" in err
    assert centre.storage.count() == 3
    # The unit may forget all the same, and the record says what became of them.
    receipt = path.with_name(path.name + ".receipt")
    (message,) = read_receipt(receipt, "cong-1", centre.verifier())
    assert [(r.first, r.last) for r in message.ranges] == [(1, 11)]
    (entry,) = entries(centre.home / "erased.jsonl")
    assert (entry.facts["tier"], entry.facts["scans"]) == ("storage", 8)
    # Nor do they come back by the same stick.
    assert "11 scans of cong-1, 0 new, 11 repeats" in centre.take(path)[1]
    assert centre.storage.count() == 3


def test_a_spoilt_record_of_what_was_erased_is_no_failed_import(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    clock.synchronized = True
    monkeypatch.setattr("edge.collector.__main__.SystemClock", lambda: clock)
    centre.settings.write_text(centre.settings.read_text().replace("erase = false\n", ""))
    (centre.home / "erased.jsonl").write_bytes(b"\0" * 100 + b"\n")

    code, out, err = centre.take(
        centre.bundle([a_scan(1, at="2021-05-02T01:30:00.000Z", clock="ntp")])
    )

    assert (code, centre.storage.count()) == (0, 0)
    assert "1 scans of cong-1, 1 new, 0 repeats" in out
    assert "is erased by the collector:" in err
    assert "erased.jsonl: a line is not one of this record" in err


def test_a_stick_says_nothing_of_when_a_unit_was_last_there(centre: Centre) -> None:
    centre.take(centre.bundle([a_scan(1)]))
    assert centre.storage.units()[0].seen is None


def test_scans_on_a_stick_are_dated_by_what_the_centre_knows(centre: Centre) -> None:
    health = a_health(at="2021-07-02T01:00:09.000Z", uptime_ms=9000, clock="ntp")
    centre.storage.store_reports([Report("pleiku", "cong-1", health)], "2021-07-02T01:00:10.000Z")

    centre.take(centre.bundle([a_scan(1, at="2021-07-01T00:00:00.000Z", uptime_ms=1000)]))

    assert centre.storage.times("cong-1")[0][2:] == ("2021-07-02T01:00:01.000Z", "corrected")


def test_a_receipt_that_cannot_be_written_is_told_and_the_scans_are_stored(
    centre: Centre,
) -> None:
    path = centre.bundle([a_scan(1)])
    # Also what a full or write-protected stick comes to.
    os.mkdir(path.with_name(path.name + ".receipt"))

    code, out, err = centre.take(path)

    assert (code, out) == (1, "")
    assert "the scans are stored, but the receipt cannot be written" in err
    assert centre.storage.count() == 1


def test_a_name_with_control_characters_does_not_reach_the_terminal(centre: Centre) -> None:
    path = centre.stick / "a\x1b[31m\nb"
    path.write_bytes(b"noise")

    _, _, err = centre.take(path)

    assert "\x1b" not in err
    assert len(err.splitlines()) == 1
