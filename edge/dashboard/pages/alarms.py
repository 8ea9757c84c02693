"""*Alarms*: what is wrong now, who sees to it, and what was closed."""

from starlette.responses import RedirectResponse, Response

from edge.dashboard.alarm_rules import ADVICE, NAMES
from edge.dashboard.alarms import Alarm, Alarms, AlarmSettings
from edge.dashboard.show import Pages
from edge.dashboard.web import Ask, NotAllowed, NotThere, Page
from edge.storage.database import Database
from edge.storage.places import Places

SHOWN = 100
NOTE_CHARACTERS = 500


class AlarmPages:
    """The list of alarms, and what a person does with one."""

    def __init__(
        self,
        show: Pages,
        database: Database,
        places: Places,
        alarms: Alarms,
        settings: AlarmSettings,
    ) -> None:
        self._show, self._database, self._places = show, database, places
        self._alarms, self._settings = alarms, settings

    def pages(self) -> list[Page]:
        """Their routes."""
        return [
            Page("/alarms", self._list, "see alarms"),
            Page("/alarms", self._change_many, "see alarms", ("POST",)),
            Page("/alarms/{number}", self._change, "see alarms", ("POST",)),
        ]

    def _list(self, ask: Ask) -> Response:
        with self._database.reading() as connection:
            register = self._places.all(connection)
        past = ask.query("past") == "yes"
        alarms = [
            alarm
            for alarm in (self._alarms.past() if past else sorted(self._alarms.open(), key=_step))
            if ask.person().sees(alarm.place)
        ]
        return self._show.live(
            ask,
            "alarms",
            alarms=alarms[:SHOWN],
            total=len(alarms),
            newest=max((alarm.number for alarm in alarms), default=0),
            new=sum(_step(alarm) == NEW for alarm in alarms),
            over=sum(_step(alarm) == OVER for alarm in alarms),
            past=past,
            raise_after_s=self._settings.raise_after_s,
            names=NAMES,
            advice=ADVICE,
            place_names={name: place.name for name, place in register.items()},
        )

    def _change_many(self, ask: Ask) -> Response:
        """Take all new ones, or close all that are over: of those that the page had shown."""
        viewer, newest = ask.person(), _number(ask.field("newest"))
        alarms = [
            alarm
            for alarm in self._alarms.open()
            if alarm.number <= newest and viewer.sees(alarm.place)
        ]
        if ask.field("do") == "close-over":
            over = [alarm.number for alarm in alarms if _step(alarm) == OVER]
            self._alarms.close(over, viewer.name, "", ask.now)
        else:
            new = [alarm.number for alarm in alarms if _step(alarm) == NEW]
            self._alarms.acknowledge(new, viewer.name, ask.now)
        return RedirectResponse("/alarms", 303)

    def _change(self, ask: Ask) -> Response:
        number = _number(ask.path("number"))
        alarm = next((alarm for alarm in self._alarms.open() if alarm.number == number), None)
        if alarm is None:
            raise NotThere
        viewer = ask.person()
        if not viewer.sees(alarm.place):
            raise NotAllowed
        if ask.field("do") == "close":
            note = ask.field("note").strip()[:NOTE_CHARACTERS]
            self._alarms.close([number], viewer.name, note, ask.now)
        else:
            self._alarms.acknowledge([number], viewer.name, ask.now)
        return RedirectResponse("/alarms", 303)


#: How far an alarm has come, in the order of the page.
NEW, TAKEN, OVER = range(3)


def _step(alarm: Alarm) -> int:
    """What waits for somebody stands before what is seen to, or over."""
    if alarm.cleared is not None:
        return OVER
    return TAKEN if alarm.acknowledged is not None else NEW


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
