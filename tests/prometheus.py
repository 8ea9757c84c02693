"""A real Prometheus, out of Debian's package, run beside a test.

Taken from the PATH, or unpacked into the user's cache, since the package would start a service.
"""

import json
import os
import shutil
import subprocess
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.demo.broker import free_port
from edge.demo.tied import tied
from tests.fakes import LIMIT_S

FETCH_S = 120
HOW = "no prometheus: apt install prometheus, or let apt-get download it"


def program(name: str) -> str:
    """Where *name*, prometheus or promtool, is; skips where it cannot be had."""
    if found := shutil.which(name):
        return found
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "edge-scanner" / "prometheus"
    if not folder.exists():
        _fetch(folder)
    return str(folder / "usr" / "bin" / name)


def _fetch(folder: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        pytest.skip(HOW)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as new:
        try:
            subprocess.run(
                ["apt-get", "download", "-qq", "prometheus"],
                cwd=new,
                check=True,
                timeout=FETCH_S,
                capture_output=True,
            )
            (package,) = Path(new).glob("*.deb")
            subprocess.run(["dpkg", "-x", str(package), f"{new}/tree"], check=True, timeout=60)
        except (OSError, ValueError, subprocess.SubprocessError) as err:
            pytest.skip(f"{HOW} ({err})")
        try:
            Path(new, "tree").rename(folder)
        except OSError:
            # Another test was faster.
            assert folder.exists()


class Prometheus:
    """One that runs."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """What *expression* gives now; raises for one that is none."""
        query = urllib.parse.urlencode({"query": expression})
        url = f"http://127.0.0.1:{self._port}/api/v1/query?{query}"
        with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


@contextmanager
def running(config: Path, folder: Path) -> Iterator[Prometheus]:
    """Prometheus with *config*, its data in *folder*, on a port of its own."""
    port = free_port()
    process = subprocess.Popen(
        tied(
            [
                program("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.console.templates=",
                "--web.console.libraries=",
            ]
        ),
        stdout=subprocess.DEVNULL,
        stderr=(folder / "prometheus.log").open("wb"),
    )
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(LIMIT_S)
