"""Reads settings: one TOML file per service, with drop-ins beside it.

`/etc/edge/scanner.toml` is read first, then each `*.toml` in `/etc/edge/scanner.d/` in order of its
name, a later key replacing an earlier one. The whole is checked once against a typed struct, and a
key that is not known is an error with a guess.
"""

import copy
import difflib
import json
import math
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edge.errors import ConfigError

T = TypeVar("T")

_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")


def load(path: Path, settings: type[T]) -> T:
    """The settings in *path* and its drop-ins. Raises ConfigError that names the file and key."""
    return check(read(path), settings, str(path))


def read(path: Path) -> dict[str, Any]:
    """The tables in *path* and its drop-ins, unchecked. Raises ConfigError that names the file."""
    tables = [_read(path)]
    folder = path.with_suffix(".d")
    if folder.is_dir():
        tables += [_read(drop_in) for drop_in in sorted(folder.glob("*.toml"))]
    return merged(tables)


def merged(tables: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """All *tables* in one, a later key replacing an earlier one."""
    whole: dict[str, Any] = {}
    for table in tables:
        _merge(whole, table)
    return whole


def check(table: dict[str, Any], settings: type[T], source: str) -> T:
    """*table* as typed *settings*; *source* is where it came from, for the error's text."""
    try:
        return msgspec.convert(table, settings)
    except msgspec.ValidationError as err:
        raise ConfigError(f"{source}: {_explain(str(err), table, settings)}") from None


def secret(file: str, beside: Path) -> str:
    """The secret in *file*: one line, of which the end of line is no part.

    A bare name is looked for where systemd hands over credentials, then beside the settings.
    Raises ConfigError.
    """
    path = secret_path(file, beside)
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: cannot read this secret: {err}") from err


def secret_path(file: str, beside: Path) -> Path:
    """Where the secret called *file* is."""
    handed_over = os.environ.get("CREDENTIALS_DIRECTORY")
    if handed_over and (Path(handed_over) / file).is_file():
        return Path(handed_over) / file
    return beside / file


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as err:
        raise ConfigError(f"{path}: cannot read the settings: {err.strerror}") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: not TOML: {err}") from err


def _merge(into: dict[str, Any], table: dict[str, Any]) -> None:
    for key, value in table.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            # A copy: what was merged must not change with what it was merged into.
            into[key] = copy.deepcopy(value)


def _explain(text: str, table: dict[str, Any], settings: type) -> str:
    place = _PLACE.search(text)
    path = place.group(1) if place else ""
    what = text[: place.start()] if place else text
    if unknown := _UNKNOWN.search(what):
        key = unknown.group(1)
        guess = difflib.get_close_matches(key, _keys(settings, path), n=1, cutoff=0.5)
        hint = f"; did you mean {guess[0]!r}?" if guess else ""
        return f"{_dotted(path, key)}: unknown key{hint}"
    if missing := _MISSING.search(what):
        return f"{_dotted(path, missing.group(1))}: missing; every unit needs its own"
    must = what.removeprefix("Expected ").replace("`", "")
    return f"{path} is {_value(table, path)!r}; it must be {must}"


def _dotted(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _keys(settings: type, path: str) -> list[str]:
    info: Any = msgspec.inspect.type_info(settings)
    for part in filter(None, path.split(".")):
        info = next(field.type for field in info.fields if field.encode_name == part)
    return [field.encode_name for field in getattr(info, "fields", [])]


def _value(table: Any, path: str) -> Any:
    for part in filter(None, path.split(".")):
        if not isinstance(table, dict) or part not in table:
            return "of the wrong kind"
        table = table[part]
    return table


def as_toml(table: dict[str, Any]) -> str:
    """*table* as TOML that `tomllib` reads back the same: values, lists of values, and tables."""
    lines: list[str] = []
    _write_table(table, "", lines)
    return "\n".join([*lines, ""])


def _write_table(table: dict[str, Any], path: str, lines: list[str]) -> None:
    for key, value in table.items():
        if not isinstance(value, dict):
            lines.append(f"{_toml(key)} = {_toml(value)}")
    for key, value in table.items():
        if isinstance(value, dict):
            inner = f"{path}{'.' if path else ''}{_toml(key)}"
            lines += ["", f"[{inner}]"]
            _write_table(value, inner, lines)


def _toml(value: Any) -> str:
    # JSON writes strings, numbers, truth and lists as TOML does, but for one character; a key in
    # quotes is a key.
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{value} is no setting")
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
