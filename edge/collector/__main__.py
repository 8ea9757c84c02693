"""The command `edge-collector`: reads its settings, opens things, and loops."""

import argparse
import json
import logging
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path

from edge import cli, config
from edge.clock import SystemClock
from edge.collector import audit, backing_up, keying, moving, vouching
from edge.collector.commanding import add_commands, run_command, run_desired, run_group, who
from edge.collector.connecting import connect, ending, leave
from edge.collector.former import FormerSessions
from edge.collector.importing import import_bundle
from edge.collector.metrics import MetricsFile
from edge.collector.retention import Retention, erase_order
from edge.collector.service import Collector
from edge.collector.set_aside import add_command as add_set_aside
from edge.collector.set_aside import run_set_aside
from edge.collector.settings import CollectorSettings
from edge.collector.stopping import add_command as add_stops
from edge.collector.stopping import run_stops, utc_now
from edge.errors import BundleError, ChainError, ControlError, StorageBusy, StorageError
from edge.garbage import look_for_garbage_rarely
from edge.storage.broker_sessions import BrokerSessions
from edge.storage.control import Control
from edge.storage.control.again import AskedAgain
from edge.storage.keeping.known_time import KnownTime
from edge.storage.storage import Storage
from edge.systemd import Notifier

log = logging.getLogger(__name__)

DEFAULT_CONFIG = Path("/etc/edge/collector.toml")
#: How long the broker may take to answer.
BROKER_S = 8.0
#: How long a running collector may take to see what is wished for.
TAKEN_S = 10.0


def main(args: list[str] | None = None) -> int:
    """Run the command with *args*; gives its exit code."""
    parser = argparse.ArgumentParser(
        prog="edge-collector",
        description="Store scans once and confirm them. / Lưu mỗi lượt quét một lần và xác nhận.",
        epilog="Exit codes: 0 done, 1 an error that the last line explains, 2 bad usage.",
    )
    cli.add_common(parser, DEFAULT_CONFIG)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser(
        "run",
        parents=[cli.common_again()],
        help="store scans until stopped (the default) / lưu lượt quét cho đến khi dừng (mặc định)",
    )
    audits = commands.add_parser(
        "audit",
        parents=[cli.common_again()],
        help="what storage holds of each unit, and what is missing"
        " / kho có gì của từng máy, và còn thiếu gì",
        description="For each unit: up to which number every scan is a row, what is missing,"
        " whether two units run under its name, how its clock is. Exit code 1 if anything is"
        " missing or double.",
    )
    audits.add_argument("--json", action="store_true", help=cli.JSON_LINES)
    audits.add_argument(
        "--ask",
        action="store_true",
        help="have units asked at once for what is missing"
        " / cho hỏi lại ngay các máy những gì còn thiếu",
    )
    imports = commands.add_parser(
        "import",
        parents=[cli.common_again()],
        help="store bundles of scans that were carried by hand, and write receipts"
        " / nhập các gói chép tay và ghi biên nhận",
    )
    imports.add_argument("files", nargs="+", type=Path, metavar="FILE", help="bundles / các gói")
    imports.add_argument("--json", action="store_true", help=cli.JSON_LINES)
    imports.add_argument(
        "--accept-new-key",
        action="store_true",
        help="for a unit that was set up anew / cho máy đã được cài đặt lại",
    )
    backing_up.add_command(commands)
    moving.add_command(commands)
    keying.add_command(commands)
    erases = commands.add_parser(
        "erase",
        parents=[cli.common_again()],
        help="erase the sealed identities of an order by the tracing desk; the scans stay counted"
        " / xóa danh tính đã niêm phong theo lệnh của bàn truy vết; lượt quét vẫn được đếm",
    )
    erases.add_argument(
        "order", type=Path, metavar="FILE", help="the desk's order / lệnh của bàn truy vết"
    )
    commands.add_parser(
        "leave",
        parents=[cli.common_again()],
        help="end this collector's sessions at the broker, when it is stopped for good; what waited"
        " for it there comes again from the units"
        " / kết thúc phiên của bộ lưu trữ này ở broker; những gì còn chờ ở đó, các máy sẽ gửi lại",
    )
    add_commands(commands)
    add_stops(commands)
    add_set_aside(commands)
    vouching.add_command(commands)
    options = parser.parse_args(args)
    cli.set_up_logging(options.verbose)
    works = {
        "audit": _audit,
        "backup": _backup,
        "move": _move,
        "import": _import,
        "key": _key,
        "erase": _erase,
        "command": _control,
        "desired": _control,
        "group": _control,
        "stops": _stops,
        "set-aside": _set_aside,
        "leave": _leave,
        "clock": _clock,
    }
    work = works.get(options.command, _run)
    return cli.run(lambda: work(options))


def _run(options: argparse.Namespace) -> int:
    settings = config.load(options.config, CollectorSettings)
    clock = SystemClock()
    storage = _storage(settings, options)
    at_broker = BrokerSessions(storage.database, settings.id)
    connection = connect(settings, options.config.parent, clock, at_broker)
    end = partial(ending, settings, options.config.parent, clock)
    former = FormerSessions(connection, at_broker, clock, end)
    signers = keying.open_signers(settings, options.config.parent)
    log.info("units know this collector by the key %s", signers.names)
    collector = Collector(
        connection,
        storage,
        clock,
        batch_scans=settings.batch_scans,
        batch_wait_s=settings.batch_wait_ms / 1000,
        gap_ask_s=settings.gap_ask_s,
        signers=signers,
    )
    kept = settings.retention
    retention = Retention(
        storage,
        Path(kept.receipts_file),
        clock,
        days=kept.days,
        collector=settings.id,
        erase=kept.erase,
    )
    metrics = None
    if settings.metrics_file:
        metrics = MetricsFile(
            Path(settings.metrics_file),
            collector.totals,
            connection,
            clock,
            held_back=lambda: retention.held_back,
        )
    look_for_garbage_rarely()
    notifier = Notifier()
    notifier.ready()
    with cli.stop_signals() as stopping:
        while not stopping():
            # What is being erased goes on in between, however quiet it is.
            collector.step(0.1 if retention.busy else 1.0)
            retention.step()
            if metrics is not None:
                metrics.step()
            former.step()
            notifier.watchdog()
    notifier.stopping()
    former.close()
    collector.close()
    retention.close()
    connection.disconnect(2.0)
    storage.close()
    return 0


def _storage(
    settings: CollectorSettings, options: argparse.Namespace, *, make: bool = True
) -> Storage:
    where = settings.storage
    return Storage(where.url, where.password(options.config.parent), make=make)


def _control(options: argparse.Namespace) -> int:
    settings = config.load(options.config, CollectorSettings)
    # Only settings may be wished for before there is anything.
    with closing(_storage(settings, options, make=bool(vars(options).get("keys")))) as storage:
        control = Control(storage.database)
        runs = {"command": run_command, "desired": run_desired, "group": run_group}
        return runs[options.command](control, options)


def _stops(options: argparse.Namespace) -> int:
    settings = config.load(options.config, CollectorSettings)
    with closing(_storage(settings, options, make=False)) as storage:
        return run_stops(storage.database, options, utc_now)


def _backup(options: argparse.Namespace) -> int:
    settings = config.load(options.config, CollectorSettings)
    with closing(_storage(settings, options, make=False)) as storage:
        return backing_up.run_backup(storage.database, options)


def _move(options: argparse.Namespace) -> int:
    settings = config.load(options.config, CollectorSettings)
    with closing(_storage(settings, options, make=False)) as storage:
        return moving.run_move(storage.database, options)


def _set_aside(options: argparse.Namespace) -> int:
    settings = config.load(options.config, CollectorSettings)
    with closing(_storage(settings, options, make=False)) as storage:
        return run_set_aside(storage, options)


def _audit(options: argparse.Namespace) -> int:
    settings = config.load(options.config, CollectorSettings)
    with closing(_storage(settings, options, make=False)) as storage:
        units = storage.units()
        if not units:
            print("no unit was ever heard of", file=sys.stderr)
        for row in units:
            for line in [audit.json_line(row)] if options.json else audit.lines(row):
                print(line)
        if options.ask:
            _ask(Control(storage.database).again)
    return 0 if all(audit.is_complete(row) for row in units) else 1


def _ask(again: AskedAgain) -> None:
    clock = SystemClock()
    wish = again.wish(who(""), clock.now().at)
    deadline = clock.monotonic() + TAKEN_S
    while (asked := again.units_asked(wish)) is None:
        if clock.monotonic() > deadline:
            raise ControlError(
                "no unit was asked yet: no collector has taken it up; is one running, and connected"
                " to its broker? It asks them as soon as it is"
            )
        time.sleep(0.2)
    print(f"asked {asked} units; what they still have comes by itself", file=sys.stderr)


def _leave(options: argparse.Namespace) -> int:
    settings = config.load(options.config, CollectorSettings)
    with ExitStack() as stack:
        at_broker = known_time = None
        try:
            storage = stack.enter_context(closing(_storage(settings, options, make=False)))
            at_broker = BrokerSessions(storage.database, settings.id)
            known_time = KnownTime(storage.database, settings.id)
        except StorageError as err:
            # One that is stopped for good may have none any more.
            print(f"sessions of earlier settings are not known: {err}", file=sys.stderr)
        for name in leave(settings, options.config.parent, SystemClock(), BROKER_S, at_broker):
            print(f"session {name} has ended")
        if known_time is not None:
            known_time.forget()
    return 0


def _clock(options: argparse.Namespace) -> int:
    settings = config.load(options.config, CollectorSettings)
    receipts = Path(settings.retention.receipts_file)
    with closing(_storage(settings, options, make=False)) as storage:
        return vouching.run_clock(storage.database, options, SystemClock(), settings.id, receipts)


def _erase(options: argparse.Namespace) -> int:
    settings = config.load(options.config, CollectorSettings)
    with closing(_storage(settings, options)) as storage:
        receipts = Path(settings.retention.receipts_file)
        erased = erase_order(options.order, storage, receipts, SystemClock())
    print(f"{options.order}: {erased} identities erased")
    return 0


def _import(options: argparse.Namespace) -> int:
    settings = config.load(options.config, CollectorSettings)
    files = [path for path in options.files if path.is_file()]
    for path in options.files:
        if path not in files:
            print(f"error: {cli.printable(str(path))}: there is no such file", file=sys.stderr)
    if not files:
        return 1
    failed = len(files) < len(options.files)
    signers = keying.open_signers(settings, options.config.parent)
    with closing(_storage(settings, options)) as storage:
        signers.note(storage.believed_keys())
        scratch = storage.database.folder or Path(tempfile.gettempdir())
        for path in files:
            try:
                imported = import_bundle(
                    path,
                    storage,
                    SystemClock(),
                    scratch=scratch,
                    signers=signers,
                    batch_scans=settings.batch_scans,
                    accept_new_key=options.accept_new_key,
                )
            except BundleError as err:
                # The others may be whole.
                failed = True
                print(f"error: {cli.printable(str(err))}", file=sys.stderr)
                continue
            line = json.dumps(asdict(imported)) if options.json else imported.line()
            print(cli.printable(line), flush=True)
        _erase_what_is_past(settings, storage)
    return 1 if failed else 0


def _erase_what_is_past(settings: CollectorSettings, storage: Storage) -> None:
    """A stick may have lain in a drawer: what it brought too late is confirmed and not kept."""
    kept = settings.retention
    if not kept.erase:
        return
    retention = Retention(
        storage, Path(kept.receipts_file), SystemClock(), days=kept.days, collector=settings.id
    )
    try:
        erased = retention.finish()
    except (StorageBusy, ChainError) as err:
        # The bundles are in, with their receipts, and are not to look as if they were not.
        reason = cli.printable(str(err))
        print(f"what is past its time is erased by the collector: {reason}", file=sys.stderr)
        return
    if erased:
        print(f"{erased} scans are past their time: erased at once", file=sys.stderr)


def _key(options: argparse.Namespace) -> int:
    settings = config.load(options.config, CollectorSettings)
    if options.new is None and not options.units:
        print(keying.public_text(keying.newest_signer(settings, options.config.parent)))
        return 0
    with closing(_storage(settings, options, make=False)) as storage:
        desired = Control(storage.database).desired("all")
        return keying.run(settings, options, desired, storage.believed_keys())


if __name__ == "__main__":
    sys.exit(main())
