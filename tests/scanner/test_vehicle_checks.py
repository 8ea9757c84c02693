"""What a technician is told of a GPS receiver, a loudspeaker, and the key of the centre."""

import base64
import os
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge.clock import SystemClock
from edge.errors import EdgeError
from edge.scanner import vehicle_checks
from edge.scanner.settings import UnsetSettings
from edge.scanner.unit_checks import Concern, centre
from edge.scanner.vehicle_checks import gps, speaker
from edge.sealing import Signer
from tests.fakes import LIMIT_S
from tests.nmea import rmc


def settings(**tables: object) -> UnsetSettings:
    return msgspec.convert({"broker": {}, **tables}, UnsetSettings)


@pytest.fixture
def line() -> Iterator[tuple[int, str]]:
    master, slave = os.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(master)
    os.close(slave)


def looked_at(line: tuple[int, str], said: bytes) -> str:
    """What the check says while the receiver goes on saying *said*."""
    master, path = line
    over = threading.Event()

    def speak() -> None:
        while not over.wait(0.1):
            os.write(master, said)

    speaking = threading.Thread(target=speak)
    speaking.start()
    try:
        return gps(settings(gps={"source": path}), SystemClock())
    finally:
        over.set()
        speaking.join()


def test_a_receiver_that_knows_where_it_is_is_well(
    line: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vehicle_checks, "LISTEN_S", LIMIT_S)
    assert looked_at(line, rmc(time.time())) == f"{line[1]} knows where it is"


def test_a_receiver_under_a_roof_is_a_concern(
    line: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vehicle_checks, "LISTEN_S", 3.0)
    text = looked_at(line, rmc(time.time(), valid=False))

    assert isinstance(text, Concern)
    assert "open sky" in text


def test_a_receiver_that_is_silent_has_a_cure(
    line: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vehicle_checks, "LISTEN_S", 0.3)

    with pytest.raises(EdgeError, match="look at its cable"):
        looked_at(line, b"\xff\x00\r\n")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 0", ""),
        ('echo "no such device" >&2; exit 1', "no such device"),
        ("exec sleep 60", "does not finish"),
    ],
)
def test_a_loudspeaker_is_heard_or_has_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    (tmp_path / "accepted.wav").write_bytes(b"")
    (tmp_path / "aplay").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "aplay").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    # A player that ends has all the time that a busy machine takes to start one.
    ends = reason != "does not finish"
    monkeypatch.setattr(vehicle_checks, "SAY_S", LIMIT_S if ends else 0.5)
    given = settings(indicator={"speech": True, "speech_folder": str(tmp_path)})

    if not reason:
        assert "đã ghi nhận" in speaker(given)
        return
    with pytest.raises(EdgeError, match=f"{reason}.*aplay -L"):
        speaker(given)


def test_sentences_that_are_not_there_have_a_cure(tmp_path: Path) -> None:
    given = settings(indicator={"speech": True, "speech_folder": str(tmp_path)})

    with pytest.raises(EdgeError, match="built without sentences"):
        speaker(given)


def test_the_key_of_the_centre_is_named_or_missed(tmp_path: Path) -> None:
    text = centre(settings(), tmp_path)
    assert isinstance(text, Concern)
    assert "edge-collector key" in text

    (tmp_path / "receipts.pub").write_bytes(base64.b64encode(Signer(b"c" * 32).public_key))
    assert centre(settings(), tmp_path).startswith("known by its key ")
    (tmp_path / "receipts.pub").write_text("nonsense")
    with pytest.raises(EdgeError, match=r"receipts\.pub"):
        centre(settings(), tmp_path)
