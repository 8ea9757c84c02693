"""The settings that the centre wishes for this unit: checked, tried, kept, or taken back.

They lie over the unit's own file. New ones are tried with a start of the service: if the unit then
has frames, and its broker where that was touched, within the time of the trial, they stay. If not,
or if the service does not even start, those before are in force again, by the unit itself.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from edge import config
from edge.clock import Clock
from edge.errors import BadMessage, ConfigError
from edge.messages import Answer, Config, revision_of
from edge.scanner.carrier import read_centre
from edge.scanner.record import RecordFile
from edge.scanner.schedule import Schedule
from edge.scanner.settings import ScannerSettings
from edge.sealing import read_key
from edge.signed import is_signed, read_order
from edge.unit_settings import check_allowed

log = logging.getLogger(__name__)

#: The file, in the folder of the outbox.
DESIRED = "desired.json"

#: How long new settings may take to prove themselves, over all starts of the service in that time.
TRIAL_S = 45.0
#: So many starts may a trial take: settings with which the service does not start end here.
TRIAL_STARTS = 4

#: What is wished for a door or a vehicle, and says nothing of another.
OF_PLACE = ("unit", "vehicle")

Tables = dict[str, dict[str, Any]]
NONE = revision_of({})


class _Record(Struct, kw_only=True):
    #: The highest number that came; nothing with a smaller one is believed.
    number: int = 0
    #: By which keys, of which one signed that number, the centre was known then.
    numbered_by: tuple[str, ...] = ()
    revision: str = NONE
    settings: Tables = field(default_factory=dict)
    #: The message that brought them, for root, who believes nothing else.
    signed: bytes = b""
    before_revision: str = NONE
    before_settings: Tables = field(default_factory=dict)
    before_signed: bytes = b""
    #: The broker and the place in the unit's own file when it came.
    own_broker: str = ""
    own_place: str = ""
    #: A trial under way: since when, in which boot, how many starts it has seen.
    trial: bool = False
    boot: str = ""
    since_ms: int = 0
    starts: int = 0
    needs_broker: bool = False
    needs_camera: bool = False
    #: What was taken back last, and why.
    refused: str = ""
    reason: str = ""
    #: Whether the centre has yet to hear how the last trial ended.
    told: bool = True


class Desired:
    """The desired settings of this unit. Used by one thread."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """*path* is where they are kept."""
        self._file = RecordFile(path, _Record)
        self._clock = clock
        self._record = self._file.read()
        #: By which keys the unit knows its centre, and which broker and place its own file has.
        self._keys: tuple[str, ...] = ()
        self._own_broker = self._own_place = ""
        #: Whether the service has to start anew for them.
        self.wants_start = False

    @property
    def revision(self) -> str:
        """What is in force; NONE for what was kept without its signature, to be told again."""
        record = self._record
        return record.revision if record.signed or record.trial else NONE

    @property
    def on_trial(self) -> bool:
        """Whether what is in force has yet to prove itself."""
        return self._record.trial

    def load(self, own: Path) -> ScannerSettings:
        """The settings in force: those in the file *own* with the desired ones over them.

        To be called once at each start. Raises ConfigError and SealError for the unit's own.
        """
        tables = config.read(own)
        settings = config.check(tables, ScannerSettings, str(own))
        self._own_broker, self._own_place = settings.broker.url, settings.unit.place
        self._forget_former_centre(own, settings)
        self._forget_former_broker()
        self._forget_former_place()
        if self._record.trial:
            self._record.starts += 1
            self._write()
            if self._record.starts > TRIAL_STARTS:
                self._take_back("the service does not start with them")
            elif self._is_over():
                self._take_back(f"not well within {TRIAL_S:.0f} s")
        try:
            return _over(tables, self._record.settings, own)
        except ConfigError as err:
            # As after a change of the unit's own file. It scans by that alone.
            log.error("the desired settings are left out: %s", err)
            return settings

    def take(
        self,
        wished: Config,
        signed: bytes,
        own: Path,
        *,
        well: bool,
        check: Callable[[ScannerSettings], None] = lambda after: None,
    ) -> Answer | None:
        """The centre wishes for *wished*; the answer, None if that is in force already.

        *signed* is the message that brought it. *own* is the unit's own file; *well*: it has frames
        now, so that losing them would be due to the new settings. *check* raises ConfigError for
        what the unit must not become.
        """
        record = self._record
        if wished.number < record.number:
            log.warning("desired settings that are older than those before: passed over")
            return None
        record.number, record.numbered_by = wished.number, self._keys
        if wished.revision == record.revision:
            if not record.signed:
                record.signed = signed
                self._write()
            return None if record.trial else self._answer(wished.revision, "successful")
        if wished.revision == record.refused:
            return self._answer(wished.revision, "failed", record.reason)
        if record.trial:
            # One after the other: the centre sends what is not answered again.
            return None
        try:
            check(_checked(wished, own))
        except ConfigError as err:
            self._write()
            log.warning("desired settings that cannot be: %s", err)
            return self._answer(wished.revision, "failed", str(err))
        now = self._clock.now()
        changed = _changed_tables(record.settings, wished.settings)
        log.info("trying desired settings %s: %s", wished.revision, ", ".join(sorted(changed)))
        tried = _Record(
            number=wished.number,
            numbered_by=self._keys,
            revision=wished.revision,
            settings=wished.settings,
            signed=signed,
            own_broker=self._own_broker,
            own_place=self._own_place,
            before_revision=record.revision,
            before_settings=record.settings,
            before_signed=record.signed,
            trial=True,
            boot=now.boot,
            since_ms=now.uptime_ms,
            needs_broker="broker" in changed,
            needs_camera=well,
            told=False,
        )
        # Unlike elsewhere it must be on disk: what is tried without being kept is not taken back.
        try:
            self._file.write(tried)
        except OSError as err:
            return self._answer(wished.revision, "failed", f"the disk does not take it: {err}")
        self._record = tried
        self.wants_start = True
        return self._answer(wished.revision, "executing")

    def step(self, *, connected: bool, well: bool) -> None:
        """Judge a trial. *connected* and *well*: whether there is a broker, and are frames, now."""
        record = self._record
        if not record.trial or self.wants_start:
            return
        lacks = [
            what
            for what, is_lacking in (
                ("no broker", record.needs_broker and not connected),
                ("no frames", record.needs_camera and not well),
            )
            if is_lacking
        ]
        if not lacks and record.starts:
            log.info("desired settings %s are good", record.revision)
            record.trial, record.refused = False, ""
            self._write()
        elif self._is_over():
            self._take_back(f"{' and '.join(lacks)} within {TRIAL_S:.0f} s")
            self.wants_start = True

    def tell(self, publish: Callable[[Answer], bool]) -> None:
        """Tell the centre how the last trial ended, if it has not heard it."""
        record = self._record
        if record.told or record.trial:
            return
        answer = (
            self._answer(record.refused, "failed", record.reason)
            if record.refused
            else self._answer(record.revision, "successful")
        )
        if publish(answer):
            record.told = True
            self._write()

    def _forget_former_centre(self, own: Path, settings: ScannerSettings) -> None:
        """Begin anew where whoever wished is believed no more, as after a new card.

        Nobody could undo what that one wished for, such as a broker that is gone; and its clock may
        have been years ahead, so its numbers are no measure of others.
        """
        record = self._record
        centre = read_centre(_succeeded(own, settings, record).carry, own.parent)
        if centre is None:
            # It follows nobody: what is in force stays, and nothing more comes.
            return
        self._keys = centre.ids
        known = (
            is_signed("config", record.signed, centre)
            if record.signed
            else not record.numbered_by or set(record.numbered_by) & set(centre.ids)
        )
        if not known:
            log.warning("the centre is another one: what the former desired is left out")
            self._record = _Record()
            self._write()

    def _forget_former_broker(self) -> None:
        """Go by the unit's own broker where a card or code has brought another since.

        Else whoever writes a card because the broker has moved would do so in vain. What the centre
        wishes for it sends again, and that is tried as if it were new.
        """
        if self._record.own_broker not in ("", self._own_broker) and self._wishes_for("broker"):
            log.warning("the unit's own file names another broker: the desired one is left out")
            self._leave_out("broker")

    def _forget_former_place(self) -> None:
        """Go by the unit's own direction, hours and trips where it was moved since.

        What the centre wishes for it in its new place it sends, and that is tried.
        """
        former = self._record.own_place
        if former not in ("", self._own_place) and self._wishes_for(*OF_PLACE):
            log.warning(
                "this unit was moved from %s to %s: what was desired there is left out",
                former,
                self._own_place,
            )
            self._leave_out(*OF_PLACE)

    def _good(self) -> Tables:
        # What is on trial is no longer judged by what it was begun with.
        return self._record.before_settings if self._record.trial else self._record.settings

    def _wishes_for(self, *names: str) -> bool:
        return not (self._record.settings | self._good()).keys().isdisjoint(names)

    def _leave_out(self, *names: str) -> None:
        record = self._record
        kept = {name: table for name, table in self._good().items() if name not in names}
        self._record = _Record(
            number=record.number,
            numbered_by=record.numbered_by,
            revision=revision_of(kept),
            settings=kept,
            own_broker=self._own_broker,
            own_place=record.own_place,
        )
        self._write()

    def _is_over(self) -> bool:
        now = self._clock.now()
        if now.boot != self._record.boot:
            # The power went meanwhile: the time of the trial begins anew, its starts go on.
            self._record.boot, self._record.since_ms = now.boot, now.uptime_ms
            self._write()
        return now.uptime_ms - self._record.since_ms > TRIAL_S * 1000

    def _take_back(self, reason: str) -> None:
        record = self._record
        reason = f"taken back: {reason}"
        log.error("desired settings %s are %s", record.revision, reason)
        self._record = _Record(
            number=record.number,
            numbered_by=record.numbered_by,
            revision=record.before_revision,
            settings=record.before_settings,
            signed=record.before_signed,
            own_broker=record.own_broker,
            own_place=record.own_place,
            refused=record.revision,
            reason=reason,
            told=False,
        )
        self._write()

    def _answer(self, revision: str, state: Any, reason: str = "") -> Answer:
        at = self._clock.now().at
        return Answer(about="config", to=revision, state=state, at=at, reason=reason[:500])

    def _write(self) -> None:
        self._file.try_write(self._record)


def signed_wish(own: Path, settings: ScannerSettings) -> tuple[bytes, Config | None]:
    """The public key of this unit's centre, and what that wishes for and is in force: for root.

    *settings* are those of the file *own*. What is in force the scanner has written down, or
    whoever has taken it over; so nothing is believed but what the centre has signed. None where
    there is nothing such, and no key where the unit knows none. Raises SealError.
    """
    key = config.secret_path(settings.carry.receipt_key_file, own.parent)
    believed = read_centre(with_succession(own, settings).carry, own.parent)
    if believed is None:
        return b"", None
    centre = read_key(key)
    path = Path(settings.outbox.folder) / DESIRED
    record = RecordFile(path, _Record).read()
    if record.trial or not record.signed:
        return centre, None
    try:
        order = read_order("config", record.signed, settings.unit.id, believed)
    except BadMessage as err:
        log.warning("%s: what is in force was not wished for by the centre: %s", path, err)
        return centre, None
    return centre, order if isinstance(order, Config) else None


def with_succession(own: Path, settings: ScannerSettings) -> ScannerSettings:
    """*settings*, those of the file *own*, with the keys to which the centre has changed since.

    For root, too: the scanner has written them down, but they prove themselves.
    """
    path = Path(settings.outbox.folder) / DESIRED
    return _succeeded(own, settings, RecordFile(path, _Record).read())


def _succeeded(own: Path, settings: ScannerSettings, record: _Record) -> ScannerSettings:
    carry = record.settings.get("carry")
    return settings if carry is None else with_wished(own, {"carry": carry})


def with_wished(own: Path, tables: Tables) -> ScannerSettings:
    """The settings of the file *own* with *tables* of the centre's over them.

    By the file alone where they cannot be; raises ConfigError for what is wrong with that.
    """
    given = config.read(own)
    try:
        check_allowed(tables)
        return _over(given, tables, own)
    except ConfigError:
        return config.check(given, ScannerSettings, str(own))


def _checked(wished: Config, own: Path) -> ScannerSettings:
    """What the settings would be. Raises ConfigError."""
    if revision_of(wished.settings) != wished.revision:
        raise ConfigError("the revision is not that of the settings")
    check_allowed(wished.settings)
    return _over(config.read(own), wished.settings, own)


def _over(own: dict[str, Any], desired: Tables, source: Path) -> ScannerSettings:
    tables = config.merged([own, desired])
    settings = config.check(tables, ScannerSettings, f"{source} with desired")
    # Hours, of a door that has one direction by now, would keep the service from starting.
    Schedule(settings.unit, settings.vehicle)
    return settings


def _changed_tables(before: Tables, after: Tables) -> set[str]:
    return {
        table
        for table in before.keys() | after.keys()
        if before.get(table, {}) != after.get(table, {})
    }
