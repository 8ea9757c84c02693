"""Each outside library has one home, and texts and settings say the same as the code."""

import ast
import re
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.collector.settings import CollectorSettings
from edge.dashboard.settings import DashboardSettings
from edge.enrolment.settings import EnrolmentSettings
from edge.provision.settings import ProvisionSettings
from edge.scanner.indicator import PATTERNS, READY
from edge.scanner.settings import ScannerSettings
from edge.tracing.settings import TraceSettings

ROOT = Path(__file__).parent.parent

#: Where each library that stands between us and the world may be imported.
HOMES = {
    "paho": {"edge/mqtt_client.py"},
    "nacl": {"edge/sealing.py"},
    "cryptography": {"edge/certificates.py"},
    "pysequoia": {"edge/provision/openpgp.py"},
    "sqlite3": {"edge/storage/database.py"},
    "psycopg": {"edge/storage/database.py"},
    "tinydb": {"edge/scanner/segment.py", "edge/scanner/outbox.py", "edge/scanner/boots.py"},
    "gpiozero": {
        "edge/scanner/button.py",
        "edge/scanner/ignition.py",
        "edge/scanner/gpio_indicator.py",
        "edge/scanner/lamp.py",
    },
    "pynmeagps": {"edge/scanner/gps.py"},
    "picamera2": {"edge/scanner/pi_camera.py"},
    "libcamera": {"edge/scanner/pi_camera.py"},
    "openpyxl": {"edge/tables.py"},
    "pyzbar": {"edge/scanner/decoder.py"},
    "argon2": {"edge/dashboard/people.py"},
    "fpdf": {"edge/printing.py"},
    "segno": {"edge/printing.py"},
    "PIL": {"edge/provision/reading_check.py"},
    "jinja2": {"edge/dashboard/show.py"},
    "authlib": {"edge/dashboard/oidc.py"},
    "joserfc": {"edge/dashboard/oidc.py"},
    "requests": {"edge/dashboard/oidc.py"},
    "uvicorn": {"edge/serving.py"},
}


@cache
def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_library_is_imported_in_its_home_alone(library: str) -> None:
    importers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "edge").rglob("*.py")
        if library in imports_of(path)
    }

    assert importers <= HOMES[library]


def defaults(settings: type) -> dict[str, Any]:
    """Every key with its default, tables within tables; `...` where a key must be given."""
    keys: dict[str, Any] = {}
    for field in msgspec.structs.fields(settings):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            keys[field.encode_name] = defaults(field.type)
        elif field.required:
            keys[field.encode_name] = ...
        else:
            keys[field.encode_name] = msgspec.json.decode(msgspec.json.encode(field.default))
    return keys


def test_the_manual_of_settings_has_each_key_with_its_default() -> None:
    for name, settings in (
        ("scanner", ScannerSettings),
        ("collector", CollectorSettings),
        ("provision", ProvisionSettings),
        ("trace", TraceSettings),
        ("dashboard", DashboardSettings),
        ("enrol", EnrolmentSettings),
    ):
        text = (ROOT / "config" / f"{name}.toml").read_text(encoding="utf-8")
        # With the defaults no longer commented out, the manual must be the defaults.
        written = tomllib.loads(re.sub(r"(?m)^# (?=[a-z_]+ = )", "", text))
        for key, default in defaults(settings).items():
            if isinstance(default, dict):
                assert set(written[key]) == set(default), key
                for inner, value in default.items():
                    assert value is ... or written[key][inner] == value, f"{key}.{inner}"
            else:
                assert written[key] == default or list(default) == written[key], key
        msgspec.convert(written, settings)
        # ... and what is not commented out is what must be given.
        given = tomllib.loads(text)
        required = {
            key: {inner for inner, value in table.items() if value is ...}
            for key, table in defaults(settings).items()
            if isinstance(table, dict)
        }
        given_keys = {key: set(table) for key, table in given.items() if table}
        assert given_keys == {key: names for key, names in required.items() if names}


def locked(lock: str) -> set[str]:
    """The releases and hashes in *lock*, without the machines that they are for."""
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    return {
        line.partition(" ;")[0].rstrip(" \\")
        for line in lines
        if line and not line.lstrip().startswith("#")
    }


def test_the_lock_to_run_is_a_part_of_the_lock() -> None:
    part = locked("provisioning/run.lock")

    # One that was made anew alone would bring another release.
    assert part <= locked("requirements.lock")
    names = {line.partition("==")[0] for line in part}
    assert not {"pytest", "patroni", "playwright", "mypy"} & names
    # So that after `make run` every command works.
    homes = packages_distributions()
    used = set().union(*map(imports_of, (ROOT / "edge").rglob("*.py")))
    assert {homes[module][0].lower() for module in used & set(homes) - {"edge"}} <= names


def test_the_readme_says_what_each_signal_and_each_command_means() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    for pattern in (READY, *PATTERNS.values()):
        assert f"| {pattern.vi} | {pattern.en} |" in readme
    for command in (
        "edge-scanner read",
        "outbox list",
        "edge-scanner check",
        "edge-collector audit",
        "edge-collector command",
        "edge-collector desired",
        "edge-dashboard people add",
    ):
        assert command in readme
    assert readme.index("make run") < readme.index("make test") < 1200
