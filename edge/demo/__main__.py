"""The command `edge-demo`, which `make run` calls: the main job on one machine, live.

It starts a broker, a collector, a scanner and a dashboard as the services they are, each with a
settings file of its own in one folder, and shows scans arriving until Ctrl-C.
"""

import argparse
import base64
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edge import cli
from edge.clock import SystemClock, utc_text
from edge.demo import dashboard
from edge.demo.broker import NatsBroker, free_port
from edge.demo.live import REFUSALS, LiveTable
from edge.demo.tied import tied
from edge.errors import CameraError, EdgeError
from edge.files import replace_file
from edge.legal_basis import LegalBasis, write_basis
from edge.mqtt import BrokerSettings, Connection
from edge.sealing import make_key_pair, open_signer
from edge.storage.storage import Storage
from edge.topics import every_unit

CHANNELS = ("scan", "confirmed", "health", "status")
#: How long a service may take to end when it is told to.
END_S = 30.0
#: How long a broker may take to let us in: one that was named, and our own, of which we know that
#: it listens.
NAMED_S = 6.0
OWN_S = 60.0
#: What the scanner said last may take so long to come.
SETTLE_S = 10.0


def main(args: list[str] | None = None) -> int:
    """Run the command with *args*; gives its exit code."""
    parser = argparse.ArgumentParser(
        prog="edge-demo",
        description="The main job on one machine, live, until Ctrl-C."
        " / Chạy thử toàn bộ trên một máy, nhấn Ctrl-C để dừng.",
    )
    parser.add_argument("--folder", type=Path, default=Path(".run"), help="default: %(default)s")
    parser.add_argument("--broker", default="", help="mqtt://host:port instead of our own")
    parser.add_argument("--frames", default="", help="a folder of images, an image or a video")
    parser.add_argument("--camera", default="", help='0 or /dev/videoN, "pi", or "sample"')
    parser.add_argument("--once", action="store_true", help="end when the frames have ended")
    options = parser.parse_args(args)
    return cli.run(lambda: Demo(options).run())


class Demo:
    """One demonstration."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._folder: Path = options.folder.absolute()
        self._scanner_toml = self._folder / "scanner.toml"
        self._collector_toml = self._folder / "collector.toml"
        self._dashboard_toml = self._folder / "dashboard.toml"

    def run(self) -> int:
        """Start everything, show it, stop it, and print totals. Gives the exit code."""
        source = self._source()
        self._folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(self._folder):
            return self._run(source)

    def _run(self, source: str) -> int:
        stored_before = self._stored()
        with ExitStack() as stack:
            url = self._options.broker or self._start_broker(stack)
            self._write_settings(url, source)
            watcher = self._watch(url, stack)
            collector = self._start("collector", self._collector_toml, stack)
            scanner = self._start("scanner", self._scanner_toml, stack)
            account = self._start_dashboard(stack)
            print(f"khung hình / frames: {source}\nmáy chủ / broker: {url}")
            print("Ctrl-C để dừng / to stop")
            print(f"trang theo dõi / dashboard: {account}\n", flush=True)
            table = LiveTable()
            failed = self._show(watcher, table, scanner, collector)
            _end(scanner)
            if scanner.returncode == 0:
                self._settle(watcher, table)
            _end(collector)
        self._print_totals(table, stored_before)
        return 1 if failed else 0

    def _start_dashboard(self, stack: ExitStack) -> str:
        """Start it on a port of its own; gives its address, and name and password."""
        port, storage = free_port(), self._folder / "storage.db"
        self._dashboard_toml.write_text(dashboard.settings(storage, port), encoding="utf-8")
        password = dashboard.prepare(storage)
        self._start("dashboard", self._dashboard_toml, stack)
        return f"http://127.0.0.1:{port}/ ({dashboard.ACCOUNT}, {password})"

    def _start_broker(self, stack: ExitStack) -> str:
        broker = NatsBroker(self._folder / "broker")
        stack.callback(broker.stop)
        return broker.url

    def _source(self) -> str:
        """Where frames come from. Raises CameraError, before anything is started, for nowhere."""
        if self._options.frames:
            frames = Path(self._options.frames).absolute()
            if not frames.exists():
                raise CameraError(f"no frames at {frames}; name a folder of images, or a video")
            return str(frames)
        camera: str = self._options.camera
        if camera.isdigit():
            camera = f"/dev/video{camera}"
        if camera.startswith("/dev/") and not Path(camera).exists():
            raise CameraError(
                f"no camera at {camera}; plug it in, choose one that ls /dev/video* shows,"
                " or see the drawn sequence with: make run CAMERA=sample"
            )
        return camera or ("pi" if _is_pi() else "sample")

    def _write_settings(self, url: str, source: str) -> None:
        public, private = self._folder / "tracing.pub", self._folder / "tracing.key"
        if not public.exists():
            private.unlink(missing_ok=True)
            make_key_pair(public, private)
        allow(self._folder)
        # What JSON writes of these strings, TOML reads.
        text = json.dumps
        self._scanner_toml.write_text(
            f"""
[unit]
id = "cong-1"
area = "demo"
place = "cho-1"
direction = "in"
tracing_key_file = "tracing.pub"
[broker]
url = {text(url)}
[camera]
source = {text(source)}
repeat = {text(source == "sample" and not self._options.once)}
[outbox]
folder = {text(str(self._folder / "outbox"))}
in_memory = true
[indicator]
kind = "terminal"
[publisher]
health_s = 1.0
""",
            encoding="utf-8",
        )
        self._collector_toml.write_text(
            f"""
id = "demo-collector"
areas = ["demo"]
receipt_key_file = "receipts.key"
[broker]
url = {text(url)}
[storage]
url = {text(str(self._folder / "storage.db"))}
[retention]
receipts_file = {text(str(self._folder / "erased.jsonl"))}
""",
            encoding="utf-8",
        )

    def _watch(self, url: str, stack: ExitStack) -> Connection:
        watcher = Connection(
            BrokerSettings(url=url),
            self._folder,
            f"demo-watcher-{os.getpid()}",
            SystemClock(),
            subscriptions=[every_unit("demo", channel) for channel in CHANNELS],
        )
        stack.callback(watcher.close)
        deadline = time.monotonic() + (NAMED_S if self._options.broker else OWN_S)
        while not watcher.connected:
            watcher.step(0.2)
            if time.monotonic() > deadline:
                raise EdgeError(f"broker: {watcher.trouble}")
        return watcher

    def _start(self, role: str, settings: Path, stack: ExitStack) -> "subprocess.Popen[bytes]":
        log = stack.enter_context((self._folder / f"{role}.log").open("wb"))
        process = subprocess.Popen(
            tied([sys.executable, "-m", f"edge.{role}", "--config", str(settings)]),
            stdout=log,
            stderr=log,
            # Ctrl-C is for us; the services are told to stop in their order.
            start_new_session=True,
        )
        stack.callback(_end, process)
        return process

    def _show(
        self,
        watcher: Connection,
        table: LiveTable,
        scanner: "subprocess.Popen[bytes]",
        collector: "subprocess.Popen[bytes]",
    ) -> bool:
        """Show until told to stop; True if a service failed."""
        told = False
        with cli.stop_signals() as stopping:
            while not stopping():
                watcher.step(0.2)
                for message in watcher.take():
                    watcher.ack(message)
                    table.take(message)
                if collector.poll() is not None:
                    return self._explain("collector")
                if scanner.poll() not in (None, 0):
                    return self._explain("scanner")
                if scanner.poll() == 0 and not told:
                    if self._options.once:
                        return False
                    told = True
                    print("\nhết khung hình / the frames have ended; Ctrl-C", flush=True)
        return False

    def _settle(self, watcher: Connection, table: LiveTable) -> None:
        """Take what the scanner said last: that it has stopped, and what comes along with it."""
        deadline = time.monotonic() + SETTLE_S
        quiet = False
        while time.monotonic() < deadline and not (table.stopped and quiet):
            watcher.step(0.1)
            messages = watcher.take()
            for message in messages:
                watcher.ack(message)
                table.take(message)
            quiet = not messages

    def _explain(self, role: str) -> bool:
        lines = (self._folder / f"{role}.log").read_text(errors="replace").splitlines()
        print(f"\nedge-{role} đã dừng / has stopped:", file=sys.stderr)
        for line in lines[-5:]:
            print(f"  {cli.printable(line)}", file=sys.stderr)
        if role == "scanner":
            print("  make run CAMERA=sample", file=sys.stderr)
        return True

    def _stored(self) -> int:
        storage = Storage(self._folder / "storage.db")
        try:
            return storage.count()
        finally:
            storage.close()

    def _print_totals(self, table: LiveTable, stored_before: int) -> None:
        health = table.health()
        refused = health.refused if health else {}
        accepted = health.accepted if health else 0
        repeated = health.repeated if health else 0
        lines = [
            ("đọc / read", accepted + repeated + sum(refused.values()), ""),
            ("  chấp nhận / accepted", accepted, ""),
            ("  lặp lại / repeated", repeated, ""),
            *(
                ("  từ chối / refused", count, REFUSALS.get(kind, kind))
                for kind, count in sorted(refused.items())
            ),
            ("đã lưu / stored", self._stored() - stored_before, ""),
            ("xác nhận / confirmed", table.confirmed(), ""),
            ("còn trên thiết bị / still on the unit", self._pending(), ""),
        ]
        print("\nTổng cộng / totals")
        for what, count, more in lines:
            print(f"  {what:<38} {count:>5}  {more}".rstrip())

    def _pending(self) -> str:
        asked = subprocess.run(
            [
                sys.executable,
                "-m",
                "edge.scanner",
                "--config",
                str(self._scanner_toml),
                "outbox",
                "status",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            return str(json.loads(asked.stdout)["pending"])
        except (ValueError, KeyError):
            return f"? ({cli.printable(asked.stderr.strip())})"


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold *folder* for this demonstration. Raises EdgeError while another has it."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EdgeError(
                f"another demonstration runs in {folder}; stop it first, or give another --folder"
            ) from None
        yield


def allow(folder: Path) -> None:
    """A legal basis for the demonstration in *folder*, which for invented people is our own."""
    now = time.time()
    signer = open_signer(folder / "basis.key")
    replace_file(folder / "basis.pub", [base64.b64encode(signer.public_key)], 0o644)
    # By which the unit knows its centre, as from its card.
    centre = open_signer(folder / "receipts.key")
    replace_file(folder / "receipts.pub", [base64.b64encode(centre.public_key)], 0o644)
    (folder / "basis").mkdir(exist_ok=True)
    basis = LegalBasis(
        number="00/DEMO",
        issuer="make run",
        places=("cho-1",),
        issued=utc_text(now),
        start=utc_text(now - 86_400),
        end=utc_text(now + 7 * 86_400),
    )
    write_basis(folder / "basis" / "demo.json", basis, signer)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_pi() -> bool:
    try:
        return "Raspberry Pi" in Path("/proc/device-tree/model").read_text(errors="replace")
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
