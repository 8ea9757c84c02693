"""Carries out what the centre commands: each once, in time, and with an answer.

What was done is kept on disk, so that a command that comes again, also after a restart, is answered
and not done again.
"""

import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct, field

from edge.clock import Clock, utc_seconds
from edge.errors import EdgeError
from edge.messages import Answer, Command
from edge.scanner.record import RecordFile

log = logging.getLogger(__name__)

#: The file, in the folder of the outbox.
ORDERS = "orders.json"
#: So many commands are remembered, far more than come within the life of one.
REMEMBERED = 100

#: What does a command: it gives what was found, and may raise an EdgeError with the reason.
Act = Callable[[], str]


class _Done(Struct):
    id: str
    action: str
    state: str
    reason: str = ""
    asked: str = ""
    #: By which keys, of which one signed it, the centre was known then.
    by: tuple[str, ...] = ()


class _Record(Struct, kw_only=True):
    done: list[_Done] = field(default_factory=list)
    #: Whether, and by whom.
    paused: bool = False
    paused_by: tuple[str, ...] = ()
    #: When the newest of those was asked that are forgotten by now, and by whom.
    forgotten: str = ""
    forgotten_by: tuple[str, ...] = ()


class Orders:
    """The commands of this unit. One thread calls all of it; `paused` may be read by any."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        acts: Mapping[str, Act],
        endings: Mapping[str, Act],
        keys: tuple[str, ...] = (),
    ) -> None:
        """*acts* do what each command says at once; *endings* end the service for it.

        *keys* are those, by their ids, by which the unit knows its centre.
        """
        self._file = RecordFile(path, _Record)
        self._clock = clock
        self._keys = keys
        self._record = self._file.read()
        self._forget_former_centre()
        #: Whether the centre told this unit to pause.
        self.paused = self._record.paused
        self._acts = {"pause": self._pause, "resume": self._resume, **acts}
        self._endings = endings
        self._untold: deque[Answer] = deque(maxlen=REMEMBERED)
        for done in self._record.done:
            if done.state == "executing":
                # It ended the run before this one, as it was told to.
                done.state = "successful"
                self._untold.append(self._answer(done))
        if self._untold:
            self._write()

    def take(self, command: Command) -> None:
        """Do *command*, unless it was done or has expired; its answers wait for `tell`."""
        for done in self._record.done:
            if done.id == command.id:
                self._untold.append(self._answer(done))
                return
        done = _Done(command.id, command.action, "failed", asked=command.asked, by=self._keys)
        detail = ""
        if command.asked <= self._record.forgotten:
            # It may be one that was done and forgotten, played again.
            done.reason = "older than what this unit remembers; ask again"
            self._untold.append(self._answer(done))
            return
        if self._has_expired(command):
            done.reason = f"expired at {command.expires}"
        elif ending := self._endings.get(command.action):
            # Kept before it is done: afterwards there is nobody to keep it.
            done.state = "executing"
            self._keep(done)
            log.warning("the centre commands: %s", command.action)
            self._try(done, ending)
        elif act := self._acts.get(command.action):
            log.info("the centre commands: %s", command.action)
            detail = self._try(done, act)
            if not done.reason:
                done.state = "successful"
        else:
            done.reason = "this unit does not know how"
        if done.state != "executing":
            self._keep(done)
        self._untold.append(self._answer(done, detail))

    def refuse(self, command_id: str, reason: str) -> None:
        """Answer that *command_id* is not done, for *reason*; it is not remembered."""
        self._untold.append(self._answer(_Done(command_id, "", "failed", reason)))

    @property
    def all_told(self) -> bool:
        """Whether no answer waits."""
        return not self._untold

    def tell(self, publish: Callable[[Answer], bool]) -> None:
        """Send the answers that wait, as far as *publish* takes them."""
        while self._untold and publish(self._untold[0]):
            self._untold.popleft()

    def _try(self, done: _Done, act: Act) -> str:
        try:
            return act()[:30_000]
        except EdgeError as err:
            done.state, done.reason = "failed", str(err)[:500]
            return ""

    def _has_expired(self, command: Command) -> bool:
        now = self._clock.now()
        # A clock that nothing has set cannot tell. It came over a connection, so it is not old.
        return now.clock != "none" and utc_seconds(now.at) > utc_seconds(command.expires)

    def _pause(self) -> str:
        self._record.paused = self.paused = True
        self._record.paused_by = self._keys
        return ""

    def _resume(self) -> str:
        self._record.paused = self.paused = False
        return ""

    def _answer(self, done: _Done, detail: str = "") -> Answer:
        return Answer(
            about="command",
            to=done.id,
            state=done.state,  # type: ignore[arg-type]
            at=self._clock.now().at,
            reason=done.reason,
            detail=detail,
        )

    def _forget_former_centre(self) -> None:
        """Leave out what was asked by somebody whom nobody believes any more, as after a new card.

        It cannot be played again; and if that clock was years ahead, all that comes would be old.
        Nor does a unit stay paused for one that cannot let it go on: the next would not know of it.
        """
        record = self._record
        record.paused = record.paused and self._is_known(record.paused_by)
        if record.paused and self._keys and record.paused_by != self._keys:
            # A centre that changes its key is still the one that paused it.
            record.paused_by = self._keys
            self._write()
        record.done = [done for done in record.done if self._is_known(done.by)]
        if not self._is_known(record.forgotten_by):
            record.forgotten, record.forgotten_by = "", ()

    def _is_known(self, by: tuple[str, ...]) -> bool:
        return not (by and self._keys) or bool(set(by) & set(self._keys))

    def _keep(self, done: _Done) -> None:
        self._record.done = [it for it in self._record.done if it.id != done.id] + [done]
        for old in self._record.done[:-REMEMBERED]:
            if old.asked > self._record.forgotten:
                self._record.forgotten, self._record.forgotten_by = old.asked, old.by
        del self._record.done[:-REMEMBERED]
        self._write()

    def _write(self) -> None:
        self._file.try_write(self._record)


def findings(parts: Mapping[str, Callable[[], str]]) -> str:
    """What each of *parts* says of itself, as JSON lines; what raises an EdgeError is not ok."""
    lines = []
    for part, look in parts.items():
        try:
            lines.append(json.dumps({"part": part, "ok": True, "text": look()}))
        except EdgeError as err:
            lines.append(json.dumps({"part": part, "ok": False, "text": str(err)}))
    return "\n".join(lines)
