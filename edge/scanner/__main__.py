"""The command `edge-scanner`: reads its settings, opens things, and loops."""

import argparse
import logging
import os
import sys
from contextlib import ExitStack, closing
from pathlib import Path

from edge import __version__, cli, config
from edge.clock import SystemClock
from edge.errors import CameraError, CameraHung, ConfigError, EndOfFrames
from edge.memory import keep_to_ourselves
from edge.mqtt import Connection
from edge.scanner import (
    checking,
    diagnosing,
    outbox_command,
    power,
    reading,
    running,
    self_test,
    setting_up,
    taking_down,
    wiring,
)
from edge.scanner.beside import GOODBYE_S, Beside, Watchdog
from edge.scanner.boots import BOOTS, Boots
from edge.scanner.button import Button
from edge.scanner.carrier import Carrier, read_centre
from edge.scanner.clock_setting import set_clock
from edge.scanner.credentials import Credentials
from edge.scanner.desired import DESIRED, Desired, signed_wish, with_wished
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
from edge.scanner.unset import FAULT_S, is_unset, wait_for_code
from edge.scanner.update.sticks import UpdateSticks
from edge.scanner.vehicle import Vehicle
from edge.sealing import Sealer, open_signer, read_key
from edge.systemd import Notifier
from edge.topics import TO_UNIT, topic

log = logging.getLogger(__name__)

DEFAULT_CONFIG = Path("/etc/edge/scanner.toml")
MB = 1_000_000
#: How often to look for a USB stick.
STICKS_S = 3.0
#: How often to see whether a certificate is to be asked for.
ENROL_S = 2.0


def main(args: list[str] | None = None) -> int:
    """Run the command with *args*; gives its exit code."""
    options = _parser().parse_args(args)
    cli.set_up_logging(options.verbose)
    works = {
        "read": reading.run,
        "outbox": outbox_command.run,
        "check": checking.run,
        "diag": diagnosing.run,
        "eye": self_test.run,
        "wiring": wiring.run,
        "setup": setting_up.run,
        "wipe": taking_down.run_wipe,
        "retire": taking_down.run_retire,
        "clock": _set_clock,
    }
    work = works.get(options.command, _run)
    return cli.run(lambda: work(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-scanner",
        description="Read personal QR codes and keep every scan safe."
        " / Đọc mã QR cá nhân và giữ an toàn từng lượt quét.",
        epilog="Exit codes: 0 done, 1 an error that the last line explains, 2 bad usage.",
    )
    cli.add_common(parser, DEFAULT_CONFIG)
    also = cli.common_again()
    commands = parser.add_subparsers(dest="command")
    commands.add_parser(
        "run", parents=[also], help="scan until stopped (the default) / quét cho đến khi dừng"
    )
    reading.add_command(commands, also)
    outbox_command.add_command(commands, also)
    setting_up.add_command(commands)
    taking_down.add_commands(commands, also)
    checking.add_command(commands, cli.common_again())
    diagnosing.add_command(commands, cli.common_again())
    commands.add_parser(
        "clock",
        parents=[also],
        help="set the clock by the GPS receiver, as the scanner asks: edge-clock.service"
        " / chỉnh đồng hồ theo GPS",
    )
    self_test.add_command(commands, cli.common_again())
    wiring.add_command(commands, cli.common_again())
    return parser


def _run(options: argparse.Namespace) -> int:
    try:
        if is_unset(options.config):
            return wait_for_code(options.config)
        return _scan(options)
    except CameraHung as err:
        log.error("%s; ending, to be started again", err)
        # At a usual exit picamera2 would wait for the camera once more, for ever.
        os._exit(1)


def _scan(options: argparse.Namespace) -> int:
    keep_to_ourselves()
    beside = options.config.parent
    clock = SystemClock()
    folder = Path(config.load(options.config, ScannerSettings).outbox.folder)
    desired = Desired(folder / DESIRED, clock)
    settings = desired.load(options.config)
    notifier = Notifier()
    recent = RecentLines()
    with ExitStack() as stack:
        logging.getLogger().addHandler(recent)
        stack.callback(logging.getLogger().removeHandler, recent)
        lights = open_indicator(settings.indicator, sys.stdout, clock)
        indicator = speaking(lights, settings.indicator, clock)
        stack.callback(indicator.close)
        indicator.rest(Signal.NOT_COLLECTING)
        sealer = Sealer(read_key(config.secret_path(settings.unit.tracing_key_file, beside)))
        outbox = stack.enter_context(
            Outbox(
                Path(settings.outbox.folder),
                max_bytes=settings.outbox.max_mb * MB,
                keep_free_bytes=settings.outbox.keep_free_mb * MB,
                own_blocks=settings.outbox.own_blocks,
                is_volatile=not settings.outbox.in_memory and in_memory(folder),
            )
        )
        credentials = Credentials(settings, beside, clock)
        connection = Connection(
            settings.broker,
            beside,
            settings.unit.id,
            clock,
            subscriptions=[
                topic(settings.unit.area, settings.unit.id, channel) for channel in TO_UNIT
            ],
            # So that confirmations wait for us, and we learn whether the broker forgot us.
            persistent=True,
            identity=credentials.identity,
        )
        stack.callback(connection.close)
        ladder = Ladder(folder / REPAIR, clock, lambda: power.ask(power.REBOOT))
        schedule = Schedule(settings.unit, settings.vehicle)
        vehicle = Vehicle(settings, schedule, clock, stack)
        machine = MachineReading(folder, clock)
        stack.enter_context(Beside("machine", machine.step, pause_s=READ_S))
        meter = HealthMeter(
            outbox,
            clock,
            ladder,
            software=__version__,
            machine=machine.newest,
            certificate_ends=credentials.ends,
            on_board=vehicle.tell,
        )
        boots = Boots(folder / BOOTS, schedule)
        stack.callback(boots.close)
        centre = read_centre(settings.carry, beside)
        publisher = Publisher(
            connection,
            outbox,
            settings.unit,
            clock,
            software=__version__,
            health=meter.health,
            health_changed=meter.changed,
            health_log=HealthLog(folder / HEALTH_LOG),
            config=lambda: desired.revision,
            centre=centre,
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
            options.config,
            clock,
            indicator,
            meter.health,
            recent,
            centre,
            rotate=credentials.rotate if credentials.identity is not None else None,
            retirement=Retirement(unit_root(options.config)),
        )
        publishing = stack.enter_context(
            Beside(
                "publisher",
                lambda: remote.step(1.0),
                wake=publisher.wake,
                end=lambda: publisher.stop(GOODBYE_S),
                vital=True,
            )
        )
        carrier = Carrier(
            outbox,
            folder,
            settings.carry.sticks,
            settings.unit,
            lambda: open_signer(Path(settings.carry.key_file)),
            centre,
            indicator,
            clock,
            serve=credentials.serve,
        )
        stack.enter_context(Beside("carrier", carrier.step, pause_s=STICKS_S))
        software = UpdateSticks(settings.carry.sticks, lambda: power.ask(power.UPDATE))
        stack.enter_context(Beside("software", software.step, pause_s=STICKS_S))
        stack.enter_context(Beside("enrolment", credentials.step, pause_s=ENROL_S))
        stack.enter_context(
            Beside("telling", lambda: running.tell(connection, credentials), pause_s=running.TELL_S)
        )
        kept_days = settings.outbox.retention_days
        retention = Retention(outbox, Path(settings.outbox.folder), clock, days=kept_days)
        stack.enter_context(Beside("retention", retention.step, pause_s=RETENTION_S))
        pipeline = Pipeline(
            zbar=settings.reading.zbar,
            budget_ms=settings.reading.budget_ms,
            zone=_zone(settings),
            which=settings.reading.which,
        )
        stack.callback(pipeline.close)
        if pipeline.zbar_missing:
            log.warning("reading with zxing-cpp alone: %s", pipeline.zbar_missing)
        stopping = stack.enter_context(cli.stop_signals())
        watchdog = Watchdog(
            notifier, publishing, lambda: stopping() or remote.wants_end or window.done
        )
        try:
            camera = stack.enter_context(
                closing(
                    mended_camera(
                        settings.camera,
                        clock,
                        ladder,
                        watchdog.pause,
                        indicator,
                        lambda: scanner.resting,
                    )
                )
            )
        except CameraError:
            _show_fault(indicator, publishing)
            raise
        # A card that has lost scans wants a technician. Scanning goes on, and the first scan that
        # is kept turns the light off until the next start.
        resting = Signal.FAULT if outbox.status().damaged else None
        permission = Permission(settings.basis, beside, settings.unit.place, clock)
        scanner = Scanner(
            camera,
            pipeline,
            outbox,
            sealer,
            indicator,
            Rereads(settings.reading.reread_delay_s),
            Unread(settings.reading.unread_s),
            meter,
            clock,
            settings.unit,
            schedule,
            eye=Eye(),
            resting=resting,
            closed=lambda: remote.closed() or permission.reason(),
            online=lambda: publisher.connected,
            ended=credentials.ended,
            kept=publisher.wake,
        )
        # This may be the first start as what the code has made of it.
        meter.set_up(last_answer(unit_root(options.config)))
        window = SetupWindow(
            camera,
            pipeline,
            indicator,
            Button(settings),
            settings.setup,
            clock,
            unit_root(options.config),
            resting=lambda: scanner.resting,
            frame=meter.frame,
            tell=meter.set_up,
        )
        stack.callback(window.close)
        pulse = Pulse(__version__, clock)
        pulse.start(outbox.pending)
        notifier.ready()
        indicator.rest(scanner.resting)
        try:
            while watchdog.goes_on():
                if not window.step():
                    scanner.step()
                pulse.frame(outbox.pending)
                watchdog.feed()
        except EndOfFrames as err:
            log.info("%s", err)
            indicator.rest(Signal.NOT_COLLECTING)
            while outbox.pending and watchdog.pause(0.2):
                pass
        except CameraError:
            _show_fault(indicator, publishing)
            raise
        ladder.ending("command" if remote.wants_end or window.done else "stopped")
        notifier.stopping()
    return 0


def _show_fault(indicator: Indicator, publishing: Beside) -> None:
    """Show it for long enough to be seen: ending turns every light off."""
    indicator.show(Signal.FAULT)
    publishing.join(FAULT_S)


def _zone(settings: ScannerSettings) -> Zone:
    zone = Zone(*settings.reading.zone)
    if zone.left >= zone.right or zone.top >= zone.bottom:
        raise ConfigError(
            f"reading.zone is {list(zone)}; its left must be less than its right (1st and 3rd),"
            " and its top less than its bottom (2nd and 4th)"
        )
    return zone


def _set_clock(options: argparse.Namespace) -> int:
    settings = config.load(options.config, ScannerSettings)
    _, wished = signed_wish(options.config, settings)
    gps = wished.settings.get("gps", {}) if wished is not None else {}
    if not with_wished(options.config, {"gps": gps}).gps.source:
        raise ConfigError("this unit has no GPS receiver: gps.source is not set")
    print(set_clock(SystemClock()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
