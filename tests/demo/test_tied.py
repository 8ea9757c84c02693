"""What is tied to whoever has started it ends with them, when they are killed too."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import eventually

pytestmark = pytest.mark.skipif(
    not shutil.which("setpriv"), reason="setpriv is missing: apt install util-linux"
)

#: Starts two, says their numbers, and waits.
_STARTER = """
import subprocess, sys
from edge.demo.tied import tied
asleep = subprocess.Popen(
    tied([sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"]),
    stdout=subprocess.PIPE)
orderly = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(open(sys.argv[1], 'w')"
orderly += ".write('ended in order'))); print(flush=True); time.sleep(600)"
told = subprocess.Popen(tied([sys.executable, "-c", orderly, sys.argv[1]], "TERM"),
    stdout=subprocess.PIPE, start_new_session=True)
# They are tied by the time they speak.
asleep.stdout.readline()
told.stdout.readline()
print(asleep.pid, told.pid, flush=True)
asleep.wait()
"""


def test_what_is_tied_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    said = tmp_path / "said"
    starter = subprocess.Popen(
        [sys.executable, "-c", _STARTER, str(said)], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    children = [int(number) for number in starter.stdout.readline().split()]
    assert len(children) == 2
    assert all(map(runs, children))

    starter.send_signal(signal.SIGKILL)
    starter.communicate()

    eventually(lambda: not any(map(runs, children)), "both ended")
    assert said.read_text() == "ended in order"


def runs(pid: int) -> bool:
    """Whether *pid* is a process that has not ended. One that nobody has waited for has."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
