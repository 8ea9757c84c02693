"""The pending enrolment: what the unit was told, by a card or a set-up code, to ask for with.

Whoever applies one writes it here, by `pend`, as root; the scanner works it off beside scanning,
and removes it when it has its certificate. A later one replaces it.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from edge.enrolment_token import EnrolmentUrl, Token
from edge.errors import EdgeError
from edge.files import replace_file, wipe_file
from edge.messages import Name

#: The folder of the unit's identity, and in it what is pending.
IDENTITY = "var/lib/edge/identity"
PENDING = "enrolment.json"
#: The user that the scanner runs as.
USER = "edge-scanner"


class PendingEnrolment(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For what to ask, where, and with which token (see edge.enrolment_token)."""

    v: Literal[1] = 1
    deployment: Name
    unit: Name
    url: EnrolmentUrl
    token: Token


def pend(pending: PendingEnrolment, root: Path = Path("/")) -> None:
    """Have the unit enrol by *pending*, on disk when this returns; what it has works until then.

    Raises OSError.
    """
    path = root / IDENTITY
    if path.is_symlink():
        path.unlink()
    path.mkdir(parents=True, exist_ok=True)
    with _held(path) as (handle, folder):
        replace_file(folder / PENDING, [msgspec.json.encode(pending)], 0o600)
        os.fchmod(handle, 0o700)
        os.chown(folder / PENDING, *scanner_user(), follow_symlinks=False)
        os.fchown(handle, *scanner_user())


def wipe_identity(root: Path) -> None:
    """Wipe what is in the identity's folder; a link in its place goes, and not what it points to.

    Raises OSError.
    """
    path = root / IDENTITY
    if path.is_symlink():
        path.unlink()
    if not path.exists():
        return
    with _held(path) as (_, folder):
        for file in sorted(folder.iterdir()):
            if file.is_symlink() or file.is_file():
                wipe_file(file)


@contextmanager
def _held(path: Path) -> Iterator[tuple[int, Path]]:
    """The folder *path*, open, and a path by which it stays this folder.

    It lies in a folder of the scanner's, who could put a link in its place while root is at work.
    """
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield handle, Path(f"/proc/self/fd/{handle}")
    except OSError as err:
        # For people, by its name.
        raise OSError(err.errno, err.strerror, str(path)) from err
    finally:
        os.close(handle)


def read_pending(folder: Path) -> PendingEnrolment | None:
    """What is pending in *folder*, the identity's; None if nothing is.

    Raises EdgeError for a file that is damaged.
    """
    path = folder / PENDING
    try:
        return msgspec.json.decode(path.read_bytes(), type=PendingEnrolment)
    except FileNotFoundError:
        return None
    except OSError as err:
        raise EdgeError(f"{path}: cannot read it: {err.strerror}") from err
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EdgeError(
            f"{path} is damaged, so this unit cannot enrol; give it a new card or set-up code"
        ) from None


def scanner_user() -> tuple[int, int]:
    """User and group of the scanner; without that user, as on a laptop, whoever runs this."""
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        # The package makes that user.
        return os.getuid(), os.getgid()
    return user.pw_uid, user.pw_gid
