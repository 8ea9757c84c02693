"""Opens storage with the tables that the dashboard adds to it."""

from pathlib import Path

from edge.storage.database import Database
from edge.storage.storage import Storage


def open_database(file: str) -> Database:
    """The database in *file*, brought up to date. Raises StorageError."""
    # Whoever comes first makes the collector's tables.
    Storage(Path(file)).close()
    database = Database(file)
    database.migrate("edge.dashboard")
    return database
