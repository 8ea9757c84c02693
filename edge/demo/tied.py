"""Processes that end when whoever has started them does, however that ends."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal


def tied(command: Sequence[str | Path], how: Literal["KILL", "TERM"] = "KILL") -> list[str | Path]:
    """*command*, so that it is sent the signal *how* when the thread that starts it has ended.

    Only Linux can; without util-linux's setpriv the command is left as it is. What it starts in its
    turn is not tied to us, and must be ended by it.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", how, *command] if setpriv else [*command]
