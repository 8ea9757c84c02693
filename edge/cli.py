"""What all commands share: one-line errors, exit codes, logging, stopping.

Exit codes: 0 done; 1 something is wrong, and the last line says what to do; 2 the command line
itself; 130 interrupted.
"""

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from edge.errors import EdgeError

log = logging.getLogger(__name__)

#: What `--json` does, where it prints facts one after the other.
JSON_LINES = "one JSON object a line / mỗi dòng một đối tượng JSON"


def run(work: Callable[[], int]) -> int:
    """Do *work* and give its exit code; what we raise on purpose becomes one line.

    With EDGE_DEBUG=1 in the environment it becomes a traceback as well.
    """
    try:
        return work()
    except EdgeError as err:
        if os.environ.get("EDGE_DEBUG"):
            raise
        print(f"error: {printable(str(err))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Our reader, such as `head`, has seen enough. Nothing may be flushed into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def add_common(parser: argparse.ArgumentParser, default_config: Path) -> None:
    """Give *parser* the options that every command has."""
    parser.add_argument(
        "--config",
        type=Path,
        default=default_config,
        help="settings; default / tệp cấu hình, mặc định: %(default)s",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log more / ghi nhiều hơn")


def common_again() -> argparse.ArgumentParser:
    """The same options for a subcommand, so that they may stand before it or behind."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--config",
        type=Path,
        default=argparse.SUPPRESS,
        help="settings, as before the command / tệp cấu hình, như khi đứng trước lệnh",
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=argparse.SUPPRESS,
        help="log more / ghi nhiều hơn",
    )
    return parser


def set_up_logging(verbose: bool) -> None:
    """Plain lines to standard error; systemd adds the time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    # It tells of every table of every font that goes into a PDF.
    logging.getLogger("fontTools").setLevel(logging.WARNING)


class PrintableFormatter(logging.Formatter):
    """Keeps what strangers named, such as the label of a USB stick, from acting on a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Within this, SIGTERM and SIGINT make the given function say True instead of killing us."""
    caught: list[int] = []

    def catch(number: int, _: FrameType | None) -> None:
        caught.append(number)

    before = {number: signal.signal(number, catch) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def printable(text: str) -> str:
    """*text* with everything that could act on a terminal or a log written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def json_line(value: Any) -> str:
    """*value* as one line of JSON, in which nothing can act on a terminal or a log either.

    JSON itself escapes the first 32 characters only; what is printable stays as it is.
    """
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    # Half a pair each, as JSON has it; and DEL, which it takes for printable.
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
