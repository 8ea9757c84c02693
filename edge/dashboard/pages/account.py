"""Signing in and out, one's own password, and the choice of language and colours."""

import logging

from starlette.responses import RedirectResponse, Response

from edge.cli import printable
from edge.clock import Clock
from edge.dashboard.oidc import Provider
from edge.dashboard.pages.accounts import ROLE_NAMES
from edge.dashboard.people import People
from edge.dashboard.show import THEME_COOKIE, THEMES, Pages
from edge.dashboard.web import (
    LANGUAGE_COOKIE,
    SESSION_COOKIE,
    SIGN_IN,
    Ask,
    Page,
    own_path,
)
from edge.errors import PeopleError
from edge.limits import RateLimit

log = logging.getLogger(__name__)

_YEAR_S = 365 * 86_400


class AccountPages:
    """The pages that everybody has."""

    def __init__(
        self, show: Pages, people: People, clock: Clock, provider: Provider | None = None
    ) -> None:
        """*provider*: where people may sign in instead; None for nowhere."""
        self._show, self._people, self._provider = show, people, provider
        # Of a name from one address, so that nobody is shut out from elsewhere; and of an address.
        self._of_name = RateLimit(clock, burst=5, seconds=60)
        self._of_address = RateLimit(clock, burst=30, seconds=20)

    def pages(self) -> list[Page]:
        """Their routes."""
        return [
            Page(SIGN_IN, self._form, None),
            Page(SIGN_IN, self._sign_in, None, ("POST",)),
            Page("/sign-out", self._sign_out, None, ("POST",)),
            Page("/choose", self._choose, None),
            Page("/account", self._account, "own account"),
            Page("/account", self._change_password, "own account", ("POST",)),
        ]

    def _form(self, ask: Ask, problem: str = "", status: int = 200) -> Response:
        name = ask.field("name")
        to = own_path(ask.field("to") or ask.query("to", "/"))
        elsewhere = self._provider.settings.label if self._provider is not None else ""
        return self._show.page(
            ask, "sign_in.html", status, name=name, to=to, problem=problem, elsewhere=elsewhere
        )

    def _sign_in(self, ask: Ask) -> Response:
        name, address = ask.field("name").strip().lower(), address_of(ask)
        wait = max(self._of_address.wait_s(address), self._of_name.wait_s(f"{name} {address}"))
        if wait:
            log.warning("too many attempts to sign in from %s", address)
            text = ask.say(
                f"Quá nhiều lần thử. Hãy đợi {wait:.0f} giây.",
                f"Too many attempts. Wait {wait:.0f} seconds.",
            )
            return self._form(ask, text, 429)
        secret = self._people.sign_in(name, ask.field("password"), ask.now)
        if secret is None:
            log.warning("%s could not sign in from %s", printable(name[:64]), address)
            text = ask.say("Tên hoặc mật khẩu không đúng.", "Name or password is not right.")
            return self._form(ask, text, 403)
        self._of_name.forgive(f"{name} {address}")
        log.info("%s signed in from %s", name, address)
        viewer = self._people.viewer(secret, ask.now)
        traces = viewer is not None and viewer.may("trace")
        return signed_in(ask, secret, ask.field("to"), traces=traces)

    def _sign_out(self, ask: Ask) -> Response:
        hint = self._people.sign_out(ask.request.cookies.get(SESSION_COOKIE, ""))
        elsewhere = self._provider.end(hint) if hint and self._provider is not None else ""
        answer = RedirectResponse(elsewhere or SIGN_IN, 303)
        answer.delete_cookie(SESSION_COOKIE)
        return answer

    def _choose(self, ask: Ask) -> Response:
        answer = RedirectResponse(own_path(ask.query("to", "/")), 303)
        for query, cookie, known in (
            ("language", LANGUAGE_COOKIE, ("vi", "en")),
            ("theme", THEME_COOKIE, THEMES),
        ):
            value = ask.query(query)
            if value in known:
                answer.set_cookie(
                    cookie, value, max_age=_YEAR_S, samesite="lax", secure=is_https(ask)
                )
        return answer

    def _account(self, ask: Ask, problem: str = "", status: int = 200) -> Response:
        linked = self._people.is_linked(ask.person().name)
        role = ROLE_NAMES[ask.person().role]
        return self._show.page(
            ask, "account.html", status, problem=problem, linked=linked, role=role
        )

    def _change_password(self, ask: Ask) -> Response:
        viewer = ask.person()
        wait = self._of_name.wait_s(f"{viewer.name} {address_of(ask)}")
        if wait or self._people.sign_in(viewer.name, ask.field("old"), ask.now) is None:
            text = ask.say("Mật khẩu cũ không đúng.", "The old password is not right.")
            return self._account(ask, text, 403)
        try:
            self._people.set_password(viewer.name, ask.field("new"))
        except PeopleError:
            text = ask.say(
                "Mật khẩu mới cần ít nhất 10 ký tự.",
                "The new password needs 10 characters or more.",
            )
            return self._account(ask, text, 400)
        return RedirectResponse(SIGN_IN, 303)


def signed_in(ask: Ask, secret: str, to: str, *, traces: bool) -> Response:
    """The answer that gives a browser the session *secret* and leads it to the page *to*."""
    to = own_path(to)
    answer = RedirectResponse("/tracing" if traces and to == "/" else to, 303)
    answer.set_cookie(SESSION_COOKIE, secret, httponly=True, samesite="lax", secure=is_https(ask))
    return answer


def address_of(ask: Ask) -> str:
    """From where *ask* came."""
    return ask.request.client.host if ask.request.client else ""


def is_https(ask: Ask) -> bool:
    """Whether it came by HTTPS."""
    return ask.request.url.scheme == "https"
