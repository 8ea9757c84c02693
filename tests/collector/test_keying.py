"""The centre's key: which of them a unit is told with, and what a person does to change it."""

import json
import shlex
from pathlib import Path

import pytest

from edge.collector.__main__ import main
from edge.collector.commanding import set_key
from edge.collector.service import Collector
from edge.collector.signers import Signers
from edge.messages import Confirmed
from edge.sealing import Signer, Verifier, key_id, read_key
from edge.signed import is_confirmed, read_order
from edge.storage.control import Control
from edge.storage.rows import Report
from edge.storage.storage import Storage
from edge.succession import believed
from edge.topics import parse, topic
from edge.unit_settings import check_wished
from tests.fakes import FakeClock, FakeConnection, a_scan, a_status, eventually

OLD, NEW = Signer(b"o" * 32), Signer(b"n" * 32)
OLD_ID, NEW_ID = key_id(OLD.public_key), key_id(NEW.public_key)
NOW = "2021-07-02T01:00:00.000Z"


def test_each_unit_is_told_with_the_newest_key_that_it_believes() -> None:
    signers = Signers(NEW, [OLD])
    signers.note({"old": [OLD_ID], "both": [OLD_ID, NEW_ID], "new": [NEW_ID], "silent": []})

    told = {unit: signers.of(unit) for unit in ("old", "both", "new", "silent", "never-heard-of")}

    assert told == {"old": OLD, "both": NEW, "new": NEW, "silent": NEW, "never-heard-of": NEW}
    assert Signers(NEW).of("old") is NEW


def test_an_order_goes_by_what_the_unit_has_said_in_the_same_turn(database_url: str) -> None:
    connection, storage, clock = FakeConnection(), Storage(database_url), FakeClock()
    control, signers = Control(storage.database), Signers(NEW, [OLD])
    collector = Collector(connection, storage, clock, signers=signers)  # type: ignore[arg-type]
    before = a_status(centre=(OLD_ID,))
    storage.store_reports([Report("pleiku", "cong-1", before)], clock.now().at)
    control.run_by({"cong-1": "0" * 16}, clock.now().at)
    connection.come_up()
    collector.step(0)
    control.desire("all", {"carry": {"newest_key_only": True}}, "lan", clock.now().at)

    both = a_status(birth=2, centre=(OLD_ID, NEW_ID), config="0" * 16)
    connection.deliver(topic("pleiku", "cong-1", "status"), both.encode())
    # No look at the tables is due while it comes in, and one is in the turn in which it is stored.
    collector.step(0)
    clock.advance(10)
    collector.step(0)

    (message,) = connection.on("config")
    assert read_order("config", message, "cong-1", Verifier(NEW.public_key)).unit == "cong-1"
    collector.close()
    storage.close()


def test_of_many_in_a_batch_each_unit_is_told_by_the_key_that_it_knows(database_url: str) -> None:
    connection, storage = FakeConnection(), Storage(database_url)
    signers = Signers(NEW, [OLD])
    collector = Collector(connection, storage, FakeClock(), signers=signers)  # type: ignore[arg-type]
    knows = {f"cong-{n}": (NEW_ID, OLD_ID)[n % 2] for n in range(60)}
    said = [Report("pleiku", unit, a_status(centre=(key,))) for unit, key in knows.items()]
    storage.store_reports(said, NOW)
    connection.come_up()
    for unit in knows:
        connection.deliver(topic("pleiku", unit, "scan"), a_scan(1).encode())
    eventually(lambda: collector.totals.stored == 60, "stored", turn=lambda: collector.step(0))

    by_id = {NEW_ID: NEW, OLD_ID: OLD}
    told = [
        (parse(where).unit, Confirmed.decode(payload))
        for where, payload, _ in connection.published
        if where.endswith("/confirmed")
    ]
    assert {unit for unit, _ in told} == knows.keys()
    for unit, message in told:
        assert is_confirmed(message, unit, Verifier(by_id[knows[unit]].public_key))
    assert len({message.signature for _, message in told}) == 4
    collector.close()
    storage.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    settings = f'receipt_key_file = "{tmp_path}/first.key"\n[storage]\nurl = "{tmp_path}/s.db"\n'
    (tmp_path / "collector.toml").write_text(settings)
    return tmp_path


def run(folder: Path, *words: str) -> int:
    return main(["--config", str(folder / "collector.toml"), "key", *words])


def announce(folder: Path, **units: list[str]) -> None:
    storage = Storage(folder / "s.db")
    reports = [Report("pleiku", unit, a_status(centre=tuple(keys))) for unit, keys in units.items()]
    storage.store_reports(reports, NOW)
    storage.close()


def test_a_new_key_is_made_with_all_that_is_to_be_done_for_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder) == 0
    first = Signer(read_key(folder / "first.key"))
    announce(folder, cong1=[key_id(first.public_key)])
    capsys.readouterr()

    assert run(folder, "--new", str(folder / "second.key")) == 0

    said = capsys.readouterr().out
    second = Signer(read_key(folder / "second.key"))
    (line,) = [line for line in said.splitlines() if "edge-collector desired all 'carry.s" in line]
    wished: dict[str, dict[str, object]] = {}
    for word in shlex.split(line)[4:]:
        set_key(wished, word)
    check_wished(wished)
    steps = wished["carry"]["successions"]
    assert isinstance(steps, list)
    after = believed(first.public_key, steps, newest_only=False)
    assert after.ids == (key_id(first.public_key), key_id(second.public_key))
    assert json.dumps([str(folder / "first.key")]) in said
    # The first is in use still.
    assert run(folder, "--units") == 0
    assert f"1 of 1 units believe the newest key, {key_id(first.public_key)}" in (
        capsys.readouterr().out
    )
    assert run(folder, "--new", str(folder / "second.key")) == 1
    assert "there is a file already" in capsys.readouterr().err


def test_units_that_do_not_believe_the_newest_key_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder)
    name = key_id(Signer(read_key(folder / "first.key")).public_key)
    announce(folder, cong1=[OLD_ID], cong2=[OLD_ID, name], cong3=[])
    capsys.readouterr()

    assert run(folder, "--units") == 1

    assert capsys.readouterr().out.splitlines() == [
        f"cong1  believes {OLD_ID}",
        "cong3  believes whoever confirms, or has not said yet",
        f"1 of 3 units believe the newest key, {name}",
    ]


def test_a_collector_that_was_not_given_the_new_key_makes_none_of_its_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder)
    config, second = folder / "collector.toml", folder / "second.key"
    former = f'former_receipt_key_files = ["{folder}/first.key"]\n'
    config.write_text(former + config.read_text().replace("first.key", "second.key", 1))
    capsys.readouterr()

    assert run(folder) == 1

    assert f"{second}: cannot read the key" in capsys.readouterr().err
    assert not second.exists()
