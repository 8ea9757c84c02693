"""The command `edge-collector`: reads its settings, opens things, and loops."""

import argparse
import json
import sys
from pathlib import Path

from edge import cli, config
from edge.clock import SystemClock
from edge.collector.service import Collector, subscriptions
from edge.collector.settings import CollectorSettings
from edge.mqtt import Connection
from edge.storage.storage import Storage
from edge.systemd import Notifier

DEFAULT_CONFIG = Path("/etc/edge/collector.toml")


def main(args: list[str] | None = None) -> int:
    """Run the command with *args*; gives its exit code."""
    parser = argparse.ArgumentParser(
        prog="edge-collector",
        description="Store scans once and confirm them. / Lưu mỗi lượt quét một lần và xác nhận.",
        epilog="Exit codes: 0 done, 1 an error that the last line explains, 2 bad usage.",
    )
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="default: %(default)s")
    cli.add_logging(parser)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="store scans until stopped (the default)")
    audit = commands.add_parser(
        "audit", help="what storage holds of each unit, and what is missing"
    )
    audit.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args(args)
    cli.set_up_logging(options.verbose)
    work = _audit if options.command == "audit" else _run
    return cli.run(lambda: work(options))


def _run(options: argparse.Namespace) -> int:
    settings = config.load(options.config, CollectorSettings)
    clock = SystemClock()
    storage = Storage(Path(settings.storage.file))
    connection = Connection(
        settings.broker,
        options.config.parent,
        settings.id,
        clock,
        subscriptions=subscriptions(settings.areas),
        persistent=True,
    )
    collector = Collector(
        connection,
        storage,
        clock,
        batch_scans=settings.batch_scans,
        batch_wait_s=settings.batch_wait_ms / 1000,
    )
    notifier = Notifier()
    notifier.ready()
    with cli.stop_signals() as stopping:
        while not stopping():
            collector.step()
            notifier.watchdog()
    notifier.stopping()
    connection.disconnect(2.0)
    storage.close()
    return 0


def _audit(options: argparse.Namespace) -> int:
    settings = config.load(options.config, CollectorSettings)
    storage = Storage(Path(settings.storage.file))
    for row in storage.units():
        gaps = [f"{first}-{last}" for _, first, last in row.gaps]
        if options.json:
            facts = {
                "unit": row.unit,
                "area": row.area,
                "place": row.place,
                "state": row.state,
                "scans": row.scans,
                "gaps": gaps,
                "repeats": row.repeats,
                "last_scan": row.last_scan,
            }
            print(json.dumps(facts, ensure_ascii=False))
        else:
            missing = f"missing {', '.join(gaps[:5])}" if gaps else "complete"
            print(f"{row.unit:<20} {row.state:<8} {row.scans:>9} scans  {missing}")
    storage.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
