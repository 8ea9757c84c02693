"""Reads from /proc and /sys how the machine is, for the health message.

What a machine does not tell is None: a PC has no throttling, an SD card seldom tells its wear.
"""

import os
from pathlib import Path

from edge.clock import Clock
from edge.messages import Machine, NetworkKind

#: How often it is read, and from which age on what was read is of no use.
READ_S, STALE_S = 5.0, 60.0

#: The first that is there. Raspberry Pi's kernel keeps its place under one of two names.
_THROTTLED = (
    "sys/devices/platform/soc/soc:firmware/get_throttled",
    "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled",
)
#: No signal is so weak, in dBm; the contract refuses less.
_NO_SIGNAL = 200
# Bits of get_throttled, from Raspberry Pi's documentation of vcgencmd. The same ones 16 higher say
# that it was so at any time since the boot.
_UNDER_VOLTAGE, _CAPPED, _THROTTLING, _HOT = 1, 2, 4, 8


class MachineReading:
    """How the machine was a moment ago, read beside everything else.

    A driver that hangs, as one for Wi-Fi does whose chip has stopped, hangs whoever reads of it:
    nobody else waits for that.
    """

    def __init__(self, folder: Path, clock: Clock, root: Path = Path("/")) -> None:
        """*folder* is on the disk that holds the scans; *root* is for tests."""
        self._folder = folder
        self._clock = clock
        self._root = root
        self._newest: tuple[float, Machine] | None = None

    def step(self) -> None:
        """Read it; hangs if a driver does."""
        machine = read_machine(self._folder, self._root)
        self._newest = (self._clock.monotonic(), machine)

    def newest(self) -> Machine:
        """What was read last; nothing is told of it once that is too long ago. Never waits."""
        if self._newest is None or self._clock.monotonic() - self._newest[0] > STALE_S:
            return Machine()
        return self._newest[1]


def read_machine(folder: Path, root: Path = Path("/")) -> Machine:
    """How the machine is. *folder* is on the disk that holds the scans; *root* is for tests."""
    memory = _memory(root)
    total, free = _disk(folder)
    network, interface = _network(root)
    throttled = _throttled(root)
    return Machine(
        temperature_c=_temperature(root),
        under_voltage=_under_voltage(root, throttled),
        under_voltage_since_boot=_flag(throttled, _UNDER_VOLTAGE << 16),
        throttled=_flag(throttled, _CAPPED | _THROTTLING | _HOT),
        disk_total_bytes=total,
        disk_free_bytes=free,
        card_wear=_wear(root),
        memory_total_bytes=memory.get("MemTotal"),
        memory_free_bytes=memory.get("MemAvailable"),
        memory_own_bytes=_own_memory(root),
        load=_load(root),
        network=network,
        signal_dbm=_signal(root, interface),
    )


def _text(path: Path) -> str:
    """What stands in *path*; "" where there is no such file, or nothing can be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _number(text: str, base: int = 10) -> int | None:
    try:
        return int(text, base)
    except ValueError:
        return None


def _temperature(root: Path) -> float | None:
    millis = _number(_text(root / "sys/class/thermal/thermal_zone0/temp"))
    return None if millis is None else round(millis / 1000, 1)


def _throttled(root: Path) -> int | None:
    return next(
        (bits for path in _THROTTLED if (bits := _number(_text(root / path), 16)) is not None), None
    )


def _flag(bits: int | None, mask: int) -> bool | None:
    return None if bits is None else bool(bits & mask)


def _under_voltage(root: Path, throttled: int | None) -> bool | None:
    if throttled is not None:
        return bool(throttled & _UNDER_VOLTAGE)
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if _text(chip / "name") == "rpi_volt":
            return _text(chip / "in0_lcrit_alarm") == "1"
    return None


def _disk(folder: Path) -> tuple[int | None, int | None]:
    try:
        about = os.statvfs(folder)
    except OSError:
        return None, None
    return about.f_frsize * about.f_blocks, about.f_frsize * about.f_bavail


def _wear(root: Path) -> float | None:
    """The share of its life that the card says it has used: eMMC tells in tenths."""
    tenths = [
        _number(part, 16) for part in _text(root / "sys/block/mmcblk0/device/life_time").split()
    ]
    told = [part for part in tenths if part]
    return min(1.0, max(told) / 10) if told else None


def _memory(root: Path) -> dict[str, int]:
    return _kilobytes(_text(root / "proc/meminfo"))


def _own_memory(root: Path) -> int | None:
    return _kilobytes(_text(root / "proc/self/status")).get("VmRSS")


def _kilobytes(text: str) -> dict[str, int]:
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        parts = rest.split()
        if len(parts) == 2 and parts[1] == "kB" and (kilobytes := _number(parts[0])) is not None:
            found[name] = 1024 * kilobytes
    return found


def _load(root: Path) -> float | None:
    first = _text(root / "proc/loadavg").partition(" ")[0]
    try:
        return float(first)
    except ValueError:
        return None


def _network(root: Path) -> tuple[NetworkKind, str]:
    """The kind and the name of the interface that leads out: the default route of least metric."""
    routes = []
    for line in _text(root / "proc/net/route").splitlines()[1:]:
        parts = line.split()
        if len(parts) > 6 and parts[1] == "00000000":
            routes.append((_number(parts[6]) or 0, parts[0]))
    if not routes:
        return "none", ""
    name = min(routes)[1]
    if (root / "sys/class/net" / name / "wireless").exists():
        return "wifi", name
    if name.startswith(("wwan", "ppp")):
        return "mobile", name
    return ("ethernet" if name.startswith(("eth", "en")) else "other"), name


def _signal(root: Path, interface: str) -> int | None:
    for line in _text(root / "proc/net/wireless").splitlines():
        name, _, rest = line.partition(":")
        parts = rest.split()
        if name.strip() == interface and len(parts) > 2:
            level = _number(parts[2].rstrip("."))
            # Drivers that give no dBm give a quality of 0 to 100 there, and -256 where there is no
            # connection.
            return level if level is not None and -_NO_SIGNAL < level < 0 else None
    return None
