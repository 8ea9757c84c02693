"""The scanner's turn: kept first, then shown; refused politely; the same code once."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.errors import EndOfFrames, OutboxError, OutboxFull
from edge.messages import Scan
from edge.scanner.decoder import Code, Frame
from edge.scanner.documents import RefusalKind
from edge.scanner.eye import Eye
from edge.scanner.indicator import Signal
from edge.scanner.outbox import Outbox
from edge.scanner.pipeline import Unread
from edge.scanner.rereads import Rereads
from edge.scanner.schedule import Schedule
from edge.scanner.service import Scanner
from edge.sealing import Opener, Sealer, make_key_pair, read_key
from edge.unit_settings import UnitSettings, VehicleSettings
from tests.fakes import FakeClock, a_meter

VECTORS = json.loads((Path(__file__).parent.parent / "vectors.json").read_text())
CARD = VECTORS["CCCD7"].encode()
PERSONAL = VECTORS["QRQG_self"].encode()
PAYMENT = VECTORS["MOMO_P2P"].encode()


class Gate:
    """A scanner with a real outbox; what its camera sees and what the disk does are the test's."""

    def __init__(self, folder: Path) -> None:
        make_key_pair(folder / "tracing.pub", folder / "tracing.key")
        self.opener = Opener(read_key(folder / "tracing.key"))
        self.clock = FakeClock()
        #: What the disk says to a scan, if it takes none.
        self.refusal: OutboxError | None = None
        self.disk_takes_s = 0.0
        self.told_while_keeping: list[Signal] = []
        self.online = True
        self.in_view: list[bytes] = []
        self.shown: list[tuple[Signal, str, int]] = []
        self.resting: Signal | None = None
        self.kept = 0
        self.last_ms = 1.0
        self.spotted = False
        self.golden: Code | None = None
        self.outbox = Outbox(folder / "outbox", max_bytes=10**9, keep_free_bytes=0)
        self.meter = a_meter(self.outbox, self.clock)
        gate = self

        self.why_closed = ""
        self.has_ended = False
        self.read_frames = 0

        class FailingAtWill:
            """The outbox, on a disk that the test can fill, or let fail."""

            epoch = self.outbox.epoch

            @property
            def next_seq(self) -> int:
                return gate.outbox.next_seq

            def has_room(self) -> bool:
                return gate.refusal is None

            def put(self, scan: Scan) -> None:
                if gate.refusal is not None:
                    raise gate.refusal
                gate.clock.advance(gate.disk_takes_s)
                gate.told_while_keeping += [signal for signal, *_ in gate.shown]
                gate.outbox.put(scan)

        self.unit = UnitSettings(
            id="cong-1", area="a", place="cho-1", direction="out", tracing_key_file="x"
        )
        self.scanner = Scanner(
            self,
            self,  # type: ignore[arg-type]
            FailingAtWill(),  # type: ignore[arg-type]
            Sealer(read_key(folder / "tracing.pub")),
            self,
            Rereads(5.0),
            Unread(1.0),
            self.meter,
            self.clock,
            self.unit,
            Schedule(self.unit, VehicleSettings(trips=("sang-1@08:00-10:00",))),
            eye=Eye(),
            closed=lambda: self.why_closed,
            online=lambda: self.online,
            ended=lambda: self.has_ended,
            kept=self.count_kept,
        )

    def count_kept(self) -> None:
        self.kept += 1

    # Camera, decoder and indicator

    def capture(self) -> Frame:
        if self.in_view is None:
            raise EndOfFrames("the end")
        return np.zeros((4, 4), np.uint8)

    def read(self, frame: Frame) -> list[Code]:
        self.read_frames += 1
        corner = (0, 0)
        return [Code(c, (corner, corner, corner, corner), "fake") for c in self.in_view]

    def show(self, signal: Signal, note: str = "") -> None:
        self.shown.append((signal, note, self.outbox.next_seq - 1))

    def rest(self, signal: Signal | None) -> None:
        self.resting = signal

    def close(self) -> None: ...

    # What the test does

    def see(self, *codes: bytes, seconds: float = 0.0) -> list[Signal]:
        """Hold *codes* in view for *seconds* at 10 frames a second; gives what was shown."""
        self.shown.clear()
        self.in_view = list(codes)
        for _ in range(max(1, int(seconds * 10))):
            self.scanner.step()
            self.clock.advance(0.1)
        return [signal for signal, _, _ in self.shown]

    def scans(self) -> list[Scan]:
        return self.outbox.oldest(100)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path)
    yield gate
    gate.outbox.close()


def test_a_card_becomes_a_scan_that_only_the_desk_can_read(gate: Gate) -> None:
    assert gate.see(CARD) == [Signal.ACCEPTED]

    (scan,) = gate.scans()
    assert (scan.seq, scan.place, scan.direction, scan.document) == (1, "cho-1", "out", "cccd")
    assert scan.clock == "none"
    assert b"064190000123" not in scan.encode()
    identity = gate.opener.open(scan.sealed, scan.id)
    assert (identity.pin, identity.name) == ("064190000123", "Trần Thị Mẫu")
    assert gate.kept == 1


def test_a_scan_carries_the_trip_of_its_hour_once_the_clock_is_known(gate: Gate) -> None:
    gate.see(CARD)
    gate.clock.synchronized = True
    gate.see(PERSONAL)

    assert [scan.trip for scan in gate.scans()] == ["", "sang-1"]


def test_the_scan_is_on_disk_before_anything_is_shown(gate: Gate) -> None:
    gate.see(CARD)

    ((signal, note, kept_when_shown),) = gate.shown
    assert (signal, note, kept_when_shown) == (Signal.ACCEPTED, "seq 1", 1)


def test_a_code_held_in_view_is_one_scan(gate: Gate) -> None:
    assert gate.see(CARD, seconds=30) == [Signal.ACCEPTED]
    assert len(gate.scans()) == 1


def test_a_code_counts_again_after_the_delay_out_of_view(gate: Gate) -> None:
    gate.see(CARD, seconds=2)
    gate.see(seconds=3)
    assert gate.see(CARD) == [Signal.ALREADY_SEEN]
    gate.see(seconds=6)
    assert gate.see(CARD) == [Signal.ACCEPTED]

    assert len(gate.scans()) == 2
    assert gate.meter.health().repeated == 1


@pytest.mark.parametrize("days", [-200, 200])
def test_a_clock_that_is_set_counts_nobody_twice_and_keeps_nobody_out(
    gate: Gate, days: float
) -> None:
    assert gate.see(CARD) == [Signal.ACCEPTED]
    gate.clock.wrong_by_s = days * 86_400
    assert gate.see(CARD, seconds=3) == []
    gate.see(seconds=6)
    # In view for one frame alone.
    assert gate.see(CARD) == [Signal.ACCEPTED]
    gate.clock.wrong_by_s = 0
    gate.see(seconds=6)
    assert gate.see(CARD) == [Signal.ACCEPTED]
    gate.see(seconds=3)
    assert gate.see(CARD) == [Signal.ALREADY_SEEN]

    # The wall clock goes back and forth; their numbers and the time since the boot do not.
    scans = gate.scans()
    assert [scan.seq for scan in scans] == [1, 2, 3]
    assert sorted(scans, key=lambda scan: scan.uptime_ms) == scans
    assert sorted(scans, key=lambda scan: scan.at) != scans


def test_two_people_at_once_are_two_scans(gate: Gate) -> None:
    assert gate.see(CARD, PERSONAL) == [Signal.ACCEPTED, Signal.ACCEPTED]
    assert [scan.document for scan in gate.scans()] == ["cccd", "qrqg"]


def test_a_refused_code_is_counted_by_kind_once_and_nothing_of_it_is_kept(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    assert gate.see(PAYMENT, seconds=5) == [Signal.REFUSED]
    gate.see(seconds=2)
    assert gate.see(PAYMENT) == [Signal.REFUSED]

    assert gate.scans() == []
    assert gate.meter.health().refused == {RefusalKind.PAYMENT: 1}
    assert gate.meter.health().repeated == 0
    assert "0900000001" not in caplog.text
    assert "MAU" not in caplog.text


def test_text_that_is_none_is_shown_as_not_readable(gate: Gate) -> None:
    assert gate.see(b"\xff\xfe\x00") == [Signal.NOT_READABLE]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 20,
        b"\x1b[31m\x07",
        b"=HYPERLINK(1)",
        b"A" * 2953,
        "\u202e".encode() * 50,
        VECTORS["EVIL_CTRL"].encode(),
    ],
)
def test_hostile_codes_are_quiet_counts(
    gate: Gate, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    gate.see(content)
    assert gate.see(CARD) == [Signal.ACCEPTED]

    assert sum(gate.meter.health().refused.values()) == 1
    assert all(char.isprintable() or char == "\n" for char in caplog.text)
    assert "HYPERLINK" not in caplog.text


def test_without_a_network_it_is_counted_all_the_same_and_said_so(gate: Gate) -> None:
    gate.online = False

    assert gate.see(CARD) == [Signal.STORED_OFFLINE]
    assert len(gate.scans()) == 1


def test_a_code_that_stays_in_view_and_cannot_be_read_is_said_so_once(gate: Gate) -> None:
    gate.spotted = True

    assert gate.see(seconds=0.8) == []
    assert gate.see(seconds=5) == [Signal.NOT_READABLE]
    assert gate.meter.health().unread == 1
    gate.spotted = False
    assert gate.see(CARD) == [Signal.ACCEPTED]


@pytest.mark.parametrize("refusal", [OutboxFull("no room"), OutboxError("the card fails")])
def test_a_disk_that_takes_no_scan_is_never_a_beep_and_the_code_counts_when_it_does(
    gate: Gate, refusal: OutboxError
) -> None:
    gate.refusal = refusal
    shown = gate.see(CARD, seconds=3)

    assert set(shown) == {Signal.CANNOT_STORE}
    assert len(shown) <= 4, "asked for each frame"
    assert gate.resting is Signal.CANNOT_STORE
    assert gate.scans() == []
    assert gate.meter.health().accepted == 0

    gate.refusal = None
    gate.see(seconds=1)
    assert gate.see(CARD, seconds=2) == [Signal.ACCEPTED]
    assert gate.resting is None


def test_a_full_disk_shows_before_anybody_comes_and_room_again_as_well(gate: Gate) -> None:
    gate.see()
    gate.refusal = OutboxFull("no room")
    gate.see(seconds=6)
    assert gate.resting is Signal.CANNOT_STORE

    gate.refusal = None
    gate.see(seconds=6)
    assert gate.resting is None


def test_no_scan_says_more_of_a_person_than_the_kind_of_document(gate: Gate) -> None:
    for name, vector in VECTORS.items():
        gate.see(vector.encode())
        gate.see(seconds=7)
        del name

    sizes = {len(scan.sealed) for scan in gate.scans()}
    assert len(gate.scans()) > 8
    assert len(sizes) == 1


def test_a_disk_that_takes_seconds_makes_nobody_hear_a_beep_early_and_stops_nothing(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    gate.disk_takes_s = 7.0

    assert gate.see(CARD, seconds=3) == [Signal.ACCEPTED]

    assert gate.told_while_keeping == []
    # Held in view all the while, it is one scan, however long the disk took.
    assert len(gate.scans()) == 1
    assert gate.meter.health().keep_ms_max == 7000.0
    assert "the card may be worn out" in caplog.text
    gate.disk_takes_s = 0.0
    assert gate.see(PERSONAL) == [Signal.ACCEPTED]


def test_a_light_for_lost_scans_stays_until_one_is_kept(gate: Gate) -> None:
    gate.scanner._resting = gate.resting = Signal.FAULT

    gate.see(seconds=10)
    assert gate.resting is Signal.FAULT
    gate.see(CARD)

    assert gate.resting is None


def test_how_well_the_eye_sees_goes_into_health(gate: Gate) -> None:
    gate.see(CARD, seconds=40)

    health = gate.meter.health()
    assert health.eye == "covered"
    assert health.brightness == 0.0
    assert health.sharpness is None


def test_without_a_legal_basis_no_code_is_looked_at_and_the_light_says_so(gate: Gate) -> None:
    gate.why_closed = "there is no legal basis"

    assert gate.see(CARD, seconds=1) == []
    assert gate.scans() == []
    assert gate.read_frames == 0
    assert gate.resting is Signal.NOT_COLLECTING

    # The camera works all the same, and health says so.
    assert gate.meter.health().frame_age_s == pytest.approx(0.1)
    gate.why_closed = ""
    assert gate.see(CARD) == [Signal.ACCEPTED]
    assert gate.resting is None


def test_without_a_valid_certificate_people_are_counted_and_the_light_says_what_is_wrong(
    gate: Gate,
) -> None:
    gate.has_ended, gate.online = True, False

    gate.see(seconds=6)
    assert gate.resting is Signal.CANNOT_SEND
    assert gate.see(CARD) == [Signal.STORED_OFFLINE]
    assert gate.resting is Signal.CANNOT_SEND

    gate.has_ended = False
    gate.see(seconds=6)
    assert gate.resting is None
