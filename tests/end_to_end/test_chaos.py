"""Two minutes of everything at once: see chaos.py.

EDGE_CHAOS_MINUTES says how long (default 2, shared by the two kinds of broker), EDGE_SEED repeats a
schedule.
"""

import os
import random
import subprocess
import sys

import pytest

from edge.demo.broker import nats_server
from edge.errors import BrokerError
from tests.conftest import MOSQUITTO
from tests.end_to_end.chaos import DRAIN_S

MINUTES = float(os.environ.get("EDGE_CHAOS_MINUTES", "2"))
SEED = int(os.environ.get("EDGE_SEED", random.SystemRandom().randrange(10**9)))


def why_not(broker: str) -> str:
    """Why there can be no chaos with *broker* here; "" if there can. What needs root is left out
    by the run itself, which says so."""
    if broker == "mosquitto":
        return "" if MOSQUITTO else "mosquitto is missing: sudo apt install mosquitto"
    try:
        nats_server()
    except BrokerError as err:
        return str(err)
    return ""


# Mosquitto keeps nothing here: whatever it holds when it is killed is gone.
@pytest.mark.parametrize(("broker", "share"), [("nats", 0.7), ("mosquitto", 0.3)])
def test_in_chaos_every_beep_is_one_row_and_every_row_was_one_beep(
    broker: str, share: float
) -> None:
    if why := why_not(broker):
        pytest.skip(why)
    command = [sys.executable, "-m", "tests.end_to_end.chaos", "--broker", broker]
    command += ["--minutes", str(MINUTES * share), "--seed", str(SEED)]

    limit_s = MINUTES * share * 60 + DRAIN_S + 120
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=limit_s)
    print(done.stdout)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
