"""Turns what a page found out into HTML. Jinja2 escapes every value, whoever it came from."""

import hashlib
import re
from collections.abc import Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from edge.dashboard import local_time
from edge.dashboard.rights import Right
from edge.dashboard.web import PART_HEADER, Ask
from edge.dashboard.words import CLOCKS, EYES, WAYS, detail_text
from edge.refusals import why_refused

ASSETS = Path(str(resources.files("edge.dashboard") / "assets"))
THEME_COOKIE = "edge-theme"
THEMES = ("auto", "light", "dark")
_TOKEN = re.compile(r'name="token" value="[^"]*"')

#: What stands in the menu, and the right that shows it.
MENU: tuple[tuple[str, str, str, Right], ...] = (
    ("/", "Bây giờ", "Now", "see places"),
    ("/units", "Thiết bị", "Units", "see units"),
    ("/alarms", "Cảnh báo", "Alarms", "see alarms"),
    ("/coverage", "Độ phủ", "Coverage", "see coverage"),
    ("/areas", "Sơ đồ", "Map", "see coverage"),
    ("/reports", "Báo cáo", "Reports", "see coverage"),
    ("/set-up", "Thiết lập", "Set-up", "see set-up"),
    ("/tracing", "Truy vết", "Tracing", "trace"),
    ("/people", "Người dùng", "People", "manage people"),
)


class Pages:
    """Shows templates."""

    def __init__(self, title: str) -> None:
        """*title*: the name of the deployment."""
        self._title = title
        self._environment = Environment(
            loader=PackageLoader("edge.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "asset": partial(_asset_path, _asset_marks()),
            "EYES": EYES,
            "WAYS": WAYS,
            "CLOCKS": CLOCKS,
            "why_refused": why_refused,
            "detail_text": detail_text,
            "day_of": local_time.local_day,
        }

    def page(self, ask: Ask, template: str, status: int = 200, **values: Any) -> Response:
        """*template* with *values*, for whoever asks."""
        text = self._environment.get_template(template).render(self._common(ask) | values)
        if PART_HEADER not in ask.request.headers:
            return HTMLResponse(text, status)
        # Asked for every few seconds, over 3G, and mostly as it was. A form's token always differs.
        content = _TOKEN.sub("", text).encode()
        mark = {"etag": f'"{hashlib.sha256(content).hexdigest()[:20]}"'}
        if ask.request.headers.get("if-none-match") == mark["etag"]:
            return Response(status_code=304, headers=mark)
        return HTMLResponse(text, status, headers=mark)

    def live(self, ask: Ask, template: str, **values: Any) -> Response:
        """A page that follows what happens, or, if that is asked for, the part of it that does."""
        part = "_live" if PART_HEADER in ask.request.headers else ""
        return self.page(ask, f"{template}{part}.html", **values)

    def message(self, ask: Ask, title: str, text: str, status: int) -> Response:
        """A page that only says something."""
        return self.page(ask, "message.html", status, title=title, text=text)

    def busy(self, ask: Ask) -> Response:
        """What somebody is told who asks for a file while another one is being made."""
        return self.message(
            ask,
            ask.say("Hãy đợi một chút", "Wait a little"),
            ask.say(
                "Đang lập một tệp khác. Hãy thử lại sau một phút.",
                "Another file is being made. Try again in a minute.",
            ),
            429,
        )

    def _common(self, ask: Ask) -> dict[str, Any]:
        theme = ask.request.cookies.get(THEME_COOKIE, "")
        query = f"?{ask.request.url.query}" if ask.request.url.query else ""
        return {
            "ask": ask,
            "viewer": ask.viewer,
            "_": ask.say,
            "deployment": self._title,
            "theme": theme if theme in THEMES else "auto",
            "here": ask.request.url.path + query,
            "menu": [
                (path, ask.say(vi, en), _current(path, ask.request.url.path))
                for path, vi, en, right in MENU
                if ask.viewer and ask.viewer.may(right)
            ],
            "at": lambda utc: local_time.clock_text(utc, ask.now, ask.language),
            "at_or_text": lambda utc: local_time.clock_text_or(utc, ask.now, ask.language),
            "day_or_text": lambda utc: local_time.day_text_or(utc, ask.language),
            "second": lambda utc: local_time.second_text(utc, ask.now, ask.language),
            "ago": lambda utc: local_time.ago_text(utc, ask.now, ask.language),
            "local_day": lambda utc: local_time.day_text(local_time.local_day(utc), ask.language),
            "number": lambda number, decimals=0: local_time.number_text(
                number, ask.language, decimals
            ),
            "day": lambda day: local_time.day_text(day, ask.language),
        }


def _current(path: str, here: str) -> str:
    """What a menu says of *path* to somebody who is *here*: at that page, below it, or neither."""
    if here == path:
        return "page"
    return "true" if path != "/" and here.startswith(f"{path}/") else ""


def _asset_marks() -> dict[str, str]:
    """A mark of each asset's content for its address, so that a browser may keep it for ever."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:12]
        for file in sorted(ASSETS.iterdir())
        if file.is_file()
    }


def _asset_path(marks: Mapping[str, str], name: str) -> str:
    return f"/assets/{name}?{marks[name]}"
