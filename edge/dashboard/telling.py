"""Tells people of alarms, by mail and by webhook, outside quiet hours. Each alarm once each way."""

import logging
from collections.abc import Callable, Sequence

from edge.clock import Clock
from edge.dashboard.alarm_rules import ADVICE, NAMES
from edge.dashboard.alarms import Alarm, Alarms, AlarmSettings
from edge.dashboard.local_time import local
from edge.dashboard.mail_queue import MailQueue
from edge.dashboard.posting import Poster
from edge.dashboard.words import detail_text
from edge.errors import DeliveryError
from edge.storage.database import Database

log = logging.getLogger(__name__)

#: After a post that failed, so long until the next attempt.
AGAIN_S = 120.0
#: So many alarms stand in one mail; a province without power is one piece of news.
MOST = 50


class Teller:
    """Tells of alarms that nobody has been told of."""

    def __init__(
        self,
        alarms: Alarms,
        database: Database,
        clock: Clock,
        settings: AlarmSettings,
        deployment: str,
        queue: MailQueue | None = None,
        mail_to: Sequence[str] = (),
        webhook: Poster | None = None,
        address: str = "",
        is_anothers: Callable[[], bool] = lambda: False,
    ) -> None:
        """*queue*, *webhook* None: not that way. *address*: of the pages, "" if not known.

        *is_anothers*: whether another dashboard posts by now.
        """
        self._is_anothers = is_anothers
        self._alarms, self._database, self._clock = alarms, database, clock
        self._settings, self._deployment = settings, deployment
        self._queue, self._mail_to = queue, mail_to
        self._webhook, self._address = webhook, address.rstrip("/")
        self._not_before = 0.0

    def step(self) -> None:
        """Tell whatever is new. A post that fails is tried again; mail waits in its queue."""
        mails = self._queue is not None and bool(self._mail_to)
        if not (mails or self._webhook) or self._is_quiet():
            return
        lasting = [alarm for alarm in self._alarms.open() if not alarm.cleared]
        if mails and (new := [alarm for alarm in lasting if not alarm.mailed]):
            self._mail(new)
        if self._webhook is not None and (new := [alarm for alarm in lasting if not alarm.told]):
            self._post(self._webhook, new)

    def _post(self, webhook: Poster, new: Sequence[Alarm]) -> None:
        if self._clock.monotonic() < self._not_before or self._is_anothers():
            return
        try:
            webhook.post({"v": 1, "alarms": [_as_json(alarm) for alarm in new]})
        except DeliveryError as err:
            log.warning("alarms: %s", err)
            self._not_before = self._clock.monotonic() + AGAIN_S
            return
        with self._database.writing("note who was told") as connection:
            self._alarms.note_told(connection, new, self._clock.now().at, "told")

    def _mail(self, new: Sequence[Alarm]) -> None:
        assert self._queue is not None
        lines = [_line(alarm) for alarm in new[:MOST]]
        if len(new) > MOST:
            lines.append(f"... +{len(new) - MOST}")
        if self._address:
            lines.append(f"{self._address}/alarms")
        # Both or neither: what is in the queue goes out, also when the alarm is over by then.
        with self._database.writing("tell of alarms") as connection:
            self._queue.put(
                connection,
                f"alarms {new[0].number} {len(new)}",
                self._mail_to,
                f"{self._deployment}: {len(new)} cảnh báo / alarms",
                "\n\n".join(lines) + "\n",
            )
            self._alarms.note_told(connection, new, self._clock.now().at, "mailed")

    def _is_quiet(self) -> bool:
        begins, ends = self._settings.quiet_from_h, self._settings.quiet_to_h
        hour = local(self._clock.now().at).hour
        if begins <= ends:
            return begins <= hour < ends
        return hour >= begins or hour < ends


def _as_json(alarm: Alarm) -> dict[str, object]:
    return {
        "number": alarm.number,
        "kind": alarm.kind,
        "subject": alarm.subject,
        "place": alarm.place,
        "detail": alarm.detail,
        "raised": alarm.raised,
    }


def _line(alarm: Alarm) -> str:
    where = f" ({alarm.place})" if alarm.place and alarm.place != alarm.subject else ""
    texts = []
    for number, language in enumerate(("vi", "en")):
        detail = detail_text(alarm.kind, alarm.detail, language)
        more = f" ({detail})" if detail else ""
        texts.append(f"{NAMES[alarm.kind][number]}{more}. {ADVICE[alarm.kind][number]}")
    return f"{alarm.subject}{where}, {local(alarm.raised):%H:%M %d/%m}: {texts[0]}\n  {texts[1]}"
