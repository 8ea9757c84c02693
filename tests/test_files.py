"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.files import make_file, read_small, remove_file, replace_file, wipe_file


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, [b"old"])

    replace_file(path, [b"ne", b"w"])

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_another_has_made_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    make_file(path, [b"first"], 0o640)

    with pytest.raises(FileExistsError):
        make_file(path, [b"second"])

    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, [b"old"])

    def failing() -> Iterator[bytes]:
        yield b"new, but not a"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        replace_file(path, failing())

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_that_stands_in_the_way_is_not_followed(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_bytes(b"untouched")
    (tmp_path / "file.new").symlink_to(victim)
    path.symlink_to(victim)

    replace_file(path, [b"new"])

    assert victim.read_bytes() == b"untouched"
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()


def test_wiping_a_link_leaves_alone_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"theirs")
    (tmp_path / "link").symlink_to(tmp_path / "theirs")

    wipe_file(tmp_path / "link")

    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "theirs").read_bytes() == b"theirs"


def test_anothers_file_is_read_if_it_is_one_and_small(tmp_path: Path) -> None:
    file, pipe, link = tmp_path / "file", tmp_path / "pipe", tmp_path / "link"
    file.write_bytes(b"x" * 100)
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")

    assert read_small(file, 100) == b"x" * 100
    with pytest.raises(OSError, match="more than 99"):
        read_small(file, 99)
    # Neither waited for nor read without an end.
    for path in (pipe, link, Path("/dev/zero")):
        with pytest.raises(OSError):  # noqa: PT011
            read_small(path)


def test_a_small_file_is_not_read_through_a_link(tmp_path: Path) -> None:
    secret, link = tmp_path / "secret", tmp_path / "link"
    secret.write_bytes(b"root's")
    link.symlink_to(secret)

    with pytest.raises(OSError, match="symbolic links"):
        read_small(link)


@pytest.mark.parametrize("does", ["replace", "make", "remove"])
def test_a_power_cut_takes_neither_a_file_nor_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    path = tmp_path / "file"
    if does == "remove":
        path.write_bytes(b"old")
    synced: list[tuple[str, bool]] = []

    def sync(number: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{number}"), path.exists()))

    monkeypatch.setattr(os, "fsync", sync)
    if does == "remove":
        remove_file(path)
    else:
        {"replace": replace_file, "make": make_file}[does](path, [b"new"])

    # What is in it before it has its name, and then the folder, in which the name is or is not.
    assert synced[-1] == (str(tmp_path), does != "remove")
    if does != "remove":
        written, had_name = synced[0]
        assert written.startswith(f"{path}.")
        assert not had_name
