"""Lights and buzzer on the pins of a Raspberry Pi, played by a thread of its own."""

import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import takewhile
from typing import Any

from edge.errors import IndicatorError
from edge.scanner.indicator import PATTERNS, Signal, Step, pattern_at_rest
from edge.unit_settings import IndicatorSettings

log = logging.getLogger(__name__)

#: Two people are two beeps, however quickly they come.
_COUNTED = (Signal.ACCEPTED, Signal.STORED_OFFLINE)
#: A tone that lasted so long was heard.
HEARD_S = 0.2
#: So many signals wait for the one before them to be heard; more do not stand at one door at once.
MOST_WAITING = 8


class GpioIndicator:
    """Three lights and a buzzer on the pins of a Raspberry Pi, played by a thread of its own."""

    def __init__(
        self,
        settings: IndicatorSettings,
        pin_factory: Any = None,
        loudness: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """*pin_factory* None is what gpiozero finds; *loudness* is asked at each tone.

        Raises IndicatorError.
        """
        self._pins = Pins(settings, pin_factory, loudness)
        # Nobody waits for it. Should its thread ever hang in a driver, signals are lost, not scans.
        self._orders: queue.Queue[_Order] = queue.Queue(maxsize=100)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._play, name="indicator", daemon=True)
        self._thread.start()

    def show(self, signal: Signal, note: str = "") -> None:
        """See Indicator."""
        self._order(lambda player, now: player.show(signal, now))

    def rest(self, signal: Signal | None) -> None:
        """See Indicator."""
        self._order(lambda player, now: player.rest(signal, now))

    def close(self) -> None:
        """See Indicator."""
        # Where the orders are full, the player does not wait for one.
        self._closing.set()
        self._order(lambda player, now: None)
        self._thread.join(timeout=2.0)

    def _order(self, order: "_Order") -> None:
        try:
            self._orders.put_nowait(order)
        except queue.Full:
            log.debug("the indicator does not keep up; a signal is lost")

    def _play(self) -> None:
        player = Player(time.monotonic())
        while not self._closing.is_set():
            step, left_s = player.step(time.monotonic())
            self._pins.drive(step)
            try:
                order = self._orders.get(timeout=left_s)
            except queue.Empty:
                continue
            order(player, time.monotonic())
        self._pins.close()


class Player:
    """Which step is due at a moment. Moments are handed in and never go back.

    The newest signal takes over from the one before, but not before that was heard: of two codes in
    one frame each is told, within a few milliseconds of each other.
    """

    def __init__(self, now: float) -> None:
        self._shown: Signal | None = None
        self._waiting: deque[Signal] = deque(maxlen=MOST_WAITING)
        self._resting: Signal | None = None
        self._since = now

    def show(self, signal: Signal, now: float) -> None:
        """Play *signal* from its beginning, as soon as what is being told was heard."""
        if PATTERNS[signal].repeats:
            self._resting = signal
        playing = self._playing(now)
        # Shown with every frame, it plays on rather than begin without an end.
        if signal is (self._waiting[-1] if self._waiting else playing) and signal not in _COUNTED:
            return
        if playing and (self._waiting or now - self._since < _heard_s(PATTERNS[playing].steps)):
            self._waiting.append(signal)
            return
        self._shown, self._since = signal, now

    def rest(self, signal: Signal | None, now: float) -> None:
        """Play *signal* when nothing else is; what is being played ends first."""
        if signal is self._resting:
            return
        self._resting = signal
        if self._playing(now) is None:
            self._since = now

    def step(self, now: float) -> tuple[Step, float]:
        """The step of this moment, and for how many seconds it stays."""
        shown = self._playing(now)
        elapsed_s = now - self._since
        if shown:
            steps = PATTERNS[shown].steps
            step, left_s = _step_at(steps, elapsed_s)
            return step, min(left_s, _heard_s(steps) - elapsed_s) if self._waiting else left_s
        steps = pattern_at_rest(self._resting).steps
        step, left_s = _step_at(steps, elapsed_s % _length_s(steps))
        return replace(step, tone_hz=None), left_s

    def _playing(self, now: float) -> Signal | None:
        if self._shown:
            steps = PATTERNS[self._shown].steps
            lasts_s = _heard_s(steps) if self._waiting else _length_s(steps)
            if now - self._since >= lasts_s:
                next_one = self._waiting.popleft() if self._waiting else None
                self._since = now if next_one else self._since + lasts_s
                self._shown = next_one
        return self._shown


_Order = Callable[[Player, float], None]


def _length_s(steps: tuple[Step, ...]) -> float:
    return sum(step.duration_s for step in steps)


def _heard_s(steps: tuple[Step, ...]) -> float:
    """How long it takes until enough of the first tone of *steps* was heard."""
    silence = list(takewhile(lambda step: step.tone_hz is None, steps))
    tone_s = sum(step.duration_s for step in steps[len(silence) :][:1])
    return _length_s(tuple(silence)) + min(tone_s, HEARD_S)


def _step_at(steps: tuple[Step, ...], elapsed_s: float) -> tuple[Step, float]:
    for step in steps:
        if elapsed_s < step.duration_s:
            return step, step.duration_s - elapsed_s
        elapsed_s -= step.duration_s
    # Past the end by less than a float can tell.
    return steps[-1], 0.0


class Pins:
    """The lights and the buzzer themselves. One that fails is logged once; the others go on."""

    def __init__(
        self,
        settings: IndicatorSettings,
        pin_factory: Any = None,
        loudness: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """*pin_factory* None is what gpiozero finds. Raises IndicatorError with the cure."""
        self._loudness = loudness
        self._failed: set[str] = set()
        self._tone_hz: float | None = None
        with ExitStack() as opened:
            try:
                self._open(settings, pin_factory, opened)
            # Each driver that gpiozero may find raises errors of its own, of no common kind.
            except Exception as err:
                raise IndicatorError(_no_pins(settings, err)) from err
            self._opened = opened.pop_all()

    def drive(self, step: Step) -> None:
        """Light and sound as *step* says. Never raises."""
        self._try("green light", self._green.on if step.green else self._green.off)
        self._try("yellow light", self._yellow.on if step.yellow else self._yellow.off)
        self._try("red light", self._red.on if step.red else self._red.off)
        # Not again while it lasts: it would click.
        if step.tone_hz != self._tone_hz:
            self._try("buzzer", lambda: self._sound(step.tone_hz))

    def close(self) -> None:
        """All off. Never raises."""
        self._try("pins", self._opened.close)

    def _open(self, settings: IndicatorSettings, pin_factory: Any, opened: ExitStack) -> None:
        import gpiozero
        from gpiozero.tones import Tone

        def light(pin: int) -> Any:
            return opened.enter_context(gpiozero.LED(pin, pin_factory=pin_factory))

        self._green = light(settings.green_pin)
        self._yellow = light(settings.yellow_pin)
        self._red = light(settings.red_pin)
        # As it comes, with one octave, it refuses all tones above 880 Hz.
        self._buzzer = opened.enter_context(
            gpiozero.TonalBuzzer(settings.buzzer_pin, octaves=3, pin_factory=pin_factory)
        )
        self._tone = Tone.from_frequency

    def _sound(self, tone_hz: float | None) -> None:
        if tone_hz is None:
            self._buzzer.stop()
        else:
            self._buzzer.play(self._tone(tone_hz))
            if (loud := self._loudness()) < 1:
                # Of a pulse that is on for this share of its period, the tone has that loudness.
                self._buzzer.pwm_device.value = math.asin(loud) / math.pi
        self._tone_hz = tone_hz

    def _try(self, name: str, action: Callable[[], object]) -> None:
        try:
            action()
        # As above. A unit that scans without a light is worth more than one that stops.
        except Exception as err:  # noqa: BLE001
            if name not in self._failed:
                log.warning("indicator: the %s fails; going on without it: %s", name, err)
            self._failed.add(name)


def _no_pins(settings: IndicatorSettings, err: Exception) -> str:
    pins = (settings.green_pin, settings.yellow_pin, settings.red_pin, settings.buzzer_pin)
    return (
        f"indicator: pins {', '.join(map(str, pins))} cannot be used: {err}; install"
        " python3-gpiozero and python3-lgpio, put the user into the group gpio, and see in"
        " [indicator] that the pins differ and nothing else has them; without lights, set kind"
        ' there to "terminal" or "none"'
    )
