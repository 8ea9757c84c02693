"""Signing in at the office's own server: there, and back."""

import logging

from starlette.responses import RedirectResponse, Response

from edge.cli import printable
from edge.clock import Clock
from edge.dashboard.linked_accounts import BEGUN_S, LinkedAccounts
from edge.dashboard.oidc import CALLBACK, Provider
from edge.dashboard.pages.account import address_of, is_https, signed_in
from edge.dashboard.show import Pages
from edge.dashboard.web import Ask, Page, own_path
from edge.errors import SignInError
from edge.limits import RateLimit

log = logging.getLogger(__name__)

#: Held by the browser between going and coming back.
BROWSER_COOKIE = "edge-oidc"


class OidcPages:
    """The way to the other server, and the way back."""

    def __init__(
        self, show: Pages, provider: Provider, linked: LinkedAccounts, clock: Clock
    ) -> None:
        self._show, self._provider, self._linked = show, provider, linked
        self._of_address = RateLimit(clock, burst=30, seconds=20)

    def pages(self) -> list[Page]:
        """Their routes."""
        return [
            Page("/oidc/sign-in", self._begin, None),
            Page(CALLBACK, self._finish, None),
        ]

    def _begin(self, ask: Ask) -> Response:
        if self._of_address.wait_s(address_of(ask)):
            return self._refused(
                ask, SignInError("Quá nhiều lần thử; hãy đợi.", "Too many attempts; wait."), 429
            )
        begun = self._linked.begin(own_path(ask.query("to", "/")), ask.now)
        try:
            url = self._provider.begin(begun.state, begun.nonce, begun.verifier)
        except SignInError as err:
            return self._refused(ask, err, 502)
        answer = RedirectResponse(url, 303)
        answer.set_cookie(
            BROWSER_COOKIE,
            begun.browser,
            max_age=int(BEGUN_S),
            path="/oidc",
            httponly=True,
            # It must come along when the other server sends the browser back.
            samesite="lax",
            secure=is_https(ask),
        )
        return answer

    def _finish(self, ask: Ask) -> Response:
        try:
            begun = self._linked.take(
                ask.query("state"), ask.request.cookies.get(BROWSER_COOKIE, ""), ask.now
            )
            if error := ask.query("error"):
                raise SignInError(
                    "Bạn chưa đăng nhập ở máy chủ kia.",
                    "You were not signed in at the other server.",
                    printable(f"{error} {ask.query('error_description')}"[:300]),
                )
            issuer = self._provider.settings.issuer
            identity = self._provider.finish(ask.query("code"), begun.nonce, begun.verifier)
            name, secret = self._linked.sign_in(issuer, identity, ask.now)
        except SignInError as err:
            return self._refused(ask, err, 403)
        log.info("%s signed in from %s by %s", name, address_of(ask), issuer)
        answer = signed_in(ask, secret, begun.goal, traces=identity.role == "desk")
        answer.delete_cookie(BROWSER_COOKIE, path="/oidc")
        return answer

    def _refused(self, ask: Ask, why: SignInError, status: int) -> Response:
        log.warning("sign-in from %s: %s", address_of(ask), why)
        return self._show.page(
            ask,
            "message.html",
            status,
            title=ask.say("Không đăng nhập được", "Not signed in"),
            text=ask.say(why.vi, why.en),
        )
