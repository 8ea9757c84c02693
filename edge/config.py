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
_PART = re.compile(r"[^.\[\]]+|\.\.\.")
#: Where msgspec says what is in a list or a table.
_ITEMS = ("item_type", "value_type")
#: So much of a wrong value is shown.
_SHOWN = 60
#: What msgspec says, as people say it.
_IN_WORDS = (
    (re.compile(r"Expected `str` of length <= (\d+)"), r"text of at most \1 characters"),
    (re.compile(r"Expected `str` of length >= (\d+)"), r"text of at least \1 characters"),
    (re.compile(r"Invalid RFC3339 encoded date"), "a date such as 2026-12-31"),
    (re.compile(r"Invalid RFC3339 encoded time"), "a time of day such as 05:00"),
)


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
        raise ConfigError(f"{source}: {explain(err, table, settings)}") from None


def decode_file(data: bytes, kind: type[T]) -> T:
    """A *kind* from *data*, a JSON file of ours that somebody may have changed by hand.

    Raises ConfigError that says where it is wrong, in words.
    """
    try:
        table = msgspec.json.decode(data)
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as err:
        raise ConfigError(explain(err, table, kind)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise ConfigError(f"it is damaged, no JSON: {err}") from None


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
        cure = ""
        if isinstance(err, FileNotFoundError):
            cure = (
                "; name them with --config, or begin with a copy of their manual in config/"
                " (packages bring it below /usr/share/doc/)"
            )
        raise ConfigError(f"{path}: cannot read the settings: {err.strerror}{cure}") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: not TOML: {err}") from err


def _merge(into: dict[str, Any], table: dict[str, Any]) -> None:
    for key, value in table.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            # A copy: what was merged must not change with what it was merged into.
            into[key] = copy.deepcopy(value)


def explain(err: msgspec.ValidationError, table: Any, kind: Any) -> str:
    """Why *table* is no *kind*, of which *err* tells, in words for whoever has written it.

    A pattern is told by the description in its `Meta`.
    """
    text = str(err)
    place = _PLACE.search(text)
    path = place.group(1) if place else ""
    what = text[: place.start()] if place else text
    if unknown := _UNKNOWN.search(what):
        key = unknown.group(1)
        guess = difflib.get_close_matches(key, _keys(kind, path), n=1, cutoff=0.5)
        hint = f"; did you mean {guess[0]!r}?" if guess else ""
        return f"{_dotted(path, key)}: unknown key{hint}"
    if missing := _MISSING.search(what):
        return f"{_dotted(path, missing.group(1))}: missing; it must be given"
    must = _must(what, _type_at(kind, path))
    return f"{path} is {_shown(_value(table, path))}; it must be {must}"


def _must(what: str, options: list[Any]) -> str:
    """What stands in *what*, an error of msgspec about a value of one of *options*."""
    for option in options:
        described = getattr(option, "extra_json_schema", None) or {}
        if "matching regex" in what and "description" in described:
            return str(described["description"])
    allowed = [str(value) for option in options for value in getattr(option, "values", ())]
    if what.startswith("Invalid enum value") and allowed:
        return f"one of {', '.join(allowed)}"
    for said, words in _IN_WORDS:
        if match := said.fullmatch(what):
            return match.expand(words)
    return what.removeprefix("Expected ").replace("`", "")


def _dotted(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _keys(kind: Any, path: str) -> list[str]:
    options = _type_at(kind, path)
    return [field.encode_name for option in options for field in getattr(option, "fields", ())]


def _type_at(kind: Any, path: str) -> list[Any]:
    """What may stand at *path* of a *kind*: each type with what is said of it."""
    options = _options(msgspec.inspect.type_info(kind))
    for part in _PART.findall(path):
        inside: list[Any] = []
        for option in options:
            fields = getattr(option, "fields", ())
            inside += [field.type for field in fields if field.encode_name == part]
            inside += [getattr(option, name) for name in _ITEMS if hasattr(option, name)]
        options = [option for info in inside for option in _options(info)]
    return options


def _options(info: Any) -> list[Any]:
    if isinstance(info, msgspec.inspect.Metadata):
        return [info, *_options(info.type)]
    if isinstance(info, msgspec.inspect.UnionType):
        return [option for one in info.types for option in _options(one)]
    return [info]


def _value(table: Any, path: str) -> Any:
    for part in _PART.findall(path):
        try:
            table = table[int(part) if isinstance(table, list | tuple) else part]
        except (KeyError, IndexError, TypeError, ValueError):
            return "of the wrong kind"
    return table


def _shown(value: Any) -> str:
    text = repr(value)
    if len(text) <= _SHOWN:
        return text
    return f"{text[:_SHOWN]}... ({len(value) if isinstance(value, str) else len(text)} characters)"


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
