"""The database on both engines: transactions, numbered changes, and errors that say what to do."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from edge.errors import ConfigError, StorageError
from edge.storage.database import Database


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `changed` with no changes yet; gives the folder for them."""
    folder = tmp_path / "packages" / "changed" / "schema"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(folder.parents[1]))
    yield folder
    sys.modules.pop("changed", None)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def fill(database: Database, *values: int) -> None:
    with database.writing() as connection:
        for value in values:
            connection.execute(text("INSERT INTO thing (n) VALUES (:n)"), {"n": value})


def things(database: Database) -> list[int]:
    with database.reading() as connection:
        return list(connection.scalars(text("SELECT n FROM thing ORDER BY n")))


def test_changes_are_applied_once_and_in_order(
    database: Database, package: Path, database_url: str
) -> None:
    (package / "0001_thing.sql").write_text("CREATE TABLE thing (n INTEGER NOT NULL);")
    database.migrate("changed")
    fill(database, 1, 2**40)
    (package / "0002_more.sql").write_text(
        "-- Two statements; a WITHOUT ROWID in a comment means nothing.\n"
        "ALTER TABLE thing ADD COLUMN data BLOB;\n"
        "CREATE TABLE other (name TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;\n"
    )
    database.migrate("changed")
    database.migrate("changed")

    again = Database(database_url)
    again.migrate("changed")
    assert things(again) == [1, 2**40]
    with again.writing() as connection:
        connection.execute(text("UPDATE thing SET data = :data"), {"data": b"\x00\xff"})
        for name in ("b", "a", "Z", "à"):
            connection.execute(text("INSERT INTO other VALUES (:name)"), {"name": name})
    with again.reading() as connection:
        assert connection.scalar(text("SELECT min(data) FROM thing WHERE n = 1")) == b"\x00\xff"
        # By bytes, whatever language the server speaks.
        names = list(connection.scalars(text("SELECT name FROM other ORDER BY name")))
    assert names == ["Z", "a", "b", "à"]
    again.close()


def test_a_change_may_be_written_for_each_engine(database: Database, package: Path) -> None:
    (package / "0001_thing.sqlite.sql").write_text("CREATE TABLE thing (n INTEGER);")
    (package / "0001_thing.postgresql.sql").write_text("CREATE TABLE thing (n numeric);")
    database.migrate("changed")

    fill(database, 3)
    assert things(database) == [3]


def test_a_change_that_fails_leaves_nothing(database: Database, package: Path) -> None:
    (package / "0001_thing.sql").write_text("CREATE TABLE thing (n INTEGER);\nNONSENSE;\n")

    with pytest.raises(StorageError, match=r"cannot change the tables: .*syntax error"):
        database.migrate("changed")

    (package / "0001_thing.sql").write_text("CREATE TABLE thing (n INTEGER);")
    database.migrate("changed")
    assert things(database) == []


def test_tables_of_the_future_are_refused(database: Database, package: Path) -> None:
    (package / "0001_thing.sql").write_text("CREATE TABLE thing (n INTEGER);")
    (package / "0002_more.sql").write_text("CREATE TABLE more (n INTEGER);")
    database.migrate("changed")
    (package / "0002_more.sql").unlink()

    with pytest.raises(StorageError, match="update the software"):
        database.migrate("changed")


def test_several_may_change_the_tables_at_once(database_url: str, package: Path) -> None:
    (package / "0001_thing.sql").write_text("CREATE TABLE thing (n INTEGER);")
    code = (
        "import sys; from edge.storage.database import Database;"
        "sys.stdin.read(1); sys.path.insert(0, sys.argv[2]);"
        "database = Database(sys.argv[1]); database.migrate('changed'); database.close()"
    )
    opening = [
        subprocess.Popen(
            [sys.executable, "-c", code, database_url, str(package.parents[1])],
            stdin=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    # All have Python and our modules loaded by the time the last is told to go on.
    for process in opening:
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.close()

    assert [process.wait(60) for process in opening] == [0, 0, 0]


def test_a_transaction_is_kept_whole_or_not_at_all(database: Database, package: Path) -> None:
    (package / "0001_thing.sql").write_text("CREATE TABLE thing (n INTEGER);")
    database.migrate("changed")
    fill(database, 1)

    def break_down() -> None:
        with database.writing() as connection:
            connection.execute(text("INSERT INTO thing (n) VALUES (2)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_down()

    assert things(database) == [1]


def test_questions_of_one_reading_see_one_moment(database: Database, package: Path) -> None:
    (package / "0001_thing.sql").write_text("CREATE TABLE thing (n INTEGER);")
    database.migrate("changed")
    fill(database, 1)

    with database.reading() as connection:
        first = connection.scalar(text("SELECT count(*) FROM thing"))
        fill(database, 2)
        second = connection.scalar(text("SELECT count(*) FROM thing"))

    assert (first, second) == (1, 1)
    assert things(database) == [1, 2]


def test_errors_are_one_line_without_what_was_to_be_written(
    database: Database, package: Path
) -> None:
    (package / "0001_thing.sql").write_text("CREATE TABLE thing (n INTEGER NOT NULL PRIMARY KEY);")
    database.migrate("changed")
    fill(database, 4711)

    with pytest.raises(StorageError) as raised, database.writing("keep a thing") as connection:
        connection.execute(text("INSERT INTO thing (n) VALUES (:n)"), {"n": 4711})

    message = str(raised.value)
    assert "cannot keep a thing: " in message
    assert "4711" not in message
    assert "\n" not in message


def test_a_plain_path_is_a_file(tmp_path: Path) -> None:
    Database(str(tmp_path / "a b.db")).close()
    Database(f"sqlite:///{tmp_path}/c.db").close()

    assert {file.name for file in tmp_path.glob("*.db")} == {"a b.db", "c.db"}


def test_what_is_written_to_a_file_is_synced(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "storage.db"))

    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    database.close()


def test_a_writer_waits_for_another(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "storage.db"))
    code = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read(1)
db.execute("CREATE TABLE thing (n)")
db.execute("COMMIT")
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "storage.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        other.stdin.write(b"x")
        other.stdin.close()
        fill_after = Database(str(tmp_path / "storage.db"))
        with fill_after.writing() as connection:
            connection.execute(text("INSERT INTO thing (n) VALUES (1)"))
        fill_after.close()
    database.close()
    with sqlite3.connect(tmp_path / "storage.db") as db:
        assert db.execute("SELECT n FROM thing").fetchall() == [(1,)]


@pytest.mark.parametrize(
    "url", ["mysql://root@host/edge", "sqlite:///", "postgres:/x", "sqlite://file.db", "http://"]
)
def test_a_url_that_is_none_is_refused_with_what_it_must_be(url: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, StorageError), match=r"a storage cannot be|cannot open"):
        Database(url)


@pytest.mark.parametrize("scheme", ["postgres", "mysql", "sqlite"])
def test_a_url_that_is_none_is_told_without_its_password(scheme: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Database(f"{scheme}://edge:bi-mat@db1/edge")

    assert f"{scheme}://db1/edge" in str(refused.value)
    assert "bi-mat" not in str(refused.value)


def test_a_password_never_shows() -> None:
    with pytest.raises(StorageError) as raised:
        Database("postgresql://edge:geheim@127.0.0.1:9/edge", "secret")

    assert "geheim" not in str(raised.value)
    assert "secret" not in str(raised.value)
    assert str(raised.value).startswith("postgresql://127.0.0.1:9/edge: cannot open the storage: ")
