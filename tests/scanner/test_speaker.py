"""Spoken prompts: beside light and beep, never before them, and never in the way."""

import runpy
import shutil
import stat
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.scanner.indicator import PATTERNS, Signal
from edge.scanner.speaker import Speaker, scale, speaking
from edge.unit_settings import IndicatorSettings
from tests.fakes import FakeClock, eventually

PROMPTS = Path(__file__).parents[2] / "provisioning" / "prompts.py"


class Lights:
    """The indicator beside which it speaks."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def show(self, signal: Signal, note: str = "") -> None:
        self.told.append(signal)

    def rest(self, signal: Signal | None) -> None:
        self.told.append(("rest", signal))

    def close(self) -> None:
        self.told.append("closed")


def sound(path: Path, seconds: float = 0.1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(np.full(int(8000 * seconds), 10_000, "<i2").tobytes())


class Room:
    """A unit with a loudspeaker whose player is a script of the test's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lights = Lights()
        self.loud = 1.0
        self.played = folder / "played"
        self.played.touch()
        for signal in Signal:
            sound(folder / f"{signal.value}.wav")
        self.speaker: Speaker

    def open(self, script: str) -> Speaker:
        player = self.folder / "player"
        player.write_text(f"#!/bin/sh\n{script}\n")
        player.chmod(player.stat().st_mode | stat.S_IXUSR)
        self.speaker = Speaker(
            self.lights, self.folder, "default", lambda: self.loud, player=str(player)
        )
        return self.speaker

    def heard(self) -> list[str]:
        return [Path(line).name for line in self.played.read_text().splitlines()]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    yield room
    room.speaker.close()


def plays(room: Room, then: str = "") -> str:
    """A player that notes what it plays, "-q -D default FILE"."""
    return f'echo "$4" >> {room.played}; {then}'


def test_each_signal_is_lit_and_said(room: Room) -> None:
    speaker = room.open(plays(room))
    speaker.show(Signal.ACCEPTED, "seq 1")
    assert room.lights.told == [Signal.ACCEPTED]
    eventually(room.heard, "it is said")

    assert room.heard() == ["accepted-100.wav"]


def test_a_player_that_hangs_delays_no_light_and_the_newest_signal_cuts_it_short(
    room: Room,
) -> None:
    speaker = room.open(plays(room, "exec sleep 60"))
    speaker.show(Signal.REFUSED)
    eventually(room.heard, "it is being said")
    began = time.monotonic()
    for _ in range(100):
        speaker.show(Signal.ACCEPTED)
    took = time.monotonic() - began

    assert len(room.lights.told) == 101
    # Each waits for nobody: a player that hangs for a minute would be 100 minutes.
    assert took < 30
    eventually(lambda: "accepted-100.wav" in room.heard(), "the newest is said")


def test_at_night_it_is_said_softly(room: Room) -> None:
    speaker = room.open(plays(room, f'cp "$4" {room.folder}/last'))
    room.loud = 0.3
    speaker.show(Signal.ACCEPTED)
    eventually((room.folder / "last").exists, "it is said")
    eventually(lambda: room.heard() == ["accepted-30.wav"], "softly")
    with wave.open(str(room.folder / "accepted.wav")) as file:
        loud = np.frombuffer(file.readframes(file.getnframes()), "<i2").max()
    scale(room.folder / "accepted.wav", room.folder / "soft.wav", 0.3)
    with wave.open(str(room.folder / "soft.wav")) as file:
        soft = np.frombuffer(file.readframes(file.getnframes()), "<i2").max()

    assert soft == pytest.approx(0.3 * loud, abs=1)


@pytest.mark.parametrize("trouble", ["no player", "it fails", "no sounds", "no sound in a file"])
def test_whatever_fails_is_logged_once_and_stops_nothing(
    room: Room, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    speaker = room.open('echo "no soundcard" >&2; exit 1' if trouble == "it fails" else plays(room))
    if trouble == "no player":
        (room.folder / "player").unlink()
    for path in room.folder.glob("*.wav"):
        if trouble == "no sounds":
            path.unlink()
        elif trouble == "no sound in a file":
            path.write_bytes(b"not a sound")
    for number in range(1, 4):
        speaker.show(Signal.REFUSED)
        eventually(lambda: "stays silent" in caplog.text, f"it is logged ({number})")

    assert len(room.lights.told) == 3
    assert caplog.text.count("stays silent") == 1
    assert any(thread.name == "speaker" for thread in threading.enumerate())


def test_a_real_player_plays_a_sentence_to_its_end(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    if shutil.which("aplay") is None:
        pytest.skip("aplay is missing: sudo apt install alsa-utils")
    # ALSA's own sink: it takes sounds without a sound card.
    room.open(f'aplay -q -D null "$4" && echo "$4" >> {room.played}').show(Signal.ACCEPTED)
    eventually(room.heard, "it is over")

    assert "stays silent" not in caplog.text


def test_resting_is_shown_and_not_said_again_and_again(room: Room) -> None:
    speaker = room.open(plays(room))
    speaker.rest(Signal.NOT_COLLECTING)
    speaker.show(Signal.ACCEPTED)
    eventually(room.heard, "the other is said")

    assert room.heard() == ["accepted-100.wav"]
    assert room.lights.told == [("rest", Signal.NOT_COLLECTING), Signal.ACCEPTED]


def test_closing_ends_what_is_being_said_and_turns_the_lights_off(room: Room) -> None:
    speaker = room.open(plays(room, "exec sleep 60"))
    speaker.show(Signal.REFUSED)
    eventually(room.heard, "it is being said")
    speaker.close()

    assert room.lights.told[-1] == "closed"
    eventually(
        lambda: not any(thread.name == "speaker" for thread in threading.enumerate()), "it ends"
    )


def test_a_unit_without_a_loudspeaker_is_silent() -> None:
    lights = Lights()

    assert speaking(lights, IndicatorSettings(), FakeClock()) is lights


def test_every_signal_has_a_sentence_of_a_second_or_so_that_can_be_heard(tmp_path: Path) -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is missing: sudo apt install espeak-ng")
    made = runpy.run_path(str(PROMPTS))["make_prompts"](tmp_path)

    assert {path.stem for path in made} == {signal.value for signal in PATTERNS}
    assert sum(path.stat().st_size for path in made) < 2_500_000
    for path in made:
        with wave.open(str(path)) as file:
            seconds = file.getnframes() / file.getframerate()
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
        assert 0.5 < seconds < 4.0, path.name
        assert np.sqrt((samples**2).mean()) > 500, path.name
