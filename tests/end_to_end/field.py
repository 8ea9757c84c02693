"""A deployment that can be hurt as the field hurts one: scanners, a broker, a collector.

Each stands in a network namespace of its own with a relay on its way to the broker, writes to a
small disk of its own, and has a wall clock that can be set. What this machine cannot do is left out
and named in `missing`.
"""

import json
import os
import shutil
import signal
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edge.demo.broker import ACK_WAIT_S, MAX_ACK_PENDING, free_port, nats_server
from edge.sealing import make_key_pair
from tests.conftest import MOSQUITTO
from tests.end_to_end.network import (
    Loopback,
    Namespaces,
    Network,
    Relay,
    ShiftedClock,
    SmallDisk,
    Undo,
    build_clock_shift,
)
from tests.end_to_end.parts import (
    Program,
    Service,
    beeps_in,
    collector_settings,
    invented_cards,
    scanner_settings,
    write_frames,
)

BrokerKind = Literal["nats", "mosquitto"]

#: As systemd does, but sooner.
RESTART_S = 1.0
#: A dead link is noticed after about twice this.
KEEPALIVE_S = 5
CARDS = 120


@dataclass
class Part:
    """A scanner, the broker or the collector, and what can be done to it."""

    name: str
    program: Program
    disk: SmallDisk | None = None
    clock: ShiftedClock | None = None
    is_down: bool = True
    kills: int = 0
    #: Exit codes, of when it ended and nobody had ended it.
    falls: Counter[int] = field(default_factory=Counter)
    restart_at: float | None = None

    def start(self) -> None:
        """Start it, unless it was; from now on `watch` keeps it running."""
        if self.is_down:
            self.program.start()
        self.is_down = False

    def end(self, how: signal.Signals) -> None:
        """End it, until it is started again."""
        self.is_down = True
        self.restart_at = None
        if self.program.ended() is None:
            self.kills += how is signal.SIGKILL
            self.program.stop(how)

    def watch(self, now: float) -> None:
        """If it has ended by itself, start it again after a short wait, as systemd would."""
        code = self.program.ended()
        if self.is_down or code is None:
            return
        if self.restart_at is None:
            self.falls[code] += 1
            self.restart_at = now + RESTART_S
        elif now >= self.restart_at:
            self.restart_at = None
            self.program.start()


class Field:
    """The deployment in *folder*. Nothing runs until its parts are started."""

    def __init__(
        self,
        folder: Path,
        stack: ExitStack,
        *,
        scanners: int = 1,
        broker: BrokerKind = "nats",
        frame_rate: float = 30,
        loopback: bool = False,
        small_disks: bool = False,
        own_clocks: bool = False,
        by_name: bool = False,
    ) -> None:
        """*stack* takes it apart in the end. *by_name*: the scanners must ask a name server."""
        self.folder = folder
        self.missing: list[str] = []
        self.units = [f"cong-{number + 1}" for number in range(scanners)]
        self.broker_kind = broker
        self._frame_rate = frame_rate
        self._by_name = by_name
        make_key_pair(folder / "tracing.pub", folder / "tracing.key")
        self._undo = Undo() if os.geteuid() == 0 else None
        if self._undo is not None:
            stack.callback(self._undo.close)
        self.network = self._open_network(loopback)
        self._disks = small_disks and self._can("full disks", SmallDisk.why_not(folder))
        self._library = build_clock_shift(folder) if own_clocks else None
        if isinstance(self._library, str):
            self._can("clock jumps", self._library)
        self._port = free_port()
        self._routes = {name: free_port() for name in [*self.units, "collector"]}
        self.relay = self._open_relay()
        stack.callback(self.relay.close)
        self.parts = {
            **{unit: self._scanner(number, unit) for number, unit in enumerate(self.units)},
            "collector": self._collector(),
            "broker": Part("broker", self._broker()),
        }
        stack.callback(self._end)

    @property
    def storage(self) -> Path:
        """The collector's storage."""
        return self._place("collector") / "storage.db"

    def outbox(self, unit: str) -> Path:
        """The outbox of a scanner."""
        return self._place(unit) / "outbox"

    def beeps(self, unit: str) -> list[int]:
        """The number of every scan that *unit* signalled as counted, in order."""
        return beeps_in(self.folder / unit / "scanner.out")

    def start(self) -> None:
        """Start every part."""
        for part in self.parts.values():
            part.start()

    def use_last_scanner(self, unit: str) -> None:
        """From its next start the scanner sees no more codes that count, and ends when all that it
        holds is confirmed."""
        refused = self.folder / "refused"
        if not refused.exists():
            write_frames(refused, ["https://example.invalid/ve/ABC123"])
        part = self.parts[unit]
        settings = self._scanner_settings(unit, refused, repeat=False)
        part.program = self._service("scanner", unit, settings, part.clock)

    def empty_broker(self) -> None:
        """Let the broker, which is not running, forget everything."""
        shutil.rmtree(self.folder / "broker" / "store", ignore_errors=True)

    def save(self) -> None:
        """Copy what is on the small disks, for a look at it when they are gone."""
        for part in self.parts.values():
            if part.disk is not None:
                copy = self.folder / part.name / "disk-copy"
                ignored = shutil.ignore_patterns("ballast", "lost+found")
                shutil.copytree(part.disk.folder, copy, ignore=ignored)

    def _end(self) -> None:
        for part in self.parts.values():
            part.end(signal.SIGKILL)

    # How it is built

    def _open_network(self, loopback: bool) -> Network:
        why_not = "not asked for" if loopback else Namespaces.why_not()
        if not self._can("namespaces and partitions (relays on loopback stay)", why_not):
            return Loopback()
        assert self._undo is not None
        network = Namespaces([*self.units, "collector", "broker"], self._undo)
        if self._by_name:
            for unit in self.units:
                network.use_name_server(unit, self._undo)
        return network

    def _open_relay(self) -> Relay:
        return Relay(
            self._routes,
            (self.network.address("broker"), self._port),
            self.folder / "relay.log",
            within=self.network.within("hub"),
            address=self.network.address("hub"),
            name_server=self._by_name,
        )

    def _can(self, what: str, why_not: str) -> bool:
        if why_not:
            self.missing.append(f"{what}: {why_not}")
        return not why_not

    def _scanner(self, number: int, unit: str) -> Part:
        frames = self.folder / f"frames-{unit}"
        write_frames(frames, invented_cards(CARDS, first=number * CARDS))
        disk, clock = self._ground(unit, 16)
        settings = self._scanner_settings(unit, frames, repeat=True)
        return Part(unit, self._service("scanner", unit, settings, clock), disk, clock)

    def _scanner_settings(self, unit: str, frames: Path, *, repeat: bool) -> str:
        return scanner_settings(
            self._url(unit),
            frames,
            self.outbox(unit),
            unit=unit,
            frame_rate=self._frame_rate,
            repeat=repeat,
            keepalive_s=KEEPALIVE_S,
            keep_free_mb=0 if self._disks else 64,
        )

    def _collector(self) -> Part:
        disk, clock = self._ground("collector", 1000)
        settings = collector_settings(self._url("collector"), self.storage, keepalive_s=KEEPALIVE_S)
        program = self._service("collector", "collector", settings, clock)
        return Part("collector", program, disk, clock)

    def _ground(self, name: str, megabytes: int) -> tuple[SmallDisk | None, ShiftedClock | None]:
        """A folder with the key in it; and a disk and a clock, where that can be."""
        folder = self.folder / name
        folder.mkdir()
        shutil.copy(self.folder / "tracing.pub", folder)
        disk = clock = None
        if self._disks:
            assert self._undo is not None
            disk = SmallDisk(self._place(name), megabytes, self._undo)
        if isinstance(self._library, Path):
            clock = ShiftedClock(folder / "clock", self._library)
        return disk, clock

    def _place(self, name: str) -> Path:
        return self.folder / name / "disk" if self._disks else self.folder / name

    def _service(self, role: str, name: str, settings: str, clock: ShiftedClock | None) -> Service:
        return Service(
            role,
            self.folder / name,
            settings,
            within=self.network.within(name),
            environment=clock.environment if clock else None,
        )

    def _url(self, name: str) -> str:
        host = "broker.edge.test" if self._by_name and name != "collector" else ""
        return f"mqtt://{host or self.network.address('hub')}:{self._routes[name]}"

    def _broker(self) -> Program:
        folder = self.folder / "broker"
        folder.mkdir()
        address = self.network.address("broker")
        if self.broker_kind == "mosquitto":
            assert MOSQUITTO is not None, "mosquitto is missing: sudo apt install mosquitto"
            settings, command = folder / "mosquitto.conf", [MOSQUITTO, "-c"]
            settings.write_text(
                f"listener {self._port} {address}\nallow_anonymous true\n"
                "persistence false\nmax_queued_messages 1000\n"
            )
        else:
            settings, command = folder / "nats.conf", [nats_server(), "-c"]
            # As NatsBroker has it, but for its address.
            text = {
                "server_name": "edge-field",
                "listen": f"{address}:{free_port()}",
                "jetstream": {"store_dir": str(folder / "store")},
                "mqtt": {
                    "listen": f"{address}:{self._port}",
                    "ack_wait": f"{ACK_WAIT_S}s",
                    "max_ack_pending": MAX_ACK_PENDING,
                },
            }
            settings.write_text(json.dumps(text))
        within = self.network.within("broker")
        return Program("broker", folder, [*command, str(settings)], within=within)
