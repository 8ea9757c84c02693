"""The web application: every page behind the same door, its assets, and its headers."""

import logging
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from edge.dashboard.first_steps import FirstSteps
from edge.dashboard.headers import SecurityHeaders
from edge.dashboard.linked_accounts import LinkedAccounts
from edge.dashboard.mail_queue import state_of
from edge.dashboard.metrics import metrics
from edge.dashboard.oidc import origin
from edge.dashboard.pages.account import AccountPages
from edge.dashboard.pages.accounts import PeoplePages
from edge.dashboard.pages.alarms import AlarmPages
from edge.dashboard.pages.areas import AreaPages
from edge.dashboard.pages.coverage import CoveragePages
from edge.dashboard.pages.now import NowPages
from edge.dashboard.pages.oidc import OidcPages
from edge.dashboard.pages.place import PlacePages
from edge.dashboard.pages.reports import ReportPages
from edge.dashboard.pages.scans import ScanPages
from edge.dashboard.pages.setting_up import SetUpPages
from edge.dashboard.pages.tracing import TracingPages
from edge.dashboard.pages.units import UnitPages
from edge.dashboard.parts import Parts
from edge.dashboard.show import ASSETS, Pages
from edge.dashboard.web import Ask, Door, Page, language_of
from edge.errors import StorageError
from edge.storage import fleet

log = logging.getLogger(__name__)


class Application:
    """The pages of one deployment."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        settings, database, places = parts.settings, parts.database, parts.places
        show = self._show = Pages(settings.title)
        self._door = Door(parts.people, parts.clock, show)
        self.pages: Sequence[Page] = [
            *AccountPages(show, parts.people, parts.clock, parts.provider).pages(),
            *NowPages(
                show,
                database,
                places,
                parts.totals,
                parts.alarms,
                FirstSteps(parts.bases, parts.people),
                settings,
            ).pages(),
            *PlacePages(show, database, places, settings).pages(),
            *ScanPages(show, database, places).pages(),
            *UnitPages(show, database, places, settings).pages(),
            *AlarmPages(show, database, places, parts.alarms, settings.alarms).pages(),
            *CoveragePages(show, database, places, settings.title, settings.web.url).pages(),
            *AreaPages(show, database, places).pages(),
            *ReportPages(show, parts.reporting, settings.reports.hour).pages(),
            *SetUpPages(
                show, database, places, parts.bases, mails=parts.mail_queue is not None
            ).pages(),
            *PeoplePages(show, parts.people, database).pages(),
            *TracingPages(show, settings.tracing.socket, parts.clock).pages(),
        ]
        if parts.provider is not None:
            linked = LinkedAccounts(database, parts.people)
            pages = OidcPages(show, parts.provider, linked, parts.clock).pages()
            self.pages = [*self.pages, *pages]

    def asgi(self) -> ASGIApp:
        """What a web server calls."""
        provider = self._parts.provider
        # Signing out there begins with a form here.
        issuer = origin(provider.settings.issuer) if provider is not None else ""
        pages = Starlette(
            routes=[
                *self._door.routes(self.pages),
                Route("/healthz", self._health, methods=["GET"]),
                Route("/metrics", self._metrics, methods=["GET"]),
                Mount("/assets", _Assets(directory=ASSETS)),
            ],
            middleware=[Middleware(GZipMiddleware, minimum_size=500)],
            exception_handlers={
                HTTPException: self._failed,
                StorageError: _away,
                Exception: self._broken,
            },
        )
        # Around all of it, so that the answer to an error of ours has them too.
        return SecurityHeaders(pages, forms_to=issuer)

    def _health(self, _: Request) -> Response:
        """For machines: 200 while pages can be made."""
        with self._parts.database.reading() as connection:
            connection.exec_driver_sql("SELECT 1")
        return PlainTextResponse("ok\n")

    def _metrics(self, request: Request) -> Response:
        """For Prometheus, from the addresses that the settings name."""
        parts = self._parts
        if request.client is None or request.client.host not in parts.settings.web.metrics_from:
            raise HTTPException(403)
        with parts.database.reading() as connection:
            units = fleet.units(connection)
            registered = len(parts.places.all(connection))
            mail_waiting = state_of(connection).waiting
        text = metrics(
            units,
            parts.alarms.open(),
            parts.clock.now().at,
            parts.settings.silent_after_min * 60,
            registered,
            mail_waiting,
        )
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _failed(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404:
            return await self._door.nowhere(request)
        ask = Ask(request, None, language_of(request), self._parts.clock.now().at, {})
        return self._show.message(ask, str(error.status_code), error.detail, error.status_code)

    def _broken(self, request: Request, _: Exception) -> Response:
        """For a person, when a page of ours is wrong; the server's log says what it was."""
        ask = Ask(request, None, language_of(request), self._parts.clock.now().at, {})
        return self._show.message(
            ask,
            ask.say("Trang này có lỗi", "Something is wrong with this page"),
            ask.say(
                "Lỗi đã được ghi vào nhật ký của edge-dashboard; lượt quét không bị ảnh hưởng. Hãy"
                " thử lại; nếu vẫn vậy, báo cho người vận hành hệ thống.",
                "The log of edge-dashboard says what it was; no scan is touched by it. Try again;"
                " if it stays so, tell the operator.",
            ),
            500,
        )


def _away(_: Request, error: Exception) -> Response:
    """For machines; pages have words of their own."""
    log.error("%s", error)
    return PlainTextResponse("storage does not answer\n", 503, headers={"retry-after": "60"})


class _Assets(StaticFiles):
    """Files that never change under their address, which holds a mark of their content."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        answer = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        answer.headers["cache-control"] = "public, max-age=31536000, immutable"
        return answer
