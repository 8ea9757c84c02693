"""Kills nodes under load, from a seed, and proves that storage holds each scan once.

    python -m tests.end_to_end.scale --kill broker collector database [--times 20] [--seed N]
    python -m tests.end_to_end.scale --storm [--units 10000] [--backlog-s 3600]

Simulated units (edge-simulate) send to brokers, two collectors share the areas and store in
PostgreSQL. `--kill broker`: a cluster of three NATS servers, each time one of them is killed and
comes back. `--kill collector`: one of the two, which is started again as systemd does. `--kill
database`: the leader of three PostgreSQL under Patroni. `--storm`: nothing is killed, but all units
come back at once with a backlog.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edge.demo.broker import NatsBroker
from edge.demo.tied import tied
from edge.storage.storage import Storage
from tests.bench.collect import SERVER
from tests.cluster import NatsCluster, PostgresqlCluster
from tests.end_to_end.parts import Service
from tests.ending import end_in_order
from tests.fakes import eventually
from tests.postgresql import PostgresqlServer

#: systemd starts a collector again after so long; see systemd/edge-collector.service.
RESTART_S = 3.0


class Restarted:
    """A collector that is started again whenever it ends, as systemd does."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stopping = threading.Event()
        self.restarts = 0
        service.start()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """SIGKILL."""
        self._service.send(signal.SIGKILL)

    def stop(self) -> None:
        """End it for good."""
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(0.2):
            if self._service.ended() is not None and not self._stopping.wait(RESTART_S):
                self.restarts += 1
                self._service.start()
        # Here, since it is tied to the thread that has started it.
        if self._service.ended() is None:
            self._service.stop()


class Scene:
    """Brokers, storage, collectors and units, of which some are killed."""

    def __init__(self, folder: Path, options: argparse.Namespace, stack: ExitStack) -> None:
        self._options = options
        self._chance = random.Random(options.seed)
        self.urls: list[str]
        self._nats: NatsCluster | None = None
        self._postgresql: PostgresqlCluster | None = None
        if options.kill == "broker":
            self._nats = NatsCluster(folder / "nats")
            stack.callback(self._nats.stop)
            self.urls = self._nats.urls
        else:
            broker = NatsBroker(folder / "nats")
            stack.callback(broker.stop)
            self.urls = [broker.url]
        if options.kill == "database":
            self._postgresql = PostgresqlCluster(folder / "postgresql")
            stack.callback(self._postgresql.stop)
            self.storage = self._postgresql.url
        else:
            server = PostgresqlServer(folder / "postgresql", SERVER)
            stack.callback(server.stop)
            self.storage = server.new_database()
        Storage(self.storage).close()
        self.collectors = []
        for number in (1, 2):
            self.collectors.append(self._collector(folder, number))
            stack.callback(self.collectors[-1].stop)

    def _collector(self, folder: Path, number: int) -> Restarted:
        home = folder / f"collector-{number}"
        home.mkdir()
        fallback = f'fallback_url = "{self.urls[number % len(self.urls)]}"'
        settings = f"""
            id = "collector-{number}"
            areas = ["sim-{number}"]
            receipt_key_file = "receipts.key"
            [storage]
            url = "{self.storage}"
            [broker]
            url = "{self.urls[number - 1 if len(self.urls) > 1 else 0]}"
            {fallback if len(self.urls) > 1 else ""}
        """
        return Restarted(Service("collector", home, settings))

    def wait_for_scans(self) -> None:
        """Wait until the first scans are rows."""
        storage = Storage(self.storage)
        eventually(lambda: storage.count() > 0, "the first scans stored", limit_s=300)
        storage.close()

    def kill(self) -> str:
        """Kill something, and bring it back; gives what."""
        if self._nats is not None:
            node = self._chance.choice(self._nats.nodes)
            node.kill()
            time.sleep(self._chance.uniform(1, 4))
            node.start()
            self._nats.wait()
            return node.name
        if self._postgresql is not None:
            leader = self._postgresql.leader()
            assert leader is not None
            node = self._postgresql.nodes[leader]
            node.kill()
            time.sleep(self._chance.uniform(1, 4))
            node.start()
            self._postgresql.wait()
            return node.name
        number = self._chance.randrange(2)
        self.collectors[number].kill()
        return f"collector-{number + 1}"


def main(args: list[str] | None = None) -> int:
    """Play, kill, prove. Gives the exit code."""
    options = _parser().parse_args(args)
    print(f"seed {options.seed}", file=sys.stderr)
    each = [argparse.Namespace(**vars(options), kill=kill) for kill in options.kills or [""]]
    return 0 if all(map(_holds, each)) else 1


def _holds(options: argparse.Namespace) -> bool:
    """Whether storage held each scan once in the end."""
    with tempfile.TemporaryDirectory(prefix="edge-scale-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        scene = Scene(folder, options, stack)
        fleet = _fleet(scene, options)
        stack.callback(fleet.kill)
        # Until units send, there is nothing to lose, and nobody who hears the signal below.
        scene.wait_for_scans()
        killed = 0
        while options.kill and killed < options.times and fleet.poll() is None:
            time.sleep(random.Random(options.seed + killed).uniform(5, 10))
            what = scene.kill()
            killed += 1
            print(f"{killed}: killed {what}", file=sys.stderr, flush=True)
        # Enough was killed: nobody passes any more, and all that is left is confirmed.
        if options.kill:
            fleet.send_signal(signal.SIGUSR1)
        out, _ = fleet.communicate(timeout=options.limit_s)
        found: dict[str, Any] = json.loads(out)
        found |= {"killed": killed, "restarts": sum(one.restarts for one in scene.collectors)}
        with_storage = Storage(scene.storage)
        found["rows"] = with_storage.count()
        with_storage.close()
        print(json.dumps(found))
        whole = found["rows"] == found["made"] == found["confirmed"]
        return whole and not fleet.returncode and killed >= options.times * bool(options.kill)


def _fleet(scene: Scene, options: argparse.Namespace) -> "subprocess.Popen[str]":
    words = {
        "--broker": ",".join(scene.urls),
        "--storage": scene.storage,
        "--units": options.units,
        "--areas": 2,
        "--rate": options.rate,
        "--seconds": options.limit_s if options.kill else 1,
        "--backlog-s": options.backlog_s if options.storm else 0,
        "--spread-s": options.spread_s,
        "--drain-s": options.limit_s,
        "--seed": options.seed,
    }
    command = [sys.executable, "-m", "edge.simulate", "--json"]
    return subprocess.Popen(
        tied([*command, *(str(word) for pair in words.items() for word in pair)]),
        stdout=subprocess.PIPE,
        text=True,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--kill", dest="kills", nargs="+", choices=("broker", "collector", "database")
    )
    what.add_argument("--storm", action="store_true")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--units", type=int, default=200)
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--backlog-s", type=float, default=3600.0)
    parser.add_argument("--spread-s", type=float, default=0.0)
    parser.add_argument("--limit-s", type=float, default=3600.0)
    return parser


if __name__ == "__main__":
    end_in_order()
    sys.exit(main())
