"""What is read from /proc and /sys, from small trees of them."""

import os
import threading
from pathlib import Path

import msgspec
import pytest

from edge.messages import Health, Machine
from edge.scanner.machine import STALE_S, MachineReading, read_machine
from tests.fakes import FakeClock, a_health

ROUTES = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
    "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
    "{first}\t00000000\t0102A8C0\t0003\t0\t0\t{metric}\t00000000\t0\t0\t0\n"
    "wlan0\t0001A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0\n"
)
WIRELESS = (
    "Inter-| sta-|   Quality        |   Discarded packets\n"
    " face | tus | link level noise |  nwid  crypt   frag\n"
    " wlan0: 0000   49.  -61.  -256        0      0      0\n"
)
#: As a Raspberry Pi 4 shows them.
PI = {
    "sys/class/thermal/thermal_zone0/temp": "48686\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "sys/block/mmcblk0/device/life_time": "0x02 0x01\n",
    "sys/class/net/wlan0/wireless/name": "",
    "proc/meminfo": "MemTotal:     436416 kB\nMemAvailable: 201100 kB\nHugePages_Total: 0\n",
    "proc/self/status": "Name:\tedge-scanner\nVmRSS:\t   91234 kB\n",
    "proc/loadavg": "0.42 0.30 0.21 2/180 911\n",
    "proc/net/route": ROUTES.format(first="eth0", metric=700),
    "proc/net/wireless": WIRELESS,
}


def machine(root: Path, files: dict[str, str]) -> Machine:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read_machine(root, root)


def test_everything_that_a_pi_tells_is_read(tmp_path: Path) -> None:
    read = machine(tmp_path, PI)

    assert read.temperature_c == 48.7
    assert (read.under_voltage, read.under_voltage_since_boot, read.throttled) == (True, True, True)
    assert read.card_wear == 0.2
    assert read.memory_total_bytes == 436_416 * 1024
    assert read.memory_free_bytes == 201_100 * 1024
    assert read.memory_own_bytes == 91_234 * 1024
    assert read.load == 0.42
    assert (read.network, read.signal_dbm) == ("wifi", -61)
    assert read.disk_total_bytes is not None
    assert read.disk_free_bytes is not None
    assert 0 < read.disk_free_bytes <= read.disk_total_bytes
    assert Health.decode(a_health(machine=read).encode()).machine == read


def test_a_machine_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    read = read_machine(tmp_path / "gone", tmp_path)

    assert read == Machine()


def test_files_of_nonsense_are_no_error(tmp_path: Path) -> None:
    read = machine(tmp_path, dict.fromkeys(PI, "\0?: kB\n-\nx 00000000\n"))

    assert read.temperature_c is None
    assert read.network == "none"


@pytest.mark.parametrize(
    ("bits", "under", "ever", "throttled"),
    [
        ("0", False, False, False),
        ("1", True, False, False),
        ("50000", False, True, False),
        ("2", False, False, True),
        ("8", False, False, True),
        ("e0000", False, False, False),
    ],
)
def test_the_bits_of_throttling(
    tmp_path: Path, bits: str, under: bool, ever: bool, throttled: bool
) -> None:
    read = machine(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": bits})

    assert (read.under_voltage, read.under_voltage_since_boot, read.throttled) == (
        under,
        ever,
        throttled,
    )


def test_without_the_firmwares_word_the_kernels_sensor_tells_of_the_voltage(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon3"
    read = machine(tmp_path, {f"{chip}/name": "rpi_volt\n", f"{chip}/in0_lcrit_alarm": "1\n"})

    assert (read.under_voltage, read.under_voltage_since_boot) == (True, None)


@pytest.mark.parametrize(
    ("first", "metric", "kind"),
    [
        ("eth0", 100, "ethernet"),
        ("end0", 100, "ethernet"),
        ("wwan0", 10, "mobile"),
        ("ppp0", 0, "mobile"),
        ("tun7", 5, "other"),
        ("eth0", 900, "wifi"),
    ],
)
def test_the_network_is_the_one_that_leads_out(
    tmp_path: Path, first: str, metric: int, kind: str
) -> None:
    files = PI | {"proc/net/route": ROUTES.format(first=first, metric=metric)}

    assert machine(tmp_path, files).network == kind


def test_this_machine_can_be_read(tmp_path: Path) -> None:
    read = read_machine(tmp_path)

    assert read.memory_own_bytes is not None
    assert read.memory_total_bytes is not None
    assert read.memory_own_bytes < read.memory_total_bytes


def test_a_driver_that_hangs_keeps_nobody_waiting(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/loadavg").write_text("0.50 0.40 0.30 1/100 1\n")
    clock = FakeClock()
    reading = MachineReading(tmp_path, clock, tmp_path)
    assert reading.newest() == Machine()
    reading.step()
    assert reading.newest().load == 0.5

    # Whoever opens this waits for another side that does not come.
    (tmp_path / "proc/loadavg").unlink()
    os.mkfifo(tmp_path / "proc/loadavg")
    hanging = threading.Thread(target=reading.step, daemon=True)
    hanging.start()
    clock.advance(STALE_S)
    assert reading.newest().load == 0.5
    clock.advance(1)
    assert reading.newest() == Machine()

    with (tmp_path / "proc/loadavg").open("w") as other_side:
        other_side.write("0.70 0.40 0.30 1/100 1\n")
    hanging.join()
    assert reading.newest().load == 0.7


def test_wifi_without_a_connection_has_no_strength(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/route").write_text(
        "Iface Destination Gateway Flags RefCnt Use Metric\nwlan0 00000000 0101A8C0 0003 0 0 600\n"
    )
    (tmp_path / "proc/net/wireless").write_text("h\nh\n wlan0: 0000 0. -256. -256 0 0 0 0 0 0\n")

    machine = read_machine(tmp_path, tmp_path)

    assert machine.signal_dbm is None
    assert msgspec.json.decode(msgspec.json.encode(machine), type=Machine) == machine
