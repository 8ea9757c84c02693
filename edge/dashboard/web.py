"""From a request to a page: who asks, may they, in which language; then the page's own work.

Every route is a `Page` with the right it needs, and `routes` wraps each in the same few steps, so
that no page can be reached around them. A page's work is a plain function in a thread of its own.
"""

import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from edge.clock import Clock
from edge.dashboard.people import People
from edge.dashboard.rights import Right, Viewer
from edge.errors import EdgeError, StorageError
from edge.limits import RateLimit

log = logging.getLogger(__name__)

Language = Literal["vi", "en"]
SIGN_IN = "/sign-in"
SESSION_COOKIE = "edge-session"
LANGUAGE_COOKIE = "edge-language"
#: With it the script of a page asks for the part that changes.
PART_HEADER = "x-part"
#: A form of ours is far smaller, but for a register that is handed in.
MAX_FORM_BYTES = 4_000_000


@dataclass(frozen=True)
class Ask:
    """One request for a page, by somebody whose rights are checked."""

    request: Request
    viewer: Viewer | None
    language: Language
    now: str  #: UTC
    #: Fields of a form; of a file its content.
    form: Mapping[str, str | bytes]

    def query(self, name: str, default: str = "") -> str:
        """A parameter of the address."""
        return _without_nul(self.request.query_params.get(name, default))

    def path(self, name: str) -> str:
        """A part of the address's path."""
        return _without_nul(self.request.path_params[name])

    def field(self, name: str) -> str:
        """A field of the form as text; "" if it is not there."""
        value = self.form.get(name, "")
        return _without_nul(value) if isinstance(value, str) else ""

    def say(self, vi: str, en: str) -> str:
        """The text in the language of whoever asks."""
        return vi if self.language == "vi" else en

    def person(self) -> Viewer:
        """Who asks, on a page that only those who are signed in reach."""
        assert self.viewer is not None
        return self.viewer

    def token(self) -> str:
        """The token of this session that a form must carry; another one with every page, so that
        compression tells nothing of it."""
        session = self.request.cookies.get(SESSION_COOKIE, "")
        nonce = secrets.token_hex(8)
        return f"{nonce}.{_signature(session, nonce)}"


class Show(Protocol):
    """Shows a message as a page."""

    def message(self, ask: Ask, title: str, text: str, status: int) -> Response: ...


@dataclass(frozen=True)
class Page:
    """A route, what it does, and the right it needs; None lets anybody in."""

    path: str
    work: Callable[[Ask], Response]
    right: Right | None
    methods: tuple[str, ...] = ("GET",)


class Door:
    """What stands before every page."""

    def __init__(self, people: People, clock: Clock, show: Show) -> None:
        self._people, self._clock, self._show = people, clock, show
        # 300 pages at once, then 5 a second: ten phones behind one address look on at ease.
        self._rate = RateLimit(clock, burst=300, seconds=0.2)

    def routes(self, pages: Sequence[Page]) -> list[Route]:
        """*pages* as routes, each behind the same checks."""
        return [
            Route(page.path, self._endpoint(page), methods=list(page.methods)) for page in pages
        ]

    def _endpoint(self, page: Page) -> Callable[[Request], object]:
        async def endpoint(request: Request) -> Response:
            if refused := self._too_many(request):
                return refused
            form = await _form(request) if request.method == "POST" else {}
            return await run_in_threadpool(self._answer_or_say_why_not, page, request, form)

        return endpoint

    def _too_many(self, request: Request) -> Response | None:
        """The refusal of an address that asks too often."""
        wait = self._rate.wait_s(request.client.host if request.client else "")
        if not wait:
            return None
        return Response("Quá nhiều yêu cầu / too many requests\n", 429, _retry(wait))

    def _answer_or_say_why_not(
        self, page: Page, request: Request, form: Mapping[str, str | bytes]
    ) -> Response:
        try:
            return self._answer(page, request, form)
        except StorageError as err:
            log.error("%s: %s", page.path, err)
            return self._no_storage(request)

    async def nowhere(self, request: Request) -> Response:
        """The answer where there is no such address, with the menu of whoever is signed in."""
        if refused := self._too_many(request):
            return refused
        return await run_in_threadpool(self._nowhere, request)

    def _nowhere(self, request: Request) -> Response:
        try:
            return self.missing(self._ask(request, {}))
        except StorageError:
            return self._no_storage(request)

    def _no_storage(self, request: Request) -> Response:
        ask = Ask(request, None, language_of(request), self._clock.now().at, {})
        answer = self._show.message(
            ask,
            ask.say("Kho dữ liệu tạm thời không trả lời", "The storage does not answer now"),
            ask.say(
                "Lượt quét vẫn được giữ trên các thiết bị. Hãy thử lại sau ít phút.",
                "Scans are kept on the units meanwhile. Try again in a few minutes.",
            ),
            503,
        )
        answer.headers["retry-after"] = "60"
        return answer

    def _ask(self, request: Request, form: Mapping[str, str | bytes]) -> Ask:
        now = self._clock.now().at
        session = request.cookies.get(SESSION_COOKIE, "")
        viewer = self._people.viewer(session, now) if session else None
        return Ask(request, viewer, language_of(request), now, form)

    def _answer(self, page: Page, request: Request, form: Mapping[str, str | bytes]) -> Response:
        ask = self._ask(request, form)
        if page.right is not None:
            if ask.viewer is None:
                return _to_sign_in(request)
            if not ask.viewer.may(page.right):
                return self.refused(ask)
        if request.method == "POST" and not _is_ours(ask):
            return self._show.message(
                ask,
                ask.say("Trang này đã cũ", "This page is out of date"),
                ask.say("Hãy mở lại trang và thử lại.", "Open the page anew and try again."),
                403,
            )
        try:
            return page.work(ask)
        except NotAllowed:
            return self.refused(ask)
        except NotThere:
            return self.missing(ask)

    def refused(self, ask: Ask) -> Response:
        """The answer to somebody who may not see what was asked for."""
        return self._show.message(
            ask,
            ask.say("Không có quyền xem", "Not allowed"),
            ask.say(
                "Tài khoản này không có quyền xem trang này. Người vận hành hệ thống có thể đổi vai"
                " trò.",
                "This account may not see this page. The operator of the system can change its"
                " role.",
            ),
            403,
        )

    def missing(self, ask: Ask) -> Response:
        """The answer where there is no such page or thing."""
        return self._show.message(
            ask,
            ask.say("Không tìm thấy", "Not found"),
            ask.say("Không có trang này.", "There is no such page."),
            404,
        )


class NotAllowed(EdgeError, PermissionError):
    """Whoever asks may not see this place or thing."""


class NotThere(EdgeError, LookupError):
    """There is no such place or thing."""


def language_of(request: Request) -> Language:
    """The language that was chosen; Vietnamese if none was."""
    return "en" if request.cookies.get(LANGUAGE_COOKIE) == "en" else "vi"


def _without_nul(text: str) -> str:
    # PostgreSQL takes none in a text, and nobody has one in a name.
    return str(text).replace("\0", "")


def own_path(text: str) -> str:
    """*text* if it is a path on this server, otherwise "/": nobody is sent elsewhere."""
    # A browser takes two strokes, or more, for the start of another server's name.
    safe = text.startswith("/") and not text.startswith("//")
    return text if safe and "\\" not in text and text.isprintable() else "/"


def _retry(wait_s: float) -> dict[str, str]:
    return {"retry-after": str(int(wait_s) + 1)}


def _to_sign_in(request: Request) -> Response:
    if request.method != "GET" or PART_HEADER in request.headers:
        return Response("Hãy đăng nhập lại / sign in again\n", 401)
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"{SIGN_IN}?{urlencode({'to': request.url.path + query})}", 303)


async def _form(request: Request) -> Mapping[str, str | bytes]:
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > MAX_FORM_BYTES:
        raise HTTPException(413)
    fields: dict[str, str | bytes] = {}
    async with request.form(max_files=2, max_fields=2000) as form:
        for name, value in form.multi_items():
            if isinstance(value, str):
                # Several boxes of one name become one line each.
                before = fields.get(name)
                fields[name] = f"{before}\n{value}" if isinstance(before, str) else value
            else:
                fields[name] = await value.read()
                fields[f"{name}.name"] = value.filename or ""
    return fields


def _is_ours(ask: Ask) -> bool:
    """Whether a form was sent from a page of ours: by the browser's word, and by the token."""
    headers = ask.request.headers
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host"):
        return False
    if ask.viewer is None:
        # Nobody's session can be used; signing somebody in from elsewhere is refused above.
        return True
    nonce, _, signature = ask.field("token").partition(".")
    session = ask.request.cookies.get(SESSION_COOKIE, "")
    return hmac.compare_digest(signature.encode(), _signature(session, nonce).encode())


def _signature(session: str, nonce: str) -> str:
    key = session.encode("utf-8", "surrogateescape")
    return hmac.new(key, f"form:{nonce}".encode(), hashlib.sha256).hexdigest()
