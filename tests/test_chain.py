"""A chained record: it grows, and whatever else is done to it is found."""

import multiprocessing
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.chain import Chain, entries, verify
from edge.errors import ChainError

AT = "2026-11-25T01:30:00.000Z"


def a_chain(path: Path, count: int = 5) -> list[str]:
    chain = Chain(path)
    return [chain.append(AT, "asked", {"n": n, "who": "Lê Thị Mẫu"}).hash for n in range(count)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away: run it as root")
def test_a_record_that_root_begins_belongs_to_whom_the_folder_does(tmp_path: Path) -> None:
    """Else the collector, which erases nothing without a receipt, could never write one again."""
    path = tmp_path / "erased.jsonl"
    try:
        os.chown(tmp_path, 65_534, 65_534)
    except OSError as err:
        pytest.skip(f"this root may give nothing away ({err.strerror}): run it outside a container")
    a_chain(path, 1)
    assert (path.stat().st_uid, path.stat().st_gid) == (65_534, 65_534)

    # Whose it is later is nobody's business here.
    os.chown(path, 0, 0)
    a_chain(path, 1)
    assert path.stat().st_uid == 0


def test_what_was_appended_is_read_in_order(tmp_path: Path) -> None:
    heads = a_chain(tmp_path / "audit.jsonl")

    read = list(entries(tmp_path / "audit.jsonl"))

    assert [entry.facts["n"] for entry in read] == [0, 1, 2, 3, 4]
    assert [entry.n for entry in read] == [1, 2, 3, 4, 5]
    assert verify(tmp_path / "audit.jsonl").hash == heads[-1]
    assert Chain(tmp_path / "audit.jsonl").head().entries == 5
    assert verify(tmp_path / "missing.jsonl").entries == 0


@pytest.mark.parametrize("line", range(4))
@pytest.mark.parametrize("what", ["change", "drop", "double", "swap"])
def test_a_line_that_was_touched_is_named(tmp_path: Path, line: int, what: str) -> None:
    path = tmp_path / "audit.jsonl"
    a_chain(path)
    lines = path.read_bytes().splitlines(keepends=True)
    if what == "change":
        lines[line] = lines[line].replace("Lê".encode(), b"Le ")
    elif what == "drop":
        del lines[line]
    elif what == "double":
        lines.insert(line, lines[line])
    else:
        lines[line], lines[line + 1] = lines[line + 1], lines[line]
    path.write_bytes(b"".join(lines))

    with pytest.raises(ChainError, match=r"audit\.jsonl: line [1-6] does not follow"):
        verify(path)


def test_an_end_that_was_cut_off_is_found_by_a_head_from_before(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    heads = a_chain(path)
    verify(path, heads[2])
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))

    verify(path)
    verify(path, heads[2])
    with pytest.raises(ChainError, match="cut off or rewritten"):
        verify(path, heads[-1])


def test_a_write_that_a_power_cut_ended_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    a_chain(path)
    with path.open("ab") as file:
        file.write(b'{"n":6,"at":"2026')

    assert verify(path).entries == 5
    assert Chain(path).append(AT, "asked", {}).entries == 6
    assert verify(path).entries == 6


def append_many(path: Path) -> None:
    chain = Chain(path)
    for n in range(50):
        chain.append(AT, "asked", {"n": n, "x": "y" * 3000})


def test_two_processes_write_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writers = [multiprocessing.Process(target=append_many, args=(path,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    assert verify(path).entries == 100


@pytest.mark.parametrize("content", [b"\n", b"[]\n", b'{"n":1}\n', b"\xff\n"])
def test_what_is_no_record_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(content)

    with pytest.raises(ChainError, match=r"audit\.jsonl"):
        verify(path)
    with pytest.raises(ChainError, match=r"audit\.jsonl"):
        Chain(path).append(AT, "asked", {})


def test_a_record_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ChainError, match="cannot write"):
        Chain(tmp_path / "no" / "audit.jsonl").append(AT, "asked", {})
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ChainError, match="cannot write"):
        Chain(tmp_path / "link").append(AT, "asked", {})


def test_hostile_text_stays_one_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    facts: dict[str, Any] = {"purpose": 'x\n{"n":9}\r\u2028\x00"'}

    Chain(path).append(AT, "asked", facts)

    assert path.read_bytes().count(b"\n") == 1
    assert next(entries(path)).facts == facts


def test_on_a_disk_that_is_nearly_full_an_entry_is_added_whole_or_not_at_all(
    tmp_path: Path,
) -> None:
    path = tmp_path / "chain"
    head = a_chain(path)[-1]
    before = path.read_bytes()
    with pytest.raises(ChainError, match="File too large"), limited(len(before) + 40):
        Chain(path).append(AT, "asked", {"n": 5, "who": "Lê Thị Mẫu"})

    assert path.read_bytes() == before
    assert verify(path, head).entries == 5
    a_chain(path, 1)
    assert verify(path, head).entries == 6


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Files may have so many bytes: a write is cut short there, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
