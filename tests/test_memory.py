"""What was read is nowhere in the scanner's memory once it is sealed, and no core dump is left."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: Reads codes as a scanner does: from a picture, classified, sealed, into an outbox.
READER = """
import gc, os, sys, uuid
from pathlib import Path
import numpy as np, zxingcpp
from edge.scanner.decoder import Decoder
from edge.scanner.documents import classify
from edge.scanner.outbox import Outbox
from edge.scanner.rereads import Rereads
from edge.sealing import Opener, Sealer
from tests.fakes import a_scan
import msgspec

sealer, rereads = Sealer(Opener(bytes(range(32))).public_key), Rereads(5.0)
decoder = Decoder()
outbox = Outbox(Path(sys.argv[1]), max_bytes=10**9, keep_free_bytes=0)

def read_one():
    drawn = zxingcpp.create_barcode(os.read(0, 4096).decode(), zxingcpp.BarcodeFormat.QRCode)
    frame = np.ascontiguousarray(np.array(drawn.to_image(scale=4)))
    del drawn
    (code,) = decoder.read(frame)
    assert rereads.look(code.content, "in", 1.0).value == "new"
    document = classify(code.content)
    rereads.remember(code.content, "in", 1.0)
    scan = a_scan(outbox.next_seq, outbox.epoch, document=document.kind)
    outbox.put(msgspec.structs.replace(scan, sealed=sealer.seal(document.identity, scan.id)))

while True:
    read_one()
    gc.collect()
    os.write(1, b"read\\n")
"""


def left_in_memory(folder: Path, environment: dict[str, str]) -> int:
    """How often numbers and names of ten codes are in the memory of a scanner that read them."""
    rng = random.Random(1)
    numbers = [f"0641{rng.randrange(10**8):08}" for _ in range(10)]
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | environment | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    assert reader.stdin is not None
    assert reader.stdout is not None
    try:
        for number in numbers:
            code = f"{number}||Trần Thị Mẫu{number[-6:]}|17051990|Nữ|Pleiku|10082021"
            reader.stdin.write(code.encode())
            reader.stdin.flush()
            assert reader.stdout.readline() == b"read\n"
        memory = writable_memory(reader.pid)
    finally:
        reader.kill()
        reader.wait()
    return sum(
        memory.count(number.encode()) + memory.count(f"Mẫu{number[-6:]}".encode())
        for number in numbers
    )


def writable_memory(pid: int) -> bytes:
    parts = []
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                where, rights, *_ = line.split()
                if "w" not in rights:
                    continue
                first, last = (int(part, 16) for part in where.split("-"))
                memory.seek(first)
                while first < last:
                    part = memory.read(min(last - first, 1 << 20))
                    if not part:
                        break
                    parts.append(part)
                    first += len(part)
    except PermissionError:
        pytest.skip("may not read the memory of another process: run as root")
    return b"".join(parts)


def environment_of(service: str) -> dict[str, str]:
    text = (ROOT / "systemd" / service).read_text(encoding="utf-8")
    return dict(
        pair.split("=", 1)
        for line in re.findall(r"(?m)^Environment=(.*)$", text)
        for pair in line.split()
    )


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(os, "confstr"), reason="needs glibc")
def test_nothing_of_a_code_is_in_memory_once_it_is_sealed(tmp_path: Path) -> None:
    (tmp_path / "as-it-is").mkdir()
    (tmp_path / "wiped").mkdir()

    # Without the service's environment there is: so this test can see it.
    assert left_in_memory(tmp_path / "as-it-is", {"MALLOC_PERTURB_": "0"}) > 0
    assert left_in_memory(tmp_path / "wiped", environment_of("edge-scanner.service")) == 0


@pytest.mark.parametrize("service", ["edge-scanner.service", "edge-trace.service"])
def test_services_that_see_identities_overwrite_what_they_free(service: str) -> None:
    environment = environment_of(service)

    assert environment["PYTHONMALLOC"] == "malloc"
    assert "perturb" in environment["GLIBC_TUNABLES"]
    assert "LimitCORE=0" in (ROOT / "systemd" / service).read_text(encoding="utf-8")


def test_no_core_dump_is_left() -> None:
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import ctypes, resource\n"
            "from edge.memory import keep_to_ourselves\n"
            "keep_to_ourselves()\n"
            "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(4))\n",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )

    assert said.stdout.split() == ["0", "0", "0"]
