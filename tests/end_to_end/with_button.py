"""`edge-scanner` as on a board with pins, whose button is pressed while the file BUTTON is there.

BUTTON=/tmp/pressed python -m tests.end_to_end.with_button --config scanner.toml
"""

import os
import sys
from pathlib import Path
from typing import Any

import gpiozero
from gpiozero.pins.mock import MockFactory, MockPWMPin

from edge.scanner.__main__ import main


class BoardPin(MockPWMPin):  # type: ignore[misc]
    """A pin that a thumb may connect to GND."""

    def _get_state(self) -> Any:
        if self.function == "input" and Path(os.environ["BUTTON"]).exists():
            return 0
        return super()._get_state()


if __name__ == "__main__":
    gpiozero.Device.pin_factory = MockFactory(pin_class=BoardPin)
    sys.exit(main())
