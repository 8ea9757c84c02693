"""A power cut: from a certain call to the system on, nothing happens any more."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class PowerCut(BaseException):
    """Nothing that runs can do anything about it."""


@contextmanager
def power_for(calls: int) -> Iterator[list[str]]:
    """Let so many calls to the system through, and no more."""
    made: list[str] = []
    names = ("open", "rename", "unlink", "fsync", "chown", "chmod", "mkdir")
    real = {name: getattr(os, name) for name in names}

    def limited(name: str) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            if len(made) >= calls:
                raise PowerCut
            made.append(name)
            return real[name](*args, **more)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(os, name, limited(name))
        yield made
