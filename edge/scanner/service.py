"""The scanner's work: what happens to each frame and to each code in it.

The order is the guarantee: the outbox has the scan on disk before the indicator says so. There is
no offline mode; with or without a network each scan takes this same path.
"""

import logging
import uuid
from collections.abc import Callable

from edge.clock import Clock
from edge.errors import OutboxError, OutboxFull
from edge.messages import Scan
from edge.scanner.camera import Camera
from edge.scanner.decoder import Code, Frame
from edge.scanner.documents import Document, Refusal, RefusalKind, classify
from edge.scanner.eye import Eye
from edge.scanner.health import HealthMeter
from edge.scanner.indicator import Indicator, Signal
from edge.scanner.outbox import Outbox
from edge.scanner.pipeline import Pipeline, Unread
from edge.scanner.rereads import Rereads, Sighting
from edge.scanner.schedule import Schedule
from edge.sealing import Sealer
from edge.unit_settings import UnitSettings

log = logging.getLogger(__name__)

#: A disk that cannot keep scans is asked again after this long, not for each frame.
RETRY_S = 1.0
#: A scan that takes this long to be kept keeps people waiting.
SLOW_S = 1.0
#: How often to see whether there is room, so that the light says so before somebody comes.
ROOM_S = 5.0


class Scanner:
    """From frames to scans in the outbox."""

    def __init__(
        self,
        camera: Camera,
        pipeline: Pipeline,
        outbox: Outbox,
        sealer: Sealer,
        indicator: Indicator,
        rereads: Rereads,
        unread: Unread,
        meter: HealthMeter,
        clock: Clock,
        unit: UnitSettings,
        schedule: Schedule,
        *,
        eye: Eye,
        resting: Signal | None = None,
        closed: Callable[[], str] = lambda: "",
        online: Callable[[], bool],
        ended: Callable[[], bool] = lambda: False,
        kept: Callable[[], None],
    ) -> None:
        """*resting* is what the indicator rests on until a scan is kept.

        *closed* says why nothing may be collected now, "" if it may; *online* tells whether scans
        can be sent right now, *ended* whether they cannot until somebody sees to the certificate;
        *kept* is called for each new one.
        """
        self._camera = camera
        self._pipeline = pipeline
        self._outbox = outbox
        self._sealer = sealer
        self._indicator = indicator
        self._rereads = rereads
        self._unread = unread
        self._meter = meter
        self._clock = clock
        self._unit = unit
        self._schedule = schedule
        self._eye = eye
        self._closed = closed
        self._online = online
        self._ended = ended
        self._kept = kept
        self._cannot_store_until = 0.0
        self._next_look_at_room = 0.0
        self._resting = resting

    @property
    def resting(self) -> Signal | None:
        """What the indicator is to rest on now."""
        return self._resting

    def step(self) -> None:
        """One frame. Raises CameraError or EndOfFrames when there is none to be had."""
        if self._closed():
            # Frames are taken, to notice a camera that fails, but nobody looks at them.
            self._rest(Signal.NOT_COLLECTING)
            self._camera.capture()
            self._meter.seen()
            return
        if self._resting is Signal.NOT_COLLECTING:
            self._rest(None)
        self._look_at_room()
        frame = self._camera.capture()
        codes = self._pipeline.read(frame)
        self._meter.frame(self._pipeline.last_ms)
        self._look_after_eye(frame, codes)
        for code in codes:
            self._take(code.content)
        if self._unread.look(self._pipeline.spotted, bool(codes), self._clock.monotonic()):
            self._meter.unread()
            self._indicator.show(Signal.NOT_READABLE)

    def _look_after_eye(self, frame: Frame, codes: list[Code]) -> None:
        golden = self._pipeline.golden
        if self._eye.look(frame, [*codes, golden] if golden else codes, self._clock.monotonic()):
            self._meter.eye(self._eye.state)

    def _take(self, content: bytes) -> None:
        now = self._clock.monotonic()
        direction = self._schedule.direction(self._clock.now())
        sighting = self._rereads.look(content, direction, now)
        if sighting is Sighting.HELD:
            return
        answer = classify(content)
        if isinstance(answer, Refusal):
            self._rereads.remember(content, direction, now)
            self._refuse(answer, sighting)
        elif sighting is Sighting.AGAIN:
            self._meter.repeated()
            self._indicator.show(Signal.ALREADY_SEEN)
        elif self._keep(answer, now):
            # As of now: while a slow disk was writing, nobody saw that the code was still in view.
            self._rereads.remember(content, direction, self._clock.monotonic())

    def _refuse(self, refusal: Refusal, sighting: Sighting) -> None:
        # Shown again at once it is refused again, but counted as the one code that it is.
        if sighting is Sighting.NEW:
            self._meter.refused(refusal.kind)
            log.info("refused: %s %s", refusal.kind, refusal.shape)
        unreadable = refusal.kind is RefusalKind.UNDECODABLE
        self._indicator.show(Signal.NOT_READABLE if unreadable else Signal.REFUSED, refusal.kind)

    def _keep(self, document: Document, now: float) -> bool:
        """Put *document* into the outbox; False, and the light says so, if it cannot be kept."""
        if now < self._cannot_store_until:
            return False
        scan = self._scan(document)
        began = self._clock.monotonic()
        try:
            self._outbox.put(scan)
        except OutboxError as err:
            self._cannot_store_until = now + RETRY_S
            self._meter.not_kept()
            self._indicator.show(Signal.CANNOT_STORE)
            self._rest(Signal.CANNOT_STORE)
            log.error(
                "a scan was not counted: %s%s",
                "" if isinstance(err, OutboxFull) else "the outbox fails: ",
                err,
            )
            return False
        # On disk. From here on, and not before, the person may hear it.
        self._rest(None)
        self._indicator.show(
            Signal.ACCEPTED if self._online() else Signal.STORED_OFFLINE, f"seq {scan.seq}"
        )
        keep_s = self._clock.monotonic() - began
        if keep_s >= SLOW_S:
            log.warning("keeping a scan took %.1f s: the card may be worn out", keep_s)
        self._meter.accepted(keep_s)
        self._kept()
        return True

    def _look_at_room(self) -> None:
        now = self._clock.monotonic()
        if now < self._next_look_at_room:
            return
        self._next_look_at_room = now + ROOM_S
        if not self._outbox.has_room():
            self._rest(Signal.CANNOT_STORE)
            return
        stores_again = self._resting is Signal.CANNOT_STORE and now >= self._cannot_store_until
        if stores_again or self._resting in (None, Signal.CANNOT_SEND):
            self._rest(None)

    def _rest(self, signal: Signal | None) -> None:
        """Show *signal* from here on whenever nothing else is to be told."""
        if signal is None and self._ended():
            signal = Signal.CANNOT_SEND
        if signal is not self._resting:
            self._resting = signal
            self._indicator.rest(signal)

    def _scan(self, document: Document) -> Scan:
        scan_id = uuid.uuid4().hex
        moment = self._clock.now()
        return Scan(
            id=scan_id,
            epoch=self._outbox.epoch,
            seq=self._outbox.next_seq,
            place=self._unit.place,
            direction=self._schedule.direction(moment),
            trip=self._schedule.trip(moment),
            document=document.kind,
            at=moment.at,
            boot=moment.boot,
            uptime_ms=moment.uptime_ms,
            clock=moment.clock,
            key=self._sealer.key_id,
            sealed=self._sealer.seal(document.identity, scan_id),
        )
