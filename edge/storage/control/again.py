"""The wish that units are asked at once for the scans that are missing."""

import uuid

import sqlalchemy

from edge.storage.database import Database


class AskedAgain:
    """The table of such wishes. Its tables are those of control."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def wish(self, by: str, now: str) -> str:
        """*by* wants units to be asked; gives the wish's id."""
        wish = uuid.uuid4().hex
        with self._database.writing("ask units again") as connection:
            connection.execute(
                sqlalchemy.text(
                    "INSERT INTO asked_again (id, asked_by, asked) VALUES (:id, :by, :now)"
                ),
                {"id": wish, "by": by, "now": now},
            )
        return wish

    def take(self, now: str) -> list[str]:
        """Take up what is wished for; of several collectors each wish is one's. Gives the ids."""
        wished = sqlalchemy.text("SELECT id FROM asked_again WHERE taken = ''")
        with self._database.reading("ask units again") as connection:
            found = [wish for (wish,) in connection.execute(wished)]
        taken = []
        for wish in found:
            with self._database.writing("ask units again") as connection:
                took = connection.execute(
                    sqlalchemy.text(
                        "UPDATE asked_again SET taken = :now WHERE id = :id AND taken = ''"
                    ),
                    {"id": wish, "now": now},
                )
                if took.rowcount:
                    taken.append(wish)
        return taken

    def done(self, wish: str, units: int) -> None:
        """So many units were asked because of *wish*."""
        with self._database.writing("ask units again") as connection:
            connection.execute(
                sqlalchemy.text("UPDATE asked_again SET units = :units WHERE id = :id"),
                {"id": wish, "units": units},
            )

    def units_asked(self, wish: str) -> int | None:
        """How many units were asked because of *wish*; None while no collector has done it."""
        with self._database.reading("ask units again") as connection:
            units: int | None = connection.scalar(
                sqlalchemy.text("SELECT units FROM asked_again WHERE id = :id"), {"id": wish}
            )
        return units
