"""A publisher whose broker, clock and centre are in the test's hands."""

from pathlib import Path

from edge.messages import (
    Confirmed,
    ConfirmedRange,
    Scan,
    check_of,
    read_scans,
)
from edge.scanner.boots import Boots
from edge.scanner.health_log import HealthLog
from edge.scanner.outbox import Outbox
from edge.scanner.publisher import Publisher
from edge.sealing import Verifier
from edge.unit_settings import UnitSettings
from tests.fakes import FakeClock, FakeConnection, a_health, a_scan

UNIT = UnitSettings(
    id="cong-1", area="pleiku", place="cho-1", direction="in", tracing_key_file="tracing.pub"
)
CONFIRMED = "edge/v1/pleiku/cong-1/confirmed"


class Unit:
    """A publisher with a real outbox, a clock moved by hand, and a broker in the test's hands."""

    def __init__(self, folder: Path, centre: Verifier | None = None, **how: float) -> None:
        self.clock = FakeClock()
        self.connection = FakeConnection()
        self.outbox = Outbox(folder / "outbox", max_bytes=10**9, keep_free_bytes=0)
        self.scans: dict[int, Scan] = {}
        self.changes: list[bool] = []
        self.publisher = Publisher(
            self.connection,  # type: ignore[arg-type]
            self.outbox,
            UNIT,
            self.clock,
            software="0.1.0",
            health=lambda: a_health(frames=int(self.clock.seconds)),
            health_changed=lambda: self.changes.pop() if self.changes else False,
            health_log=HealthLog(folder / "health.jsonl"),
            boots=Boots(folder / "boots.json"),
            centre=centre,
            resend_s=5.0,
            health_s=60.0,
            window=int(how.get("window", 10)),
            scans_a_message=int(how.get("scans_a_message", 20)),
            live_share=how.get("live_share", 0.0),
            budget_kb_s=how.get("budget_kb_s", 0.0),
        )

    def put(self, count: int = 1, **changes: object) -> None:
        for _ in range(count):
            scan = a_scan(self.outbox.next_seq, self.outbox.epoch, **changes)
            self.outbox.put(scan)
            self.scans[scan.seq] = scan

    def step(self, seconds: float = 0.0) -> list[int]:
        """Let *seconds* pass, do one turn, and give the numbers of the scans that were sent."""
        self.clock.advance(seconds)
        self.publisher.step(0)
        return [scan.seq for message in self.messages() for scan in message]

    def messages(self) -> list[tuple[Scan, ...]]:
        """The scans of each message since the last look."""
        return [read_scans(payload)[0] for payload in self.connection.on("scan")]

    def confirm(self, first: int, last: int, check: str | None = None) -> None:
        self.connection.deliver(CONFIRMED, self.confirmation(first, last, check).encode())

    def confirmation(self, first: int, last: int, check: str | None = None) -> Confirmed:
        check = check or check_of(self.scans[seq].id for seq in range(first, last + 1))
        return Confirmed(epoch=self.outbox.epoch, ranges=(ConfirmedRange(first, last, check),))

    def pending(self) -> int:
        return self.outbox.status().pending
