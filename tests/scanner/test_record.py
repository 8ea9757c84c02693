"""What a unit remembers, over restarts and power cuts."""

import os
from pathlib import Path

import pytest
from msgspec import Struct

from edge.scanner.record import RecordFile


class Kept(Struct):
    number: int = 0


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    RecordFile(tmp_path / "kept.json", Kept).write(Kept(7))

    assert RecordFile(tmp_path / "kept.json", Kept).read() == Kept(7)


@pytest.mark.parametrize("content", [None, b"", b'{"number": "x"}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_missing_or_spoilt_begins_anew(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "kept.json").write_bytes(content)

    assert RecordFile(tmp_path / "kept.json", Kept).read() == Kept()


def test_what_another_put_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "kept.json")

    assert RecordFile(tmp_path / "kept.json", Kept).read() == Kept()


def test_a_disk_that_takes_nothing_stops_nobody_who_can_do_without(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "away" / "kept.json", Kept)
    file.try_write(Kept(1))

    with pytest.raises(OSError, match="No such file"):
        file.write(Kept(1))
