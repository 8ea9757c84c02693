"""Says in Vietnamese what light and buzzer tell, on units that have a loudspeaker.

One sentence for each signal, from files that the package brings (provisioning/prompts.py makes them
with espeak-ng). It comes beside light and beep and never before them: a thread of its own plays it,
with aplay, and the newest cuts the one before short. Whatever fails here is logged once and stops
nothing.
"""

import logging
import subprocess
import tempfile
import threading
import wave
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from edge.clock import Clock
from edge.scanner.indicator import Indicator, Signal, loudness
from edge.unit_settings import IndicatorSettings

log = logging.getLogger(__name__)

#: No sentence of ours takes so long.
LONGEST_S = 10.0


class Speaker:
    """An indicator that speaks beside another one."""

    def __init__(
        self,
        beside: Indicator,
        folder: Path,
        device: str,
        loudness: Callable[[], float],
        *,
        player: str = "aplay",
    ) -> None:
        """*folder* has a file for each signal, `accepted.wav`; *device* is ALSA's name for it.

        *loudness*, above 0 to 1, is asked before each sentence.
        """
        self._beside = beside
        self._folder = folder
        self._device = device
        self._loudness = loudness
        self._player = player
        self._next: Signal | None = None
        self._wanted = threading.Condition()
        self._stopping = False
        self._complained = False
        # Of this process alone, and gone with it: the sentences at the loudness of the hour.
        self._scaled = tempfile.TemporaryDirectory(prefix="edge-speaker-")
        self._thread = threading.Thread(target=self._speak, name="speaker", daemon=True)
        self._thread.start()

    def show(self, signal: Signal, note: str = "") -> None:
        """See Indicator. The light and the beep come first."""
        self._beside.show(signal, note)
        with self._wanted:
            self._next = signal
            self._wanted.notify()

    def rest(self, signal: Signal | None) -> None:
        """See Indicator. A state is not spoken again and again."""
        self._beside.rest(signal)

    def close(self) -> None:
        """See Indicator."""
        with self._wanted:
            self._stopping = True
            self._wanted.notify()
        self._thread.join(1.0)
        self._scaled.cleanup()
        self._beside.close()

    def _speak(self) -> None:
        while (signal := self._wait()) is not None:
            try:
                self._play(self._at_loudness(signal))
            except (OSError, ValueError, EOFError, wave.Error, subprocess.SubprocessError) as err:
                if not self._complained:
                    self._complained = True
                    log.warning("the loudspeaker stays silent: %s", err)

    def _wait(self) -> Signal | None:
        with self._wanted:
            self._wanted.wait_for(lambda: self._stopping or self._next is not None)
            signal, self._next = self._next, None
            return None if self._stopping else signal

    def _play(self, path: Path) -> None:
        command = [self._player, "-q", "-D", self._device, str(path)]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as playing:
            with self._wanted:
                # Until it is over, or another signal is to be told, or the service ends.
                watching = threading.Thread(target=self._tell_end, args=(playing,), daemon=True)
                watching.start()
                self._wanted.wait_for(
                    lambda: self._stopping or self._next is not None or playing.poll() is not None,
                    LONGEST_S,
                )
            if playing.poll() is None:
                playing.kill()
                playing.wait()
            elif playing.returncode and playing.stderr is not None:
                said = playing.stderr.read(500).decode(errors="replace").strip()
                raise OSError(f"{self._player}: {said or playing.returncode}")

    def _tell_end(self, playing: "subprocess.Popen[bytes]") -> None:
        with suppress(subprocess.TimeoutExpired):
            playing.wait(LONGEST_S)
        with self._wanted:
            self._wanted.notify()

    def _at_loudness(self, signal: Signal) -> Path:
        """The sentence of *signal*, as loud as it is to be now; aplay plays all alike."""
        loud = self._loudness()
        path = Path(self._scaled.name) / f"{signal.value}-{round(100 * loud)}.wav"
        if not path.exists():
            scale(self._folder / f"{signal.value}.wav", path, loud)
        return path


def scale(source: Path, to: Path, loud: float) -> None:
    """Write the sound *source*, 16 bits a sample, *to* another file, *loud* times as loud.

    Raises OSError, and wave.Error or ValueError for what is no such sound.
    """
    with wave.open(str(source), "rb") as sound:
        if sound.getsampwidth() != 2:
            raise ValueError(f"{source}: not 16 bits a sample")
        parameters = sound.getparams()
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    with wave.open(str(to), "wb") as sound:
        sound.setparams(parameters)
        sound.writeframes((samples * min(loud, 1.0)).astype("<i2").tobytes())


def speaking(indicator: Indicator, settings: IndicatorSettings, clock: Clock) -> Indicator:
    """*indicator*, and beside it a loudspeaker if the *settings* have one."""
    if not settings.speech:
        return indicator
    return Speaker(
        indicator,
        Path(settings.speech_folder),
        settings.speech_device,
        lambda: loudness(settings, clock.now()),
    )
