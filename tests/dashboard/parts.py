"""A dashboard for tests: storage with invented units, an account of each role, and its pages."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from argon2 import PasswordHasher
from starlette.testclient import TestClient

from edge.dashboard.app import Application
from edge.dashboard.people import People
from edge.dashboard.rights import ROLES, Role
from edge.dashboard.settings import DashboardSettings
from edge.dashboard.storing import open_database
from edge.storage.rows import Report
from edge.storage.storage import Storage
from tests.fakes import FakeClock, a_health, a_status

PASSWORD = "mot-mat-khau-dai"
#: The manager's; the other places are not.
OWN_PLACE, OTHER_PLACE = "cho-pleiku", "ben-xe-duc-long"
#: What a stranger might call a thing, to see what our pages make of it.
HOSTILE = """=1+1<script>alert('x')</script>"&{{7*7}}"""


class Deployment:
    """Storage in a folder, the application on it, and a clock in the test's hands."""

    def __init__(self, folder: Path, settings: DashboardSettings | None = None) -> None:
        self.clock = FakeClock()
        self.clock.synchronized = True
        self.file = str(folder / "storage.db")
        self.database = open_database(self.file)
        # At its recommended costs each of the many sign-ins of tests would take 50 ms and more.
        hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        self.people = People(self.database, timedelta(hours=12), timedelta(days=7), hasher)
        for role in ROLES:
            places = [OWN_PLACE] if role == "manager" else []
            self.people.add(role, role, PASSWORD, self.clock.now().at, places)
        self.application = Application(
            settings or DashboardSettings(), self.database, self.people, self.clock
        )

    def add_units(self) -> None:
        """Two places with units in every condition."""
        storage = Storage(Path(self.file))
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

    def client(self, role: Role | None = None) -> TestClient:
        """A browser, signed in as *role* or not at all."""
        client = TestClient(self.application.asgi(), follow_redirects=False)
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


def token_in(page: str) -> str:
    """The token that the forms of *page* carry."""
    return page.partition('name="token" value="')[2].partition('"')[0]


def example_path(path: str) -> str:
    """*path* of a route with something that is there in place of its parameters."""
    for name, value in (("unit", "cong-1"), ("name", "manager"), ("place", OWN_PLACE)):
        path = path.replace(f"{{{name}}}", value)
    return path


def path_of(location: str) -> str:
    """The path of an address."""
    return urlsplit(location).path
