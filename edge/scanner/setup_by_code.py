"""Root's part of the set-up by code: verifies what the scanner has read, and applies it.

The scanner may change nothing of the unit. It leaves the code's content in its folder under /run,
on which systemd/edge-setup-code.path waits, and finds here what came of it. Nothing that the
scanner says is believed: everything is verified again. What is applied is kept on disk first, so
that after a power cut the next start does the rest, before the scanner runs; the unit that one
finds afterwards is the old one or the new one.
"""

import hashlib
import logging
import os
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edge import config
from edge.errors import ConfigError, EdgeError, SetupCodeError
from edge.files import replace_file, wipe_file
from edge.scanner.pending_enrolment import PendingEnrolment, pend
from edge.scanner.settings import ScannerSettings
from edge.scanner.setup import (
    SETTINGS,
    Setup,
    SetupState,
    UnitFile,
    board_serial,
    present_settings,
    read_state,
    settings_file,
    state_file,
    switch_radio_on,
    tell,
    unit_settings,
    wifi_file,
    write_files,
)
from edge.setup_code import MAX_CHARACTERS, SetupCode, check_for_unit, read_setup_code

log = logging.getLogger(__name__)

#: The content of a code that the scanner has read, in its own folder.
REQUEST = "run/edge-scanner/setup-code"
#: What came of it.
ANSWER = "run/edge-setup/answer.json"
#: A code that is being applied; where the scanner can put nothing in its place.
APPLYING = "etc/edge/setup-code.applying"
_NETWORK_S = 10.0


class Answer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What came of a request."""

    #: Of the content that was asked for, see `name_of`.
    code: str
    applied: bool
    text: str


def name_of(content: bytes) -> str:
    """A name for a code's *content* that says nothing of it."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def verify(content: bytes, state: SetupState | None, root: Path = Path("/")) -> SetupCode:
    """The set-up code in *content*, for a unit that remembers *state*. Raises SetupCodeError."""
    if state is None:
        raise SetupCodeError("this unit never had a card, so it knows nobody's set-up codes")
    code = read_setup_code(content, state.setup_key)
    check_for_unit(
        code,
        deployment=state.deployment,
        unit=state.unit or "",
        batch=state.batch or "",
        last=state.number,
        hardware=board_serial(root),
    )
    return code


def finish_code(boot: Path, root: Path = Path("/")) -> Setup | None:
    """Apply the code at which the power went, if there is one; None if there is none.

    Raises EdgeError only where this machine is at fault, as does `take_code`.
    """
    try:
        # Half of one: nothing was begun.
        wipe_file(root / f"{APPLYING}.new")
        content = _content(root / APPLYING)
        if content is None or not content.strip(b"\0"):
            # None, or one that was done and half wiped.
            wipe_file(root / APPLYING)
            return None
        return tell(boot, _take(content, root))
    except OSError as err:
        raise EdgeError(f"cannot set up: {err.filename or root}: {err.strerror}") from err


def take_code(boot: Path, root: Path = Path("/")) -> Setup | None:
    """Apply the code that the scanner has read, and answer it; None if there is none."""
    try:
        content = _content(root / REQUEST)
        if content is None:
            return None
        try:
            done = tell(boot, _take(content, root))
        except OSError as err:
            why = f"cannot set up: {err.filename or root}: {err.strerror}"
            _answer(content, Setup(False, f"{why}; the machine's next start tries again"), root)
            raise
        _answer(content, done, root)
        return done
    except OSError as err:
        raise EdgeError(f"cannot set up: {err.filename or root}: {err.strerror}") from err


def _answer(content: bytes, done: Setup, root: Path) -> None:
    answer = Answer(code=name_of(content), applied=done.applied, text=done.text)
    write_files([UnitFile(ANSWER, msgspec.json.encode(answer), 0o644)], root)


def _take(content: bytes, root: Path) -> Setup:
    state = read_state(root)
    if state is not None and (done := _applied(content, state)):
        # Asked twice, or cut off behind the last step: it is so already.
        wipe_file(root / APPLYING)
        return Setup(True, _what_it_is(done), present_settings(root))
    try:
        code = verify(content, state, root)
        table = _settings(code, root)
        settings = config.check(table, ScannerSettings, "the set-up code's settings")
    except (SetupCodeError, ConfigError) as err:
        wipe_file(root / APPLYING)
        return Setup(False, str(err), present_settings(root))
    assert state is not None
    replace_file(root / APPLYING, [content])
    wifi = code.card_wifi
    if wifi is not None:
        write_files([wifi_file(wifi)], root)
    if code.enrolment is not None:
        url, token = code.enrolment
        pend(
            PendingEnrolment(deployment=code.deployment, unit=code.unit, url=url, token=token), root
        )
    head = f"# From set-up code {code.number} of {code.deployment}; the next one changes it.\n"
    state = msgspec.structs.replace(
        state,
        # Of its batch's card the number may be higher.
        number=max(state.number, code.number),
        code=code.number,
        code_name=name_of(content),
        unit=code.unit,
        hardware=board_serial(root),
    )
    if wifi is not None:
        switch_radio_on(root)
    write_files([settings_file(head, table), state_file(state)], root)
    wipe_file(root / APPLYING)
    if wifi is not None:
        _join_network(root)
    return Setup(True, _what_it_is(code), settings)


def _settings(code: SetupCode, root: Path) -> dict[str, Any]:
    """The settings that this unit has, with what *code* says in them."""
    path = root / SETTINGS
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise SetupCodeError(f"{path} cannot be read; write this unit a card") from None
    former = table.get("unit", {})
    if former and (former.get("id"), former.get("area")) != (code.unit, code.area):
        # Its scans' numbers go on from where they are, under the name that the centre knows.
        raise SetupCodeError(
            f"a set-up code leaves a unit its name and its area, {former.get('id')} in"
            f" {former.get('area')}; for another, write it a card"
        )
    given: dict[str, Any] = {
        "update": {"hours": code.hours},
        "vehicle": {"trips": list(code.trips)},
        "broker": {"url": code.broker} if code.broker is not None else {},
        # There it renews, too.
        "enrolment": {"url": code.enrolment[0]} if code.enrolment is not None else {},
    }
    # Nothing of the former place is left, such as the hours of its door.
    return config.merged([table, given]) | {"unit": unit_settings(code.card_unit)}


def _applied(content: bytes, state: SetupState) -> SetupCode | None:
    """The code in *content*, if it is the last one that this unit took."""
    if name_of(content) != state.code_name:
        return None
    return read_setup_code(content, state.setup_key)


def _what_it_is(code: SetupCode) -> str:
    trip = f", {code.trip}" if code.trip else ""
    return f"unit {code.unit}, {code.place}, {code.direction}{trip}; set-up code {code.number}"


def _content(path: Path) -> bytes | None:
    """What is in *path*, if that is a file; no more than a code may have."""
    try:
        # In a folder of the scanner's, which is not believed: neither a link nor a pipe.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return b""
        return file.read(MAX_CHARACTERS + 1)


def _join_network(root: Path) -> None:
    """Have NetworkManager read its files anew. At the start of the machine it does by itself."""
    if root != Path("/"):
        return
    try:
        subprocess.run(["nmcli", "connection", "reload"], check=True, timeout=_NETWORK_S)
        up = ["nmcli", "--wait", "0", "connection", "up", "edge-wifi"]
        subprocess.run(up, check=True, timeout=_NETWORK_S)
    except (OSError, subprocess.SubprocessError) as err:
        log.warning("the new network is used from the next start on: %s", err)
