from collections.abc import Callable
from pathlib import Path

import pytest

from edge.errors import EdgeError
from edge.scanner.pending_enrolment import (
    IDENTITY,
    PENDING,
    PendingEnrolment,
    pend,
    read_pending,
    wipe_identity,
)
from tests.power import PowerCut, power_for

FIRST = PendingEnrolment(
    deployment="gia-lai", unit="xe-1", url="https://broker.example:8884", token=b"1" * 101
)
SECOND = PendingEnrolment(
    deployment="gia-lai", unit="xe-1", url="https://[2001:db8::1]:8884", token=b"2" * 101
)


def test_what_is_pending_is_read_as_it_was_written_and_is_nobody_elses(tmp_path: Path) -> None:
    folder = tmp_path / IDENTITY
    assert read_pending(folder) is None

    pend(FIRST, tmp_path)
    pend(SECOND, tmp_path)

    assert read_pending(folder) == SECOND
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / PENDING).stat().st_mode & 0o777 == 0o600


def test_whenever_the_power_goes_the_former_or_the_new_is_pending(tmp_path: Path) -> None:
    for steps in range(40):
        root = tmp_path / str(steps)
        pend(FIRST, root)
        try:
            with power_for(steps):
                pend(SECOND, root)
        except PowerCut:
            assert read_pending(root / IDENTITY) in (FIRST, SECOND)
        else:
            assert read_pending(root / IDENTITY) == SECOND
            return
    raise AssertionError("it takes more steps than were tried")


@pytest.mark.parametrize("work", [lambda root: pend(FIRST, root), wipe_identity])
def test_a_link_in_the_place_of_the_folder_leads_root_nowhere(
    tmp_path: Path, work: Callable[[Path], None]
) -> None:
    # The folder above belongs to the scanner.
    other = tmp_path / "etc/edge"
    other.mkdir(parents=True, mode=0o755)
    (other / "scanner.toml").write_text("kept")
    folder = tmp_path / IDENTITY
    folder.parent.mkdir(parents=True)
    folder.symlink_to(other)

    work(tmp_path)

    assert [path.name for path in other.iterdir()] == ["scanner.toml"]
    assert (other / "scanner.toml").read_text() == "kept"
    assert other.stat().st_mode & 0o777 == 0o755
    assert not folder.is_symlink()


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    pend(FIRST, tmp_path)
    (tmp_path / IDENTITY / PENDING).write_bytes(b"{")

    with pytest.raises(EdgeError, match="new card or set-up code"):
        read_pending(tmp_path / IDENTITY)
