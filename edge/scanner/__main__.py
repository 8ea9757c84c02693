"""The command `edge-scanner`: reads its settings, opens things, and loops."""

import argparse
import json
import logging
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from edge import __version__, cli, config
from edge.clock import SystemClock
from edge.errors import CameraError, EndOfFrames
from edge.mqtt import Connection
from edge.scanner import check
from edge.scanner.camera import open_camera
from edge.scanner.decoder import Decoder
from edge.scanner.health import HealthMeter
from edge.scanner.indicator import Signal, open_indicator
from edge.scanner.outbox import Outbox, read_outbox
from edge.scanner.publisher import Publisher
from edge.scanner.reading import read_files
from edge.scanner.rereads import Rereads
from edge.scanner.service import Scanner
from edge.scanner.settings import ScannerSettings
from edge.sealing import Sealer, read_key
from edge.systemd import Notifier
from edge.topics import topic

log = logging.getLogger(__name__)

DEFAULT_CONFIG = Path("/etc/edge/scanner.toml")
#: How long what is under way may take when the service is told to stop.
GOODBYE_S = 3.0
#: How long a fault is shown before the service ends, to be started again by systemd.
FAULT_S = 3.0


def main(args: list[str] | None = None) -> int:
    """Run the command with *args*; gives its exit code."""
    options = _parser().parse_args(args)
    cli.set_up_logging(options.verbose)
    works = {"read": _read, "outbox": _outbox, "check": _check}
    work = works.get(options.command, _run)
    return cli.run(lambda: work(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-scanner",
        description="Read personal QR codes and keep every scan safe."
        " / Đọc mã QR cá nhân và giữ an toàn từng lượt quét.",
        epilog="Exit codes: 0 done, 1 an error that the last line explains, 2 bad usage.",
    )
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="default: %(default)s")
    cli.add_logging(parser)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="scan until stopped (the default)")
    read = commands.add_parser("read", help="read the codes in image files: a JSON line for each")
    read.add_argument("files", nargs="+", metavar="FILE")
    read.add_argument("--no-zbar", action="store_true", help="without the second reader")
    outbox = commands.add_parser("outbox", help="look at the scans that are not confirmed yet")
    outbox.add_argument("what", choices=["list", "status"])
    outbox.add_argument("--folder", type=Path, help="an outbox elsewhere, as on a pulled card")
    checks = commands.add_parser("check", help="check this unit: a line each, with the cure")
    checks.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _run(options: argparse.Namespace) -> int:
    settings = config.load(options.config, ScannerSettings)
    beside = options.config.parent
    clock = SystemClock()
    notifier = Notifier()
    with ExitStack() as stack:
        indicator = open_indicator(settings.indicator, sys.stdout)
        stack.callback(indicator.close)
        indicator.rest(Signal.NOT_COLLECTING)
        sealer = Sealer(read_key(config.secret_path(settings.unit.tracing_key_file, beside)))
        outbox = stack.enter_context(
            Outbox(
                Path(settings.outbox.folder),
                max_bytes=settings.outbox.max_mb * 1_000_000,
                keep_free_bytes=settings.outbox.keep_free_mb * 1_000_000,
            )
        )
        connection = Connection(
            settings.broker,
            beside,
            settings.unit.id,
            clock,
            subscriptions=[topic(settings.unit.area, settings.unit.id, "confirmed")],
        )
        stack.callback(connection.close)
        meter = HealthMeter(outbox, clock)
        publisher = Publisher(
            connection,
            outbox,
            settings.unit,
            clock,
            software=__version__,
            health=meter.health,
            window=settings.publisher.window,
            live_share=settings.publisher.live_share,
            budget_kb_s=settings.publisher.budget_kb_s,
            resend_s=settings.publisher.resend_s,
            health_s=settings.publisher.health_s,
        )
        publishing = stack.enter_context(PublishingThread(publisher))
        decoder = Decoder(zbar=settings.reading.zbar)
        stack.callback(decoder.close)
        if decoder.zbar_missing:
            log.warning("reading with zxing-cpp alone: %s", decoder.zbar_missing)
        camera = open_camera(settings.camera, clock)
        stack.callback(camera.close)
        scanner = Scanner(
            camera,
            decoder,
            outbox,
            sealer,
            indicator,
            Rereads(settings.reading.reread_delay_s),
            meter,
            clock,
            settings.unit,
            online=lambda: publisher.connected,
            kept=publisher.wake,
        )
        notifier.ready()
        indicator.rest(None)
        with cli.stop_signals() as stopping:
            try:
                while not stopping() and publishing.alive():
                    scanner.step()
                    notifier.watchdog()
            except EndOfFrames as err:
                log.info("%s", err)
                indicator.rest(Signal.NOT_COLLECTING)
                while not stopping() and publishing.alive() and outbox.status().pending:
                    publishing.join(0.2)
                    notifier.watchdog()
            except CameraError:
                indicator.show(Signal.FAULT)
                # Long enough to be seen; ending turns every light off.
                publishing.join(FAULT_S)
                raise
        notifier.stopping()
    return 0


class PublishingThread:
    """Runs a publisher beside the scanning; its failure becomes the service's."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        # A daemon: a name server that hangs must not keep the service from ending.
        self._thread = threading.Thread(target=self._loop, name="publisher", daemon=True)

    def __enter__(self) -> "PublishingThread":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._publisher.wake()
        self._thread.join(GOODBYE_S + 1.0)

    def alive(self) -> bool:
        """True while it runs. Raises what ended it: in doubt the service stops and is restarted."""
        if self._failure is not None:
            raise self._failure
        return self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        """Wait for its end, but not longer."""
        self._thread.join(timeout_s)

    def _loop(self) -> None:
        try:
            while not self._stopping.is_set():
                self._publisher.step(1.0)
            self._publisher.stop(GOODBYE_S)
        # The caller needs to know whatever it was; `alive` hands it over.
        except BaseException as err:  # noqa: BLE001
            self._failure = err


def _read(options: argparse.Namespace) -> int:
    decoder = Decoder(zbar=not options.no_zbar)
    failed = False
    for line in read_files(options.files, decoder):
        failed = failed or "error" in line
        print(json.dumps(line), flush=True)
    decoder.close()
    return 1 if failed else 0


def _outbox(options: argparse.Namespace) -> int:
    folder = options.folder
    if folder is None:
        folder = Path(config.load(options.config, ScannerSettings).outbox.folder)
    view = read_outbox(folder)
    if options.what == "list":
        for scan in view.scans():
            # The sealed identity stays where it is: nobody here can read it.
            print(
                json.dumps(
                    {
                        "seq": scan.seq,
                        "id": scan.id,
                        "epoch": scan.epoch,
                        "at": scan.at,
                        "place": scan.place,
                        "direction": scan.direction,
                        "document": scan.document,
                    }
                )
            )
    else:
        status = view.status()
        print(
            json.dumps(
                {
                    "epoch": status.epoch,
                    "next_seq": status.next_seq,
                    "pending": status.pending,
                    "bytes": status.bytes,
                    "oldest": status.oldest_at,
                    "damaged": status.damaged,
                }
            )
        )
    return 0


def _check(options: argparse.Namespace) -> int:
    results = check.check(options.config)
    failed = False
    for result in results:
        failed = failed or not result.ok
        print(result.json() if options.json else result.line(), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
