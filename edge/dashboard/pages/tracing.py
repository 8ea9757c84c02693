"""*Tracing*: the desk's questions, cases, approvals and audit, for the desk alone.

The desk answers on a socket of this machine and decides by its own workers and passwords who may
what; this page carries a question there and an answer back, and keeps neither. The password comes
with each question: a browser that is left open asks nothing.
"""

import logging
from datetime import date
from pathlib import Path

from starlette.responses import Response

from edge.clock import Clock
from edge.dashboard.local_time import local_day
from edge.dashboard.show import Pages
from edge.dashboard.tracing_actions import ACTIONS, Action, arguments_of, rows_of
from edge.dashboard.web import Ask, Page
from edge.desk_socket import ask as ask_desk
from edge.errors import DeskError
from edge.limits import RateLimit

log = logging.getLogger(__name__)

SHOWN = 500


class TracingPages:
    """The desk's page."""

    def __init__(self, show: Pages, socket: str, clock: Clock) -> None:
        """*socket*: where the desk listens; "" where there is none."""
        self._show, self._socket = show, socket
        self._rate = RateLimit(clock, burst=30, seconds=10)

    def pages(self) -> list[Page]:
        """Its routes."""
        return [
            Page("/tracing", self._form, "trace"),
            Page("/tracing", self._ask, "trace", ("POST",)),
        ]

    def _form(self, ask: Ask) -> Response:
        return self._page(ask, _action(ask.query("do")), {})

    def _ask(self, ask: Ask) -> Response:
        action = _action(ask.field("do"))
        filled = {field.name: ask.field(field.name) for field in action.fields}
        worker, password = ask.field("worker").strip(), ask.field("password")
        if not worker or not password:
            # Without them the desk would take this service's own account for who asks.
            problem = ask.say("Cần tên và mật khẩu.", "Name and password are needed.")
            return self._page(ask, action, filled, problem=problem)
        if self._rate.wait_s(ask.person().name):
            problem = ask.say("Quá nhiều lần; hãy đợi.", "Too many times; wait a little.")
            return self._page(ask, action, filled, problem=problem)
        try:
            arguments = arguments_of(action, ask.field)
            answer = ask_desk(Path(self._socket), action.do, worker, password, **arguments)
            rows = rows_of(action, answer, ask.language)
        except DeskError as err:
            return self._page(ask, action, filled, problem=str(err))
        except ValueError:
            problem = ask.say("Số không đúng.", "That is not a number.")
            return self._page(ask, action, filled, problem=problem)
        return self._page(ask, action, filled, rows=rows)

    def _page(
        self,
        ask: Ask,
        action: Action,
        filled: dict[str, str],
        rows: list[list[str]] | None = None,
        problem: str = "",
    ) -> Response:
        today = local_day(ask.now)
        days = {"since": _weeks_before(today), "until": today}
        return self._show.page(
            ask,
            "tracing.html",
            400 if problem else 200,
            there=bool(self._socket),
            actions=ACTIONS,
            action=action,
            filled=filled,
            days={name: day.isoformat() for name, day in days.items()},
            worker=ask.field("worker") or ask.person().name,
            rows=None if rows is None else rows[:SHOWN],
            more=0 if rows is None else max(0, len(rows) - SHOWN),
            problem=problem,
        )


def _action(do: str) -> Action:
    return next((action for action in ACTIONS if action.do == do), ACTIONS[0])


def _weeks_before(day: date) -> date:
    return date.fromordinal(day.toordinal() - 14)
