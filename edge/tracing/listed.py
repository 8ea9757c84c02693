"""Long lists in SQL, in parts that both engines take."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, TextClause, bindparam, text

#: So many values stand in one list of a statement.
LIST = 400


def chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """*values* in parts of LIST."""
    for start in range(0, len(values), LIST):
        yield values[start : start + LIST]


def with_list(sql: str) -> TextClause:
    """The statement *sql*, whose `:list` takes a list."""
    return text(sql).bindparams(bindparam("list", expanding=True))


def rows_of(connection: Connection, sql: str, values: Sequence[Any]) -> Iterator[Any]:
    """The rows that *sql* gives for each part of *values* as its `:list`."""
    statement = with_list(sql)
    for chunk in chunks(values):
        yield from connection.execute(statement, {"list": chunk})
