"""Scans carried by hand: out on a stick, back a receipt, and nothing believed that is not ours."""

import base64
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.bundle import read_bundle, receipt_ranges, write_bundle, write_receipt
from edge.clock import Moment
from edge.errors import BundleError, EnrolmentError
from edge.messages import Scan
from edge.scanner.__main__ import main
from edge.scanner.boots import BOOTS, Boots
from edge.scanner.carrier import MARKER, Carrier, export, read_centre, take_receipt
from edge.scanner.indicator import Signal
from edge.scanner.outbox import Outbox, read_outbox
from edge.scanner.schedule import Schedule
from edge.sealing import Signer, Verifier, open_signer
from edge.unit_settings import CarrySettings, UnitSettings, VehicleSettings
from tests.fakes import FakeClock, a_scan

UNIT = UnitSettings(
    id="cong-1", area="pleiku", place="cho-1", direction="in", tracing_key_file="tracing.pub"
)
SCHEDULE = Schedule(UNIT, VehicleSettings(trips=("sang-1@08:00-10:00",)))
#: The centre's own key, and how a unit knows it.
CENTRE = Signer(b"c" * 32)
TRUSTED = Verifier(CENTRE.public_key)


class Unit:
    """An outbox, a place where sticks are plugged in, and what the light says."""

    def __init__(
        self,
        folder: Path,
        centre: Verifier | None = TRUSTED,
        serve: Callable[[Path], bool] = lambda stick: False,
    ) -> None:
        self.folder = folder
        self.outbox = Outbox(folder / "outbox", max_bytes=10**9, keep_free_bytes=0)
        self.key = open_signer(folder / "unit.key")
        self.shown: list[Signal] = []
        self.carrier = Carrier(
            self.outbox,
            folder / "outbox",
            str(folder / "media" / "*"),
            UNIT,
            SCHEDULE,
            lambda: self.key,
            centre,
            self,
            FakeClock(),
            serve=serve,
        )

    def put(self, count: int) -> None:
        for _ in range(count):
            self.outbox.put(a_scan(self.outbox.next_seq, self.outbox.epoch))

    def plug_in(self, name: str = "stick", marked: bool = True) -> Path:
        stick = self.folder / "media" / name
        stick.mkdir(parents=True)
        if marked:
            (stick / MARKER).touch()
        return stick

    def pull_out(self, stick: Path) -> Path:
        return stick.rename(self.folder / f"pulled-{stick.name}")

    def show(self, signal: Signal, note: str = "") -> None:
        self.shown.append(signal)

    def rest(self, signal: Signal | None) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    unit = Unit(tmp_path)
    yield unit
    unit.outbox.close()


def at_the_centre(stick: Path, tmp_path: Path) -> list[Scan]:
    """What the centre does with a stick: it reads the bundle and puts a receipt beside it."""
    (path,) = stick.glob("*.edgebundle")
    with read_bundle(path, tmp_path) as bundle:
        scans = list(bundle.scans())
        write_receipt(path, bundle.header, receipt_ranges(bundle.scans()), CENTRE)
    return scans


def test_a_stick_goes_round_and_the_unit_forgets_what_the_centre_has(
    unit: Unit, tmp_path: Path
) -> None:
    unit.put(250)
    stick = unit.plug_in()
    unit.carrier.step()
    assert unit.shown == [Signal.CARRIED]
    assert unit.outbox.status().pending == 250

    away = unit.pull_out(stick)
    unit.carrier.step()
    assert [scan.seq for scan in at_the_centre(away, tmp_path)] == list(range(1, 251))
    unit.put(3)
    away.rename(tmp_path / "media" / "stick")
    unit.carrier.step()

    assert [scan.seq for scan in unit.outbox.oldest(10)] == [251, 252, 253]


def test_scans_are_carried_with_what_is_known_of_them_by_now(unit: Unit, tmp_path: Path) -> None:
    unit.put(1)
    (made,) = unit.outbox.oldest(1)
    with closing(Boots(tmp_path / "outbox" / BOOTS)) as boots:
        boots.note(Moment("2021-07-02T02:30:00.000Z", made.boot, made.uptime_ms + 60_000, "gnss"))

    path = export(tmp_path / "outbox", tmp_path, UNIT, SCHEDULE, unit.key, FakeClock())

    with read_bundle(path, tmp_path) as bundle:
        (scan,) = bundle.scans()
    assert (scan.corrected, scan.trip) == ("2021-07-02T02:29:00.000Z", "sang-1")


def test_scans_are_carried_though_an_answer_on_the_stick_does_not_fit(tmp_path: Path) -> None:
    def serve(stick: Path) -> bool:
        raise EnrolmentError("the answer is no certificate for this unit")

    unit = Unit(tmp_path, serve=serve)
    unit.put(2)
    stick = unit.plug_in()

    unit.carrier.step()

    assert [scan.seq for scan in at_the_centre(stick, tmp_path)] == [1, 2]
    assert unit.shown == [Signal.NOT_CARRIED]
    unit.outbox.close()


def test_a_stick_is_served_once_for_each_time_it_is_plugged_in(unit: Unit) -> None:
    unit.put(1)
    stick = unit.plug_in()
    for _ in range(3):
        unit.carrier.step()
    assert unit.shown == [Signal.CARRIED]

    away = unit.pull_out(stick)
    unit.carrier.step()
    away.rename(stick)
    unit.carrier.step()

    assert unit.shown == [Signal.CARRIED, Signal.CARRIED]


def again(unit: Unit, stick: Path) -> list[str]:
    """Pull *stick* out and plug it in again; gives what lies on it then, without the marker."""
    away = unit.pull_out(stick)
    unit.carrier.step()
    away.rename(stick)
    unit.carrier.step()
    return sorted(path.name for path in stick.iterdir() if path.name != MARKER)


def test_an_earlier_bundle_is_replaced_by_the_one_that_has_its_scans(unit: Unit) -> None:
    unit.put(3)
    stick = unit.plug_in()
    unit.carrier.step()
    unit.put(2)

    assert again(unit, stick) == [f"edge-cong-1-{unit.outbox.epoch}-1-5.edgebundle"]


def test_a_bundle_that_was_confirmed_or_is_past_its_time_does_not_stay(
    unit: Unit, tmp_path: Path
) -> None:
    unit.put(4)
    stick = unit.plug_in()
    unit.carrier.step()
    away = unit.pull_out(stick)
    unit.carrier.step()
    at_the_centre(away, tmp_path)
    away.rename(stick)

    unit.carrier.step()

    assert unit.outbox.pending == 0
    assert [path.name for path in stick.iterdir()] == [MARKER]
    # Without a receipt, as the retention erases.
    unit.put(2)
    again(unit, stick)
    unit.outbox.forget([(5, 6)])
    assert again(unit, stick) == []


def test_bundles_that_are_not_provably_ours_stay(unit: Unit, tmp_path: Path) -> None:
    unit.put(3)
    stick = unit.plug_in()
    epoch, clock = unit.outbox.epoch, FakeClock()
    # Each would be needless, were it ours.
    scans = list(unit.outbox.oldest(2))
    former = [a_scan(seq, "f" * 16) for seq in range(1, 3)]
    left = [
        # Signed with another key, of another unit, of the outbox that this unit had before.
        write_bundle(stick, "pleiku", "cong-1", epoch, scans, Signer(b"x" * 32), clock),
        write_bundle(stick, "pleiku", "cong-10", epoch, scans, unit.key, clock),
        write_bundle(stick, "pleiku", "cong-1", "f" * 16, former, unit.key, clock),
        stick / f"edge-cong-1-{epoch}-8-9.edgebundle",
        stick / "letter.txt",
    ]
    # Two of them under a name of ours.
    left[1] = left[1].rename(stick / f"edge-cong-1-{epoch}-1-2-a.edgebundle")
    left[2] = left[2].rename(stick / f"edge-cong-1-{epoch}-1-2-b.edgebundle")
    # Ours, and cut short: somebody may want to know why.
    cut = export(tmp_path / "outbox", tmp_path, UNIT, SCHEDULE, unit.key, clock)
    left[3].write_bytes(cut.read_bytes()[:-10])
    left[4].write_text("mine")

    unit.carrier.step()

    assert all(path.exists() for path in left)
    assert (stick / f"edge-cong-1-{epoch}-1-3.edgebundle").exists()


@pytest.mark.parametrize("lost", [b"\0", b"?", b""])
def test_no_bundle_is_removed_where_the_disk_has_lost_scans(unit: Unit, lost: bytes) -> None:
    # The earlier bundle has the only copy of the first two by now.
    unit.put(2)
    stick = unit.plug_in()
    unit.carrier.step()
    unit.outbox.close()
    for path in (unit.folder / "outbox").glob("seg-*"):
        path.write_bytes(lost * path.stat().st_size)

    worn = Unit(unit.folder)
    worn.put(1)
    found = again(worn, stick)
    worn.outbox.close()

    assert f"edge-cong-1-{unit.outbox.epoch}-1-2.edgebundle" in found


def test_a_bundle_with_a_scan_that_the_disk_has_damaged_stays(unit: Unit) -> None:
    unit.put(3)
    (first, *_) = unit.outbox.oldest(3)
    stick = unit.plug_in()
    unit.carrier.step()
    unit.outbox.close()
    for path in (unit.folder / "outbox").glob("seg-*"):
        path.write_bytes(path.read_bytes().replace(first.id.encode(), b"0" * 32))

    worn = Unit(unit.folder)
    worn.put(1)
    found = again(worn, stick)

    assert worn.outbox.status().damaged == 1
    worn.outbox.close()
    # Of the two, the earlier one alone has the first scan.
    assert len(found) == 2
    assert f"edge-cong-1-{unit.outbox.epoch}-1-3.edgebundle" in found


def test_a_stick_that_takes_nothing_away_is_served_all_the_same(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit.put(1)
    stick = unit.plug_in()
    unit.carrier.step()
    unit.put(1)

    def refused(path: Path) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr("edge.scanner.carrier.remove_file", refused)

    assert len(again(unit, stick)) == 2
    assert unit.shown == [Signal.CARRIED, Signal.CARRIED]


def test_a_stick_without_the_marker_is_left_alone(unit: Unit) -> None:
    unit.put(1)
    stick = unit.plug_in(marked=False)

    unit.carrier.step()

    assert list(stick.iterdir()) == []
    assert unit.shown == []


def test_a_stick_that_cannot_be_written_is_said_so_and_nothing_is_lost(unit: Unit) -> None:
    unit.put(2)
    stick = unit.plug_in()
    # What the bundle would be called at first is taken by a folder.
    (stick / f"edge-cong-1-{unit.outbox.epoch}.edgebundle.new" / "x").mkdir(parents=True)

    unit.carrier.step()

    assert unit.shown == [Signal.NOT_CARRIED]
    assert unit.outbox.status().pending == 2


def test_a_receipt_for_scans_that_are_not_ours_makes_us_forget_nothing(
    unit: Unit, tmp_path: Path
) -> None:
    unit.put(5)
    path = export(tmp_path / "outbox", tmp_path, UNIT, SCHEDULE, unit.key, FakeClock())
    with read_bundle(path, tmp_path) as bundle:
        header = bundle.header
    # A copied card: the same name, epoch and numbers, but other scans.
    others = [a_scan(seq, unit.outbox.epoch) for seq in range(1, 6)]
    receipt = write_receipt(path, header, receipt_ranges(others), CENTRE)

    assert take_receipt(unit.outbox, receipt, "cong-1", TRUSTED) == 0
    assert unit.outbox.status().pending == 5
    with pytest.raises(BundleError, match="this unit is cong-2"):
        take_receipt(unit.outbox, receipt, "cong-2", TRUSTED)


def test_a_receipt_that_the_centre_did_not_sign_makes_us_forget_nothing(
    unit: Unit, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unit.put(5)
    stick = unit.plug_in()
    unit.carrier.step()
    away = unit.pull_out(stick)
    unit.carrier.step()
    (path,) = away.glob("*.edgebundle")
    with read_bundle(path, tmp_path) as bundle:
        # The ids are right, as whoever holds the stick can read them.
        write_receipt(path, bundle.header, receipt_ranges(bundle.scans()), Signer(b"x" * 32))
    away.rename(stick)

    unit.carrier.step()

    assert unit.outbox.pending == 5
    assert "not signed by this unit's centre" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user: run as root")
def test_a_receipt_that_root_takes_leaves_nothing_that_the_scanner_cannot_write_to() -> None:
    # Not below pytest's folder, which no other user may enter.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        unit = Unit(folder)
        unit.put(3)
        stick = folder / "root-only"
        stick.mkdir(mode=0o700)
        path = export(folder / "outbox", stick, UNIT, SCHEDULE, unit.key, FakeClock())
        at_the_centre(stick, folder)
        unit.outbox.close()
        (folder / "outbox").chmod(0o700)
        for owned in (folder / "outbox", *(folder / "outbox").iterdir()):
            os.chown(owned, 65534, 65534)
        (folder / "receipts.pub").write_text(f"{base64.b64encode(CENTRE.public_key).decode()}\n")
        (folder / "scanner.toml").write_text(
            f'''[unit]
id = "cong-1"
area = "pleiku"
place = "cho-1"
direction = "in"
tracing_key_file = "tracing.pub"
[broker]
url = "mqtt://127.0.0.1:1"
[outbox]
folder = "{folder}/outbox"
[carry]
receipt_key_file = "receipts.pub"
'''
        )
        receipt = str(path.with_name(path.name + ".receipt"))

        assert main(["outbox", "receipt", receipt, "--config", str(folder / "scanner.toml")]) == 0

        assert {owned.stat().st_uid for owned in (folder / "outbox").iterdir()} == {65534}
        assert os.geteuid() == 0
        assert read_outbox(folder / "outbox").status().pending == 0


def test_a_unit_that_does_not_know_its_centre_believes_no_receipt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unit = Unit(tmp_path, centre=read_centre(CarrySettings(), tmp_path))
    unit.put(2)
    stick = unit.plug_in()
    unit.carrier.step()
    away = unit.pull_out(stick)
    unit.carrier.step()
    at_the_centre(away, tmp_path)
    away.rename(stick)

    unit.carrier.step()

    assert unit.shown == [Signal.CARRIED, Signal.CARRIED]
    assert unit.outbox.pending == 2
    assert "edge-collector key" in caplog.text
    unit.outbox.close()


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 100, b"{}\n", b'{"v":1}\n' * 3])
def test_nonsense_under_the_name_of_a_receipt_is_passed_over(unit: Unit, content: bytes) -> None:
    unit.put(1)
    stick = unit.plug_in()
    (stick / f"edge-cong-1-{unit.outbox.epoch}-1-1.edgebundle.receipt").write_bytes(content)

    unit.carrier.step()

    assert unit.shown == [Signal.CARRIED]
    assert unit.outbox.status().pending == 1


def test_the_outbox_of_a_dead_unit_can_be_carried_too(unit: Unit, tmp_path: Path) -> None:
    unit.put(4)

    path = export(tmp_path / "outbox", tmp_path, UNIT, SCHEDULE, unit.key, FakeClock())

    with read_bundle(path, tmp_path) as bundle:
        assert [scan.seq for scan in bundle.scans()] == [1, 2, 3, 4]
    assert b"sealed" in path.read_bytes()
