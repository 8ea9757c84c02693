"""What was erased from the index goes into the audit, wherever the desk is killed.

It stands in the index from the transaction on that erased, and is taken out by the one in which it
is recorded. What is recorded as the desk is killed is recorded again, with the same number.
"""

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, text

from edge.storage.database import Database
from edge.tracing.audit import Audit
from edge.tracing.index import Note, Purged


def noting(who: str, **facts: Any) -> Note:
    """Has it recorded, with *facts*, that *who* erased it."""

    def note(connection: Connection, purged: Purged) -> None:
        connection.execute(
            text("INSERT INTO audit_due (who, facts) VALUES (:who, :facts)"),
            {"who": who, "facts": json.dumps({"tier": "index"} | facts | asdict(purged))},
        )

    return note


def record_due(database: Database, audit: Audit) -> None:
    """Record what was erased, also before a kill. Raises ChainError; it stays due then."""
    with database.reading("look for what is to be recorded") as connection:
        if connection.execute(text("SELECT 1 FROM audit_due LIMIT 1")).first() is None:
            return
    with database.writing("record what was erased") as connection:
        due = connection.execute(text("DELETE FROM audit_due RETURNING number, who, facts")).all()
        for row in sorted(due, key=lambda row: int(row.number)):
            audit.record(row.who, "erased", erasure=row.number, **json.loads(row.facts))
