import io
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from itertools import groupby, pairwise
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin

from edge.clock import Moment
from edge.errors import IndicatorError
from edge.scanner import indicator
from edge.scanner.gpio_indicator import MOST_WAITING, GpioIndicator, Pins, Player
from edge.scanner.indicator import (
    DARK,
    HIGH_HZ,
    LOW_HZ,
    MIDDLE_HZ,
    PATTERNS,
    READY,
    Indicator,
    NoIndicator,
    Pattern,
    Signal,
    Step,
    TerminalIndicator,
    loudness,
    open_indicator,
)
from edge.unit_settings import IndicatorSettings
from tests.fakes import LIMIT_S, FakeClock

SETTINGS = IndicatorSettings()
COUNTED = {Signal.ACCEPTED, Signal.STORED_OFFLINE}
STATES = {
    Signal.CANNOT_STORE,
    Signal.NOT_COLLECTING,
    Signal.CANNOT_SEND,
    Signal.FAULT,
    Signal.WAITING_FOR_CODE,
}
PAIRS = list(itertools.combinations(Signal, 2))


# The table


def colours(pattern: Pattern) -> list[str]:
    """Which lights shine together, one after the other."""
    lit = [
        "".join(name for name in ("green", "yellow", "red") if getattr(step, name))
        for step in pattern.steps
    ]
    return [lights for lights, _ in groupby(filter(None, lit))]


def light(pattern: Pattern) -> str:
    """The rhythm of any light at all, as a person would tap it; a state never ends."""
    end = "..." if pattern.repeats else ""
    return (
        rhythm((step.duration_s, step.green | step.yellow | step.red) for step in pattern.steps)
        + end
    )


def sound(pattern: Pattern) -> str:
    return rhythm((step.duration_s, step.tone_hz is not None) for step in pattern.steps)


def rhythm(parts: Iterator[tuple[float, bool]] | Any) -> str:
    lengths = [
        sum(duration_s for duration_s, _ in same)
        for on, same in groupby(parts, key=lambda part: part[1])
        if on
    ]
    return " ".join("short" if s < 0.25 else "long" if s < 1 else "very-long" for s in lengths)


def test_every_signal_has_a_pattern_and_words_in_both_languages() -> None:
    assert set(PATTERNS) == set(Signal)
    words = [(pattern.vi, pattern.en) for pattern in [READY, *PATTERNS.values()]]
    assert all(vi and en for vi, en in words)
    assert len({vi for vi, _ in words}) == len({en for _, en in words}) == len(words)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_no_two_signals_look_alike_even_without_colours(one: Signal, other: Signal) -> None:
    assert colours(PATTERNS[one]) != colours(PATTERNS[other])
    assert light(PATTERNS[one]) != light(PATTERNS[other])


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_no_two_signals_sound_alike_unless_both_mean_counted(one: Signal, other: Signal) -> None:
    alike = sound(PATTERNS[one]) == sound(PATTERNS[other])

    assert alike == ({one, other} == COUNTED)


def test_both_that_mean_counted_make_the_very_same_sound() -> None:
    accepted, offline = (
        [(step.duration_s, step.tone_hz) for step in PATTERNS[signal].steps if step.tone_hz]
        for signal in COUNTED
    )

    assert accepted == offline


@pytest.mark.parametrize("signal", [one for one in Signal if one not in COUNTED])
def test_nothing_else_has_the_colour_or_the_tone_of_counted(signal: Signal) -> None:
    assert "green" not in colours(PATTERNS[signal])
    assert indicator.HIGH_HZ not in {step.tone_hz for step in PATTERNS[signal].steps}


@pytest.mark.parametrize("signal", Signal)
def test_every_signal_is_heard(signal: Signal) -> None:
    assert sound(PATTERNS[signal])


def test_a_unit_that_is_ready_is_silent_and_winks() -> None:
    assert colours(READY) == ["green"]
    assert rhythm((step.duration_s, step.green) for step in READY.steps) == "short"
    assert sound(READY) == ""


@pytest.mark.parametrize("pattern", [READY, *PATTERNS.values()])
def test_no_light_flashes_more_than_three_times_in_a_second(pattern: Pattern) -> None:
    # What people with photosensitive epilepsy can bear (WCAG 2.3.1).
    now, dark, flashes = 0.0, True, []
    for step in pattern.steps * 10:
        if dark and (step.green or step.yellow or step.red):
            flashes.append(now)
        dark = not (step.green or step.yellow or step.red)
        now += step.duration_s

    assert all(fourth - first > 1 for first, fourth in zip(flashes, flashes[3:], strict=False))


@pytest.mark.parametrize("signal", [one for one in Signal if one in COUNTED])
def test_counted_is_told_within_a_tenth_of_a_second(signal: Signal) -> None:
    silence = itertools.takewhile(lambda step: step.tone_hz is None, PATTERNS[signal].steps)

    assert sum(step.duration_s for step in silence) < 0.1


# The player


def played(player: Player, start: float, seconds: float) -> list[Step]:
    """What *player* does from *start* on, looked at every 10 ms."""
    looks = [player.step(start + tick / 100)[0] for tick in range(round(seconds * 100))]
    return [step for step, _ in groupby(looks)]


def silent(signal: Signal | None) -> list[Step]:
    steps = PATTERNS[signal].steps if signal else READY.steps
    quiet = [Step(step.duration_s, step.green, step.yellow, step.red) for step in steps]
    return [step for step, _ in groupby(quiet)]


@pytest.fixture
def player() -> Player:
    return Player(100.0)


def length(signal: Signal) -> float:
    return sum(step.duration_s for step in PATTERNS[signal].steps)


@pytest.mark.parametrize("signal", Signal)
def test_a_signal_is_played_as_the_table_says(player: Player, signal: Signal) -> None:
    player.show(signal, 100.0)

    assert played(player, 100.0, length(signal) - 0.01) == list(PATTERNS[signal].steps)


def test_a_player_with_nothing_to_tell_winks(player: Player) -> None:
    assert played(player, 100.0, 6.0) == silent(None) * 2


@pytest.mark.parametrize("signal", [one for one in Signal if one not in STATES])
def test_after_a_signal_comes_what_was_before(player: Player, signal: Signal) -> None:
    player.rest(Signal.NOT_COLLECTING, 100.0)
    player.show(signal, 100.5)

    after = 100.51 + length(signal)

    assert played(player, after, 1.0)[0] == silent(Signal.NOT_COLLECTING)[0]


@pytest.mark.parametrize("signal", [one for one in Signal if one in STATES])
def test_a_state_is_heard_once_and_seen_until_it_is_over(player: Player, signal: Signal) -> None:
    player.show(signal, 100.0)
    end = 100.0 + length(signal)

    assert any(step.tone_hz for step in played(player, 100.0, length(signal) - 0.01))
    later = played(player, end + 0.001, 20.0)
    assert not any(step.tone_hz for step in later)
    assert later[: len(silent(signal))] == silent(signal)

    player.rest(None, 200.0)
    assert player.step(200.0) == (READY.steps[0], READY.steps[0].duration_s)


def test_resting_in_a_state_makes_no_sound(player: Player) -> None:
    player.rest(Signal.FAULT, 100.0)

    assert not any(step.tone_hz for step in played(player, 100.0, 5.0))


def test_the_newest_signal_interrupts(player: Player) -> None:
    player.show(Signal.REFUSED, 100.0)
    player.show(Signal.ACCEPTED, 100.2)

    assert player.step(100.2)[0] == PATTERNS[Signal.ACCEPTED].steps[0]


def test_two_people_are_two_beeps(player: Player) -> None:
    player.show(Signal.ACCEPTED, 100.0)
    player.show(Signal.ACCEPTED, 100.4)

    steps = played(player, 100.4, length(Signal.ACCEPTED) - 0.01)

    assert steps == list(PATTERNS[Signal.ACCEPTED].steps)


def test_of_codes_in_one_frame_each_is_told(player: Player) -> None:
    shown = (Signal.ACCEPTED, Signal.REFUSED, Signal.STORED_OFFLINE, Signal.STORED_OFFLINE)
    for place, signal in enumerate(shown):
        player.show(signal, 100.0 + place / 100)

    steps = played(player, 100.0, 3.0)

    tones = [step.tone_hz for step in steps if step.tone_hz]
    assert tones == [HIGH_HZ, LOW_HZ, HIGH_HZ, HIGH_HZ]
    # Between two beeps there is a moment without, or they would be one.
    assert not any(one.tone_hz == other.tone_hz for one, other in pairwise(steps) if one.tone_hz)
    # The last is told in full.
    told = list(PATTERNS[Signal.STORED_OFFLINE].steps)
    assert any(steps[at : at + len(told)] == told for at in range(len(steps)))


def test_what_waits_to_be_told_is_bounded_and_it_is_the_newest(player: Player) -> None:
    for tick in range(1000):
        player.show((Signal.REFUSED, Signal.ACCEPTED)[tick % 2], 100.0 + tick / 10_000)
    player.show(Signal.ALREADY_SEEN, 100.15)

    tones = [step.tone_hz for step in played(player, 100.15, 5.0) if step.tone_hz]

    assert len(tones) <= MOST_WAITING + 2
    assert tones[-2:] == [MIDDLE_HZ] * 2


@pytest.mark.parametrize("signal", [one for one in Signal if one not in COUNTED])
def test_a_signal_shown_with_every_frame_does_not_stutter(player: Player, signal: Signal) -> None:
    steps = []
    for tick in range(round(length(signal) * 100) - 1):
        player.show(signal, 100.0 + tick / 100)
        steps.append(player.step(100.0 + tick / 100)[0])

    assert [step for step, _ in groupby(steps)] == list(PATTERNS[signal].steps)


def test_a_state_shown_again_is_heard_again(player: Player) -> None:
    player.show(Signal.CANNOT_STORE, 100.0)
    player.step(150.0)
    player.show(Signal.CANNOT_STORE, 150.0)

    assert player.step(150.0)[0].tone_hz


def test_a_new_resting_state_lets_a_signal_end(player: Player) -> None:
    player.show(Signal.ACCEPTED, 100.0)
    player.rest(Signal.CANNOT_STORE, 100.1)

    assert player.step(100.5)[0] in PATTERNS[Signal.ACCEPTED].steps
    assert player.step(100.87)[0] in silent(Signal.CANNOT_STORE)


def test_the_same_resting_state_again_does_not_begin_again(player: Player) -> None:
    player.rest(Signal.FAULT, 100.0)
    player.rest(Signal.FAULT, 100.3)

    assert player.step(100.3)[0] == silent(Signal.FAULT)[1]


def test_a_player_is_not_asked_again_before_something_changes(player: Player) -> None:
    player.show(Signal.ALREADY_SEEN, 100.0)
    step, left_s = player.step(100.05)

    assert step.duration_s == pytest.approx(left_s + 0.05)
    assert player.step(100.05 + left_s + 1e-9)[0] == PATTERNS[Signal.ALREADY_SEEN].steps[1]


def test_every_wait_is_of_a_length_that_can_be_waited(player: Player) -> None:
    now = 100.0
    player.show(Signal.NOT_COLLECTING, now)
    for _ in range(2_000):
        _, left_s = player.step(now)
        assert 0 <= left_s < 3
        now += left_s


# On pins


class WatchedPin(MockPWMPin):  # type: ignore[misc]
    """A pin that a test can wait for, and that remembers the tones it had."""

    def __init__(self, factory: Any, info: Any) -> None:
        self.tones: list[float] = []
        self.broken = False
        self.changed = threading.Condition()
        super().__init__(factory, info)

    def _set_state(self, value: float) -> None:
        if self.broken:
            raise OSError("the wire is off")
        super()._set_state(value)
        if value and self.frequency:
            self.tones.append(self.frequency)

    def _change_state(self, value: float) -> bool:
        with self.changed:
            self.changed.notify_all()
            return bool(super()._change_state(value))

    def _set_frequency(self, value: float | None) -> None:
        if self.broken:
            raise OSError("the wire is off")
        super()._set_frequency(value)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, timeout=LIMIT_S)

    def history(self) -> list[bool]:
        return [bool(state.state) for state in self.states]


@pytest.fixture
def factory() -> Iterator[MockFactory]:
    factory = MockFactory(pin_class=WatchedPin)
    yield factory
    factory.close()


def pin(factory: MockFactory, number: int) -> WatchedPin:
    found = factory.pin(number)
    assert isinstance(found, WatchedPin)
    return found


@pytest.fixture
def pins(factory: MockFactory) -> Iterator[Pins]:
    pins = Pins(SETTINGS, factory)
    yield pins
    pins.close()


@pytest.mark.parametrize("signal", Signal)
def test_the_wires_do_what_the_table_says(factory: MockFactory, pins: Pins, signal: Signal) -> None:
    steps = PATTERNS[signal].steps
    for step in steps:
        pins.drive(step)
    pins.drive(Step(1.0))

    for number, name in ((17, "green"), (27, "yellow"), (22, "red")):
        wanted = [False, *(getattr(step, name) for step in steps), False]
        assert pin(factory, number).history() == [on for on, _ in groupby(wanted)]
    tones = [tone for tone, _ in groupby(step.tone_hz for step in steps)]
    assert pin(factory, 18).tones == [tone for tone in tones if tone]
    assert pin(factory, 18).frequency is None


def test_a_tone_that_lasts_is_not_begun_again(factory: MockFactory, pins: Pins) -> None:
    for before, after in pairwise(PATTERNS[Signal.FAULT].steps):
        assert before.tone_hz == after.tone_hz
        pins.drive(before)

    assert pin(factory, 18).tones == [indicator.LOW_HZ]


@pytest.mark.parametrize(("number", "name"), [(17, "green light"), (18, "buzzer")])
def test_a_failing_pin_is_logged_once_and_the_others_go_on(
    factory: MockFactory, pins: Pins, caplog: pytest.LogCaptureFixture, number: int, name: str
) -> None:
    pin(factory, number).broken = True
    for signal in Signal:
        for step in PATTERNS[signal].steps:
            pins.drive(step)
    pins.drive(Step(1.0, yellow=True))

    assert [record.message for record in caplog.records] == [
        f"indicator: the {name} fails; going on without it: the wire is off"
    ]
    assert pin(factory, 27).state
    pin(factory, number).broken = False


def test_closed_pins_are_dark_silent_and_free(factory: MockFactory) -> None:
    pins = Pins(SETTINGS, factory)
    pins.drive(Step(1.0, True, True, True, 500.0))
    pins.close()

    for number in (17, 27, 22, 18):
        assert not pin(factory, number).state
    Pins(SETTINGS, factory).close()


def test_pins_that_cannot_be_had_say_what_to_do(factory: MockFactory) -> None:
    taken = IndicatorSettings(green_pin=5, yellow_pin=6, red_pin=5)

    with pytest.raises(IndicatorError, match=r"pins 5, 6, 5, 18 .* in use .* that the pins differ"):
        GpioIndicator(taken, factory)

    # What was had until then is free again.
    Pins(IndicatorSettings(green_pin=5, yellow_pin=6), factory).close()


def test_a_machine_without_pins_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "native")

    with pytest.raises(IndicatorError, match="set kind there to"):
        open_indicator(IndicatorSettings(kind="gpio"), io.StringIO(), FakeClock())


def test_a_shown_signal_is_played_on_the_pins(factory: MockFactory) -> None:
    gpio = GpioIndicator(SETTINGS, factory)
    yellow, buzzer = pin(factory, 27), pin(factory, 18)

    gpio.show(Signal.ALREADY_SEEN)

    yellow.wait_for(lambda: len(yellow.states) == 5)
    gpio.close()
    assert yellow.history() == [False, True, False, True, False]
    assert buzzer.tones == [indicator.MIDDLE_HZ] * 2


def test_a_signal_that_comes_later_takes_over_on_the_pins(factory: MockFactory) -> None:
    gpio = GpioIndicator(SETTINGS, factory)
    green, red = pin(factory, 17), pin(factory, 22)

    gpio.rest(Signal.NOT_COLLECTING)
    red.wait_for(lambda: True in red.history())
    gpio.show(Signal.ACCEPTED)
    # Whoever waits may have his turn when it is dark again.
    green.wait_for(lambda: True in green.history())
    # The lights are driven one after the other.
    red.wait_for(lambda: not red.state)

    assert red.history()[:3] == [False, True, False]
    gpio.close()


def test_showing_after_the_end_does_nothing(factory: MockFactory) -> None:
    gpio = GpioIndicator(SETTINGS, factory)
    gpio.close()
    gpio.close()

    gpio.show(Signal.REFUSED)
    gpio.rest(Signal.FAULT)

    assert not pin(factory, 22).state


def test_a_driver_that_hangs_does_not_block_whoever_shows(factory: MockFactory) -> None:
    gpio = GpioIndicator(SETTINGS, factory)
    red = pin(factory, 22)
    gpio.show(Signal.REFUSED)
    red.wait_for(lambda: bool(red.state))

    with red.changed:  # the player's next change of this wire waits here
        for _ in range(1_000):
            gpio.show(Signal.NOT_READABLE)
            gpio.show(Signal.ACCEPTED)

    # Though no more orders are taken.
    gpio.close()
    gpio._thread.join(LIMIT_S)
    assert not gpio._thread.is_alive()
    assert not red.state


def test_a_broken_pin_does_not_end_the_playing(
    factory: MockFactory, caplog: pytest.LogCaptureFixture
) -> None:
    gpio = GpioIndicator(SETTINGS, factory)
    green, yellow = pin(factory, 17), pin(factory, 27)
    green.broken = True

    with caplog.at_level(logging.WARNING):
        gpio.show(Signal.STORED_OFFLINE)
        yellow.wait_for(lambda: len(yellow.states) == 3)

    assert sum("green light" in record.message for record in caplog.records) == 1
    green.broken = False
    gpio.close()


# On a terminal


class Terminal(io.StringIO):
    """A stream that counts how often it is written to, and may be a terminal."""

    def __init__(self, tty: bool) -> None:
        super().__init__()
        self.tty = tty
        self.writes: list[str] = []
        self.flushed = 0

    def isatty(self) -> bool:
        return self.tty

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)

    def flush(self) -> None:
        self.flushed = len(self.writes)


def test_a_signal_is_one_line_written_at_once() -> None:
    stream = Terminal(tty=False)

    TerminalIndicator(stream).show(Signal.ACCEPTED, "seq 57")

    assert stream.writes == ["●   Đã ghi nhận / Counted (seq 57)\n"]
    assert stream.flushed == 1


def test_a_line_is_coloured_on_a_terminal_only() -> None:
    tty = Terminal(tty=True)

    TerminalIndicator(tty).show(Signal.CANNOT_STORE)

    assert tty.writes == [
        "\033[31m●\033[0m\033[33m●\033[0m  "
        "CHƯA ghi nhận: máy không lưu được / NOT counted: the unit cannot store it\n"
    ]


@pytest.mark.parametrize("signal", Signal)
def test_lines_on_a_terminal_stand_below_each_other(signal: Signal) -> None:
    stream = Terminal(tty=False)

    TerminalIndicator(stream).show(signal)

    assert stream.writes[0].index(PATTERNS[signal].vi) == 4


def test_a_terminal_tells_a_resting_state_when_it_changes() -> None:
    stream = Terminal(tty=False)
    terminal = TerminalIndicator(stream)

    terminal.rest(None)
    terminal.show(Signal.FAULT)
    terminal.rest(Signal.FAULT)
    terminal.rest(None)
    terminal.rest(None)
    terminal.close()

    assert [line.split(" / ")[1] for line in stream.writes] == [
        "Out of order; call the technician\n",
        "Ready\n",
    ]


def test_a_terminal_without_vietnamese_letters_still_tells() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")

    TerminalIndicator(stream).show(Signal.ACCEPTED)

    assert raw.getvalue() == b"?   ?? ghi nh?n / Counted\n"


def test_a_terminal_that_went_away_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    stream = Terminal(tty=False)
    terminal = TerminalIndicator(stream)
    stream.close()

    terminal.show(Signal.ACCEPTED)
    terminal.show(Signal.ACCEPTED)

    assert len(caplog.records) == 1


def test_the_settings_choose_the_indicator() -> None:
    stream = io.StringIO()
    terminal: Indicator = open_indicator(IndicatorSettings(kind="terminal"), stream, FakeClock())
    nobody: Indicator = open_indicator(IndicatorSettings(kind="none"), stream, FakeClock())
    for signal in Signal:
        nobody.show(signal, "seq 1")
    nobody.rest(None)
    nobody.close()

    assert isinstance(terminal, TerminalIndicator)
    assert isinstance(nobody, NoIndicator)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("night", "at", "loud"),
    [
        ("21:00-05:00", "2021-07-02T13:59:00.000Z", 1.0),  # 20:59 in Vietnam
        ("21:00-05:00", "2021-07-02T14:00:00.000Z", 0.3),
        ("21:00-05:00", "2021-07-02T21:59:00.000Z", 0.3),
        ("21:00-05:00", "2021-07-02T22:00:00.000Z", 1.0),
        ("00:30-04:00", "2021-07-02T14:00:00.000Z", 1.0),
        ("00:30-04:00", "2021-07-02T18:00:00.000Z", 0.3),
    ],
)
def test_the_buzzer_is_quieter_at_night(night: str, at: str, loud: float) -> None:
    moment = Moment(at=at, boot="b" * 32, uptime_ms=1, clock="ntp")

    assert loudness(IndicatorSettings(night=night), moment) == loud


def test_while_the_clock_is_not_set_it_is_day() -> None:
    moment = Moment(at="2021-07-02T18:00:00.000Z", boot="b" * 32, uptime_ms=1, clock="none")

    assert loudness(IndicatorSettings(), moment) == 1.0


def test_a_quieter_tone_is_the_same_tone_in_narrower_pulses(factory: MockFactory) -> None:
    quiet = Pins(SETTINGS, factory, lambda: 0.3)
    quiet.drive(Step(0.1, tone_hz=HIGH_HZ))
    buzzer = pin(factory, SETTINGS.buzzer_pin)

    assert buzzer.frequency == pytest.approx(HIGH_HZ, rel=0.01)
    assert 0.05 < buzzer.state < 0.2
    quiet.drive(DARK)
    assert buzzer.state == 0
    quiet.close()
