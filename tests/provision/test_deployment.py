import fcntl
import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from edge.card import read_card
from edge.certificates import CENTRE, facts
from edge.errors import ConfigError, ProvisionError, RegisterError
from edge.place_table import place_from
from edge.provision import mosquitto
from edge.provision.__main__ import main
from edge.provision.cards import make_card
from edge.provision.deployment import Deployment, utc_now
from edge.provision.end_dates import end_dates
from edge.provision.layout import BROKER, INVENTORY, TRACING_PRIVATE
from edge.sealing import Opener, Sealer, read_key
from tests.provision.deployments import a_deployment, certified


def run(folder: Path, *args: str) -> int:
    return main([*args, "--config", str(folder / "provision.toml")])


def add(deployment: Deployment, name: str, **more: str) -> None:
    deployment.add_units([{"id": name, "place": "cho-1", "direction": "in"} | more])


def test_nothing_secret_can_be_read_by_others(tmp_path: Path) -> None:
    os.umask(0o022)
    deployment = a_deployment(tmp_path / "gia-lai")

    files = [path for path in deployment.folder.rglob("*") if path.is_file()]
    readable = {path for path in files if path.stat().st_mode & 0o077}
    secret = {path for path in files if b"PRIVATE" in path.read_bytes() or path.suffix == ".key"}

    assert len(secret) == 10
    assert not secret & readable
    assert not (deployment.folder / TRACING_PRIVATE).parent.stat().st_mode & 0o077


def test_the_readme_says_what_each_file_is(tmp_path: Path) -> None:
    deployment = a_deployment(tmp_path / "gia-lai")
    readme = (deployment.folder / "README.md").read_text(encoding="utf-8")

    for path in deployment.folder.iterdir():
        assert path.name in readme or path.name.startswith(".")
    for path in deployment.folder.rglob("*.key"):
        assert path.name in readme


def test_the_tracing_desk_opens_what_units_seal(tmp_path: Path) -> None:
    folder = a_deployment(tmp_path / "gia-lai").folder

    opener = Opener(read_key(folder / TRACING_PRIVATE))

    assert opener.key_id == Sealer(read_key(folder / "tracing.pub")).key_id


def test_a_deployment_is_made_in_an_empty_folder_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_deployment(tmp_path / "gia-lai")

    with pytest.raises(ProvisionError, match="not empty"):
        a_deployment(tmp_path / "gia-lai")
    assert main(["init", str(tmp_path / "x"), "--name", "a/b", "--broker", "h", "--area", "a"]) == 1
    assert "cannot make this deployment" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_certificate_outlives_the_longest_time_offline_three_times(tmp_path: Path) -> None:
    folder = a_deployment(tmp_path / "gia-lai").folder
    settings = folder / "provision.toml"
    text = settings.read_text().replace("certificate_days = 730", "certificate_days = 269")
    settings.write_text(text)

    with pytest.raises(ConfigError, match="at least 270"):
        Deployment(folder)


def test_a_unit_needs_a_place_and_a_name_of_its_own(tmp_path: Path) -> None:
    deployment = a_deployment(tmp_path / "gia-lai", "cho-1-a")

    with pytest.raises(RegisterError, match="no place 'cho-9'"):
        add(deployment, "cho-9-a", place="cho-9")
    with pytest.raises(ProvisionError, match="another unit"):
        add(deployment, "cho-1-a", direction="out")
    for name in (*CENTRE, "collector-2", "collector-77"):
        with pytest.raises(ProvisionError, match="cannot be called"):
            add(deployment, name)
    assert [unit.id for unit in deployment.inventory.units] == ["cho-1-a"]


def test_a_unit_hangs_elsewhere_from_its_next_card_on(tmp_path: Path) -> None:
    deployment = a_deployment(tmp_path / "gia-lai", "cho-1-a")
    made = make_card(deployment, "cho-1-a", utc_now())

    assert run(deployment.folder, "unit", "change", "cho-1-a", "--direction", "out") == 0
    assert run(deployment.folder, "unit", "change", "cho-1-a", "--direction", "up") == 1
    assert run(deployment.folder, "unit", "change", "cho-1-a", "--place", "cho-9") == 1

    before, after = read_card(made), read_card(make_card(deployment, "cho-1-a", utc_now()))
    assert before.unit is not None
    assert after.unit is not None
    assert (before.unit.direction, after.unit.direction) == ("in", "out")
    assert after.number > before.number


def test_the_card_of_a_vehicle_brings_its_trips_by_the_clock(tmp_path: Path) -> None:
    deployment = a_deployment(tmp_path / "gia-lai")
    row = {
        "id": "xe-1",
        "name": "Xe Mẫu",
        "kind": "vehicle",
        "plate": "81B-000.01",
        "trips": "sang-1@05:30-07:10/mon-wed+fri le toi@23:30",
    }
    deployment.put_places(deployment.register.with_places([place_from(row, "row 1")]))
    add(deployment, "xe-1-truoc", place="xe-1")
    card = read_card(make_card(deployment, "xe-1-truoc", utc_now()))

    assert card.settings["vehicle"] == {"trips": ["sang-1@05:30-07:10/mon-wed+fri", "toi@23:30"]}


def test_names_with_a_meaning_for_topics_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = a_deployment(tmp_path / "gia-lai").folder

    for name in ("a/b", "+", "#", "x\x1b[2J"):
        assert run(folder, "unit", "add", name, "--place", "cho-1", "--direction", "in") == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "\x1b" not in error


A_NAME = "it must be 1 to 32 of a-z, 0-9, inner hyphens"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("place add ../x --kind market --name Chợ", f"id is '../x'; {A_NAME}"),
        ("place add cho-2 --kind market --name=", "name: missing; it must be given"),
        (
            f"place add cho-2 --kind market --name {'x' * 5000}",
            "(5000 characters); it must be text of at most 200",
        ),
        ("place add xe-1 --kind vehicle --name Xe --plate 81_B", "such as 81B-012.34"),
        (
            "place add xe-1 --kind vehicle --name Xe --plate 81B --trips Sáng",
            "'Sáng'; it must be 1",
        ),
        (
            "place add cho-2 --kind market --name Chợ --hours 25:00-26:00",
            "hours '25:00-26:00' must be as in",
        ),
        ("place add cho-2 --kind market --name Chợ --hours sun-mon_25:00", "must be as in"),
        (
            "place add cho-2 --kind market --name Chợ --since hôm-qua --commune Mẫu",
            "phải là ngày, như 2026-12-31 / place add: since is 'hôm-qua'; it must be a date",
        ),
        ("unit add U_1 --place cho-1 --direction in", f"id is 'U_1'; {A_NAME}"),
        (f"unit add {'u' * 5000} --place cho-1 --direction in", A_NAME),
        ("unit change cho-1-a --direction up", "must be one of both, in, out"),
        ("unit add u-1 --place cho-1 --direction in --hardware XYZ", "the serial number"),
        ("init x --name X_Y --broker b --area a", f"deployment.name is 'X_Y'; {A_NAME}"),
        ("init x --name x --broker b_c --area a", "it must be the name of a computer"),
        (
            "basis --number 1 --issuer UBND --places Chợ --start 2026-12-01 --end 2026-12-31",
            "places[0] is 'Chợ'; it must be the id of a place",
        ),
    ],
)
def test_a_mistake_is_told_in_peoples_words(
    tmp_path: Path, command: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = a_deployment(tmp_path / "gia-lai", "cho-1-a").folder

    assert run(folder, *command.split()) == 1

    error = capsys.readouterr().err
    assert why in error
    assert len(error) < 400
    assert not any(word in error for word in ("regex", "str", "Object", "RFC3339", "[\\s"))


def test_a_revoked_unit_gets_no_certificate_again(tmp_path: Path) -> None:
    deployment = a_deployment(tmp_path / "gia-lai", "cho-1-a")
    issued = certified(deployment, "cho-1-a")

    assert run(deployment.folder, "revoke", "cho-1-a") == 0

    with pytest.raises(ProvisionError, match="was revoked"):
        certified(deployment, "cho-1-a")
    assert "user cho-1-a\ntopic deny #" in (deployment.folder / BROKER / "rules.acl").read_text()
    record = deployment.inventory.unit("cho-1-a").certificates[0]
    assert int(record.serial, 16) == issued.serial
    assert record.revoked is not None


def test_the_alarm_comes_long_before_anything_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = a_deployment(tmp_path / "gia-lai", "cho-1-a")
    a_basis(deployment, "1", "2099-12-31")
    capsys.readouterr()
    certified(deployment, "cho-1-a", utc_now() - timedelta(days=300))
    # What counts is the newest.
    certified(deployment, "cho-1-a")
    assert run(deployment.folder, "check", "--json") == 0
    assert not any(json.loads(line)["alarm"] for line in capsys.readouterr().out.splitlines())

    for days, alarms in (
        (400, set()),
        (600, {"unit cho-1-a"}),
        (1825 - 179, {"unit cho-1-a", "lists of revocations"}),
    ):
        then = utc_now() + timedelta(days=days)
        assert {end.what for end in end_dates(deployment, then) if end.alarm} == alarms
        monkeypatch.setattr("edge.provision.__main__.utc_now", lambda then=then: then)
        assert run(deployment.folder, "check") == (1 if alarms else 0)


def a_basis(
    deployment: Deployment, number: str, end: str, place: str = "*", start: str = "2020-01-01"
) -> None:
    order = ["--number", number, "--issuer", "UBND", "--start", start, "--end", end]
    assert run(deployment.folder, "basis", *order, "--places", place) == 0


def test_so_does_that_of_a_legal_basis_by_which_units_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = a_deployment(tmp_path / "gia-lai", "cho-1-a", "cho-1-b")
    market = ["--name", "Chợ Mẫu 2", "--kind", "market"]
    assert run(deployment.folder, "place", "add", "cho-2", *market) == 0
    capsys.readouterr()

    def alarms(end: str) -> list[str]:
        then = datetime.fromisoformat(f"{end}T00:00:00+07:00")
        found = [e for e in end_dates(deployment, then) if "legal basis" in e.what]
        assert all("edge-provision basis" in e.cure for e in found)
        return [e.what for e in found if e.alarm]

    assert run(deployment.folder, "check") == 1
    assert "căn cứ pháp lý: chưa có cho cho-1 / " in capsys.readouterr().out
    # The one that ends last counts, and a place without units needs none.
    a_basis(deployment, "1/TN", "2026-12-31")
    a_basis(deployment, "2/TN", "2027-02-28", "cho-1")
    assert alarms("2027-02-14") == []
    assert alarms("2027-02-16") == ["legal basis 2/TN: cho-1"]
    assert run(deployment.folder, "unit", "change", "cho-1-b", "--place", "cho-2") == 0
    assert alarms("2026-12-20") == ["legal basis 1/TN: cho-2"]
    # One that follows at once goes on; one that leaves a gap does not, nor helps that it ends late.
    a_basis(deployment, "3/TN", "2027-03-31", "cho-1", "2027-03-01")
    assert alarms("2027-02-16") == ["legal basis 1/TN: cho-2"]
    a_basis(deployment, "4/TN", "2029-12-31", "cho-1", "2027-05-01")
    assert alarms("2027-03-20") == ["legal basis 1/TN: cho-2", "legal basis 3/TN: cho-1"]
    # What has yet to begin is there; what is over is told as long as there is nothing else.
    assert alarms("2027-04-20") == ["legal basis 1/TN: cho-2"]
    assert alarms("2030-01-02") == ["legal basis 1/TN: cho-2", "legal basis 4/TN: cho-1"]
    # Units that were told to collect without one need none.
    (deployment.folder / "scanner.toml").write_text("[basis]\nrequired = false\n")
    settings = deployment.folder / "provision.toml"
    named = '[units]\nsettings_file = "scanner.toml"'
    settings.write_text(settings.read_text().replace("[units]", named))
    deployment = Deployment(deployment.folder)
    assert alarms("2027-12-20") == []


def test_writing_the_brokers_files_anew_renews_what_is_about_to_end(tmp_path: Path) -> None:
    deployment = a_deployment(tmp_path / "gia-lai")
    own = deployment.folder / BROKER / mosquitto.CERTIFICATE_FILE
    before = own.read_bytes()

    deployment.write_broker(utc_now())
    assert own.read_bytes() == before

    later = utc_now() + timedelta(days=3600)
    deployment.write_broker(later)
    assert facts(own.read_bytes()).days_left(later) > 3600
    assert not any(end.alarm for end in end_dates(deployment, later) if end.what != "authority")


def test_two_cannot_change_a_deployment_at_once(tmp_path: Path) -> None:
    deployment = a_deployment(tmp_path / "gia-lai")

    with (deployment.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ProvisionError, match="another edge-provision"):
            add(deployment, "cho-1-a")

    assert json.loads((deployment.folder / INVENTORY).read_text())["units"] == []
