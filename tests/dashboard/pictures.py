"""Makes the pictures of the pages that stand in the READMEs, of invented places and numbers.

    make pictures

A market, a few gates, a bus station and buses, with two weeks of scans; seeded, so that a picture
changes only if its page does.
"""

import argparse
import io
import sys
import tempfile
from collections.abc import Sequence
from datetime import date, time, timedelta
from pathlib import Path
from random import Random

from PIL import Image

from edge.clock import utc_seconds, utc_text
from edge.dashboard.local_time import local_day
from edge.dashboard.reporting import ReportSettings
from edge.dashboard.scope import Scope
from edge.dashboard.settings import DashboardSettings
from edge.opening_hours import DAYS
from edge.register import TWO_LEVELS_FROM, AdminArea, Opening, Place, Register, Vehicle
from edge.storage.places import keep_register, note_heard
from edge.storage.rows import Report
from edge.storage.storage import Storage
from tests.dashboard.browser import Visitor, chromium, served
from tests.dashboard.parts import Deployment
from tests.fakes import a_health, a_status

INTO = Path(__file__).parents[2] / "edge" / "dashboard"
BODY = "Ban quản lý Chợ Mẫu"
#: Place, name, kind, commune, its units with their way, scans a day; the manager has those of BODY.
PLACES: tuple[tuple[str, str, str, str, tuple[tuple[str, str], ...], int], ...] = (
    ("cho-mau-1", "Chợ Mẫu, cổng 1", "market", "Pleiku", (("m1-vao", "in"), ("m1-ra", "out")), 420),
    ("cho-mau-2", "Chợ Mẫu, cổng 2", "market", "Pleiku", (("m2", "both"),), 180),
    ("ben-xe", "Bến xe Mẫu", "station", "Diên Hồng", (("bx-1", "in"), ("bx-2", "out")), 300),
    ("cho-ia-thu", "Chợ Ia Thử", "market", "Ia Thử", (("it-1", "in"),), 90),
    ("tram-y-te", "Trạm y tế Ia Thử", "hospital", "Ia Thử", (("yt-1", "in"),), 0),
    ("xe-mau", "Xe buýt 81B-000.01", "vehicle", "Pleiku", (("xe-1", "in"),), 120),
    ("sieu-thi", "Siêu thị Mẫu", "mall", "Diên Hồng", (), 0),
)


def main(args: list[str] | None = None) -> int:
    """Make them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=INTO)
    into: Path = parser.parse_args(args).into
    with tempfile.TemporaryDirectory(prefix="edge-pictures-") as folder:
        deployment = a_town(Path(folder))
        with served(deployment) as url, chromium() as browser:
            for name, size, role, path in (
                ("now", "phone", "manager", "/"),
                ("place", "phone", "operator", "/places/cho-mau-1"),
                ("scans", "phone", "operator", "/scans?place=cho-mau-1&since=24&until=25"),
                (
                    "coverage",
                    "desktop",
                    "department",
                    "/coverage?by=commune&first=2026-03-11&last=2026-03-11",
                ),
            ):
                visitor = Visitor(browser, url, size, "vi")
                visitor.sign_in(deployment, role)  # type: ignore[arg-type]
                visitor.open(path)
                taken = visitor.page.screenshot(full_page=size == "phone")
                # A page has few colours: a quarter of the bytes.
                small = Image.open(io.BytesIO(taken)).convert("RGB").quantize(64)
                small.save(into / f"{name}.png", optimize=True)
                print(into / f"{name}.png")
        deployment.close()
    return 0


def a_town(folder: Path) -> Deployment:
    """Those places, with scans of two weeks."""
    settings = DashboardSettings(
        title="Quét mã ra vào, tỉnh Gia Lai",
        reports=ReportSettings(folder=str(folder / "reports")),
    )
    deployment = Deployment(folder, settings)
    # A Thursday after the districts, 9:46 in Viet Nam.
    deployment.clock.advance((date(2026, 3, 12) - date(2021, 7, 2)).days * 86_400 + 3600)
    deployment.people.change("manager", "manager", True, Scope.of(bodies=[BODY]))
    now = deployment.clock.now().at
    places = tuple(_place(*about) for *about, _, _ in PLACES)
    keep_register(deployment.database, Register(places=places), now)
    random = Random(144)
    for place, _, _, _, units, scans in PLACES:
        _add_units(deployment, place, units, away=place == "tram-y-te")
        for unit, direction in units:
            deployment.add_list(
                (place, unit, direction, at) for at in _times(deployment, random, scans)
            )
    note_heard(deployment.database, now)
    return deployment


def _place(name: str, title: str, kind: str, commune: str) -> Place:
    area = AdminArea(since=TWO_LEVELS_FROM, province="Gia Lai", commune=f"Phường {commune}")
    return Place(
        id=name,
        name=title,
        kind=kind,
        admin=(area,),
        body=BODY if name.startswith("cho-mau") else "",
        hours=(Opening(days=DAYS, opens=time(5), closes=time(18)),) if kind == "market" else (),
        vehicle=Vehicle(plate="81B-000.01", route="Pleiku - Ia Thử") if kind == "vehicle" else None,
    )


def _add_units(
    deployment: Deployment, place: str, units: Sequence[tuple[str, str]], *, away: bool
) -> None:
    storage, now = Storage(deployment.file), deployment.clock.now().at
    for unit, direction in units:
        for message in (
            a_status(state="online", place=place, direction=direction),
            a_health(
                clock="ntp", pending=2, eye="good", certificate_ends="2031-01-01T00:00:00.000Z"
            ),
            *((a_status(state="offline", place=place, birth=2),) if away else ()),
        ):
            storage.store_reports([Report("gialai", unit, message)], now)
    storage.close()


def _times(deployment: Deployment, random: Random, scans: int) -> list[str]:
    """Moments of 15 days with two rushes, until now."""
    now, today = utc_seconds(deployment.clock.now().at), local_day(deployment.clock.now().at)
    found = []
    for back in range(14, -1, -1):
        midnight = utc_seconds(f"{today - timedelta(days=back)}T00:00:00+07:00")
        for _ in range(int(scans * random.uniform(0.8, 1.2))):
            hour = random.gauss(7.5, 1.6) if random.random() < 0.7 else random.gauss(15.5, 1.2)
            seconds = midnight + 3600 * min(max(hour, 4.5), 18.0)
            if seconds <= now:
                found.append(utc_text(seconds))
    return found


if __name__ == "__main__":
    sys.exit(main())
