"""What was erased by an order and has no receipt yet, so that whoever erases may be killed.

It stands in the tables from the transaction on that erased, and is taken out by the one in which
the receipt is written. One that is killed in between is written again, with the same number.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True)
class Due:
    """An order that was followed."""

    number: int
    order_hash: str  #: SHA-256 of the order's file
    ordered: int  #: scans that it names
    identities: int  #: how many of them had one, which was erased


def note_due(connection: Connection, order_hash: str, ordered: int, identities: int) -> None:
    """Have a receipt written of what the transaction of *connection* has erased."""
    connection.execute(
        text(
            "INSERT INTO receipt_due (order_hash, ordered, identities)"
            " VALUES (:order_hash, :ordered, :identities)"
        ),
        {"order_hash": order_hash, "ordered": ordered, "identities": identities},
    )


def last_due(connection: Connection) -> int:
    """The number of what needs a receipt and was erased last; 0 if nothing does."""
    return int(connection.execute(text("SELECT max(number) FROM receipt_due")).scalar() or 0)


def take_due(connection: Connection, last: int) -> list[Due]:
    """Take out what needs a receipt, up to the number *last*.

    The receipts are to be written before this transaction ends.
    """
    rows = connection.execute(
        text(
            "DELETE FROM receipt_due WHERE number <= :last"
            " RETURNING number, order_hash, ordered, identities"
        ),
        {"last": last},
    )
    return sorted((Due(*row) for row in rows), key=lambda due: due.number)
