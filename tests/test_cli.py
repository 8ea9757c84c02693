"""What all commands share."""

import json
import logging
import os
import signal
import subprocess
import sys

import pytest

from edge import cli
from edge.collector.__main__ import main as collector
from edge.errors import ConfigError
from edge.scanner.__main__ import main as scanner


def fail() -> int:
    raise ConfigError("/etc/edge/x.toml: id is '\x1b[31m\n'; it must be a name")


def test_an_error_of_ours_is_one_line_that_cannot_act_on_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(fail) == 1

    assert capsys.readouterr().err == (
        "error: /etc/edge/x.toml: id is '\\x1b[31m\\n'; it must be a name\n"
    )


def test_an_interruption_is_no_error() -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert cli.run(interrupted) == 130


def test_signals_ask_to_stop_and_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with cli.stop_signals() as stopping:
        assert not stopping()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopping()

    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("main", [scanner, collector])
def test_every_command_explains_itself_and_names_a_missing_file(
    main: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])  # type: ignore[operator]
    assert ended.value.code == 0
    assert "Exit codes" in capsys.readouterr().out

    assert main(["--config", "/nowhere/x.toml"]) == 1  # type: ignore[operator]
    assert "/nowhere/x.toml: cannot read the settings" in capsys.readouterr().err


def test_a_hostile_name_in_a_log_line_stays_one_line_of_text() -> None:
    record = logging.makeLogRecord(
        {"name": "edge", "levelname": "INFO", "msg": "%s", "args": ("/media/a\x1b[31m\nERROR b",)}
    )

    line = cli.PrintableFormatter("%(levelname)s %(name)s: %(message)s").format(record)

    assert line == "INFO edge: /media/a\\x1b[31m\\nERROR b"


def test_what_a_font_tells_of_itself_is_not_logged() -> None:
    code = (
        "import logging; from edge import cli; cli.set_up_logging(verbose=False);"
        " logging.getLogger('fontTools.subset').info('glyf pruned');"
        " logging.getLogger('edge').info('label made')"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stderr == "INFO edge: label made\n"


@pytest.mark.parametrize(
    "hostile", ["\x1b[2J", "\x9b2J", "\x7f", "\u202egia", "\U000e0001", "a\u2028b", "\ud800"]
)
def test_a_line_of_json_says_the_same_and_cannot_act_on_a_terminal(hostile: str) -> None:
    line = cli.json_line({"topic": hostile, "place": "Chợ Mới 😀"})

    assert line.isprintable()
    assert json.loads(line) == {"topic": hostile, "place": "Chợ Mới 😀"}
    assert "Chợ Mới 😀" in line
