"""A dashboard for tests: storage with invented units, an account of each role, and its pages."""

from collections.abc import Iterable
from datetime import date, time, timedelta
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from argon2 import PasswordHasher
from starlette.testclient import TestClient

from edge.clock import utc_seconds, utc_text
from edge.dashboard.alarm_rules import Finding
from edge.dashboard.app import Application
from edge.dashboard.local_time import local_day
from edge.dashboard.parts import build
from edge.dashboard.people import People
from edge.dashboard.reporting import ReportSettings
from edge.dashboard.rights import ROLES, Role
from edge.dashboard.scope import Scope
from edge.dashboard.settings import DashboardSettings
from edge.dashboard.storing import open_database
from edge.opening_hours import DAYS
from edge.register import AdminArea, Opening, Place, Register, Vehicle
from edge.storage.places import keep_register
from edge.storage.rows import Report
from edge.storage.settings import StorageSettings
from edge.storage.storage import Storage
from tests.fakes import FakeClock, a_health, a_scan, a_status, came

PASSWORD = "mot-mat-khau-dai"
#: The manager's; the other places are not.
OWN_PLACE, OTHER_PLACE = "cho-pleiku", "ben-xe-mau"
#: What a stranger might call a thing, to see what our pages make of it.
HOSTILE = """=1+1<script>alert('x')</script>"&{{7*7}}"""


class Deployment:
    """Storage in a folder, the application on it, and a clock in the test's hands."""

    def __init__(
        self, folder: Path, settings: DashboardSettings | None = None, url: str = ""
    ) -> None:
        """*url*: the database; "" for an SQLite file in *folder*."""
        self.clock = FakeClock()
        self.clock.synchronized = True
        self.file = url or str(folder / "storage.db")
        self.database = open_database(StorageSettings(url=self.file), folder)
        self._seq = 0
        # At its recommended costs each of the many sign-ins of tests would take 50 ms and more.
        hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        self.people = People(self.database, timedelta(hours=12), timedelta(days=7), hasher)
        for role in ROLES:
            places = Scope.of([OWN_PLACE] if role == "manager" else [])
            self.people.add(role, role, PASSWORD, self.clock.now().at, places)
        settings = settings or DashboardSettings(
            reports=ReportSettings(folder=str(folder / "reports"))
        )
        self.parts = build(settings, self.database, self.people, self.clock, folder)
        self.application = Application(self.parts)

    def add_units(self) -> None:
        """Two places with units in every condition."""
        storage = Storage(self.file)
        now = self.clock.now().at
        for unit, place, state, health in (
            ("cong-1", OWN_PLACE, "online", a_health(clock="ntp", pending=3)),
            ("cong-2", OWN_PLACE, "online", a_health(clock="none", fill=0.8, hours_left=11.0)),
            ("cua-1", OTHER_PLACE, "offline", a_health(clock="ntp")),
        ):
            status = a_status(state="online", place=place)
            storage.store_reports([Report("pleiku", unit, status)], now)
            storage.store_reports([Report("pleiku", unit, health)], now)
            if state != "online":
                away = a_status(state=state, place=place, birth=2)
                storage.store_reports([Report("pleiku", unit, away)], now)
        storage.close()

    def add_register(self) -> None:
        """A market, a bus station and a bus, each with its dated tree."""
        areas = (
            AdminArea(
                since=date(2020, 1, 1),
                until=date(2025, 6, 30),
                province="Gia Lai",
                district="Thành phố Pleiku",
                commune="Phường Mẫu",
            ),
            AdminArea(since=date(2025, 7, 1), province="Gia Lai", commune="Phường Pleiku"),
        )
        places = (
            Place(
                id=OWN_PLACE,
                name="Chợ Mẫu, cổng 1",
                kind="market",
                address="Đường Mẫu, Pleiku",
                admin=areas,
                body="Ban quản lý Chợ Mẫu",
                hours=(Opening(days=DAYS, opens=time(5), closes=time(18)),),
            ),
            Place(id=OTHER_PLACE, name="Bến xe Mẫu", kind="station", admin=areas),
            Place(
                id="xe-81b-01234",
                name="Xe buýt 81B-012.34",
                kind="vehicle",
                admin=areas,
                vehicle=Vehicle(plate="81B-012.34", route="Pleiku - Chư Sê"),
            ),
        )
        keep_register(self.database, Register(places=places), self.clock.now().at)

    def add_list(self, scans: Iterable[tuple[str, str, str, str]]) -> None:
        """Scans: place, unit, direction, and when (UTC)."""
        made = []
        for place, unit, direction, at in scans:
            self._seq += 1
            scan = a_scan(self._seq, place=place, direction=direction, at=at, clock="ntp")
            made.append(came("pleiku", unit, scan))
        storage = Storage(self.file)
        storage.store(made, self.clock.now().at)
        storage.close()

    def add_scans(
        self, place: str, unit: str, ins: int = 0, outs: int = 0, day: date | None = None
    ) -> None:
        """So many scans, at 08:30 in Viet Nam, on *day* or today."""
        at = self.clock.now().at if day is None else f"{day}T01:30:00.000Z"
        self.add_list([(place, unit, "in", at)] * ins + [(place, unit, "out", at)] * outs)

    def add_busy_days(self) -> None:
        """Two weeks of a market and a bus station, with a morning and an evening rush."""
        random = Random(144)
        now, today = utc_seconds(self.clock.now().at), local_day(self.clock.now().at)
        scans = []
        for back in range(14, -1, -1):
            midnight = utc_seconds(f"{today - timedelta(days=back)}T00:00:00+07:00")
            for unit, place, rush_h in (("cong-1", OWN_PLACE, 6.0), ("cua-1", OTHER_PLACE, 7.0)):
                for direction, later in (("in", 0.0), ("out", 1.5)):
                    for _ in range(random.randrange(30, 60)):
                        hour = random.gauss(rush_h + later, 1.0) + random.choice((0, 0, 10))
                        seconds = midnight + 3600 * min(max(hour, 0.0), 23.9)
                        if seconds <= now:
                            scans.append((place, unit, direction, utc_text(seconds)))
        self.add_list(scans)

    def add_alarms(self) -> None:
        """A new one, one that somebody sees to, and one that is over."""
        alarms, now = self.parts.alarms, self.clock.now().at
        alarms.begin(Finding("unit-offline", "cua-1", OTHER_PLACE), now)
        alarms.begin(Finding("outbox-filling", "cong-2", OWN_PLACE, "80 %"), now)
        alarms.acknowledge([2], "technician", now)
        alarms.begin(Finding("place-silent", OTHER_PLACE, OTHER_PLACE), now)
        alarms.clear(3, now)

    def client(self, role: Role | None = None, address: str = "192.0.2.1") -> TestClient:
        """A browser at *address*, signed in as *role* or not at all."""
        client = TestClient(
            self.application.asgi(), follow_redirects=False, client=(address, 50000)
        )
        if role is not None:
            client.cookies.set("edge-session", self.session(role))
        return client

    def session(self, role: Role) -> str:
        """A session of *role*'s account."""
        secret = self.people.sign_in(role, PASSWORD, self.clock.now().at)
        assert secret is not None
        return secret

    def close(self) -> None:
        """Give the database back."""
        self.database.close()


#: Something that is there, for each parameter of an address.
EXAMPLES = (
    ("unit", "cong-1"),
    ("name", "manager"),
    ("place", OWN_PLACE),
    ("number", "1"),
    ("period", "daily"),
    ("last", "2021-07-01"),
    ("form", "csv"),
)


def token_in(page: str) -> str:
    """The token that the forms of *page* carry."""
    return page.partition('name="token" value="')[2].partition('"')[0]


def example_path(path: str) -> str:
    """*path* of a route with something that is there in place of its parameters."""
    # A file of scans is of one place.
    query = f"?place={OWN_PLACE}" if path == "/scans/{form}" else ""
    for name, value in EXAMPLES:
        path = path.replace(f"{{{name}}}", value)
    return path + query


def path_of(location: str) -> str:
    """The path of an address."""
    return urlsplit(location).path
