"""A backup is whole while the storage is in use, and can be put back; a full disk loses nothing."""

import json
import shutil
import stat
import subprocess
import threading
from pathlib import Path

import pytest
import sqlalchemy

from edge.collector.__main__ import main
from edge.errors import StorageError
from edge.storage.rows import Gap, UnitScans
from edge.storage.storage import Storage
from tests.fakes import a_scan, came
from tests.postgresql import PostgresqlServer

NOW = "2021-07-02T09:00:00.000Z"
BATCH = 20


def scans(first: int, count: int) -> list[UnitScans]:
    return [
        came("pleiku", "cong-1", a_scan(seq, at=NOW, clock="ntp"))
        for seq in range(first, first + count)
    ]


class Busy:
    """A collector that stores one batch after the other, whatever happens beside it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self.began = threading.Event()
        self.stored = 0
        self._thread = threading.Thread(target=self._store)

    def __enter__(self) -> "Busy":
        self._thread.start()
        assert self.began.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _store(self) -> None:
        storage = Storage(self._url)
        while not self._stop.is_set():
            storage.store(scans(self.stored + 1, BATCH), NOW)
            self.stored += BATCH
            self.began.set()
        storage.close()


def settings(folder: Path, url: str) -> Path:
    config = folder / "collector.toml"
    config.write_text(f'[storage]\nurl = "{url}"\n')
    return config


def check_restored(storage: Storage, stored: int) -> None:
    """What was stored up to a moment is there, and what came after it is found to be missing."""
    there = storage.count()
    assert 0 < there <= stored
    assert there % BATCH == 0, "a batch is there whole or not at all"
    assert storage.units()[0].gaps == []
    assert [seq for _, _, seq, _ in storage.scan_numbers()] == list(range(1, there + 1))
    # The unit was told that all was stored, and goes on with its next one.
    storage.store(scans(stored + BATCH + 1, 1), NOW)
    (gap,) = storage.gaps_to_ask_for(NOW)
    epoch = a_scan(1).epoch
    assert gap == Gap("pleiku", "cong-1", epoch, there + 1, stored + BATCH, NOW)
    # It keeps what was confirmed for an hour, and sends that again.
    storage.store(scans(there + 1, stored + BATCH - there), NOW)
    assert storage.units()[0].gaps == []
    assert storage.gaps_to_ask_for(NOW) == []


def test_a_backup_of_a_storage_in_use_is_whole_and_can_be_put_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, backup = tmp_path / "storage.db", tmp_path / "backup.db"
    config = settings(tmp_path, str(file))
    with Busy(str(file)) as busy:
        assert main(["backup", str(backup), "--json", "--config", str(config)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert (facts["file"], facts["received"]) == (str(backup), NOW)
    assert facts["bytes"] == backup.stat().st_size
    assert {path.name for path in tmp_path.iterdir()} <= {
        *("storage.db", "storage.db-wal", "storage.db-shm", "backup.db", "collector.toml")
    }

    # As the manual says: all three files aside, then the copy in their place.
    (tmp_path / "aside").mkdir()
    for each in tmp_path.glob("storage.db*"):
        each.rename(tmp_path / "aside" / each.name)
    shutil.copy(backup, file)

    storage = Storage(file)
    assert storage.count() == facts["scans"]
    check_restored(storage, busy.stored)
    storage.close()


def test_a_backup_takes_no_other_files_place_and_leaves_nothing_half_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings(tmp_path, f"{tmp_path}/storage.db")
    backup = tmp_path / "backup.db"
    assert main(["backup", str(backup), "--config", str(config)]) == 1
    assert "there is no storage" in capsys.readouterr().err
    Storage(tmp_path / "storage.db").close()
    backup.write_text("something dear")
    assert main(["backup", str(backup), "--config", str(config)]) == 1
    assert "there is a file already" in capsys.readouterr().err
    assert backup.read_text() == "something dear"

    assert main(["backup", str(tmp_path / "no" / "backup.db"), "--config", str(config)]) == 1

    assert "cannot write a backup" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.new*"))


def test_a_postgresql_is_backed_up_with_its_own_programs_while_it_is_in_use(
    postgresql_server: PostgresqlServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgresql_server.new_database()
    config = settings(tmp_path, url)
    programs, dump = postgresql_server._programs, tmp_path / "edge.dump"
    with Busy(url) as busy:
        assert main(["backup", str(dump), "--config", str(config)]) == 1
        assert "pg_dump --format=custom" in capsys.readouterr().err
        subprocess.run([programs / "pg_dump", "--format=custom", f"--file={dump}", url], check=True)
    other = postgresql_server.new_database()
    subprocess.run(
        [programs / "pg_restore", f"--dbname={other}", "--exit-on-error", dump], check=True
    )

    storage = Storage(other)
    check_restored(storage, busy.stored)
    storage.close()
    for each in (url, other):
        postgresql_server.drop_database(each)


def test_a_full_disk_keeps_nothing_of_a_batch_and_says_what_to_do(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage.db")
    storage.store(scans(1, 10), NOW)

    def fill(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # what there is: no page more

    sqlalchemy.event.listen(storage.database._pool, "begin", fill)
    with pytest.raises(StorageError, match="disk is full; make room there"):
        storage.store(scans(11, 5000), NOW)
    # It can be read all the same.
    assert storage.count() == 10
    sqlalchemy.event.remove(storage.database._pool, "begin", fill)
    with storage.database.reading() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1073741823")

    assert storage.store(scans(11, 5000), NOW) == 5000
    storage.close()
