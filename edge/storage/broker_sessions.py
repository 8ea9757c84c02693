"""What a collector has had a broker keep for it. A broker tells nobody, and keeps it for good."""

from collections.abc import Collection, Mapping

import sqlalchemy

from edge.storage.database import Database


class BrokerSessions:
    """The sessions of one collector, by name, and the filters of what each hears."""

    def __init__(self, database: Database, collector: str) -> None:
        self._database, self._collector = database, collector

    def note(self, wanted: Mapping[str, Collection[str]]) -> None:
        """Write down what is about to be asked for. Raises StorageError."""
        rows = [
            {"collector": self._collector, "name": name, "filter": one}
            for name, filters in wanted.items()
            for one in filters
        ]
        with self._database.writing("note the sessions at the broker") as connection:
            connection.execute(
                sqlalchemy.text(
                    "INSERT INTO broker_session (collector, name, filter)"
                    " VALUES (:collector, :name, :filter) ON CONFLICT DO NOTHING"
                ),
                rows,
            )

    def all(self) -> dict[str, set[str]]:
        """What a broker may still keep. Raises StorageError."""
        found: dict[str, set[str]] = {}
        with self._database.reading("read the sessions at the broker") as connection:
            for name, one in connection.execute(
                sqlalchemy.text(
                    "SELECT name, filter FROM broker_session WHERE collector = :collector"
                    " ORDER BY name, filter"
                ),
                {"collector": self._collector},
            ):
                found.setdefault(name, set()).add(one)
        return found

    def forget_beyond(self, name: str, wanted: Collection[str] = ()) -> None:
        """The session *name* hears *wanted* and nothing else any more. Raises StorageError."""
        with self._database.writing("forget a session at the broker") as connection:
            connection.execute(
                sqlalchemy.text(
                    "DELETE FROM broker_session WHERE collector = :collector AND name = :name"
                    " AND filter NOT IN :wanted"
                ).bindparams(
                    sqlalchemy.bindparam("wanted", expanding=True, type_=sqlalchemy.String)
                ),
                {"collector": self._collector, "name": name, "wanted": list(wanted)},
            )
