"""The light and the buzzer: what a person at the gate is told.

Whoever cannot tell the colours, cannot see the light or cannot hear the buzzer still gets the whole
message: each signal has colours, a rhythm of light and a rhythm of sound of its own. Only the two
that mean "counted" sound alike, and nothing else has their tone.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol, TextIO

from edge.clock import VIETNAM, Clock, Moment
from edge.unit_settings import IndicatorSettings

log = logging.getLogger(__name__)


class Signal(Enum):
    """What can be told."""

    ACCEPTED = "accepted"
    STORED_OFFLINE = "stored_offline"
    ALREADY_SEEN = "already_seen"
    REFUSED = "refused"
    NOT_READABLE = "not_readable"
    CANNOT_STORE = "cannot_store"
    NOT_COLLECTING = "not_collecting"
    CANNOT_SEND = "cannot_send"
    FAULT = "fault"
    CARRIED = "carried"
    NOT_CARRIED = "not_carried"
    IDENTIFY = "identify"
    SET_UP = "set_up"
    NOT_SET_UP = "not_set_up"
    WAITING_FOR_CODE = "waiting_for_code"


@dataclass(frozen=True)
class Step:
    """For how long which lights are on, and the tone meanwhile; None is silence."""

    duration_s: float
    green: bool = False
    yellow: bool = False
    red: bool = False
    tone_hz: float | None = None


@dataclass(frozen=True)
class Pattern:
    """What a signal looks and sounds like, and what it means."""

    steps: tuple[Step, ...]
    vi: str
    en: str
    #: A state: its light is repeated, without the sound, until `rest` ends it.
    repeats: bool = False


# A small buzzer is loud from about 500 Hz on; old ears hear little above 3 kHz.
HIGH_HZ = 2_000.0
MIDDLE_HZ = 1_200.0
LOW_HZ = 500.0

DARK = Step(0.15)
#: So that a second "counted" is seen even if it cuts the first one short.
BLINK = Step(0.06)

#: The unit works and has nothing to tell: a slow green wink, since a dead unit is dark.
READY = Pattern((Step(2.9), Step(0.1, green=True)), "Sẵn sàng", "Ready", repeats=True)

PATTERNS: dict[Signal, Pattern] = {
    # Light: long. Sound: short.
    Signal.ACCEPTED: Pattern(
        (BLINK, Step(0.15, green=True, tone_hz=HIGH_HZ), Step(0.65, green=True)),
        "Đã ghi nhận",
        "Counted",
    ),
    # Light: long, short. Sound: short.
    Signal.STORED_OFFLINE: Pattern(
        (
            BLINK,
            Step(0.15, green=True, tone_hz=HIGH_HZ),
            Step(0.65, green=True),
            DARK,
            Step(0.2, yellow=True),
        ),
        "Đã ghi nhận, sẽ gửi khi có mạng",
        "Counted; will be sent when there is a network",
    ),
    # Light: short, short. Sound: short, short.
    Signal.ALREADY_SEEN: Pattern(
        (
            Step(0.15, yellow=True, tone_hz=MIDDLE_HZ),
            DARK,
            Step(0.15, yellow=True, tone_hz=MIDDLE_HZ),
            Step(0.4),
        ),
        "Mã này vừa được ghi nhận",
        "Counted a moment ago",
    ),
    # Light: long, long. Sound: long, long.
    Signal.REFUSED: Pattern(
        (Step(0.5, red=True, tone_hz=LOW_HZ), DARK) * 2,
        "Mã này không dùng được ở đây",
        "This code cannot be used here",
    ),
    # Light: three very short. Sound: the same.
    Signal.NOT_READABLE: Pattern(
        (
            Step(0.08, yellow=True, tone_hz=MIDDLE_HZ),
            Step(0.1),
            Step(0.08, red=True, tone_hz=MIDDLE_HZ),
            Step(0.1),
            Step(0.08, yellow=True, tone_hz=MIDDLE_HZ),
            Step(0.6),
        ),
        "Không đọc được mã, mời đưa lại",
        "Cannot be read; please show it again",
    ),
    # Light: long, without an end. Sound: four long ones, up and down.
    Signal.CANNOT_STORE: Pattern(
        (
            Step(0.3, red=True, tone_hz=MIDDLE_HZ),
            DARK,
            Step(0.3, red=True, yellow=True, tone_hz=LOW_HZ),
            DARK,
        )
        * 2,
        "CHƯA ghi nhận: máy không lưu được",
        "NOT counted: the unit cannot store it",
        repeats=True,
    ),
    # Light: very long, slow. Sound: long, short.
    Signal.NOT_COLLECTING: Pattern(
        (
            Step(0.5, yellow=True, red=True, tone_hz=MIDDLE_HZ),
            Step(0.15, yellow=True, red=True),
            Step(0.1, yellow=True, red=True, tone_hz=LOW_HZ),
            Step(0.75, yellow=True, red=True),
            Step(1.5),
        ),
        "Máy đang tạm dừng, không ghi nhận",
        "Not collecting now",
        repeats=True,
    ),
    # Light: long, then three short, slowly. Sound: the same.
    Signal.CANNOT_SEND: Pattern(
        (
            Step(0.4, green=True, yellow=True, tone_hz=MIDDLE_HZ),
            Step(0.2),
            Step(0.1, yellow=True, tone_hz=MIDDLE_HZ),
            Step(0.3),
            Step(0.1, green=True, yellow=True, tone_hz=MIDDLE_HZ),
            Step(0.3),
            Step(0.1, yellow=True, tone_hz=MIDDLE_HZ),
            Step(1.5),
        ),
        "Vẫn ghi nhận nhưng không gửi được vì thiếu chứng thư còn hạn",
        "Counts, but cannot send: it has no valid certificate (ended, or none was given)",
        repeats=True,
    ),
    # Light: all, flashing. Sound: very long.
    Signal.FAULT: Pattern(
        (
            Step(0.2, green=True, yellow=True, red=True, tone_hz=LOW_HZ),
            Step(0.2, tone_hz=LOW_HZ),
        )
        * 4,
        "Máy bị lỗi, hãy báo kỹ thuật viên",
        "Out of order; call the technician",
        repeats=True,
    ),
    # Light: short, long, short. Sound: the same.
    Signal.CARRIED: Pattern(
        (
            Step(0.12, green=True, yellow=True, tone_hz=LOW_HZ),
            DARK,
            Step(0.5, green=True, yellow=True, tone_hz=MIDDLE_HZ),
            DARK,
            Step(0.12, green=True, yellow=True, tone_hz=MIDDLE_HZ),
        ),
        "Đã chép ra USB, có thể rút ra",
        "Copied to the USB stick; it may be pulled out",
    ),
    # Light: long, short, long. Sound: the same.
    Signal.NOT_CARRIED: Pattern(
        (
            Step(0.5, green=True, red=True, tone_hz=LOW_HZ),
            DARK,
            Step(0.12, green=True, red=True, tone_hz=MIDDLE_HZ),
            DARK,
            Step(0.5, green=True, red=True, tone_hz=LOW_HZ),
        ),
        "Không chép được ra USB",
        "Could not be copied to the USB stick",
    ),
    # Light: running, for ten seconds. Sound: a very short one each second.
    Signal.IDENTIFY: Pattern(
        (
            Step(0.1, red=True, tone_hz=MIDDLE_HZ),
            Step(0.1, yellow=True),
            Step(0.1, red=True),
            Step(0.1, yellow=True),
            Step(0.6),
        )
        * 10,
        "Đây là máy đang được tìm",
        "This is the unit that is looked for",
    ),
    # Light: short, short, long. Sound: the same, going up.
    Signal.SET_UP: Pattern(
        (
            Step(0.12, yellow=True, tone_hz=LOW_HZ),
            DARK,
            Step(0.12, yellow=True, tone_hz=MIDDLE_HZ),
            DARK,
            Step(0.6, green=True, yellow=True, tone_hz=MIDDLE_HZ),
        ),
        "Đã cài đặt xong",
        "Set up",
    ),
    # Light: long, short, short. Sound: the same, going down.
    Signal.NOT_SET_UP: Pattern(
        (
            Step(0.6, red=True, tone_hz=MIDDLE_HZ),
            DARK,
            Step(0.12, yellow=True, red=True, tone_hz=LOW_HZ),
            DARK,
            Step(0.12, yellow=True, red=True, tone_hz=LOW_HZ),
        ),
        "Không cài đặt được, lý do ghi trên thẻ",
        "Not set up; the reason is on the card",
    ),
    # Light: short, long, slow. Sound: the same, going up.
    Signal.WAITING_FOR_CODE: Pattern(
        (
            Step(0.12, green=True, yellow=True, tone_hz=LOW_HZ),
            DARK,
            Step(0.6, yellow=True, tone_hz=MIDDLE_HZ),
            Step(1.2),
        ),
        "Đang chờ mã cài đặt, không ghi nhận",
        "Waiting for its set-up code, not collecting",
        repeats=True,
    ),
}


def pattern_at_rest(signal: Signal | None) -> Pattern:
    """What is shown when there is nothing else: *signal*, or that the unit is ready."""
    return PATTERNS[signal] if signal else READY


class Indicator(Protocol):
    """What tells people about their codes. Its failing never stops the scanning: nothing raises."""

    def show(self, signal: Signal, note: str = "") -> None:
        """Tell *signal* at once, with its sound; a state then stays as with `rest`. Never blocks.

        *note* is for terminals and logs, as in "seq 57", and is never personal.
        """
        ...

    def rest(self, signal: Signal | None) -> None:
        """From now on show *signal*, without its sound, when there is nothing else; None: ready."""
        ...

    def close(self) -> None:
        """Lights off."""
        ...


def open_indicator(settings: IndicatorSettings, stream: TextIO, clock: Clock) -> Indicator:
    """The indicator of these *settings*; a terminal is *stream*. Raises IndicatorError."""
    if settings.kind == "gpio":
        # Here, since it plays what stands above.
        from edge.scanner.gpio_indicator import GpioIndicator

        return GpioIndicator(settings, loudness=lambda: loudness(settings, clock.now()))
    if settings.kind == "terminal":
        return TerminalIndicator(stream)
    return NoIndicator()


def loudness(settings: IndicatorSettings, moment: Moment) -> float:
    """How loud the buzzer is to be at *moment*, above 0 to 1."""
    if moment.clock == "none":
        return settings.loudness
    begins, _, ends = settings.night.partition("-")
    local = datetime.fromisoformat(moment.at).astimezone(VIETNAM).strftime("%H:%M")
    # A night that goes over midnight is all but the day between.
    night = begins <= local < ends if begins <= ends else not ends <= local < begins
    return settings.night_loudness if night else settings.loudness


class NoIndicator:
    """Tells nobody."""

    def show(self, signal: Signal, note: str = "") -> None:
        """See Indicator."""

    def rest(self, signal: Signal | None) -> None:
        """See Indicator."""

    def close(self) -> None:
        """See Indicator."""


class TerminalIndicator:
    """A line for each signal. Waits where its terminal does: not for a unit on a wall."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._coloured = stream.isatty()
        self._encoding = stream.encoding or "utf-8"
        self._resting: Signal | None = None
        self._failed = False

    def show(self, signal: Signal, note: str = "") -> None:
        """See Indicator."""
        pattern = PATTERNS[signal]
        if pattern.repeats:
            self._resting = signal
        self._write(pattern, f" ({note})" if note else "")

    def rest(self, signal: Signal | None) -> None:
        """See Indicator. A line only if something changes."""
        if signal is not self._resting:
            self._resting = signal
            self._write(pattern_at_rest(signal), "")

    def close(self) -> None:
        """See Indicator. The stream stays open: it is not ours."""

    def _write(self, pattern: Pattern, note: str) -> None:
        colours = _colours(pattern)
        dots = "".join(f"\033[{colour}m●\033[0m" if self._coloured else "●" for colour in colours)
        line = f"{dots}{' ' * (4 - len(colours))}{pattern.vi} / {pattern.en}{note}\n"
        # A terminal without Vietnamese letters shows "?" for them.
        line = line.encode(self._encoding, "replace").decode(self._encoding)
        try:
            self._stream.write(line)
            self._stream.flush()
        except (OSError, ValueError) as err:
            if not self._failed:
                log.warning("the terminal shows no signals any more: %s", err)
            self._failed = True


def _colours(pattern: Pattern) -> list[int]:
    """The colours of a pattern in order of their appearance, as a terminal numbers them."""
    lit = [
        colour
        for step in pattern.steps
        for on, colour in ((step.green, 32), (step.yellow, 33), (step.red, 31))
        if on
    ]
    return list(dict.fromkeys(lit))
