"""The demonstration's dashboard: its settings, an account to look in with, a place with a name."""

import json
import secrets
from datetime import date, timedelta
from pathlib import Path

from edge.clock import SystemClock
from edge.dashboard.people import People
from edge.dashboard.storing import open_database
from edge.register import AdminArea, Place, Register
from edge.storage.places import keep_register
from edge.storage.settings import StorageSettings

ACCOUNT = "demo"


def settings(storage: Path, port: int) -> str:
    """The dashboard's settings, as TOML."""
    # What JSON writes of these strings, TOML reads.
    return f"""
title = "Quét mã ra vào (chạy thử)"
[web]
port = {port}
[storage]
url = {json.dumps(str(storage))}
[reports]
folder = {json.dumps(str(storage.parent / "reports"))}
[set_up]
basis_folder = {json.dumps(str(storage.parent / "basis"))}
basis_key_file = {json.dumps(str(storage.parent / "basis.pub"))}
"""


def prepare(storage: Path) -> str:
    """Make the account, or give it a new password, and register the place; gives the password."""
    database = open_database(StorageSettings(url=str(storage)), storage.parent)
    now, password = SystemClock().now().at, secrets.token_urlsafe(9)
    people = People(database, timedelta(hours=12), timedelta(days=7))
    if any(person.name == ACCOUNT for person in people.all()):
        people.set_password(ACCOUNT, password)
    else:
        people.add(ACCOUNT, "operator", password, now)
    area = AdminArea(since=date(2025, 7, 1), province="Gia Lai", commune="Phường Mẫu")
    place = Place(id="cho-1", name="Chợ Mẫu, cổng 1", kind="market", admin=(area,))
    keep_register(database, Register(places=(place,)), now)
    database.close()
    return password
