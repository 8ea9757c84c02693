"""The pending enrolment: what the unit was told, by a card or a set-up code, to ask for with.

Whoever applies one writes it here, by `pend`, as root; the scanner works it off beside scanning,
and removes it when it has its certificate. A later one replaces it.
"""

import os
import pwd
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from edge.enrolment_token import EnrolmentUrl, Token
from edge.errors import EdgeError
from edge.files import replace_file
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
    folder = root / IDENTITY
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / PENDING, [msgspec.json.encode(pending)], 0o600)
    folder.chmod(0o700)
    for owned in (folder / PENDING, folder):
        os.chown(owned, *scanner_user(), follow_symlinks=False)


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
