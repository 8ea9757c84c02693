"""What this unit knows of its boots: when each began, once its clock was known.

A scan made while nothing had set the clock keeps its boot and the time since that boot. As soon as
the clock becomes known within the same boot, the scan's true time is known as well, even if it is
sent only after the next power cut. So each boot's beginning is kept, in one small TinyDB.
"""

import json
import logging
import os
from pathlib import Path
from typing import Any

import msgspec
from tinydb import TinyDB
from tinydb.storages import Storage
from tinydb.table import Document

from edge.clock import TRUST, Moment, boot_offset_ms, boot_time
from edge.files import replace_file
from edge.messages import ClockSource, Count, Hex32, Scan
from edge.scanner.schedule import Schedule

log = logging.getLogger(__name__)

#: The file, in the outbox's folder: it belongs to the scans there.
BOOTS = "boots.json"
#: So many boots are remembered; a scan waits for longer only on a unit that is never connected.
KEEP_BOOTS = 200
#: A disk that cannot keep them is asked again after this long.
RETRY_MS = 60_000


class Boots:
    """The boots whose clock became known. One object, one thread."""

    def __init__(self, path: Path, schedule: Schedule | None = None) -> None:
        """Read *path*, if it is there. One that is damaged is set aside and begun anew.

        By *schedule* scans that are dated get their trip and direction.
        """
        self._path = path
        self._schedule = schedule
        self._db = TinyDB(storage=ReplacedFile, path=path)
        self._boots: dict[str, _Boot] = {}
        self._next_number = 1
        self._unwritten = False
        self._next_try_ms = 0
        try:
            self._read()
        except (ValueError, TypeError, AttributeError) as err:
            self._set_aside(err)
        except OSError as err:
            # Scans must flow all the same; at worst, some are marked as of unknown time.
            log.warning("%s cannot be read: %s", path, err)

    def note(self, moment: Moment) -> None:
        """Take from *moment* when this boot began, if its clock tells. Cheap when nothing is new.

        Call it now and then. The first time of a boot, and when a better source has set the clock,
        it writes the file. A disk that fails is logged and tried again later.
        """
        known = self._boots.get(moment.boot)
        if TRUST[moment.clock] > (TRUST[known.source] if known else 0):
            self._learn(moment, known)
        if self._unwritten and moment.uptime_ms >= self._next_try_ms:
            self._write(moment)

    def corrected(self, scan: Scan) -> str | None:
        """When *scan* was made, if its own clock did not know and we do by now."""
        boot = self._boots.get(scan.boot)
        if scan.clock != "none" or boot is None:
            return None
        return boot_time(boot.offset_ms, scan.uptime_ms)

    def dated(self, scan: Scan) -> Scan:
        """*scan*, with its true time if that became known after it was made."""
        corrected = self.corrected(scan)
        if corrected is None:
            return scan
        dated = msgspec.structs.replace(scan, corrected=corrected)
        return dated if self._schedule is None else self._schedule.completed(dated)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __len__(self) -> int:
        return len(self._boots)

    def _learn(self, moment: Moment, known: "_Boot | None") -> None:
        offset_ms = boot_offset_ms(moment.at, moment.uptime_ms)
        if offset_ms is None:
            return
        number = known.number if known else self._next_number
        self._next_number = max(self._next_number, number + 1)
        self._boots[moment.boot] = _Boot(number, moment.boot, offset_ms, moment.clock)
        for boot in [b for b in self._boots.values() if b.number <= number - KEEP_BOOTS]:
            del self._boots[boot.boot]
        self._unwritten, self._next_try_ms = True, 0
        log.info("the clock is set by %s: scans of this boot can be dated", moment.clock)

    def _read(self) -> None:
        for document in self._db:
            boot = msgspec.convert(document, _Boot)
            self._boots[boot.boot] = boot
            self._next_number = max(self._next_number, boot.number + 1)

    def _write(self, moment: Moment) -> None:
        boot = self._boots[moment.boot]
        # A boot takes the place of the one that is forgotten: one write does both.
        place = boot.number % KEEP_BOOTS + 1
        try:
            self._db.upsert(Document(msgspec.to_builtins(boot), doc_id=place))
            self._unwritten = False
        except OSError as err:
            # Scans sent before the next power cut are corrected all the same.
            self._next_try_ms = moment.uptime_ms + RETRY_MS
            log.warning("%s cannot be written: %s", self._path, err)

    def _set_aside(self, reason: Exception) -> None:
        aside = self._path.with_name(self._path.name + ".damaged")
        log.error("%s is damaged (%s); it is set aside", self._path, type(reason).__name__)
        self._boots.clear()
        try:
            os.replace(self._path, aside)
        except OSError as err:
            log.warning("%s cannot be set aside: %s", self._path, err)
        self._db.close()
        self._db = TinyDB(storage=ReplacedFile, path=self._path, begin_anew=True)


class ReplacedFile(Storage):
    """TinyDB's storage for a small file that a power cut leaves as it was or as it is now."""

    def __init__(self, path: Path, *, begin_anew: bool = False) -> None:
        self._path = path
        self._tables: dict[str, dict[str, Any]] | None = {} if begin_anew else None

    def read(self) -> dict[str, dict[str, Any]]:
        """The database; a copy, so that a change that fails leaves no trace."""
        if self._tables is None:
            self._tables = _tables_in(self._path)
        return {name: dict(table) for name, table in self._tables.items()}

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Make *data* the database, on disk when this returns. Raises OSError."""
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
        replace_file(self._path, [text.encode("ascii"), b"\n"])
        self._tables = {name: dict(table) for name, table in data.items()}


class _Boot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    #: 1, 2, 3, ... over all boots that became known.
    number: Count
    boot: Hex32
    offset_ms: Count
    source: ClockSource


def _tables_in(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except RecursionError:
        raise ValueError("nested without end") from None
    return {str(name): dict(table) for name, table in content.items()}
