"""The time in which a unit takes a set-up code, because somebody stands before it.

It opens at the start of a unit that is none yet, and when the set-up button is held; light and
sound say so. Within it nobody is counted: the camera looks for set-up codes alone. At all other
times they are refused like any code that does not count.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.clock import Clock
from edge.errors import EdgeError
from edge.scanner.button import Button
from edge.scanner.camera import Camera
from edge.scanner.indicator import PATTERNS, Indicator, Signal
from edge.scanner.pipeline import Pipeline
from edge.scanner.settings import SetupSettings
from edge.scanner.setup import read_state
from edge.scanner.setup_by_code import ANSWER, REQUEST, Answer, name_of, verify
from edge.setup_code import is_setup_code

log = logging.getLogger(__name__)

#: The same code that stays in view is looked at again after this long.
AGAIN_S = 5.0
#: Root's part takes some seconds on a small board.
ANSWER_S = 60.0
#: It is asked again after this long.
ASK_AGAIN_S = 15.0
#: Settings of any unit lie here, below its root.
_SETTINGS_FOLDER = ("etc", "edge")


def unit_root(settings: Path) -> Path:
    """The root of the system whose file of *settings* this is: of /etc/edge/scanner.toml, /."""
    folder = settings.absolute().parent
    return folder.parents[1] if folder.parts[-2:] == _SETTINGS_FOLDER else Path("/")


def last_answer(root: Path = Path("/")) -> str:
    """What came of the last set-up code since the start of the machine; "" if there was none."""
    answer = _answer(root)
    return answer.text if answer else ""


def _answer(root: Path) -> Answer | None:
    try:
        return msgspec.json.decode((root / ANSWER).read_bytes(), type=Answer)
    except (OSError, msgspec.DecodeError):
        return None


class SetupWindow:
    """Takes set-up codes while it is open."""

    def __init__(
        self,
        camera: Camera,
        pipeline: Pipeline,
        indicator: Indicator,
        button: Button,
        settings: SetupSettings,
        clock: Clock,
        root: Path,
        *,
        resting: Callable[[], Signal | None],
        frame: Callable[[float], None] = lambda _: None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """*resting* is what the indicator is to rest on when it closes.

        *frame* hears the processor time, in ms, of each frame that is read here; *tell* what came
        of a code, in words that have nothing of it.
        """
        self._camera = camera
        self._pipeline = pipeline
        self._indicator = indicator
        self._button = button
        self._window_s = settings.window_s
        self._clock = clock
        self._root = root
        self._resting = resting
        self._frame = frame
        self._tell = tell
        self._until: float | None = None
        # By the names of codes, until when each is not looked at again.
        self._looked_at: dict[str, float] = {}
        self._asked: _Asked | None = None
        self._done_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether codes are taken now."""
        return self._until is not None

    @property
    def done(self) -> bool:
        """Whether this unit is another one now, and was heard to say so: start anew."""
        return self._done_at is not None and self._clock.monotonic() >= self._done_at

    def open(self) -> None:
        """Open it for its time, anew if it is open."""
        self._until = self._clock.monotonic() + self._window_s
        log.info("set-up codes are taken for %.0f s", self._window_s)
        self._indicator.show(Signal.WAITING_FOR_CODE)

    def step(self) -> bool:
        """One frame while it is open; False, at once, while it is not.

        Raises what the camera does.
        """
        now = self._clock.monotonic()
        if self._button.held(now):
            self.open()
        if self._until is None:
            return False
        if self._asked is not None:
            self._look_for_answer(self._asked, now)
        elif self._done_at is None and now >= self._until:
            self._close()
            return False
        image = self._camera.capture()
        codes = self._pipeline.read(image)
        self._frame(self._pipeline.last_ms)
        for code in codes:
            if self._asked is None and self._done_at is None and is_setup_code(code.content):
                self._take(code.content, now)
        return True

    def close(self) -> None:
        """Give the button's pin back."""
        self._button.close()

    def _close(self) -> None:
        self._until = None
        log.info("set-up codes are not taken any more")
        self._indicator.rest(self._resting())

    def _take(self, content: bytes, now: float) -> None:
        name = name_of(content)
        known = {each: until for each, until in self._looked_at.items() if now < until}
        self._looked_at = known | {name: now + AGAIN_S}
        if name in known:
            return
        try:
            code = verify(content, read_state(self._root), self._root)
        except EdgeError as err:
            self._fail(str(err))
            # Root refuses it as well, and writes down why where a card can be read.
            self._ask(content)
        else:
            if self._ask(content):
                log.info("set-up code %d is handed on to be applied", code.number)
                self._asked = _Asked(name, content, now + ANSWER_S, now + ASK_AGAIN_S)

    def _ask(self, content: bytes) -> bool:
        try:
            # Written over, never replaced: systemd looks at this very file.
            (self._root / REQUEST).write_bytes(content)
        except OSError as err:
            self._fail(f"cannot hand the set-up code on: {err.filename}: {err.strerror}")
            return False
        return True

    def _look_for_answer(self, asked: "_Asked", now: float) -> None:
        answer = _answer(self._root)
        if answer is None or answer.code != asked.name:
            if now >= asked.until:
                self._asked = None
                self._fail("nobody applies set-up codes here; enable edge-setup-code.path")
            elif now >= asked.again_at:
                # systemd does not hear of what is written while root still works.
                asked.again_at = now + ASK_AGAIN_S
                self._ask(asked.content)
            return
        self._asked = None
        if not answer.applied:
            self._fail(answer.text)
            return
        log.info("%s", answer.text)
        self._tell(answer.text)
        self._indicator.show(Signal.SET_UP)
        self._done_at = now + sum(step.duration_s for step in PATTERNS[Signal.SET_UP].steps)

    def _fail(self, why: str) -> None:
        log.warning("not set up: %s", why)
        self._tell(why)
        self._indicator.show(Signal.NOT_SET_UP)


@dataclass
class _Asked:
    """A code that root is asked to apply."""

    name: str
    content: bytes
    #: For how long its answer is waited for, and when it is asked for again.
    until: float
    again_at: float
