"""By which time may be erased: one that it surely is, and never a clock that nobody vouches for.

A time server or a GPS receiver vouches for a clock, and so does a person who names the day. Without
them the time goes on from what was known last: by as long as this machine was on since, and by up
to a week more, as it may have been off. A hardware clock that is further ahead is not believed
until somebody vouches for it; meanwhile days are erased by what is known, which comes later and
never too early. Nor is a clock believed where units, which have clocks of their own, say an earlier
day.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec
from sqlalchemy import Connection, text

from edge.clock import Moment, utc_seconds, utc_text
from edge.storage.database import Database
from edge.storage.keeping import PACKAGE

#: Without a time server a machine is believed to have been off for so long, in seconds. Scans that
#: are to be kept for 21 days are kept for 14 even if it was not.
OFF_S = 7 * 86_400.0
#: A clock that is off by less than this erases no day that it should not, in seconds.
ASTRAY_S = 86_400.0
#: Units that were heard within so many seconds say what day it is; so many of them are asked.
HEARD_S, ASKED = 3600.0, 200

#: What is wrong, if anything is. What keeps erasing back: nobody ever vouched; the clock is too far
#: ahead; units say otherwise. Behind: erasing goes by the clock, and so is late.
Trouble = Literal["", "nobody", "ahead", "units", "behind"]

_SAYS: dict[Trouble, tuple[str, str]] = {
    "nobody": (
        "chưa có gì chỉnh và chưa có ai xác nhận đồng hồ của máy này",
        "nothing has set this machine's clock, and nobody has vouched for it",
    ),
    "ahead": (
        "đồng hồ chạy trước {days} ngày so với lần gần nhất còn biết chắc",
        "the clock is {days} days ahead of what was known last",
    ),
    "units": (
        "theo các thiết bị thì hôm nay còn sớm hơn {days} ngày so với đồng hồ",
        "units say that it is {days} days earlier than the clock does",
    ),
    "behind": (
        "đồng hồ chậm {days} ngày so với lần trước hoặc so với các thiết bị, nên có thể xóa muộn",
        "the clock is {days} days behind what it said before or what units say, so that erasing may"
        " come late",
    ),
}
#: What to do about each of them.
DO = (
    "Cho máy lấy giờ từ máy chủ thời gian (NTP). Nếu mạng nội bộ không có, hãy chỉnh đồng hồ cho"
    " đúng rồi chạy: edge-collector clock --today NĂM-THÁNG-NGÀY",
    "Let it reach a time server. In a network without one, set the clock right and then run:"
    " edge-collector clock --today YYYY-MM-DD",
)


def says(trouble: Trouble, days: int) -> tuple[str, str]:
    """What *trouble* is there, of so many days, in Vietnamese and English."""
    vi, en = _SAYS[trouble]
    return vi.format(days=days), en.format(days=days)


@dataclass(frozen=True)
class Known:
    """What a collector knows of the time. Times are UTC, ISO 8601."""

    collector: str
    at: str  #: it is no earlier than this; "" if nothing is known
    erases_by: str  #: the time by which it erases; "" for none
    vouched: str  #: "ntp", "gnss" or "person"; "rtc" where nothing better ever did; "" for nothing
    clock: str  #: what its clock said, ...
    boot: str  #: ... in which boot, ...
    uptime_ms: int  #: ... and how long after it began
    trouble: Trouble
    off_s: int  #: by how much the clock is ahead of what is known, or of what units say

    @property
    def held_back(self) -> bool:
        """Whether less is erased than the clock says."""
        return self.trouble in ("nobody", "ahead", "units")

    @property
    def steady(self) -> bool:
        """Whether the time to erase by goes on as the true one does, and is at most late.

        By a clock that is behind, or by what units say, it may leap by years at any time.
        """
        return self.trouble in ("", "ahead")

    @property
    def settled(self) -> bool:
        """Whether the clock is right as far as anybody can know, and neither ahead nor behind."""
        return not self.trouble and self.vouched in ("ntp", "gnss", "person")

    @property
    def says(self) -> tuple[str, str]:
        """What is wrong, in Vietnamese and English; empty if nothing is."""
        return says(self.trouble, self.off_days) if self.trouble else ("", "")

    @property
    def off_days(self) -> int:
        """By how many days the clock is off; at least 1."""
        return max(1, round(abs(self.off_s) / 86_400))


class KnownTime:
    """What one collector knows of the time. For one thread."""

    def __init__(self, database: Database, collector: str) -> None:
        """The tables in *database*, made if need be. Raises StorageError."""
        self._database, self._collector = database, collector
        database.migrate(PACKAGE)

    def look(self, moment: Moment) -> Known:
        """What is known at *moment*, and noted. Raises StorageError."""
        with self._database.writing("note what time it is") as connection:
            known = self._judge(connection, moment)
            _note(connection, known)
        return known

    def now(self, moment: Moment) -> Known:
        """As `look`, but nothing is noted."""
        with self._database.reading("look what time it is") as connection:
            return self._judge(connection, moment)

    def vouch(self, moment: Moment) -> Known:
        """A person says that the clock is right. Raises StorageError."""
        known = _vouched(self._collector, moment, "person")
        with self._database.writing("note what time it is") as connection:
            _note(connection, known)
        return known

    def forget(self) -> None:
        """Nothing is known: it is stopped for good, and is not to be an alarm for ever."""
        with self._database.writing("forget what time it was") as connection:
            connection.execute(
                text("DELETE FROM keeping_time WHERE collector = :collector"),
                {"collector": self._collector},
            )

    def _judge(self, connection: Connection, moment: Moment) -> Known:
        if moment.clock in ("ntp", "gnss"):
            return _vouched(self._collector, moment, moment.clock)
        before = next((k for k in known_times(connection) if k.collector == self._collector), None)
        return judge(
            self._collector,
            moment,
            before,
            received=_newest_received(connection),
            units_say=_units_say(connection, moment.at),
        )


def judge(
    collector: str,
    moment: Moment,
    before: Known | None,
    *,
    received: str = "",
    units_say: float | None = None,
) -> Known:
    """What is known at *moment*, by a clock that nothing vouches for.

    *before*: what was known last; *received*: when anything last came in; *units_say*: the time by
    the clocks of units, in seconds since 1970, None if none was heard.
    """
    now = utc_seconds(moment.at)
    if before is not None and before.at:
        known, vouched = utc_seconds(before.at) + _on_since(before, moment), before.vouched
    elif moment.clock == "none":
        return Known(collector, "", "", "", *_noted(moment), "nobody", 0)
    else:
        # Of an earlier software, or new: what came in last came in by this clock.
        known, vouched = min(now, utc_seconds(received) if received else now), "rtc"
    trouble: Trouble = ""
    off_s = now - known
    by = min(now, known)
    if off_s > OFF_S:
        trouble = "ahead"
    elif off_s >= 0 or vouched == "rtc":
        # One that nobody ever vouched for may itself have been too far ahead.
        known = by = now
    if off_s < -ASTRAY_S:
        trouble = "behind"
    elif not trouble and vouched == "rtc" and before is not None and before.trouble == "behind":
        # It was put back, and nobody has said which of the two times was right.
        trouble, off_s = "behind", before.off_s
    if units_say is None and before is not None and before.trouble == "units":
        # None is there just now; what they said holds.
        units_say = utc_seconds(before.erases_by) + _on_since(before, moment)
    if units_say is not None and vouched != "person":
        if by - units_say > ASTRAY_S:
            by, trouble, off_s = units_say, "units", now - units_say
        elif units_say - now > ASTRAY_S:
            trouble, off_s = "behind", now - units_say
    return Known(
        collector,
        utc_text(known),
        utc_text(by),
        vouched,
        *_noted(moment),
        trouble,
        round(off_s) if trouble else 0,
    )


def known_times(connection: Connection) -> list[Known]:
    """What each collector noted last, by name."""
    rows = connection.execute(
        text(
            "SELECT collector, at, erases_by, vouched, clock, boot, uptime_ms, trouble, off_s"
            " FROM keeping_time ORDER BY collector"
        )
    )
    return [Known(*row) for row in rows]


def latest_known(database: Database) -> Known | None:
    """What the collector knows that erases by the latest time; None if none erases by any.

    Raises StorageError.
    """
    with database.reading("look by which time is erased") as connection:
        known = [each for each in known_times(connection) if each.erases_by]
    return max(known, key=lambda each: each.erases_by, default=None)


def _vouched(collector: str, moment: Moment, by: str) -> Known:
    return Known(collector, moment.at, moment.at, by, *_noted(moment), "", 0)


def _noted(moment: Moment) -> tuple[str, str, int]:
    return moment.at, moment.boot, moment.uptime_ms


def _on_since(before: Known, moment: Moment) -> float:
    """For how long this machine has surely been on since, in seconds."""
    if before.boot != moment.boot:
        return 0.0
    return max(0, moment.uptime_ms - before.uptime_ms) / 1000


def _newest_received(connection: Connection) -> str:
    row = connection.execute(text("SELECT max(seen) AS seen, max(last_scan) AS scan FROM unit"))
    return max((at for at in row.one() if at), default="")


class _Said(msgspec.Struct):
    """The part of a health message that says what time it is."""

    at: str = ""
    clock: str = "none"


def _units_say(connection: Connection, now: str) -> float | None:
    """The time that half of the units say it is at least, of those that were heard just now."""
    rows = connection.execute(
        text(
            "SELECT health FROM unit WHERE seen > :since AND seen <= :now AND health IS NOT NULL"
            " ORDER BY seen DESC LIMIT :asked"
        ),
        {"since": utc_text(utc_seconds(now) - HEARD_S), "now": now, "asked": ASKED},
    )
    times = list(_times(row.health for row in rows))
    return statistics.median_low(times) if times else None


def _times(healths: Iterator[str]) -> Iterator[float]:
    for health in healths:
        try:
            said = msgspec.json.decode(health, type=_Said)
            if said.clock != "none":
                yield utc_seconds(said.at)
        except ValueError:
            # There is no 30 February, and msgspec's errors are of this kind too.
            continue


def _note(connection: Connection, known: Known) -> None:
    connection.execute(
        text(
            "INSERT INTO keeping_time (collector, at, erases_by, vouched, clock, boot, uptime_ms,"
            " trouble, off_s) VALUES (:collector, :at, :erases_by, :vouched, :clock, :boot,"
            " :uptime_ms, :trouble, :off_s) ON CONFLICT (collector) DO UPDATE SET at = excluded.at,"
            " erases_by = excluded.erases_by, vouched = excluded.vouched, clock = excluded.clock,"
            " boot = excluded.boot, uptime_ms = excluded.uptime_ms, trouble = excluded.trouble,"
            " off_s = excluded.off_s"
        ),
        vars(known),
    )
