"""Opens storage with the tables that the dashboard adds to it."""

from pathlib import Path

from edge.storage.database import Database
from edge.storage.settings import StorageSettings

#: Whoever comes first makes the tables, of the collector's too.
PACKAGES = (
    "edge.storage",
    "edge.storage.places",
    "edge.storage.keeping",
    "edge.storage.control",
    "edge.dashboard",
)


def open_database(where: StorageSettings, beside: Path) -> Database:
    """The database *where* says, brought up to date; secrets are *beside* the settings.

    Raises ConfigError or StorageError.
    """
    database = Database(where.url, where.password(beside))
    for package in PACKAGES:
        database.migrate(package)
    return database
