"""Tells people of alarms, by mail and by webhook, outside quiet hours. Each alarm once."""

import logging
from collections.abc import Sequence

from edge.clock import Clock
from edge.dashboard.alarm_rules import ADVICE, NAMES
from edge.dashboard.alarms import Alarm, Alarms, AlarmSettings
from edge.dashboard.local_time import local
from edge.dashboard.mail import Mailer
from edge.dashboard.posting import Poster
from edge.errors import DeliveryError

log = logging.getLogger(__name__)

#: After a delivery that failed, so long until the next attempt.
AGAIN_S = 120.0
#: So many alarms stand in one mail; a province without power is one piece of news.
MOST = 50


class Teller:
    """Tells of alarms that nobody has been told of."""

    def __init__(
        self,
        alarms: Alarms,
        clock: Clock,
        settings: AlarmSettings,
        deployment: str,
        mailer: Mailer | None = None,
        mail_to: Sequence[str] = (),
        webhook: Poster | None = None,
    ) -> None:
        """*mailer*, *webhook* None: not that way."""
        self._alarms, self._clock, self._settings = alarms, clock, settings
        self._deployment, self._mailer, self._mail_to = deployment, mailer, mail_to
        self._webhook = webhook
        self._not_before = 0.0

    def step(self) -> None:
        """Tell whatever is new. What cannot be delivered now is tried again later."""
        if self._clock.monotonic() < self._not_before or self._is_quiet():
            return
        if self._webhook is None and not (self._mailer and self._mail_to):
            return
        new = [alarm for alarm in self._alarms.open() if not (alarm.told or alarm.cleared)]
        if not new:
            return
        try:
            self._tell(new)
        except DeliveryError as err:
            log.warning("alarms: %s", err)
            self._not_before = self._clock.monotonic() + AGAIN_S
            return
        for alarm in new:
            self._alarms.note_told(alarm.number, self._clock.now().at)

    def _tell(self, new: Sequence[Alarm]) -> None:
        if self._webhook is not None:
            self._webhook.post({"v": 1, "alarms": [_as_json(alarm) for alarm in new]})
        if self._mailer is not None and self._mail_to:
            subject = f"{self._deployment}: {len(new)} cảnh báo / alarms"
            lines = [_line(alarm) for alarm in new[:MOST]]
            if len(new) > MOST:
                lines.append(f"... +{len(new) - MOST}")
            self._mailer.send(self._mail_to, subject, "\n\n".join(lines) + "\n")

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
    (vi, en), (do_vi, do_en) = NAMES[alarm.kind], ADVICE[alarm.kind]
    where = f" ({alarm.place})" if alarm.place and alarm.place != alarm.subject else ""
    return (
        f"{alarm.subject}{where}, {local(alarm.raised):%H:%M %d/%m}: {vi}. {do_vi}\n  {en}. {do_en}"
    )
