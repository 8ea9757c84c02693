"""What is fetched and believed, by the real apt, from a deployment's real repository."""

import hashlib
import os
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.errors import UpdateError
from edge.legal_basis import read_bases
from edge.messages import Machine
from edge.provision import releases
from edge.provision.__main__ import main
from edge.provision.deployment import Deployment, utc_now
from edge.ring import Ring
from edge.scanner.settings import ScannerSettings
from edge.scanner.update.apt import Apt
from edge.scanner.update.decide import (
    OWN,
    SHIPPED,
    SOFTWARE,
    TRIAL,
    Decision,
    held_version,
    whole_version,
)
from edge.scanner.update.fetch import MIRROR, Present, fetch
from edge.scanner.update.record import FETCHED, GUARD, HELD, NEW, RESCUE, Record, record_file
from edge.sealing import Verifier, read_key
from tests.fakes import FakeClock
from tests.provision.debs import a_package
from tests.provision.deployments import a_deployment

pytestmark = pytest.mark.skipif(
    shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None,
    reason="apt and dpkg are Debian's: run this on a Debian or Ubuntu",
)
EVERYBODY = Ring(share=100)
HEALTHY = Machine(disk_free_bytes=10 << 30, under_voltage=False, throttled=False)


class Unit:
    """A unit that runs 1.0, and the stick that its deployment's office gives to it."""

    def __init__(self, folder: Path, deployment: Deployment) -> None:
        self.deployment = deployment
        self._debs = folder / "debs"
        self._debs.mkdir()
        self.stick = folder / "media" / "a stick"
        self.stick.mkdir(parents=True)
        self.folder = folder / "edge-update"
        (self.folder / FETCHED).mkdir(parents=True)
        self.root = folder / "root"
        (self.root / SOFTWARE / "edge").mkdir(parents=True)
        (self.root / SOFTWARE / "edge/__init__.py").write_text("old")
        (self.root / SHIPPED).mkdir(parents=True)
        (self.root / SHIPPED / TRIAL).write_text("[Unit]\n")
        (self.root / OWN).mkdir(parents=True)
        self.clock = FakeClock()
        self.clock.synchronized = True
        status = folder / "status"
        status.touch()
        self.present = Present(installed="1.0", held="", failed={}, status=status)
        self.machine = HEALTHY
        self.scans = self.connected = True
        self.hours = self.url = ""
        self.released("1.0", EVERYBODY)

    def released(self, version: str, ring: Ring, *, downgrade: bool = False) -> None:
        """The office releases *version*, and somebody copies it to the stick."""
        if not (self._debs / f"edge-scanner_{version}_all.deb").exists():
            releases.add(self.deployment, [a_package(self._debs, version)])
        releases.stage(self.deployment, version, ring, utc_now(), downgrade=downgrade)
        self.copy()

    def copy(self) -> None:
        shutil.rmtree(self.stick / "edge-updates", ignore_errors=True)
        shutil.copytree(self.deployment.folder / "updates", self.stick / "edge-updates")

    @property
    def settings(self) -> ScannerSettings:
        table: dict[str, Any] = {
            "unit": {
                "id": "cho-1-a",
                "area": "pleiku",
                "place": "cho-1",
                "direction": "in",
                "tracing_key_file": "tracing.pub",
            },
            "broker": {"url": "mqtt://localhost"},
            "carry": {"sticks": f"{self.stick.parent}/*"},
            "update": {
                "hours": self.hours,
                "window": "" if self.hours else "00:00-00:00",
                "url": self.url,
            },
        }
        return msgspec.convert(table, ScannerSettings)

    def fetch(self) -> str:
        key = self.deployment.folder / "updates.asc"
        return fetch(self.settings, self.folder / FETCHED, key, self.present)

    def decide(self) -> bool:
        return Decision(
            self.folder,
            self.deployment.folder / "updates.asc",
            self.settings,
            self.clock,
            machine=lambda: self.machine,
            scans=lambda: self.scans,
            connected=lambda: self.connected,
            installed=lambda: self.present.installed,
            root=self.root,
            status=self.present.status,
        ).make()

    def record(self) -> Record:
        return record_file(self.folder).read()

    def told(self) -> tuple[str, str, str]:
        last = self.record().last
        assert last is not None
        return last.version, last.state, last.reason


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    # apt's helper programs for what it does not believe run as another user.
    os.chmod(tmp_path, 0o755)
    return Unit(tmp_path, a_deployment(tmp_path / "gia-lai", "cho-1-a", "cho-1-b"))


def test_a_new_version_is_prepared_with_its_way_back(unit: Unit) -> None:
    unit.released("1.1", EVERYBODY)

    assert unit.fetch() == "1.1"
    assert unit.decide()

    record = unit.record()
    assert (record.phase, record.version, record.before) == ("installing", "1.1", "1.0")
    assert record.needs_frames
    assert record.needs_broker
    assert [path.name for path in (unit.folder / NEW).iterdir()] == ["edge-scanner_1.1_all.deb"]
    assert held_version(unit.folder / HELD) == "1.0"
    # Of before, beside the package that will be replaced, and it runs at the next start.
    assert (unit.folder / GUARD / "edge/__init__.py").read_text() == "old"
    assert (unit.root / OWN / TRIAL).is_file()
    assert (unit.root / OWN / "multi-user.target.wants" / TRIAL).is_symlink()
    assert not unit.decide()  # one at a time


def test_an_order_that_is_renewed_comes_with_the_list_though_no_version_does(unit: Unit) -> None:
    folder = unit.root / "etc/edge/basis"
    folder.mkdir(parents=True)
    key = unit.deployment.folder / "legal-basis/basis.pub"
    shutil.copy(key, unit.root / "etc/edge/basis.pub")
    unit.released("1.1", Ring())
    words = ["--number", "2/TN", "--issuer", "UBND", "--start", "2020-01-01", "--end", "2099-12-31"]
    config = ["--config", str(unit.deployment.folder / "provision.toml")]

    assert main(["basis", *words, "--places", "cho-1", *config]) == 0
    unit.copy()
    assert unit.fetch() == ""
    assert not unit.decide()

    known, _ = read_bases(folder, Verifier(read_key(key)))
    assert [basis.number for basis in known] == ["2/TN"]


@pytest.mark.parametrize(("connected", "unsure"), [(False, ""), (True, "1.1")])
def test_a_broker_is_wanted_only_where_it_was_there_and_can_tell_something(
    unit: Unit, connected: bool, unsure: str
) -> None:
    unit.connected = connected
    record_file(unit.folder).write(Record(unsure=unsure))
    unit.released("1.1", EVERYBODY)
    unit.fetch()

    assert unit.decide()

    assert not unit.record().needs_broker


def test_without_its_own_package_there_is_no_update(unit: Unit) -> None:
    unit.present = replace(unit.present, installed="0.9")
    unit.released("1.1", EVERYBODY)
    assert unit.fetch() == "1.1"

    with pytest.raises(UpdateError, match="no way back"):
        unit.decide()

    assert unit.told()[:2] == ("1.1", "failed")
    assert unit.record().phase == "idle"


@pytest.mark.parametrize(
    "ring", [Ring(), Ring(units=("cho-1-b",)), Ring(areas=("kon-tum",))], ids=repr
)
def test_a_version_for_others_is_left(unit: Unit, ring: Ring) -> None:
    if ring.areas:
        unit.deployment.add_units(
            [{"id": "kt-1", "place": "cho-1", "direction": "in", "area": "kon-tum"}]
        )
    unit.released("1.1", ring)

    assert unit.fetch() == ""
    assert not unit.decide()


def test_no_unit_goes_back_unless_a_release_says_so(unit: Unit) -> None:
    unit.present = replace(unit.present, installed="1.1", held="1.1")
    unit.released("1.1", EVERYBODY)
    assert unit.fetch() == ""

    unit.released("1.0", EVERYBODY, downgrade=True)

    assert unit.fetch() == "1.0"
    (unit.folder / HELD).mkdir()
    shutil.copy(a_package(unit.stick, "1.1"), unit.folder / HELD)
    assert unit.decide()
    assert unit.record().version == "1.0"


def test_a_damaged_way_back_is_fetched_anew(unit: Unit) -> None:
    unit.released("1.1", EVERYBODY)
    assert unit.fetch() == "1.1"
    assert unit.decide()
    (package,) = (unit.folder / HELD).iterdir()
    whole = package.read_bytes()
    record = unit.record()
    assert record.held == hashlib.sha256(whole).hexdigest()
    assert whole_version(unit.folder / HELD, record.held) == "1.0"
    record.phase = "idle"
    record_file(unit.folder).write(record)

    # Its head can still be read.
    package.write_bytes(whole[:-1])
    assert held_version(unit.folder / HELD) == "1.0"
    assert whole_version(unit.folder / HELD, record.held) == ""

    assert unit.decide()
    assert package.read_bytes() == whole


def test_after_a_way_back_the_next_release_reaches_the_unit(unit: Unit) -> None:
    unit.released("1.1", EVERYBODY)
    unit.released("1.0", EVERYBODY, downgrade=True)
    # Withdrawing the bad one leaves the way back.
    unit.released("1.1", Ring())
    unit.present = replace(unit.present, installed="1.1", held="1.1")
    assert unit.fetch() == "1.0"
    unit.present = replace(unit.present, installed="1.0", held="1.0")

    unit.released("1.2", EVERYBODY)

    assert unit.fetch() == "1.2"
    assert not [each for each in releases.read_releases(unit.deployment).releases if each.downgrade]


def test_a_version_that_failed_is_not_taken_again(unit: Unit) -> None:
    unit.released("1.1", EVERYBODY)
    unit.present = replace(unit.present, failed={"1.1": "it ended by itself 3 times"})
    assert unit.fetch() == ""

    # Whatever the part without rights brings.
    unit.present = replace(unit.present, failed={})
    assert unit.fetch() == "1.1"
    key = hashlib.sha256((unit.deployment.folder / "updates.asc").read_bytes()).hexdigest()
    failed = {"1.1": "it ended by itself 3 times"}
    record_file(unit.folder).write(Record(failed=failed, key=key))
    assert not unit.decide()


@pytest.mark.parametrize("name", ["InRelease", "Packages", "edge-scanner_1.1_all.deb"])
def test_what_was_changed_on_the_stick_is_refused_and_told(unit: Unit, name: str) -> None:
    unit.released("1.1", EVERYBODY)
    for path in (unit.stick / "edge-updates").glob(f"{name}*"):
        content = path.read_bytes()
        path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])

    assert unit.fetch() == ""
    assert not unit.decide()

    version, state, reason = unit.told()
    assert state == "failed"
    assert reason
    assert unit.record().phase == "idle"
    assert version in ("", "1.1")


@pytest.mark.parametrize("name", ["InRelease", "Packages", "edge-scanner_1.1_all.deb"])
def test_root_believes_nothing_that_was_changed_after_it_was_fetched(unit: Unit, name: str) -> None:
    unit.released("1.1", EVERYBODY)
    assert unit.fetch() == "1.1"
    path = unit.folder / FETCHED / MIRROR / name
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])

    with pytest.raises(UpdateError):
        unit.decide()

    assert unit.record().phase == "idle"
    assert unit.told()[1] == "failed"
    assert not (unit.folder / GUARD).exists()


def test_an_older_repository_is_refused_though_it_is_signed(unit: Unit) -> None:
    unit.released("1.1", EVERYBODY)
    assert unit.fetch() == "1.1"
    signed_at = utc_now().timestamp() + 60
    key = hashlib.sha256((unit.deployment.folder / "updates.asc").read_bytes()).hexdigest()
    record_file(unit.folder).write(Record(signed_at=signed_at, key=key))

    with pytest.raises(UpdateError, match="older"):
        unit.decide()

    # After a wipe, a card of another deployment: what the former one said is no measure.
    record_file(unit.folder).write(Record(signed_at=signed_at, key="0" * 64))
    assert unit.decide()


def test_it_waits_while_the_place_is_open_and_says_so_once(unit: Unit) -> None:
    unit.released("1.1", EVERYBODY)
    assert unit.fetch() == "1.1"
    unit.hours = "00:00-00:00"

    assert not unit.decide()
    assert unit.told() == ("1.1", "waiting", "the place is open: 00:00-00:00")
    first = unit.record().last
    unit.clock.advance(1200)
    assert not unit.decide()
    assert unit.record().last == first

    unit.hours, unit.machine = "", msgspec.structs.replace(HEALTHY, under_voltage=True)
    assert not unit.decide()
    assert "supply" in unit.told()[2]
    unit.machine = HEALTHY
    assert unit.decide()


def ended(unit: Unit, days: float) -> None:
    """The stick has the list of so many days ago."""
    releases.publish(unit.deployment, utc_now() - timedelta(days=days))
    unit.copy()


def test_a_list_that_has_ended_is_not_believed_and_what_waits_stays(unit: Unit) -> None:
    unit.released("1.1", EVERYBODY)
    unit.hours = "00:00-00:00"
    assert unit.fetch() == "1.1"
    assert not unit.decide()

    ended(unit, 181)
    shutil.rmtree(unit.folder / FETCHED / "apt-0")
    assert unit.fetch() == ""
    assert not unit.decide()
    assert unit.record().last is not None
    # Its problem is told, and then what waits.
    assert unit.told()[:2] == ("1.1", "waiting")

    # Root judges the same: a fetcher that was taken over cannot bring it.
    for name in ("InRelease", "Packages"):
        shutil.copy(unit.stick / "edge-updates" / name, unit.folder / FETCHED / MIRROR / name)
    shutil.rmtree(unit.folder / "apt")
    unit.hours = ""
    with pytest.raises(UpdateError, match="has ended"):
        unit.decide()
    assert "release renew" in unit.told()[2]

    ended(unit, 179)
    key = hashlib.sha256((unit.deployment.folder / "updates.asc").read_bytes()).hexdigest()
    record_file(unit.folder).write(Record(key=key))
    assert unit.fetch() == "1.1"
    assert unit.decide()


def test_a_server_with_an_older_list_does_not_take_away_what_waits(unit: Unit) -> None:
    unit.released("1.1", EVERYBODY)
    assert unit.fetch() == "1.1"
    unit.present = replace(unit.present, signed_at=utc_now().timestamp())
    unit.released("1.1", Ring())
    ended(unit, 1)
    shutil.rmtree(unit.folder / FETCHED / "apt-0")

    assert unit.fetch() == ""

    assert (unit.folder / FETCHED / MIRROR / "edge-scanner_1.1_all.deb").exists()
    assert unit.decide()


def test_whoever_brings_an_old_stick_to_a_unit_without_a_network_is_told(unit: Unit) -> None:
    unit.url = "http://127.0.0.1:9/updates"
    ended(unit, 181)

    with pytest.raises(UpdateError, match=r"127\.0\.0\.1"):
        unit.fetch()

    assert not unit.decide()
    version, state, reason = unit.told()
    assert (version, state) == ("", "failed")
    assert "edge-provision release renew" in reason


def stuck(unit: Unit) -> None:
    """1.1 has failed, and the package of 1.0 is lost."""
    unit.present = replace(unit.present, stuck=True, failed={"1.1": "not scanning"})
    key = hashlib.sha256((unit.deployment.folder / "updates.asc").read_bytes()).hexdigest()
    record = Record(phase="back", version="1.1", before="1.0", failed={"1.1": "no"}, key=key)
    record.tell("1.1", "failed", "cannot go back", unit.clock.now())
    record_file(unit.folder).write(record)
    unit.scans = False


def rescued(unit: Unit) -> list[str]:
    folder = unit.folder / RESCUE
    return [path.name for path in folder.iterdir()] if folder.exists() else []


@pytest.mark.parametrize("found", ["installed", "half-installed", "half-configured"])
def test_a_unit_that_cannot_go_back_is_brought_its_lost_package(unit: Unit, found: str) -> None:
    unit.released("1.1", EVERYBODY)
    stuck(unit)
    # As dpkg has left it.
    flag = "ok" if found == "installed" else "reinstreq"
    unit.present.status.write_text(
        f"Package: edge-scanner\nStatus: install {flag} {found}\nVersion: 1.1\n"
        "Architecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: a package\n\n"
    )
    before = (unit.folder / "state.json").read_bytes()
    # Nobody passes while it does not scan.
    unit.hours = "00:00-00:00"

    unit.fetch()
    assert not unit.decide()

    assert rescued(unit) == ["edge-scanner_1.0_all.deb"]
    # The trial alone writes there meanwhile.
    assert (unit.folder / "state.json").read_bytes() == before
    assert not unit.decide()


def test_a_unit_that_cannot_go_back_takes_a_newer_version(unit: Unit) -> None:
    unit.released("1.1", EVERYBODY)
    for package in (unit.deployment.folder / "updates").glob("edge-scanner_1.0_*"):
        package.unlink()
    unit.copy()
    stuck(unit)
    assert unit.fetch() == ""
    assert not unit.decide()
    assert rescued(unit) == []

    unit.released("1.2", EVERYBODY)
    assert unit.fetch() == "1.2"
    # With that which failed it scans a little: so it waits.
    unit.scans, unit.hours = True, "00:00-00:00"
    assert not unit.decide()
    assert rescued(unit) == []
    unit.scans = False
    assert not unit.decide()

    assert rescued(unit) == ["edge-scanner_1.2_all.deb"]


def test_a_unit_whose_package_is_there_and_cannot_be_put_in_place_takes_a_newer_version(
    unit: Unit,
) -> None:
    unit.released("1.1", EVERYBODY)
    stuck(unit)
    (unit.folder / HELD).mkdir()
    shutil.copy(a_package(unit.stick, "1.0"), unit.folder / HELD)
    unit.released("1.2", EVERYBODY)
    unit.fetch()

    assert not unit.decide()

    assert rescued(unit) == ["edge-scanner_1.2_all.deb"]


def test_a_unit_without_stick_and_server_asks_nobody(unit: Unit) -> None:
    shutil.rmtree(unit.stick)

    assert unit.fetch() == ""
    assert not unit.decide()


def test_what_waits_stays_when_the_stick_is_pulled_or_the_server_is_away(unit: Unit) -> None:
    unit.released("1.1", EVERYBODY)
    unit.hours = "00:00-00:00"
    assert unit.fetch() == "1.1"
    assert not unit.decide()

    shutil.rmtree(unit.stick / "edge-updates")
    assert unit.fetch() == ""
    unit.url = "http://127.0.0.1:9/updates"
    with pytest.raises(UpdateError):
        unit.fetch()

    unit.hours = ""
    assert unit.decide()
    assert unit.record().version == "1.1"


def test_what_waits_is_downloaded_once(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    downloaded: list[str] = []
    download = Apt.download

    def counted(apt: Apt, version: str) -> list[Path]:
        downloaded.append(version)
        return download(apt, version)

    monkeypatch.setattr(Apt, "download", counted)
    unit.released("1.1", EVERYBODY)
    assert [unit.fetch() for _ in range(3)] == ["1.1"] * 3
    assert downloaded == ["1.1", "1.0"]

    # Damaged by a power cut, it is fetched anew.
    (unit.folder / FETCHED / MIRROR / "edge-scanner_1.1_all.deb").write_bytes(b"half")
    assert unit.fetch() == "1.1"
    assert downloaded == ["1.1", "1.0"] * 2
    assert unit.decide()


def test_a_withdrawn_version_of_an_older_stick_is_not_taken(unit: Unit) -> None:
    unit.released("1.1", EVERYBODY)
    releases.stage(unit.deployment, "1.1", EVERYBODY, utc_now() - timedelta(minutes=1))
    unit.copy()
    shutil.copytree(unit.stick, unit.stick.parent / "an older stick")
    unit.released("1.1", Ring())

    # Both in at once: the newest list counts.
    assert unit.fetch() == ""
    assert not unit.decide()

    # Alone: this unit has seen a newer one, though that had nothing for it.
    shutil.rmtree(unit.stick)
    assert unit.fetch() == "1.1"
    # apt too keeps the newer list that it has, until somebody clears its folder.
    assert not unit.decide()
    shutil.rmtree(unit.folder / "apt")
    with pytest.raises(UpdateError, match="older"):
        unit.decide()


def test_trouble_that_passed_is_told_no_longer(unit: Unit) -> None:
    shutil.copy(unit.deployment.folder / "updates/Packages", unit.stick / "edge-updates/InRelease")
    assert unit.fetch() == ""
    assert not unit.decide()
    assert unit.told()[:2] == ("", "failed")

    unit.copy()
    assert unit.fetch() == ""
    assert not unit.decide()

    assert unit.record().last is None


def test_a_disk_too_full_to_fetch_is_told(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.scanner.update.fetch.KEEP_FREE_BYTES", 1 << 60)
    unit.released("1.1", EVERYBODY)

    assert unit.fetch() == ""
    assert not unit.decide()

    version, state, reason = unit.told()
    assert (version, state) == ("1.1", "failed")
    assert "MB are needed" in reason


def test_no_room_is_told_before_anything_is_downloaded(unit: Unit) -> None:
    unit.released("1.1", EVERYBODY)
    assert unit.fetch() == "1.1"
    unit.machine = msgspec.structs.replace(HEALTHY, disk_free_bytes=1 << 20)

    assert not unit.decide()

    assert "MB are needed" in unit.told()[2]
