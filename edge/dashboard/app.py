"""The web application: every page behind the same door, its assets, and its headers."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from edge.clock import Clock
from edge.dashboard.headers import SecurityHeaders
from edge.dashboard.pages.account import AccountPages
from edge.dashboard.pages.accounts import PeoplePages
from edge.dashboard.pages.coverage import CoveragePages
from edge.dashboard.pages.now import NowPages
from edge.dashboard.pages.place import PlacePages
from edge.dashboard.pages.setting_up import SetUpPages
from edge.dashboard.pages.units import UnitPages
from edge.dashboard.people import People
from edge.dashboard.settings import DashboardSettings
from edge.dashboard.show import ASSETS, Pages
from edge.dashboard.web import Ask, Door, Page, language_of
from edge.storage.database import Database
from edge.storage.places import Places


class Application:
    """The pages of one deployment."""

    def __init__(
        self, settings: DashboardSettings, database: Database, people: People, clock: Clock
    ) -> None:
        self._database, self._clock = database, clock
        self._show = Pages(settings.title)
        places = Places()
        self._door = Door(people, clock, self._show)
        self.pages: Sequence[Page] = [
            *AccountPages(self._show, people, clock).pages(),
            *NowPages(self._show, database, places, settings).pages(),
            *PlacePages(self._show, database, places, settings).pages(),
            *UnitPages(self._show, database, settings).pages(),
            *CoveragePages(self._show, database, places).pages(),
            *SetUpPages(self._show, database, places).pages(),
            *PeoplePages(self._show, people).pages(),
        ]

    def asgi(self) -> Starlette:
        """What a web server calls."""
        return Starlette(
            routes=[
                *self._door.routes(self.pages),
                Route("/healthz", self._health, methods=["GET"]),
                Mount("/assets", _Assets(directory=ASSETS)),
            ],
            middleware=[Middleware(SecurityHeaders), Middleware(GZipMiddleware, minimum_size=500)],
            exception_handlers={HTTPException: self._failed},
        )

    def _health(self, _: Request) -> Response:
        """For machines: 200 while pages can be made."""
        with self._database.reading() as connection:
            connection.exec_driver_sql("SELECT 1")
        return PlainTextResponse("ok\n")

    def _failed(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        ask = Ask(request, None, language_of(request), self._clock.now().at, {})
        if error.status_code == 404:
            return self._door.missing(ask)
        return self._show.message(ask, str(error.status_code), error.detail, error.status_code)


class _Assets(StaticFiles):
    """Files that never change under their address, which holds a mark of their content."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        answer = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        answer.headers["cache-control"] = "public, max-age=31536000, immutable"
        return answer
