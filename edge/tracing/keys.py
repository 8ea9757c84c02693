"""The desk's keys: private keys that open seals, by their id, and the secret of the tokens."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path

from edge import config
from edge.errors import SealError
from edge.files import make_file
from edge.identity import Identity
from edge.sealing import Opener, make_key_pair, read_key
from edge.tracing.tokens import SECRET_BYTES


class KeyRing:
    """Every private key of the desk: the present one, and old ones for scans still under way.

    A key is rotated by giving units the new public key, and the desk the new private one beside the
    old. The old one may go when the last unit has the new and the retention has passed.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        """*keys*: private keys of 32 bytes. Raises SealError if one is none, or there is none."""
        if not keys:
            raise SealError("the desk has no private key; name one in keys.private_key_files")
        openers = [Opener(key) for key in keys]
        self._openers = {opener.key_id: opener for opener in openers}

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the keys, as scans carry them."""
        return tuple(self._openers)

    def has(self, key: str) -> bool:
        """Whether the private key to *key* is here."""
        return key in self._openers

    def open(self, key: str, sealed: bytes, scan: str) -> Identity:
        """The identity of *scan*. Raises SealError, whose text holds nothing of it."""
        opener = self._openers.get(key)
        if opener is None:
            raise SealError(f"scan {scan}: sealed to key {key!r}, which the desk does not have")
        return opener.open(sealed, scan)


def read_keys(files: Sequence[str], beside: Path) -> KeyRing:
    """The keys in *files*, where systemd hands them over or *beside* the settings."""
    return KeyRing([read_key(config.secret_path(file, beside)) for file in files])


def make_keys(folder: Path, *, another: bool = False) -> list[Path]:
    """Make what is missing: a pair of keys, and the token secret; gives the new secret files.

    *another*: make one more pair beside those there are, to change to. The token secret is never
    made anew: with another one, nobody could be found again.
    """
    made = []
    pair, number = folder / "tracing.key", 1
    while another and pair.exists():
        number += 1
        pair = folder / f"tracing-{number}.key"
    if not pair.exists():
        make_key_pair(pair.with_suffix(".pub"), pair)
        made.append(pair)
    secret = folder / "tracing.secret"
    if not secret.exists():
        # Not in place of what somebody else has made meanwhile.
        make_file(secret, [base64.b64encode(os.urandom(SECRET_BYTES)), b"\n"])
        made.append(secret)
    return made
