"""The command `edge-scanner`: what it can be told to do, and who does it."""

import argparse
import logging
import os
import sys
from pathlib import Path

from edge import cli, config
from edge.clock import SystemClock
from edge.errors import CameraHung, ConfigError
from edge.scanner import (
    checking,
    diagnosing,
    outbox_command,
    reading,
    scanning,
    self_test,
    setting_up,
    taking_down,
    wiring,
)
from edge.scanner.clock_setting import set_clock
from edge.scanner.desired import signed_wish, with_wished
from edge.scanner.settings import ScannerSettings
from edge.scanner.unset import is_unset, wait_for_code

log = logging.getLogger(__name__)

DEFAULT_CONFIG = Path("/etc/edge/scanner.toml")


def main(args: list[str] | None = None) -> int:
    """Run the command with *args*; gives its exit code."""
    options = _parser().parse_args(args)
    cli.set_up_logging(options.verbose)
    works = {
        "read": reading.run,
        "outbox": outbox_command.run,
        "check": checking.run,
        "diag": diagnosing.run,
        "eye": self_test.run,
        "wiring": wiring.run,
        "setup": setting_up.run,
        "wipe": taking_down.run_wipe,
        "retire": taking_down.run_retire,
        "clock": _set_clock,
    }
    work = works.get(options.command, _run)
    return cli.run(lambda: work(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-scanner",
        description="Read personal QR codes and keep every scan safe."
        " / Đọc mã QR cá nhân và giữ an toàn từng lượt quét.",
        epilog="Exit codes: 0 done, 1 an error that the last line explains, 2 bad usage.",
    )
    cli.add_common(parser, DEFAULT_CONFIG)
    also = cli.common_again()
    commands = parser.add_subparsers(dest="command")
    commands.add_parser(
        "run", parents=[also], help="scan until stopped (the default) / quét cho đến khi dừng"
    )
    reading.add_command(commands, also)
    outbox_command.add_command(commands, also)
    setting_up.add_command(commands)
    taking_down.add_commands(commands, also)
    checking.add_command(commands, cli.common_again())
    diagnosing.add_command(commands, cli.common_again())
    commands.add_parser(
        "clock",
        parents=[also],
        help="set the clock by the GPS receiver, as the scanner asks: edge-clock.service"
        " / chỉnh đồng hồ theo GPS",
    )
    self_test.add_command(commands, cli.common_again())
    wiring.add_command(commands, cli.common_again())
    return parser


def _run(options: argparse.Namespace) -> int:
    try:
        if is_unset(options.config):
            return wait_for_code(options.config)
        scanning.scan(options.config)
    except CameraHung as err:
        log.error("%s; ending, to be started again", err)
        # At a usual exit picamera2 would wait for the camera once more, for ever.
        os._exit(1)
    return 0


def _set_clock(options: argparse.Namespace) -> int:
    settings = config.load(options.config, ScannerSettings)
    _, wished = signed_wish(options.config, settings)
    gps = wished.settings.get("gps", {}) if wished is not None else {}
    if not with_wished(options.config, {"gps": gps}).gps.source:
        raise ConfigError("this unit has no GPS receiver: gps.source is not set")
    print(set_clock(SystemClock()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
