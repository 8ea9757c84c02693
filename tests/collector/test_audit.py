"""`edge-collector audit`: what is proven of each unit, and what speaks against it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.collector.__main__ import main
from edge.storage.rows import Report
from edge.storage.storage import Storage
from tests.fakes import a_health, a_scan, a_status, came

NOW = "2021-07-02T01:30:05.000Z"


class Centre:
    """A storage, and the command that looks at it."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture
        self.folder = folder
        self.storage = Storage(folder / "storage.db")
        text = f'[storage]\nurl = "{self.folder}/storage.db"\n'
        (self.folder / "collector.toml").write_text(text)

    def store(self, *seqs: int, unit: str = "cong-1", epoch: str = "e" * 16) -> None:
        scans = [came("pleiku", unit, a_scan(seq, epoch)) for seq in seqs]
        self.storage.store(scans, NOW)

    def audit(self, *options: str) -> tuple[int, str]:
        code = main(["--config", str(self.folder / "collector.toml"), "audit", *options])
        return code, self._capture.readouterr().out

    def facts(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit("--json")[1].splitlines()]


@pytest.fixture
def centre(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Centre]:
    centre = Centre(tmp_path, capsys)
    yield centre
    centre.storage.close()


def test_a_number_with_two_ids_is_told_and_is_exit_code_1(centre: Centre) -> None:
    centre.store(1, 2, 3)
    centre.store(3)

    code, text = centre.audit()

    assert code == 1
    assert "TWO UNITS UNDER THIS NAME: 1 numbers came with two ids" in text
    assert centre.facts()[0]["doubles"] == 1


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("audit", "no unit was ever heard of"),
        ("command", "no unit was ever commanded"),
        ("desired", "no unit was ever heard of"),
    ],
)
def test_nothing_to_show_is_said_and_a_storage_that_is_missing_is_not_made(
    tmp_path: Path, command: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, storage = tmp_path / "collector.toml", tmp_path / "storage.db"
    settings.write_text(f'[storage]\nurl = "{storage}"\n')

    assert main([command, "--config", str(settings)]) == 1
    assert f"{storage}: there is no storage" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [settings]

    Storage(storage).close()
    assert main([command, "--json", "--config", str(settings)]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err


def test_nothing_wrong_is_exit_code_0(centre: Centre) -> None:
    assert centre.audit() == (0, "")
    centre.store(*range(1, 1201))

    code, text = centre.audit()

    assert code == 0
    assert text == (
        "cong-1               unknown  complete to 1200\n"
        f"  clock: unsynced 100 %; 0 repeats; last scan {NOW}, last seen {NOW}\n"
    )


def test_a_gap_is_named_and_is_exit_code_1(centre: Centre) -> None:
    centre.store(1, 2, 5, 7, 9, 11, 13, 15)

    code, text = centre.audit()

    assert code == 1
    assert "complete to 2, highest 15" in text
    assert "MISSING 7: 3-4, 6, 8, 10, 12 and 1 more gaps" in text
    (facts,) = centre.facts()
    assert facts["gaps"][0] == {"epoch": "e" * 16, "first": 3, "last": 4}
    assert not facts["complete"]


def test_a_unit_that_was_set_up_anew_is_told_with_the_day(centre: Centre) -> None:
    centre.store(1, 2, epoch="a" * 16)
    centre.store(1, epoch="b" * 16)

    code, text = centre.audit()

    assert code == 0
    assert "complete to 2; complete to 1" in text
    assert f"begun anew (re-imaged, or its outbox was lost): {NOW}" in text
    assert [e["complete_to"] for e in centre.facts()[0]["epochs"]] == [2, 1]


def test_units_that_take_over_from_each_other_are_told(centre: Centre) -> None:
    for boot, birth in (("a", 1), ("b", 1), ("a", 2)):
        status = a_status(boot=boot * 32, birth=birth)
        centre.storage.store_reports([Report("pleiku", "cong-1", status)], NOW)

    code, text = centre.audit()

    assert code == 1
    assert f"took over from each other 1 times, last {NOW}" in text


def test_the_quality_of_times_is_told_and_a_single_one_is_not_rounded_away(
    centre: Centre,
) -> None:
    moment = {"at": NOW, "uptime_ms": 9000}
    scans = [a_scan(n, clock="ntp", boot="c" * 32) for n in range(1, 2000)]
    scans.append(a_scan(2000, boot="d" * 32))
    scans.append(a_scan(2001))
    centre.storage.store([came("pleiku", "cong-1", scan) for scan in scans], NOW)
    health = a_health(clock="ntp", **moment)
    centre.storage.store_reports([Report("pleiku", "cong-1", health)], NOW)

    assert "synced 99.9 %, corrected below 0.1 %, unsynced below 0.1 %" in centre.audit()[1]
    assert centre.facts()[0]["clock"] == {"synced": 1999, "corrected": 1, "unsynced": 1}


def test_nobody_running_who_could_ask_is_one_clear_line(
    centre: Centre, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.collector.__main__.TAKEN_S", 0.1)
    centre.store(2)

    code = main(["--config", str(centre.folder / "collector.toml"), "audit", "--ask"])

    assert code == 1
    assert "error: no unit was asked yet: no collector has taken it up" in capsys.readouterr().err
