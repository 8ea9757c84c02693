"""The Pi's camera adapter on the unmodified picamera2 and libcamera, in a Debian 13 tree.

`make camera` does the same at full length: 10,000 captures and 100 open/close cycles.
"""

import os
import subprocess

import pytest

from tests import trees
from tests.virtual_camera import WITHIN_TREE

SUITE = [
    f"tests/scanner/test_{name}.py" for name in ("picamera2_contract", "cameras", "camera_faults")
]

pytestmark = pytest.mark.skipif(WITHIN_TREE in os.environ, reason="this is within the tree")


def test_the_camera_suite_holds_on_the_real_picamera2() -> None:
    if reason := trees.cannot():
        pytest.skip(reason)
    folder = trees.tree(trees.CAMERA)
    captures = f"CAPTURES={os.environ.get('CAPTURES', '2000')}"
    cycles = f"CYCLES={os.environ.get('CYCLES', '20')}"
    command = trees.within(
        folder,
        [
            *("env", "-C", "/project", f"{WITHIN_TREE}=1", captures, cycles),
            *("LIBCAMERA_LOG_LEVELS=*:FATAL", "PYTHONDONTWRITEBYTECODE=1", "LC_ALL=C.UTF-8"),
            *(
                "/venv/bin/python",
                "-m",
                "pytest",
                "-q",
                "-rA",
                "-p",
                "no:cacheprovider",
                "--noconftest",
                *SUITE,
            ),
        ],
        binds={trees.ROOT: "/project"},
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)

    said = done.stdout[-8000:] + done.stderr[-2000:]
    assert done.returncode == 0, said
    # Skipped as a whole it would pass as well.
    assert (
        "PASSED tests/scanner/test_cameras.py::test_captures_leave_nothing_behind[virtual]" in said
    )
    print("\n".join(line for line in said.splitlines() if "all released" in line))
