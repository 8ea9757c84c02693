"""The GPS receiver: real sentences on a pseudo-terminal, a real gpsd, and what goes wrong."""

import os
import shutil
import subprocess
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.clock import Clock, SystemClock
from edge.demo.broker import free_port, listens
from edge.errors import ConfigError
from edge.scanner.gps import (
    FRESH_S,
    LONGEST_LINE,
    RETRY_S,
    SILENT_S,
    Fix,
    Found,
    Receiver,
    nmea_parser,
    parse_gpsd,
)
from edge.unit_settings import GpsSettings
from tests.fakes import FakeClock, eventually
from tests.nmea import LATITUDE, LONGITUDE, a_ride, rmc, sentence

AT = 1_625_189_400.0
GPSD = shutil.which("gpsd") or shutil.which("/usr/sbin/gpsd")


class Satellite:
    """A receiver at the end of a serial line."""

    def __init__(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)

    def say(self, data: bytes) -> None:
        os.write(self._master, data)

    def close(self) -> None:
        for end in (self._master, self._slave):
            os.close(end)


@pytest.fixture
def satellite() -> Iterator[Satellite]:
    satellite = Satellite()
    yield satellite
    satellite.close()


class Bus:
    """What the unit on a bus hears."""

    def __init__(self, source: str, clock: Clock | None = None) -> None:
        self.clock = FakeClock()
        self.fixes: list[Fix] = []
        settings = GpsSettings(source=source)
        self.receiver = Receiver(settings, clock or self.clock, self.fixes.append)

    def hear(self, what: str) -> None:
        count = len(self.fixes)
        eventually(lambda: len(self.fixes) > count, what, turn=lambda: self.receiver.step(0.05))


@pytest.fixture
def bus(satellite: Satellite) -> Iterator[Bus]:
    bus = Bus(satellite.path)
    bus.receiver.step(0)
    yield bus
    bus.receiver.close()


def test_a_fix_comes_over_a_serial_line(satellite: Satellite, bus: Bus) -> None:
    bus.clock.advance(3.0)
    satellite.say(rmc(AT, speed_m_s=5.0))
    bus.hear("a fix")

    (fix,) = bus.fixes
    assert fix.at == AT
    assert fix.uptime_ms == 1_003_000
    assert fix.speed_m_s == pytest.approx(5.0, abs=0.01)
    assert (fix.latitude, fix.longitude) == pytest.approx((LATITUDE, LONGITUDE), abs=1e-5)
    states = [bus.receiver.state]
    bus.clock.advance(FRESH_S + 1)
    assert [*states, bus.receiver.state] == ["fix", "silent"]


def test_sentences_come_in_pieces_and_with_others_and_noise_between(
    satellite: Satellite, bus: Bus
) -> None:
    noise = b"\xff\x00$GNRMC,,\r\n$GPGSV,1,1,00*79\r\n\x1b[2J" + b"x" * (LONGEST_LINE + 1) + b"\r\n"
    good = rmc(AT)
    broken = rmc(AT + 1).replace(b",A,", b",B,")
    data = noise + broken + sentence("GNRMC,,A,,,,,,,,,") + good
    for start in range(0, len(data), 1000):
        satellite.say(data[start : start + 1000])
        bus.receiver.step(0.05)
    eventually(lambda: bus.fixes, "the good one", turn=lambda: bus.receiver.step(0.05))

    assert [fix.at for fix in bus.fixes] == [AT]


def test_a_receiver_without_satellites_searches(satellite: Satellite, bus: Bus) -> None:
    satellite.say(rmc(AT, valid=False))
    eventually(
        lambda: bus.receiver.state == "searching", "it", turn=lambda: bus.receiver.step(0.05)
    )

    assert bus.fixes == []


def test_a_receiver_that_is_not_there_is_tried_again_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bus = Bus(str(tmp_path / "ttyNone"))
    for _ in range(10):
        bus.receiver.step(0)
        bus.clock.advance(RETRY_S + 1)

    assert bus.receiver.state == "silent"
    assert len([r for r in caplog.records if "trying on" in r.message]) == 1
    satellite = Satellite()
    (tmp_path / "ttyNone").symlink_to(satellite.path)
    bus.receiver.step(0)
    satellite.say(rmc(AT))
    bus.hear("it was plugged in")
    bus.receiver.close()
    satellite.close()


def test_a_receiver_that_falls_silent_or_goes_away_is_opened_anew(
    satellite: Satellite, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    bus.clock.advance(SILENT_S + 1)
    bus.receiver.step(0)
    assert "said nothing" in caplog.text
    bus.clock.advance(RETRY_S + 1)
    bus.receiver.step(0)
    satellite.say(rmc(AT))
    bus.hear("opened anew")


def test_something_that_is_no_serial_line_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no line")
    bus = Bus(str(tmp_path / "file"))
    bus.receiver.step(0)

    assert bus.receiver.state == "silent"


@pytest.mark.parametrize("source", ["serial", "COM3", "gpsd://host:port", "http://x:1"])
def test_a_source_that_cannot_be_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match=r"gps\.source"):
        Bus(source)


def test_fixes_come_from_a_real_gpsd(satellite: Satellite) -> None:
    if GPSD is None:
        pytest.skip("gpsd is missing: sudo apt install gpsd")
    port = free_port()
    daemon = subprocess.Popen(
        [GPSD, "-N", "-n", "-b", "-S", str(port), satellite.path],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # By the true clock: gpsd takes its time to find out what the line speaks.
    bus = Bus(f"gpsd://127.0.0.1:{port}", SystemClock())
    ride = a_ride(AT, 10_000)

    def turn() -> None:
        satellite.say(next(ride))
        bus.receiver.step(0.1)

    try:
        eventually(lambda: listens(port), "gpsd listens")
        eventually(lambda: len(bus.fixes) >= 5, "fixes by gpsd", turn=turn)
    finally:
        bus.receiver.close()
        daemon.kill()
        daemon.wait()

    assert all(AT <= fix.at < AT + 10_000 for fix in bus.fixes)
    assert bus.fixes[0].latitude == pytest.approx(LATITUDE, abs=0.05)
    assert bus.fixes[0].speed_m_s is not None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"null",
        b'{"class":"VERSION"}',
        b'{"class":"TPV","mode":3,"time":"x","lat":1,"lon":2}',
        b'{"class":"TPV","mode":3,"time":"2021-07-02T01:30:00.000Z","lat":"1","lon":2}',
        b'{"class":"TPV","mode":3,"time":"2021-07-02T01:30:00.000Z","lat":91,"lon":2}',
        b'{"class":"TPV","mode":3,"time":"2021-07-02T01:30:00.000Z","lon":2}',
        b'{"class":"TPV","mode":"3"}',
        b"[" * 9000,
        b"\xff",
    ],
)
def test_nonsense_of_a_gpsd_is_no_fix(line: bytes) -> None:
    assert parse_gpsd(line) is None


def test_a_gpsd_without_satellites_searches() -> None:
    assert parse_gpsd(b'{"class":"TPV","mode":1}') == "searching"


@pytest.mark.parametrize(
    "text",
    [
        "GNRMC,996199.00,A,1358.3,N,10800.1,E,0.1,0.0,020721,,,A",
        "GNRMC,010203.00,A,9958.3,N,10800.1,E,0.1,0.0,020721,,,A",
        "GNRMC,010203.00,A,1358.3,N,10800.1,E,0.1,0.0,991399,,,A",
        "GNRMC,010203.00,A,1358.3,N,10800.1,E,x,0.0,020721,,,A",
        "GNRMC,010203.00,A,,,,,,,,,,",
        "GNRMC",
        "GNRMC," + "," * 200,
    ],
)
def test_sentences_with_a_good_sum_and_nonsense_in_them_are_no_fix(text: str) -> None:
    assert not isinstance(nmea_parser()(sentence(text)), Found)
