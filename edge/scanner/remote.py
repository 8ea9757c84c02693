"""What the centre may do with this unit: its commands and its desired settings.

Part of the publisher's turn, and on its thread.
"""

import json
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edge import cli
from edge.clock import Clock
from edge.errors import BadMessage, CameraError, ConfigError, EdgeError, SealError
from edge.messages import Command, Config, Health, Hex32
from edge.scanner import power
from edge.scanner.carrier import read_centre
from edge.scanner.desired import Desired
from edge.scanner.indicator import Indicator, Signal
from edge.scanner.orders import ORDERS, Orders, findings
from edge.scanner.publisher import Publisher
from edge.scanner.retiring import Retirement
from edge.scanner.settings import ScannerSettings
from edge.sealing import Verifier
from edge.signed import read_order
from edge.unit_settings import ALLOWED

log = logging.getLogger(__name__)

#: A unit whose last frame is older than this sees nothing.
BLIND_S = 5.0
#: So many lines of the log are kept in memory for diagnostics.
LINES = 200
#: Orders that are not believed are logged no more often than this.
WARN_S = 60.0
NO_CENTRE = (
    "this unit does not know its centre's key, so it follows nobody; give it the file that"
    " carry.receipt_key_file names (edge-collector key prints it)"
)


class _AskedOrder(Struct):
    id: Hex32


class _Asked(Struct):
    order: _AskedOrder


class Remote:
    """Takes what the centre sends and sees to it that it is answered."""

    def __init__(
        self,
        publisher: Publisher,
        desired: Desired,
        settings: ScannerSettings,
        own: Path,
        clock: Clock,
        indicator: Indicator,
        health: Callable[[], Health],
        recent: "RecentLines",
        centre: Verifier | None,
        rotate: Callable[[], None] | None = None,
        retirement: Retirement | None = None,
    ) -> None:
        """*own* is the unit's own file of settings; *centre* is who may command, None nobody.

        *rotate* has a new key made, *retirement* takes the unit down; None where neither can be.
        """
        self._publisher = publisher
        self._desired = desired
        self._settings = settings
        self._own = own
        self._indicator = indicator
        self._health = health
        self._recent = recent
        self._centre = centre
        self._clock = clock
        self._rotate = rotate
        self._retirement = retirement
        self._payload = b""
        self._ending = False
        self._next_warning = 0.0
        self._orders = Orders(
            Path(settings.outbox.folder) / ORDERS,
            clock,
            acts={
                "identify": self._identify,
                "self_test": self._self_test,
                "diagnostics": self._diagnostics,
                "update": self._update,
                "rotate_keys": self._rotate_keys,
                "retire": self._retire,
            },
            endings={"restart": self._end, "reboot": self._reboot},
            keys=centre.ids if centre is not None else (),
        )

    @property
    def wants_end(self) -> bool:
        """Whether the service is to end, to be started anew."""
        return self._ending or self._desired.wants_start

    def closed(self) -> str:
        """Why nothing may be collected now; "" if it may."""
        if self._retirement is not None and self._retirement.ordered:
            return "retired by the centre"
        return "paused by the centre" if self._orders.paused else ""

    def step(self, timeout_s: float) -> None:
        """One turn of the publisher; then what came in, what is on trial, what is to be told."""
        self._publisher.step(timeout_s)
        for channel, payload in self._publisher.take_others():
            self._take(channel, payload)
        self._desired.step(connected=self._publisher.connected, well=self._sees())
        if self._publisher.connected:
            self._desired.tell(self._publisher.answer)
            self._orders.tell(self._publisher.answer)
        if self._retirement is not None and self._retirement.ordered:
            self._retire_on(self._retirement)

    def _retire_on(self, retirement: Retirement) -> None:
        """Once the broker has the answer, and nothing waits, this unit is forgotten and ended."""
        if not (self._orders.all_told and self._publisher.idle) or self._health().pending:
            return
        if not self._publisher.forgotten:
            self._publisher.forget()
        else:
            retirement.go()

    def _take(self, channel: str, payload: bytes) -> None:
        """Do what the centre orders, if it is the centre. All that a unit may be told passes here.

        Whoever runs the broker can put anything here; he is told no, and believed nothing.
        """
        try:
            if self._centre is None:
                raise BadMessage(NO_CENTRE)
            order = read_order(channel, payload, self._settings.unit.id, self._centre)
        except BadMessage as err:
            self._refuse(channel, payload, str(err))
            return
        if isinstance(order, Command):
            self._payload = payload
            self._orders.take(order)
        else:
            self._wish(order, payload)

    def _refuse(self, channel: str, payload: bytes, reason: str) -> None:
        now = self._clock.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + WARN_S
            log.warning("an order is not followed (%s): %s", channel, reason)
        if channel != "cmd":
            return
        # Nothing of it is believed, but its id: an honest operator should hear why.
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._orders.refuse(msgspec.json.decode(payload, type=_Asked).order.id, reason)

    def _wish(self, wished: Config, signed: bytes) -> None:
        def check(after: ScannerSettings) -> None:
            """Whoever wishes for it must be believed afterwards: nobody else can undo it."""
            try:
                centre = read_centre(after.carry, self._own.parent)
                if centre is not None:
                    read_order("config", signed, self._settings.unit.id, centre)
            except (BadMessage, SealError) as err:
                raise ConfigError(
                    "carry: this unit would not believe the key that signed this any more; let the"
                    " collector sign with the newest first"
                ) from err

        answer = self._desired.take(wished, signed, self._own, well=self._sees(), check=check)
        if answer is not None:
            self._publisher.answer(answer)

    def _sees(self) -> bool:
        age_s = self._health().frame_age_s
        return age_s is not None and age_s <= BLIND_S

    def _identify(self) -> str:
        self._indicator.show(Signal.IDENTIFY)
        return ""

    def _self_test(self) -> str:
        health = self._health()

        def camera() -> str:
            if not self._sees():
                raise CameraError(f"no frame for {health.frame_age_s} s")
            return f"{health.frame_rate} frames a second"

        def room() -> str:
            if health.fill is not None and health.fill >= 0.9:
                raise EdgeError(f"the outbox is {100 * health.fill:.0f} % full")
            return f"{health.pending} scans wait"

        def supply() -> str:
            if health.machine.under_voltage:
                raise EdgeError("the supply is too weak: another adapter, a shorter cable")
            return "good" if health.machine.under_voltage is not None else "does not tell"

        def eye() -> str:
            if health.eye not in ("good", "unjudged"):
                raise EdgeError(health.eye)
            return health.eye

        parts = {"camera": camera, "eye": eye, "outbox": room, "supply": supply}
        return findings(parts | {"clock": lambda: health.clock})

    def _diagnostics(self) -> str:
        tables: dict[str, Any] = msgspec.to_builtins(self._settings)
        # No secret has its place in these, nor the name of a file with one.
        shown = {
            table: {key: value for key, value in tables[table].items() if not keys or key in keys}
            for table, keys in ALLOWED.items()
        }
        facts = {"config": self._desired.revision, "settings": shown}
        health = json.loads(self._health().encode())
        return json.dumps(facts | {"health": health, "log": list(self._recent.lines)[-60:]})

    def _rotate_keys(self) -> str:
        if self._rotate is None:
            raise EdgeError("this unit's certificate is a file that somebody has put there")
        self._rotate()
        return "a new key is made, and asked to be certified; health says when that ends"

    def _retire(self) -> str:
        if pending := self._health().pending:
            raise EdgeError(
                f"{pending} scans are not confirmed yet; nothing was emptied: ask again later"
            )
        if self._retirement is None:
            raise EdgeError("this unit cannot empty itself; wipe it by hand")
        return self._retirement.order(self._payload)

    def _update(self) -> str:
        if not power.ask(power.UPDATE):
            raise EdgeError("this unit cannot look for new software: enable edge-update.path")
        return "looking; what is new waits until the place is closed, and health says how it ends"

    def _end(self) -> str:
        self._ending = True
        return ""

    def _reboot(self) -> str:
        if not power.ask(power.REBOOT):
            raise EdgeError("this unit cannot start its machine anew: enable edge-reboot.path")
        return self._end()


class RecentLines(logging.Handler):
    """Keeps the last lines of the log in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(cli.PrintableFormatter("%(levelname)s %(name)s: %(message)s"))
        self.lines: deque[str] = deque(maxlen=LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep *record*."""
        self.lines.append(self.format(record)[:300])
