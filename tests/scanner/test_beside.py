"""Work beside the scanning: what happens when it fails."""

import logging
import threading

import pytest

from edge.errors import EdgeError
from edge.scanner import beside
from edge.scanner.beside import Beside
from tests.fakes import LIMIT_S, eventually


@pytest.mark.parametrize("error", [ValueError("079123"), EdgeError("the card is full"), OSError()])
def test_a_turn_that_fails_is_told_once_and_another_is_taken(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(beside, "AGAIN_S", 0.001)
    again = threading.Event()
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if turns > 3:
            again.set()
            return
        raise error

    with caplog.at_level(logging.ERROR), Beside("carrier", turn, pause_s=0.001) as work:
        assert again.wait(LIMIT_S)
        assert work.alive()

    (line,) = caplog.messages
    assert line.startswith("carrier failed, and is tried again: ")
    # What an error of a library says may have anything in it.
    assert ("the card is full" in line) is isinstance(error, EdgeError)
    assert "079123" not in line


def test_the_failure_of_what_is_vital_is_the_services(caplog: pytest.LogCaptureFixture) -> None:
    def turn() -> None:
        raise ValueError("no")

    def has_failed() -> bool:
        try:
            return not work.alive()
        except ValueError:
            return True

    with Beside("publisher", turn, vital=True) as work:
        eventually(has_failed, "the failure is handed over")

    assert "publisher has ended: ValueError in test_beside.py" in caplog.text
