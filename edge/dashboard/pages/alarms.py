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
            past=past,
            raise_after_s=self._settings.raise_after_s,
            names=NAMES,
            advice=ADVICE,
            place_names={name: place.name for name, place in register.items()},
        )

    def _change(self, ask: Ask) -> Response:
        asked = ask.path("number")
        number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 16 else 0
        alarm = next((alarm for alarm in self._alarms.open() if alarm.number == number), None)
        if alarm is None:
            raise NotThere
        viewer = ask.person()
        if not viewer.sees(alarm.place):
            raise NotAllowed
        if ask.field("do") == "close":
            note = ask.field("note").strip()[:NOTE_CHARACTERS]
            self._alarms.close(number, viewer.name, note, ask.now)
        else:
            self._alarms.acknowledge(number, viewer.name, ask.now)
        return RedirectResponse("/alarms", 303)


def _step(alarm: Alarm) -> int:
    """How far it has come: what waits for somebody stands before what is seen to, or over."""
    if alarm.cleared is not None:
        return 2
    return 1 if alarm.acknowledged is not None else 0
