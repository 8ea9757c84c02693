from pathlib import Path

import pytest

from edge.errors import EdgeError
from edge.scanner.disk_health import in_memory, time_writes, wear


def a_disk(root: Path, device: str = "mmcblk0p2", **files: str) -> Path:
    """A file system root whose disk tells *files*, named by their place under its device."""
    (root / "proc").mkdir()
    (root / "proc/mounts").write_text(f"/dev/{device} / ext4 rw,noatime 0 0\nproc /proc proc rw\n")
    whole = root / "sys/devices/mmc0/block/mmcblk0"
    (whole / "mmcblk0p2").mkdir(parents=True)
    (whole / "mmcblk0p2/partition").write_text("2\n")
    (whole / "device").mkdir()
    (root / "sys/class/block").mkdir(parents=True)
    (root / "sys/class/block/mmcblk0p2").symlink_to(whole / "mmcblk0p2")
    (root / "sys/fs/ext4/mmcblk0p2").mkdir(parents=True)
    for name, content in files.items():
        folder = root / "sys/fs/ext4/mmcblk0p2" if name == "errors_count" else whole / "device"
        (folder / name).write_text(f"{content}\n")
    return root


def test_a_card_that_tells_little_is_no_concern(tmp_path: Path) -> None:
    root = a_disk(tmp_path, name="SD32G", date="08/2025", errors_count="0")

    assert wear(Path("/"), root) == ("SD32G 08/2025, tells no wear, no errors", False)


def test_an_emmc_tells_its_wear(tmp_path: Path) -> None:
    root = a_disk(tmp_path, life_time="0x03 0x01", pre_eol_info="0x01")

    assert wear(Path("/"), root) == ("/dev/mmcblk0p2, 30 % of its life used", False)


@pytest.mark.parametrize(
    "files", [{"life_time": "0x09 0x01"}, {"life_time": "0x01 0x01", "pre_eol_info": "0x02"}]
)
def test_a_card_that_grows_old_is_a_concern(tmp_path: Path, files: dict[str, str]) -> None:
    text, concern = wear(Path("/"), a_disk(tmp_path, **files))

    assert concern
    assert text.endswith("soon put in another card: edge-provision card")


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"life_time": "0x0b 0x01"}, "end of its life"),
        ({"pre_eol_info": "0x03"}, "end of its life"),
        ({"errors_count": "2"}, "has 2 errors of its file system"),
    ],
)
def test_a_card_that_is_at_its_end_is_named(
    tmp_path: Path, files: dict[str, str], why: str
) -> None:
    with pytest.raises(EdgeError, match=why):
        wear(Path("/"), a_disk(tmp_path, **files))


@pytest.mark.parametrize("life", ["", "unknown", "0x00 0x00"])
def test_what_is_not_told_is_not_made_up(tmp_path: Path, life: str) -> None:
    text, concern = wear(Path("/"), a_disk(tmp_path, life_time=life))

    assert "tells no wear" in text
    assert not concern


def test_a_disk_that_is_no_card_is_looked_at_as_well(tmp_path: Path) -> None:
    assert wear(Path("/"), a_disk(tmp_path, device="mapper/root"))[0].startswith("/dev/mapper/root")


def test_writes_are_timed_and_leave_nothing(tmp_path: Path) -> None:
    times = time_writes(tmp_path)

    assert 0 < times.median_ms <= times.worst_ms
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "cmdline", "lost"),
    [
        ("ext4 rw", "", False),
        ("tmpfs rw", "", True),
        # A container, of which nobody can see where it is written to.
        ("overlay rw,lowerdir=/lower,upperdir=/elsewhere/up,workdir=/w", "root=/dev/vda", False),
        # What raspi-config makes of the system, of old and of late.
        ("overlay rw,lowerdir=/lower,upperdir=/upper/data,workdir=/w", "boot=overlay quiet", True),
        ("overlay rw,lowerdir=/lower,upperdir=/x/up,workdir=/w", "a overlayroot=tmpfs b", True),
        ("overlay rw,lowerdir=/l,upperdir={folder}/rw/up,workdir={folder}/rw/w", "", True),
        ("overlay rw,lowerdir=/l,upperdir={folder}/disk/up,workdir={folder}/disk/w", "", False),
    ],
)
def test_what_is_gone_with_the_power_is_known(
    tmp_path: Path, kind: str, cmdline: str, lost: bool
) -> None:
    for name in ("rw", "disk"):
        (tmp_path / name / "up").mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cmdline").write_text(cmdline + "\n")
    (tmp_path / "proc/mounts").write_text(
        f"overlay / {kind.format(folder=tmp_path)} 0 0\ntmpfs {tmp_path}/rw tmpfs rw 0 0\n"
        f"/dev/vda {tmp_path}/disk ext4 rw 0 0\n"
    )

    assert in_memory(Path("/var/lib/edge/outbox"), tmp_path) is lost
