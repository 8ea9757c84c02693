"""The schema within what Citus accepts, read from the catalogue of a real PostgreSQL.

Citus can be had neither from pip nor from Debian, so it does not run here. It refuses a unique key
of a distributed table that does not hold the column by which it distributes; and a table that
nobody has thought of would stay on one server.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from edge.storage.control import Control
from edge.storage.storage import Storage
from tests.fakes import a_scan, came
from tests.postgresql import PostgresqlServer

README = Path(__file__).parents[2] / "edge/storage/README.md"
NOW = "2021-07-02T02:00:00.000Z"
#: What grows with scans and units, by the column that every key of it holds.
DISTRIBUTED = dict.fromkeys(
    ["scan", "held", "boot", "stop", "scans_by_quarter", "scans_by_day"], "unit"
)
#: What is small stays with the coordinator: above all what is locked for several units at once.
LOCAL = {
    *("unit", "session", "unit_config", "unit_event", "unit_group"),
    *("command", "desired", "feed", "schema_change", "set_aside"),
    *(
        "gone",
        "erasing",
        "asked_again",
        "receipt_due",
        "broker_session",
        "expired_day",
        "day_ahead",
    ),
}

_TABLES = """
    SELECT t.relname, coalesce(p.relname, t.relname) FROM pg_class t
    JOIN pg_namespace n ON n.oid = t.relnamespace
    LEFT JOIN pg_inherits h ON h.inhrelid = t.oid LEFT JOIN pg_class p ON p.oid = h.inhparent
    WHERE t.relkind IN ('r', 'p') AND n.nspname = current_schema()
"""
_UNIQUE_KEYS = """
    SELECT i.relname, array(SELECT a.attname::text FROM pg_attribute a
                            WHERE a.attrelid = t.oid AND a.attnum = ANY (x.indkey))
    FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
    WHERE x.indisunique AND t.relname = %s
"""


@pytest.fixture
def catalogue(postgresql_server: PostgresqlServer) -> Iterator[psycopg.Connection]:
    url = postgresql_server.new_database()
    storage = Storage(url)
    Control(storage.database)
    # A day of its own, too.
    storage.store([came("pleiku", "cong-1", a_scan(1, clock="ntp"))], NOW)
    storage.close()
    with psycopg.connect(url) as connection:
        yield connection
    postgresql_server.drop_database(url)


def test_every_key_of_a_distributed_table_holds_the_column_it_is_distributed_by(
    catalogue: psycopg.Connection,
) -> None:
    looked_at = set()
    for table, whole in catalogue.execute(_TABLES).fetchall():
        if whole not in DISTRIBUTED:
            continue
        for key, columns in catalogue.execute(_UNIQUE_KEYS, [table]).fetchall():
            assert DISTRIBUTED[whole] in columns, f"{key} of {table}"
            looked_at.add(table)
    assert DISTRIBUTED.keys() < looked_at, "and partitions by day beside them"


def test_it_is_decided_of_every_table_where_it_is(catalogue: psycopg.Connection) -> None:
    tables = {whole for _, whole in catalogue.execute(_TABLES).fetchall()}

    assert tables == DISTRIBUTED.keys() | LOCAL


def test_the_steps_in_the_guide_name_the_same_tables() -> None:
    guide = README.read_text(encoding="utf-8")

    steps = re.findall(r"create_distributed_table\('(\w+)', '(\w+)'\)", guide)
    assert dict(steps) == DISTRIBUTED


def test_no_table_refers_to_another(catalogue: psycopg.Connection) -> None:
    """Citus lets a distributed table refer to few others."""
    found = catalogue.execute("SELECT conname FROM pg_constraint WHERE contype = 'f'")

    assert found.fetchall() == []
