"""The settings by which every role finds the storage."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from edge import config


class StorageSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where scans are stored."""

    #: A file, `sqlite:///<file>`, or `postgresql://user@host,host/name`.
    url: Annotated[str, Meta(min_length=1)] = "/var/lib/edge/storage.db"
    password_file: str = ""

    def password(self, beside: Path) -> str:
        """The password for PostgreSQL, from a file *beside* the settings; "" if it needs none."""
        return config.secret(self.password_file, beside) if self.password_file else ""
