"""What a phone on 3G has to load: bytes and requests of every page, and of looking on."""

import re
from collections.abc import Mapping
from pathlib import Path

from edge.register import Place, Register
from edge.storage.places import keep_register
from edge.storage.rows import Report
from edge.storage.storage import Storage
from tests.dashboard.parts import OWN_PLACE, Deployment, example_path
from tests.fakes import a_health, a_status

#: Bytes on the wire, with their headers: of a page, of the first visit's style, script and icon
#: together, and of an answer that nothing has changed.
A_PAGE, ONCE, UNCHANGED = 8_000, 9_500, 800
GZIP = {"accept-encoding": "gzip"}


def a_province(folder: Path) -> Deployment:
    """More places and units than a page lists."""
    deployment = Deployment(folder)
    deployment.add_register()
    deployment.add_units()
    places = tuple(
        Place(id=f"diem-{n}", name=f"Điểm quét số {n} của phường Mẫu", kind="market")
        for n in range(90)
    )
    keep_register(deployment.database, Register(places=places), deployment.clock.now().at)
    storage, now = Storage(deployment.file), deployment.clock.now().at
    reports = [
        Report("gialai", f"thiet-bi-{n}", message)
        for n in range(90)
        for message in (
            a_status(state="online", place=f"diem-{n}"),
            a_health(clock="none" if n % 3 else "ntp", fill=0.9, hours_left=3.0),
        )
    ]
    storage.store_reports(reports, now)
    storage.close()
    deployment.add_scans(OWN_PLACE, "cong-1", ins=150)
    deployment.add_alarms()
    deployment.parts.reporting.step()
    return deployment


def test_every_page_is_light_even_in_a_province(tmp_path: Path) -> None:
    deployment = a_province(tmp_path)
    found = {}
    for page in deployment.application.pages:
        if "GET" not in page.methods or page.path == "/choose" or page.path.endswith("{form}"):
            continue
        client = deployment.client("desk" if page.right == "trace" else "operator")
        path = example_path(page.path)
        answer = client.get(path, headers=GZIP)
        assert answer.headers["content-encoding"] == "gzip", path
        found[path] = weight(answer.headers)
        # One style sheet, one script, one icon, and nothing else, from anywhere.
        asked = re.findall(r'(?:src|rel="(?:stylesheet|icon)" href)="([^"]+)"', answer.text)
        assert [name.partition("?")[0] for name in asked] == [
            "/assets/icon.svg",
            "/assets/pages.css",
            "/assets/live.js",
        ], path
    assert {path: size for path, size in found.items() if size > A_PAGE} == {}

    client = deployment.client("operator")
    assets = [client.get(name, headers=GZIP) for name in asked]
    assert sum(weight(asset.headers) for asset in assets) <= ONCE
    for asset in assets:
        # Kept for good: a change has another address.
        assert "immutable" in asset.headers["cache-control"]
    part = client.get("/", headers=GZIP | {"x-part": "live"})
    mark = {"x-part": "live", "if-none-match": part.headers["etag"]}
    assert weight(client.get("/", headers=GZIP | mark).headers) <= UNCHANGED
    deployment.close()


def weight(headers: Mapping[str, str]) -> int:
    """Bytes of the body, compressed as it came, and of the headers."""
    lines = sum(len(name) + len(value) + 4 for name, value in headers.items())
    return int(headers.get("content-length", "0")) + lines
