"""The service of a unit: opens what its settings name, scans until it is to stop, and closes it."""

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge import __version__, cli, config
from edge.clock import SystemClock
from edge.errors import CameraError, ConfigError, EndOfFrames
from edge.memory import keep_to_ourselves
from edge.messages import MAX_PACKET_BYTES
from edge.mqtt import Connection
from edge.scanner import power, running
from edge.scanner.beside import GOODBYE_S, Beside, Watchdog
from edge.scanner.boots import BOOTS, Boots
from edge.scanner.button import Button
from edge.scanner.camera import Camera
from edge.scanner.carrier import Carrier, read_centre
from edge.scanner.credentials import Credentials
from edge.scanner.desired import DESIRED, Desired
from edge.scanner.disk_health import in_memory
from edge.scanner.eye import Eye
from edge.scanner.health import HealthMeter
from edge.scanner.health_log import HEALTH_LOG, HealthLog
from edge.scanner.indicator import Indicator, Signal, open_indicator
from edge.scanner.machine import READ_S, MachineReading
from edge.scanner.outbox import Outbox
from edge.scanner.permission import Permission
from edge.scanner.pipeline import Pipeline, Unread, Zone
from edge.scanner.publisher import Publisher
from edge.scanner.pulse import Pulse
from edge.scanner.remote import RecentLines, Remote
from edge.scanner.repair import REPAIR, Ladder, mended_camera
from edge.scanner.rereads import Rereads
from edge.scanner.retention import LOOK_S as RETENTION_S
from edge.scanner.retention import Retention
from edge.scanner.retiring import Retirement
from edge.scanner.schedule import Schedule
from edge.scanner.service import Scanner
from edge.scanner.settings import ScannerSettings
from edge.scanner.setup_window import SetupWindow, last_answer, unit_root
from edge.scanner.speaker import speaking
from edge.scanner.unset import FAULT_S
from edge.scanner.update.sticks import UpdateSticks
from edge.scanner.vehicle import Vehicle
from edge.sealing import Sealer, Verifier, open_signer, read_key
from edge.systemd import Notifier
from edge.topics import TO_UNIT, topic
from edge.unit_settings import ReadingSettings

log = logging.getLogger(__name__)

MB = 1_000_000
#: How often to look for a USB stick.
STICKS_S = 3.0
#: How often to see whether a certificate is to be asked for.
ENROL_S = 2.0


@dataclass(frozen=True)
class _Unit:
    """What the parts of a unit are given. *stack* closes them, the last one first."""

    path: Path
    desired: Desired
    settings: ScannerSettings
    clock: SystemClock
    indicator: Indicator
    sealer: Sealer
    outbox: Outbox
    credentials: Credentials
    connection: Connection
    ladder: Ladder
    schedule: Schedule
    centre: Verifier | None
    stack: ExitStack

    @property
    def beside(self) -> Path:
        """The folder of the settings."""
        return self.path.parent

    @property
    def folder(self) -> Path:
        """The folder of the outbox."""
        return Path(self.settings.outbox.folder)


@dataclass(frozen=True)
class _Publishing:
    """The publisher, what comes in by it, and where it is at work."""

    publisher: Publisher
    remote: Remote
    thread: Beside


def scan(path: Path) -> None:
    """Scan by the settings in *path* until the service is to stop.

    Raises ConfigError, OutboxError, CameraError, and what ended the publisher.
    """
    keep_to_ourselves()
    with ExitStack() as stack:
        recent = RecentLines()
        logging.getLogger().addHandler(recent)
        stack.callback(logging.getLogger().removeHandler, recent)
        notifier = Notifier()
        unit = _open_unit(path, stack)
        meter = _start_meter(unit)
        publishing = _start_publishing(unit, meter, recent)
        _start_errands(unit)
        _scan(unit, publishing, meter, notifier)
        notifier.stopping()


def _open_unit(path: Path, stack: ExitStack) -> _Unit:
    clock = SystemClock()
    folder = Path(config.load(path, ScannerSettings).outbox.folder)
    desired = Desired(folder / DESIRED, clock)
    settings = desired.load(path)
    lights = open_indicator(settings.indicator, sys.stdout, clock)
    indicator = speaking(lights, settings.indicator, clock)
    stack.callback(indicator.close)
    indicator.rest(Signal.NOT_COLLECTING)
    sealer = Sealer(read_key(config.secret_path(settings.unit.tracing_key_file, path.parent)))
    outbox = stack.enter_context(_open_outbox(settings))
    credentials = Credentials(settings, path.parent, clock)
    connection = connect(settings, path.parent, credentials, clock)
    stack.callback(connection.close)
    return _Unit(
        path,
        desired,
        settings,
        clock,
        indicator,
        sealer,
        outbox,
        credentials,
        connection,
        Ladder(folder / REPAIR, clock, lambda: power.ask(power.REBOOT)),
        Schedule(settings.unit, settings.vehicle),
        read_centre(settings.carry, path.parent),
        stack,
    )


def _open_outbox(settings: ScannerSettings) -> Outbox:
    folder, given = Path(settings.outbox.folder), settings.outbox
    return Outbox(
        folder,
        max_bytes=given.max_mb * MB,
        keep_free_bytes=given.keep_free_mb * MB,
        own_blocks=given.own_blocks,
        is_volatile=not given.in_memory and in_memory(folder),
    )


def connect(
    settings: ScannerSettings, beside: Path, credentials: Credentials, clock: SystemClock
) -> Connection:
    """The unit's connection, not established yet. Files are looked for in *beside*."""
    area, name = settings.unit.area, settings.unit.id
    return Connection(
        settings.broker,
        beside,
        name,
        clock,
        subscriptions=[topic(area, name, channel) for channel in TO_UNIT],
        # So that we learn whether the broker forgot us. It is to keep nothing for us: all that the
        # centre says it says again, and at QoS 1 a NATS server has a queue on disk for each of four
        # subscriptions, which thousands of units that come back at once do not get made in time.
        persistent=True,
        qos=0,
        identity=credentials.identity,
        # A broker is not ours to trust: it could fill the memory that reading codes needs.
        most_packet_bytes=MAX_PACKET_BYTES,
    )


def _start_meter(unit: _Unit) -> HealthMeter:
    vehicle = Vehicle(unit.settings, unit.schedule, unit.clock, unit.stack)
    machine = MachineReading(unit.folder, unit.clock)
    unit.stack.enter_context(Beside("machine", machine.step, pause_s=READ_S))
    return HealthMeter(
        unit.outbox,
        unit.clock,
        unit.ladder,
        software=__version__,
        machine=machine.newest,
        certificate_ends=unit.credentials.ends,
        on_board=vehicle.tell,
    )


def _start_publishing(unit: _Unit, meter: HealthMeter, recent: RecentLines) -> _Publishing:
    settings, desired, credentials = unit.settings, unit.desired, unit.credentials
    boots = Boots(unit.folder / BOOTS, unit.schedule)
    unit.stack.callback(boots.close)
    publisher = Publisher(
        unit.connection,
        unit.outbox,
        settings.unit,
        unit.clock,
        software=__version__,
        health=meter.health,
        health_changed=meter.changed,
        health_log=HealthLog(unit.folder / HEALTH_LOG),
        config=lambda: desired.revision,
        centre=unit.centre,
        boots=boots,
        window=settings.publisher.window,
        scans_a_message=settings.publisher.scans_a_message,
        live_share=settings.publisher.live_share,
        budget_kb_s=settings.publisher.budget_kb_s,
        resend_s=settings.publisher.resend_s,
        health_s=settings.publisher.health_s,
    )
    remote = Remote(
        publisher,
        desired,
        settings,
        unit.path,
        unit.clock,
        unit.indicator,
        meter.health,
        recent,
        unit.centre,
        rotate=credentials.rotate if credentials.identity is not None else None,
        retirement=Retirement(unit_root(unit.path)),
    )
    thread = Beside(
        "publisher",
        lambda: remote.step(1.0),
        wake=publisher.wake,
        end=lambda: publisher.stop(GOODBYE_S),
        vital=True,
    )
    return _Publishing(publisher, remote, unit.stack.enter_context(thread))


def _start_errands(unit: _Unit) -> None:
    """Start what goes on beside, each at its own pace: sticks, certificates, retention."""
    settings, credentials = unit.settings, unit.credentials
    carrier = Carrier(
        unit.outbox,
        unit.folder,
        settings.carry.sticks,
        settings.unit,
        unit.schedule,
        lambda: open_signer(Path(settings.carry.key_file)),
        unit.centre,
        unit.indicator,
        unit.clock,
        serve=credentials.serve,
    )
    software = UpdateSticks(settings.carry.sticks, lambda: power.ask(power.UPDATE))
    days = settings.outbox.retention_days
    retention = Retention(unit.outbox, unit.folder, unit.clock, days=days)
    for name, turn, pause_s in (
        ("carrier", carrier.step, STICKS_S),
        ("software", software.step, STICKS_S),
        ("enrolment", credentials.step, ENROL_S),
        ("telling", lambda: running.tell(unit.connection, credentials), running.TELL_S),
        ("retention", retention.step, RETENTION_S),
    ):
        unit.stack.enter_context(Beside(name, turn, pause_s=pause_s))


def _scan(unit: _Unit, publishing: _Publishing, meter: HealthMeter, notifier: Notifier) -> None:
    pipeline = _open_pipeline(unit)
    remote, outbox = publishing.remote, unit.outbox
    stopping = unit.stack.enter_context(cli.stop_signals())
    watchdog = Watchdog(
        notifier, publishing.thread, lambda: stopping() or remote.wants_end or window.done
    )
    with _fault_shown(unit.indicator, publishing.thread):
        camera = mended_camera(
            unit.settings.camera,
            unit.clock,
            unit.ladder,
            watchdog.pause,
            unit.indicator,
            lambda: scanner.resting,
        )
        unit.stack.callback(camera.close)
    scanner = _scanner(unit, camera, pipeline, publishing, meter)
    window = _setup_window(unit, camera, pipeline, scanner, meter)
    pulse = Pulse(__version__, unit.clock)
    pulse.start()
    notifier.ready()
    unit.indicator.rest(scanner.resting)
    try:
        with _fault_shown(unit.indicator, publishing.thread):
            while watchdog.goes_on():
                if not window.step():
                    scanner.step()
                pulse.frame(connected=publishing.publisher.connected)
                watchdog.feed()
    except EndOfFrames as err:
        log.info("%s", err)
        unit.indicator.rest(Signal.NOT_COLLECTING)
        while outbox.pending and watchdog.pause(0.2):
            pass
    unit.ladder.ending("command" if remote.wants_end or window.done else "stopped")


def _open_pipeline(unit: _Unit) -> Pipeline:
    reading = unit.settings.reading
    pipeline = Pipeline(
        zbar=reading.zbar,
        budget_ms=reading.budget_ms,
        zone=_zone(reading),
        which=reading.which,
    )
    unit.stack.callback(pipeline.close)
    if pipeline.zbar_missing:
        log.warning("reading with zxing-cpp alone: %s", pipeline.zbar_missing)
    return pipeline


def _zone(reading: ReadingSettings) -> Zone:
    zone = Zone(*reading.zone)
    if zone.left >= zone.right or zone.top >= zone.bottom:
        raise ConfigError(
            f"reading.zone is {list(zone)}; its left must be less than its right (1st and 3rd),"
            " and its top less than its bottom (2nd and 4th)"
        )
    return zone


def _scanner(
    unit: _Unit, camera: Camera, pipeline: Pipeline, publishing: _Publishing, meter: HealthMeter
) -> Scanner:
    settings, publisher, remote = unit.settings, publishing.publisher, publishing.remote
    permission = Permission(settings.basis, unit.beside, settings.unit.place, unit.clock)
    return Scanner(
        camera,
        pipeline,
        unit.outbox,
        unit.sealer,
        unit.indicator,
        Rereads(settings.reading.reread_delay_s),
        Unread(settings.reading.unread_s),
        meter,
        unit.clock,
        settings.unit,
        unit.schedule,
        eye=Eye(),
        # A card that has lost scans wants a technician. Scanning goes on, and the first scan that
        # is kept turns the light off until the next start.
        resting=Signal.FAULT if unit.outbox.status().damaged else None,
        closed=lambda: remote.closed() or permission.reason(),
        online=lambda: publisher.connected,
        ended=unit.credentials.ended,
        kept=publisher.wake,
    )


def _setup_window(
    unit: _Unit, camera: Camera, pipeline: Pipeline, scanner: Scanner, meter: HealthMeter
) -> SetupWindow:
    root = unit_root(unit.path)
    # This may be the first start as what the code has made of it.
    meter.set_up(last_answer(root))
    window = SetupWindow(
        camera,
        pipeline,
        unit.indicator,
        Button(unit.settings),
        unit.settings.setup,
        unit.clock,
        root,
        resting=lambda: scanner.resting,
        frame=meter.frame,
        tell=meter.set_up,
    )
    unit.stack.callback(window.close)
    return window


@contextmanager
def _fault_shown(indicator: Indicator, publishing: Beside) -> Iterator[None]:
    """Show a fault of the camera for long enough to be seen: ending turns every light off."""
    try:
        yield
    except CameraError:
        indicator.show(Signal.FAULT)
        publishing.join(FAULT_S)
        raise
