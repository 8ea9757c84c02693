"""A real browser, and the dashboard served to it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from edge.dashboard.rights import Role
from edge.serving import Server
from tests.dashboard.parts import Deployment
from tests.fakes import LIMIT_S

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: Where pictures of the pages go; not part of the project.
SCREENSHOTS = Path(__file__).parents[2] / ".screenshots"
#: A cheap phone, and a desk.
SIZES = {"phone": {"width": 360, "height": 740}, "desktop": {"width": 1280, "height": 900}}

_FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def served(deployment: Deployment, port: int = 0) -> Iterator[str]:
    """The address of *deployment*'s pages, on *port* or one of their own."""
    server = Server(deployment.application.asgi(), Path("."), host="127.0.0.1", port=port)
    server.start()
    yield server.url.rstrip("/")
    server.stop()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium with a new profile; skips where there is none."""
    if CHROMIUM is None:
        pytest.skip("chromium is missing: sudo apt install chromium")
    with tempfile.TemporaryDirectory(prefix="edge-chromium-"), sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=list(_FLAGS),
            chromium_sandbox=False,
            timeout=1000 * LIMIT_S,
        )
        yield browser
        browser.close()


class Visitor:
    """One person's browser window, which notes whatever goes wrong in it."""

    def __init__(
        self, browser: Browser, url: str, size: str, language: str, theme: str = "light"
    ) -> None:
        self.url, self.size, self.language, self.theme = url, size, language, theme
        self.context: BrowserContext = browser.new_context(
            viewport=SIZES[size],  # type: ignore[arg-type]
            has_touch=size == "phone",
            is_mobile=size == "phone",
            locale="vi-VN",
        )
        self.context.set_default_timeout(1000 * LIMIT_S)
        host = urlsplit(url).netloc
        self.context.add_cookies(
            [
                {"name": "edge-language", "value": language, "url": url},
                {"name": "edge-theme", "value": theme, "url": url},
            ]
        )
        #: What the console said, and what was asked of anybody else.
        self.complaints: list[str] = []
        #: Bytes that came over the wire, by path.
        self.bytes: dict[str, int] = {}
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.context.on(
            "request",
            lambda request: (
                self.complaints.append(f"request elsewhere: {request.url}")
                if urlsplit(request.url).netloc != host
                else None
            ),
        )

    def sign_in(self, deployment: Deployment, role: Role) -> None:
        """Be *role* from here on."""
        self.context.add_cookies(
            [{"name": "edge-session", "value": deployment.session(role), "url": self.url}]
        )

    def open(self, path: str) -> int:
        """Open *path*; gives the status of the answer."""
        answer = self.page.goto(self.url + path)
        assert answer is not None
        sizes = answer.request.sizes()
        self.bytes[path] = sizes["responseBodySize"] + sizes["responseHeadersSize"]
        return answer.status

    def flaws(self) -> list[str]:
        """What axe finds on this page that is serious or worse."""
        # The checker's own script is not bound by our policy: it is put in from outside.
        found = Axe().run(self.page, options={"resultTypes": ["violations"]})
        violations: list[dict[str, Any]] = found.response["violations"]
        return [
            f"{flaw['id']}: {flaw['help']}: {flaw['nodes'][0]['html'][:200]}"
            for flaw in violations
            if flaw["impact"] in ("serious", "critical")
        ]

    def is_wider_than_the_window(self) -> bool:
        """Whether the page as a whole would have to be moved sideways."""
        return bool(
            self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth + 1")
        )

    def picture(self, name: str) -> None:
        """Keep a picture of the page."""
        SCREENSHOTS.mkdir(exist_ok=True)
        file = SCREENSHOTS / f"{name}-{self.size}-{self.language}-{self.theme}.png"
        self.page.screenshot(path=file, full_page=True)
