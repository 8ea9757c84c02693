"""The real collector, killed and started again on a machine whose clock comes up years ahead."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import pytest

from edge.chain import entries, verify
from edge.clock import SYNCHRONIZED, VIETNAM, utc_text
from edge.storage.keeping import erasures
from edge.storage.storage import Storage
from tests.end_to_end.network import ShiftedClock, build_clock_shift
from tests.fakes import a_scan, came, eventually

DAY, YEAR = 86_400, 365 * 86_400


class Centre:
    """A collector without a broker, in the middle of the day by its clock."""

    def __init__(self, folder: Path, url: str, library: Path) -> None:
        self.folder, self.url = folder, url
        self.receipts, self._log = folder / "erased.jsonl", folder / "log"
        now = datetime.now(VIETNAM)
        noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
        self._to_noon_s = round((noon - now).total_seconds())
        self.today = noon.date().isoformat()
        self.clock = ShiftedClock(folder / "shift", library)
        self.is_ahead(0)
        self._toml = folder / "collector.toml"
        self._toml.write_text(
            f'receipt_key_file = "{folder}/receipts.key"\n'
            f'[broker]\nurl = "mqtt://127.0.0.1:1"\n[storage]\nurl = "{url}"\n'
            f'[retention]\nreceipts_file = "{self.receipts}"\n'
        )
        storage = Storage(url)
        for seq, days_ago in enumerate((25, 20, 10, 0), start=1):
            at = utc_text(time.time() + self._to_noon_s - days_ago * DAY)
            storage.store([came("pleiku", "cong-1", a_scan(seq, at=at, clock="ntp"))], at)
        storage.close()

    def is_ahead(self, seconds: int) -> None:
        """Let its clock be ahead by so much."""
        self.clock.set(self._to_noon_s + seconds)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "edge.collector", *words, "--config", str(self._toml)]

    def says(self, *options: str) -> tuple[int, str]:
        """What `edge-collector clock` says, and its exit code."""
        done = subprocess.run(
            self._command("clock", *options),
            env=os.environ | self.clock.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    @contextmanager
    def running(self) -> Iterator[None]:
        """A collector runs, and is killed in the end."""
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                self._command("run"),
                env=os.environ | self.clock.environment,
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait(60)

    def log(self) -> str:
        return self._log.read_text()

    def numbers(self) -> list[int]:
        """Those of the scans that are there."""
        storage = Storage(self.url)
        numbers = [seq for _, _, seq, _ in storage.scan_numbers()]
        storage.close()
        return numbers

    def told(self) -> int:
        """How many receipts there are. Nobody who reads storage is in the collector's way."""
        return len(list(entries(self.receipts)))

    def erased(self) -> list[int]:
        """How many scans were erased each time, the last first."""
        storage = Storage(self.url)
        with storage.database.reading() as connection:
            erased = [one.scans for one in erasures(connection, 10)]
        storage.close()
        return erased


@pytest.fixture
def centre(database_url: str, tmp_path: Path) -> Centre:
    library = build_clock_shift(tmp_path)
    if isinstance(library, str):
        pytest.skip(library)
    if SYNCHRONIZED.exists() and time.clock_gettime(time.CLOCK_BOOTTIME) > 10 * DAY:
        pytest.skip(
            "a time server has set this machine's clock, and may have done so twelve days ago, as"
            " it is on for so long: run it in a container, or after a restart"
        )
    return Centre(tmp_path, database_url, library)


def test_a_collector_that_starts_years_ahead_erases_nothing_until_a_person_has_vouched(
    centre: Centre,
) -> None:
    code, said = centre.says("--today", centre.today)
    assert (code, "person" in said) == (0, True)
    with centre.running():
        eventually(lambda: centre.told() == 2, "what is past its time is erased", limit_s=300)
        # The receipt is written before the transaction ends that notes it.
        eventually(lambda: centre.erased() == [1], "and that is noted", limit_s=300)

    assert centre.numbers() == [2, 3, 4]

    # The battery of the hardware clock has gone; in a closed network nothing sets it right.
    centre.is_ahead(5 * YEAR)
    with centre.running():
        eventually(lambda: "days ahead of what was known last" in centre.log(), "it says so")
        assert "edge-collector clock --today" in centre.log()
    assert centre.numbers() == [2, 3, 4]
    code, said = centre.says("--json")
    known = json.loads(said)
    assert (code, known["trouble"], known["held_back"]) == (1, "ahead", True)
    code, said = centre.says("--today", centre.today)
    assert code == 1
    assert "set it first" in said

    # It was off for twelve days in truth, and somebody has set its clock.
    centre.is_ahead(12 * DAY)
    with centre.running():
        eventually(lambda: "12 days ahead" in centre.log(), "it cannot know that")
    assert centre.numbers() == [2, 3, 4]
    day = datetime.fromtimestamp(time.time() + centre._to_noon_s + 12 * DAY, VIETNAM).date()
    assert centre.says("--today", day.isoformat())[0] == 0
    with centre.running():
        eventually(lambda: centre.told() == 4, "what is past its time is erased", limit_s=300)
        eventually(lambda: centre.erased() == [2, 1], "and that is noted", limit_s=300)

    assert centre.numbers() == [4]
    what = [entry.what for entry in entries(centre.receipts)]
    assert what == ["clock vouched for", "erased", "clock vouched for", "erased"]
    verify(centre.receipts)
