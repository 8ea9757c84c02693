"""A power cut: from a certain call to the system, or line, on, nothing happens any more."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
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


@contextmanager
def power_for_lines(lines: int, *modules: ModuleType) -> Iterator[list[str]]:
    """Let so many lines of *modules* begin, and no more; gives those that did."""
    begun: list[str] = []
    files = {module.__file__ for module in modules}

    def count(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            if len(begun) >= lines:
                raise PowerCut
            begun.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        yield begun
    finally:
        sys.settrace(before)
