"""The headers that every answer carries, so that a browser does only what these pages need."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: No inline script or style, nothing from elsewhere, no frame around us.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
#: Two years; sent over HTTPS only, where it binds.
_HTTPS_ONLY = ("strict-transport-security", "max-age=63072000")


class SecurityHeaders:
    """ASGI middleware that adds them. A page is never cached, unless its answer says otherwise."""

    def __init__(self, app: ASGIApp, forms_to: str = "") -> None:
        """*forms_to*: another server that the answer to a form may lead to; "" for none."""
        self._app = app
        policy = CONTENT_SECURITY_POLICY.replace(
            "form-action 'self'", f"form-action 'self' {forms_to}".rstrip()
        )
        self._headers = _HEADERS | {"content-security-policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                present = {name.lower() for name, _ in headers}
                wanted = dict(self._headers)
                if scope["scheme"] == "https":
                    wanted.update([_HTTPS_ONLY])
                if b"cache-control" not in present:
                    wanted["cache-control"] = "no-store"
                headers += [(name.encode(), value.encode()) for name, value in wanted.items()]
            await send(message)

        await self._app(scope, receive, send_with)
