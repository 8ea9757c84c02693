"""The machines of these tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import trees
from tests.conftest import MOSQUITTO
from tests.debian.machine import Machine, why_not

SUITES = ("bookworm", "trixie")
COMMAND_LINE = "console=serial0,115200 console=tty1 root=PARTUUID=4e639091-02 rootwait"


@pytest.fixture(params=SUITES)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    """A machine that is off, with a stock boot partition."""
    reason = why_not(request.param)
    if reason or MOSQUITTO is None:
        pytest.skip(reason or "mosquitto is missing: sudo apt install mosquitto")
    (tmp_path / "machine").mkdir()
    made = Machine(trees.tree(trees.UNITS[request.param]), tmp_path / "machine")
    boot = made.root / "boot/firmware"
    boot.mkdir(parents=True)
    (boot / "cmdline.txt").write_text(COMMAND_LINE + "\n")
    (boot / "config.txt").write_text("")
    (boot / "kernel8.img").write_bytes(b"")
    (made.root / "var/log/journal").mkdir(parents=True, exist_ok=True)
    yield made
    made.throw_away()
