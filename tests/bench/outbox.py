"""The outbox beside a bare append, stock TinyDB and SQLite, in one run.

    python -m tests.bench.outbox [--pending N] [--folder F] [--scans N] [--quick]

Three Markdown tables:

* *Keeping*: wall and processor time of a durable put, taken in turn with the others, so that a busy
  disk is busy for all; `bare append` grows one file by a line and calls fdatasync.
* *Disk*: per scan, from a process of its own under strace: system calls, syncs, bytes written; and
  what reached the device of a private ext4, its journal included. Needs root and strace, else "-".
* *Backlog*: with none and with --pending scans waiting: a put beside a bare append, opening until
  the first scan, memory of the whole process, reading and forgetting all.

SQLite runs in WAL mode with synchronous=FULL and is told of each confirmation in a commit of its
own. Stock TinyDB writes everything anew for each scan; it is measured with few. --pending 1000000
takes some minutes and 1.1 GB. --quick is what a smoke test runs.
"""

import argparse
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec
from tinydb import TinyDB

from edge.messages import Scan
from edge.scanner.disk import Disk
from edge.scanner.outbox import Outbox
from tests.fakes import a_scan

CHILD = "--child"


class Store(Protocol):
    """What is measured."""

    def next(self) -> Scan: ...

    def put(self, scan: Scan) -> None: ...

    def drain(self) -> int: ...

    def close(self) -> None: ...


class Ours:
    def __init__(self, folder: Path, disk: Disk | None = None, own_blocks: bool = False) -> None:
        self.outbox = Outbox(
            folder, max_bytes=1 << 40, keep_free_bytes=0, disk=disk, own_blocks=own_blocks
        )

    def next(self) -> Scan:
        return a_scan(self.outbox.next_seq, self.outbox.epoch)

    def put(self, scan: Scan) -> None:
        self.outbox.put(scan)

    def drain(self) -> int:
        """Read and forget everything as the publisher does: gives how many there were."""
        number = after = 0
        while scans := self.outbox.oldest(100, after=after):
            number, after = number + len(scans), scans[-1].seq
            self.outbox.forget([(scans[0].seq, after)])
        return number

    def close(self) -> None:
        self.outbox.close()


class OwnBlocks(Ours):
    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        super().__init__(folder, disk, own_blocks=True)


class BareAppend:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._fd = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._seq = 0

    def next(self) -> Scan:
        self._seq += 1
        return a_scan(self._seq)

    def put(self, scan: Scan) -> None:
        os.write(self._fd, scan.encode() + b"\n")
        os.fdatasync(self._fd)

    def drain(self) -> int:
        return self._seq

    def close(self) -> None:
        os.close(self._fd)


class Sqlite:
    def __init__(self, folder: Path, *, synchronous: str = "FULL") -> None:
        folder.mkdir(exist_ok=True)
        self._db = sqlite3.connect(folder / "scans.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={synchronous}")
        self._db.execute("CREATE TABLE IF NOT EXISTS scans (seq INTEGER PRIMARY KEY, scan BLOB)")
        self._seq = self._db.execute("SELECT COALESCE(MAX(seq), 0) FROM scans").fetchone()[0]

    def next(self) -> Scan:
        self._seq += 1
        return a_scan(self._seq)

    def put(self, scan: Scan) -> None:
        row = (scan.seq, scan.encode())
        self._db.execute("INSERT INTO scans (seq, scan) VALUES (?, ?)", row)

    def drain(self) -> int:
        number = 0
        while rows := self._db.execute(
            "SELECT seq, scan FROM scans ORDER BY seq LIMIT 100"
        ).fetchall():
            number += len(rows)
            self._db.execute("DELETE FROM scans WHERE seq <= ?", (rows[-1][0],))
        return number

    def close(self) -> None:
        self._db.close()


class StockTinyDB:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._db = TinyDB(folder / "scans.json")
        self._seq = len(self._db)

    def next(self) -> Scan:
        self._seq += 1
        return a_scan(self._seq)

    def put(self, scan: Scan) -> None:
        self._db.insert(msgspec.to_builtins(scan))

    def drain(self) -> int:
        number = 0
        while ids := [document.doc_id for document in self._db.all()[:100]]:
            number += len(ids)
            self._db.remove(doc_ids=ids)
        return number

    def close(self) -> None:
        self._db.close()


STORES: dict[str, Callable[[Path], Store]] = {
    "bare append": BareAppend,
    "ours": Ours,
    "ours, own blocks": OwnBlocks,
    "SQLite": Sqlite,
    "stock TinyDB": StockTinyDB,
}


class Unsynced(Disk):
    """For filling a backlog, which is not what is measured."""

    def sync(self, fd: int) -> None:
        pass

    def sync_folder(self, folder: Path) -> None:
        pass


def main() -> int:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pending", type=int, default=20_000, help="default: %(default)s")
    parser.add_argument("--scans", type=int, default=600, help="puts of each; default: %(default)s")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: the system's")
    parser.add_argument("--quick", action="store_true", help="few of everything")
    parser.add_argument(CHILD, nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(*options.child)
    if options.quick:
        options.scans, options.pending = 60, 1000
    with tempfile.TemporaryDirectory(prefix="edge-bench-", dir=options.folder) as name:
        print_keeping(Path(name), options.scans)
        print_disk(Path(name), options.scans)
        print_backlog(Path(name), options.pending, options.scans)
    return 0


def print_keeping(folder: Path, scans: int) -> None:
    """How long a durable put takes."""
    stores = {name: make(folder / name.replace(" ", "-")) for name, make in STORES.items()}
    # By itself: it works so long that the caches are cold for whoever comes next.
    stock = {"stock TinyDB": stores.pop("stock TinyDB")}
    wall, cpu = puts_in_turn(stores, scans)
    stock_wall, stock_cpu = puts_in_turn(stock, scans)
    wall, cpu = wall | stock_wall, cpu | stock_cpu
    print(f"| keeping, {scans} scans | wall us, median / p95 | x bare append | CPU us, mean |")
    print("|---|---|---|---|")
    bare = statistics.median(wall["bare append"])
    for name, times in wall.items():
        p95 = sorted(times)[len(times) * 95 // 100]
        median = statistics.median(times)
        print(f"| {name} | {median:,.0f} / {p95:,.0f} | {median / bare:.2f} | {cpu[name]:,.0f} |")
    for store in (stores | stock).values():
        store.close()
    print(flush=True)


def puts_in_turn(
    stores: dict[str, Store], scans: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Wall microseconds of each put, and processor microseconds of one on average."""
    wall: dict[str, list[float]] = {name: [] for name in stores}
    cpu = dict.fromkeys(stores, 0.0)
    names = list(stores)
    for turn in range(scans):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            store = stores[name]
            scan = store.next()
            began, began_cpu = time.perf_counter(), time.process_time()
            store.put(scan)
            wall[name].append((time.perf_counter() - began) * 1e6)
            cpu[name] += (time.process_time() - began_cpu) * 1e6 / scans
    return wall, cpu


def print_disk(folder: Path, scans: int) -> None:
    """What a scan costs in calls, syncs and bytes."""
    print(
        f"| disk, {scans} scans | system calls | syncs | bytes written | device bytes | flushes |"
    )
    print("|---|---|---|---|---|---|")
    sqlite = 0.0
    for name in STORES:
        number = min(scans, 300) if name == "stock TinyDB" else scans
        calls = traced(folder, name, number)
        with private_ext4(folder) as device:
            on_device = device_use(device, name, number) if device else None
        if name == "SQLite" and on_device:
            sqlite = on_device[0]
        if name == "ours" and on_device:
            ours = on_device[0]
        cells = [f"{n:,.2f}" if n < 100 else f"{n:,.0f}" for n in calls] if calls else ["-"] * 3
        cells += [f"{on_device[0]:,.0f}", f"{on_device[1]:.2f}"] if on_device else ["-", "-"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    if sqlite:
        print(f"\nours writes {ours / sqlite:.2f} of SQLite's device bytes")
    print(flush=True)


def traced(folder: Path, name: str, scans: int) -> tuple[float, float, float] | None:
    """System calls, syncs and bytes written per put, of a process of its own."""
    if not shutil.which("strace"):
        return None
    log = folder / "strace.log"
    where = folder / f"traced-{name.replace(' ', '-')}"
    run = [sys.executable, "-m", "tests.bench.outbox", CHILD, name, str(where), str(scans), "mark"]
    subprocess.run(["strace", "-f", "-o", log, *run], check=True, capture_output=True)
    # The puts lie between two calls that nobody else makes.
    marked = re.split(r"access\(\"/edge-bench-mark\".*", log.read_text(errors="replace"))[1]
    calls = re.findall(r"^\d+ +(\w+)\(.*?(?:= (\d+))?$", marked, re.MULTILINE)
    syncs = sum(call in ("fsync", "fdatasync") for call, _ in calls)
    written = sum(int(n or 0) for call, n in calls if call in ("write", "pwrite64"))
    return len(calls) / scans, syncs / scans, written / scans


def device_use(device: tuple[Path, Path], name: str, scans: int) -> tuple[float, float]:
    """Bytes and flushes per put that reached *device*, a mounted folder and its statistics."""
    folder, stat = device
    run = [sys.executable, "-m", "tests.bench.outbox", CHILD, name, str(folder / "o"), str(scans)]
    found = subprocess.run([*run, str(stat)], check=True, capture_output=True, text=True)
    sectors, flushes = map(int, found.stdout.split())
    return sectors * 512 / scans, flushes / scans


def child(name: str, folder: str, scans: str, mark: str) -> int:
    """Put so many, between two marks for strace or two looks at a device's statistics."""
    store = STORES[name](Path(folder))
    store.put(store.next())
    before = look(mark)
    for _ in range(int(scans)):
        store.put(store.next())
    after = look(mark)
    print(*(b - a for a, b in zip(before, after, strict=True)))
    return 0


def look(mark: str) -> list[int]:
    if mark == "mark":
        os.access("/edge-bench-mark", os.R_OK)
        return []
    fields = Path(mark).read_text().split()
    return [int(fields[6]), int(fields[15])]


@contextmanager
def private_ext4(folder: Path) -> Iterator[tuple[Path, Path] | None]:
    """An ext4 of its own and the statistics of its device, or None where that cannot be had."""
    image, mounted = folder / "image", folder / "ext4"
    mounted.mkdir(exist_ok=True)
    try:
        with open(image, "wb") as file:
            file.truncate(256 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True, capture_output=True)
        mount = ["mount", "-o", "loop,noatime", str(image), str(mounted)]
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        source = next(
            line.split()[0]
            for line in Path("/proc/mounts").read_text().splitlines()
            if line.split()[1] == str(mounted)
        )
        # What making the filesystem has left to do must not be counted.
        os.sync()
        yield mounted, Path(f"/sys/block/{Path(source).name}/stat")
    finally:
        subprocess.run(["umount", mounted], check=True, capture_output=True)
        image.unlink()


def print_backlog(folder: Path, pending: int, scans: int) -> None:
    """An empty outbox and a full one, side by side."""
    small, large = folder / "small", folder / "large"
    for path, number in ((small, 0), (large, pending)):
        filling = Ours(path, Unsynced())
        for _ in range(number):
            filling.put(filling.next())
        filling.close()
    os.sync()
    opening = {path: in_a_process("open", path) for path in (small, large)}
    stores: dict[str, Store] = {
        "bare append": BareAppend(folder / "bare"), "empty": Ours(small), "full": Ours(large)
    }  # fmt: skip
    wall, cpu = puts_in_turn(stores, scans)
    for store in stores.values():
        store.close()
    draining = in_a_process("drain", large)
    print(f"| backlog | 0 | {pending:,} |\n|---|---|---|")
    median = {name: statistics.median(times) for name, times in wall.items()}
    empty, full = (median[name] / median["bare append"] for name in ("empty", "full"))
    print(f"| put, x bare append | {empty:.2f} | {full:.2f} |")
    print(f"| put, CPU us | {cpu['empty']:,.0f} | {cpu['full']:,.0f} |")
    print(f"| opening and the first scan, s | {opening[small][0]:.3f} | {opening[large][0]:.3f} |")
    print(f"| memory of the process, MB | {opening[small][1]:.1f} | {opening[large][1]:.1f} |")
    print(f"| pending, as it says itself | {opening[small][2]:,.0f} | {opening[large][2]:,.0f} |")
    print(f"| draining: CPU us a scan | - | {draining[0] * 1e6 / (pending + scans):.1f} |")
    print(f"| memory after draining, MB | - | {draining[1]:.1f} |")
    print(f"| disk after draining, MB | - | {draining[2] / 1e6:.1f} |", flush=True)


def in_a_process(what: str, path: Path) -> list[float]:
    """Open or drain the outbox in *path* in a process of its own: time, memory in MB, a count."""
    code = (
        "import time, resource, sys; from pathlib import Path\n"
        "from tests.bench.outbox import Ours\n"
        "began, cpu = time.perf_counter(), time.process_time()\n"
        f"ours = Ours(Path({str(path)!r})); outbox = ours.outbox\n"
        "outbox.oldest(1)\n"
        "took, said = time.perf_counter() - began, outbox.status().pending\n"
        f"if {what!r} == 'drain':\n"
        "    cpu = time.process_time(); ours.drain(); took = time.process_time() - cpu\n"
        "    said = outbox.status().bytes\n"
        "rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "print(took, rss, said); sys.stdout.flush(); outbox.close()\n"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return [float(word) for word in found.stdout.split()]


if __name__ == "__main__":
    sys.exit(main())
