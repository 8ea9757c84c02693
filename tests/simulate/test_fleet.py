"""Many simulated units on real brokers with a real collector: all confirmed, each a row once."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge.demo.broker import NatsBroker
from edge.errors import ConfigError
from edge.sealing import Sealer, make_key_pair, read_key
from edge.simulate.__main__ import _parser, main, make_units
from edge.simulate.service import Fleet, Plan
from edge.storage.storage import Storage
from tests.conftest import Broker
from tests.end_to_end.parts import Service, collector_settings


@pytest.fixture
def collector(broker: Broker, tmp_path: Path) -> Service:
    return Service("collector", tmp_path, collector_settings(broker.url, tmp_path / "storage.db"))


def test_a_fleet_with_a_backlog_and_faults_is_stored_once(
    broker: Broker, collector: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collector.start()
    options = {
        "--broker": broker.url,
        "--storage": str(tmp_path / "storage.db"),
        "--units": "100",
        "--areas": "3",
        "--rate": "20",
        "--seconds": "5",
        "--backlog-s": "60",
        "--spread-s": "2",
        # Some of these clocks are set while it lasts.
        "--clock-faults": "1",
        # Each unit about once in these seconds.
        "--outages-a-day": "15000",
        "--outage-s": "0.5",
        "--drain-s": "90",
    }
    try:
        code = main([word for option in options.items() for word in option] + ["--json"])
    finally:
        collector.stop()

    found = json.loads(capsys.readouterr().out)
    assert code == 0, found
    assert found["confirmed"] == found["made"] > 700
    assert found["rows_missing_or_double"] == 0
    assert found["outages"] > 30
    assert found["connections"] > 100
    storage = Storage(tmp_path / "storage.db")
    assert storage.count() == found["made"]
    assert {row.area for row in storage.units()} == {"sim-1", "sim-2", "sim-3"}
    assert sum(row.corrected for row in storage.units()) > 0
    storage.close()


def test_the_same_seed_makes_the_same_fleet(tmp_path: Path) -> None:
    make_key_pair(tmp_path / "pub", tmp_path / "key")
    sealer = Sealer(read_key(tmp_path / "pub"))
    made = []
    for seed in (1, 1, 2):
        options = _parser().parse_args(
            ["--units", "5", "--backlog-s", "600", "--rate", "1", "--clock-faults", "0.5"]
        )
        units = make_units(options, random.Random(seed), sealer, 1_625_187_600.0)
        made.append(
            [
                (unit.name, unit.wrong, waiting.scan.id, waiting.scan.at, waiting.scan.clock)
                for unit in units
                for waiting in unit.pending.values()
            ]
        )

    assert len(made[0]) > 300
    assert made[0] == made[1] != made[2]


def test_scans_that_nobody_confirms_are_told(
    broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    options = "--units 3 --rate 50 --seconds 1 --drain-s 0.5 --json"
    code = main(["--broker", broker.url, *options.split()])

    found = json.loads(capsys.readouterr().out)
    assert code == 1
    assert found["not_confirmed"] == found["made"] > 0


def test_whoever_stops_it_is_told_what_waited(nats: NatsBroker) -> None:
    command = [sys.executable, "-m", "edge.simulate", "--broker", nats.url, "--json"]
    playing = subprocess.Popen(
        [*command, "--units", "2", "--backlog-s", "60", "--seconds", "600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert playing.stdout is not None
    assert playing.stderr is not None
    # Whatever it tells before both are connected.
    assert any(": 2 connected, " in line for line in playing.stderr)
    playing.send_signal(signal.SIGINT)
    out, err = playing.communicate(timeout=60)

    assert playing.returncode == 1
    assert json.loads(out)["not_confirmed"] > 300
    assert err.splitlines()[-1].startswith("stopped early, with ")


def test_a_broker_that_is_not_there_is_told_soon(capsys: pytest.CaptureFixture[str]) -> None:
    options = "--units 3 --rate 1 --seconds 1 --drain-s 4 --json --broker mqtt://127.0.0.1:1"
    code = main(options.split())

    assert code == 1
    told = capsys.readouterr().err
    assert "no unit is connected to the broker: 127.0.0.1:1: Connection refused; start it" in told


@pytest.mark.parametrize(
    "broker", ["http://x", "mqtt://", "mqtt://x:99999", "mqtts://x", "x", "mqtt://[::1"]
)
def test_a_broker_that_is_none_is_refused(broker: str) -> None:
    with pytest.raises(ConfigError, match="it must be mqtt://host:port"):
        Fleet([], Plan(broker=broker, rate=1, scan_for_s=1), random.Random(1), lambda: 0.0)


@pytest.mark.parametrize("host", ["nobody.invalid", "mqtt..invalid", "a" * 64 + ".invalid"])
def test_a_name_that_nobody_has_is_told(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(f"--broker mqtt://{host} --units 1 --seconds 0 --drain-s 0".split())

    assert code == 1
    assert f"error: broker {host}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "must"),
    [
        ("--units 0", "1 or more"),
        ("--areas 0", "1 or more"),
        ("--rate -1", "0 or more"),
        ("--rate nan", "0 or more"),
        ("--seconds inf", "0 or more"),
        ("--clock-faults 7", "0 to 1"),
        ("--health-s 0", "1 or more"),
        ("--units many", "invalid"),
    ],
)
def test_a_number_that_cannot_be_is_refused(
    words: str, must: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())

    assert ended.value.code == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert words.split()[0] in told
    assert must in told


@pytest.mark.parametrize("start", ["25:00", "6", "06:61", "-1:00"])
def test_an_hour_that_is_none_is_refused(start: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--start={start}"]) == 1
    assert "it must be 00:00 to 23:59" in capsys.readouterr().err


def test_more_units_than_a_shell_allows_files(nats: NatsBroker) -> None:
    command = [sys.executable, "-m", "edge.simulate", "--broker", nats.url, "--units"]
    end = ["--rate", "0", "--seconds", "1"]

    def play(units: int, hard: int) -> "subprocess.CompletedProcess[str]":
        shell = f'ulimit -Sn 64; ulimit -Hn {hard}; exec "$@"'
        words = ["sh", "-c", shell, "sh", *command, str(units), *end]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)

    played, refused = play(100, 400), play(1000, 400)

    assert (played.returncode, played.stderr.splitlines()[-1]) == (
        0,
        "right: every scan was confirmed",
    )
    assert refused.returncode == 1
    assert "may have 400 files open, not 1100" in refused.stderr


def test_a_storage_that_is_not_there_is_told_and_not_made(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"--broker {broker.url} --units 1 --rate 0 --seconds 0 --storage {tmp_path}/none.db"

    assert main(words.split()) == 1
    assert "there is no storage" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()
