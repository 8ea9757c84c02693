"""Sealing identities, which the tracing desk alone opens; signing what is carried by hand.

libsodium's sealed box, through PyNaCl. What is sealed is padded to one length, so that the length
of a box says nothing about who is inside. The scan's id is inside too, so that a box cannot be
moved to another scan unnoticed. Signatures are Ed25519: a unit signs what leaves it by hand, and
whoever knows its public key verifies.
"""

import base64
import binascii
import hashlib
from contextlib import suppress
from pathlib import Path

import msgspec
import nacl.bindings
import nacl.exceptions
import nacl.public
import nacl.pwhash
import nacl.signing

from edge.errors import SealError
from edge.files import make_file
from edge.identity import Identity

# Holds every identity whose fields are within their limits: see test_every_box_has_one_length.
PADDED_BYTES = 320


class Sealer:
    """Closes identities to the tracing desk's public key."""

    def __init__(self, public_key: bytes) -> None:
        """*public_key*: 32 bytes, X25519. Raises SealError for anything else."""
        try:
            self._box = nacl.public.SealedBox(nacl.public.PublicKey(public_key))
            # Some 32 bytes are no key that anything can be sealed to; not found out at a scan.
            self._box.encrypt(b"")
        except (nacl.exceptions.CryptoError, TypeError, ValueError) as err:
            raise SealError(f"not a public key of 32 bytes: {err}") from err
        self.key_id = key_id(public_key)

    def seal(self, identity: Identity, scan: str) -> bytes:
        """*identity*, bound to the id of its *scan*, as a box of one length for everybody."""
        bound = msgspec.structs.replace(identity, scan=scan)
        padded = nacl.bindings.sodium_pad(bound.encode(), PADDED_BYTES)
        return self._box.encrypt(padded)


class Opener:
    """Opens what was sealed to its key. Only the tracing desk has one."""

    def __init__(self, private_key: bytes) -> None:
        """*private_key*: 32 bytes, X25519. Raises SealError for anything else."""
        try:
            key = nacl.public.PrivateKey(private_key)
        except (nacl.exceptions.CryptoError, TypeError, ValueError) as err:
            raise SealError(f"not a private key of 32 bytes: {err}") from err
        self._box = nacl.public.SealedBox(key)
        self.public_key = bytes(key.public_key)
        self.key_id = key_id(self.public_key)

    def open(self, sealed: bytes, scan: str) -> Identity:
        """The identity of *scan*. Raises SealError if the box is another's or was changed."""
        try:
            padded = self._box.decrypt(sealed)
            identity = Identity.decode(nacl.bindings.sodium_unpad(padded, PADDED_BYTES))
        except (nacl.exceptions.CryptoError, TypeError, ValueError):
            raise SealError(f"scan {scan}: its seal does not open with key {self.key_id}") from None
        if identity.scan != scan:
            raise SealError(f"scan {scan}: its seal belongs to another scan")
        return identity


class Signer:
    """Signs in the name of one unit."""

    def __init__(self, private_key: bytes) -> None:
        """*private_key*: 32 bytes, the seed of Ed25519. Raises SealError for anything else."""
        try:
            self._key = nacl.signing.SigningKey(private_key)
        except (nacl.exceptions.CryptoError, TypeError, ValueError) as err:
            raise SealError(f"not a signing key of 32 bytes: {err}") from err
        self.public_key = bytes(self._key.verify_key)

    def sign(self, message: bytes) -> bytes:
        """The signature of *message*: 64 bytes."""
        return self._key.sign(message).signature


class Verifier:
    """Tells whether a signature was made by one who has a key, or several."""

    def __init__(self, *public_keys: bytes) -> None:
        """*public_keys*: 32 bytes each, Ed25519. Raises SealError for anything else."""
        try:
            self._keys = [nacl.signing.VerifyKey(key) for key in public_keys]
        except (nacl.exceptions.CryptoError, TypeError, ValueError) as err:
            raise SealError(f"not a public key of 32 bytes: {err}") from err
        #: Short names of the keys.
        self.ids = tuple(key_id(key) for key in public_keys)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether *signature* is one of *message* by the owner of one of our keys."""
        return any(_verifies(key, message, signature) for key in self._keys)


def _verifies(key: nacl.signing.VerifyKey, message: bytes, signature: bytes) -> bool:
    try:
        key.verify(message, signature)
    except (nacl.exceptions.CryptoError, TypeError, ValueError):
        return False
    return True


def open_signer(path: Path) -> Signer:
    """The signer whose private key is in *path*; a new key if there is none yet.

    Raises SealError: a key that is damaged is never replaced unasked, as the centre would then
    refuse what we sign.
    """
    if not path.exists():
        key = bytes(nacl.signing.SigningKey.generate())
        try:
            # Where another process was first, its key is everybody's.
            with suppress(FileExistsError):
                make_file(path, [base64.b64encode(key) + b"\n"])
        except OSError as err:
            raise SealError(f"{path}: cannot write a signing key: {err.strerror}") from err
    return Signer(read_key(path))


def key_id(public_key: bytes) -> str:
    """A short name for a public key, as scans carry it."""
    return hashlib.blake2b(public_key, digest_size=4).hexdigest()


def read_key(path: Path) -> bytes:
    """The key in *path*: one line of base64. Raises SealError naming the file."""
    try:
        key = base64.b64decode(path.read_text(encoding="ascii").strip(), validate=True)
    except OSError as err:
        raise SealError(f"{path}: cannot read the key: {err.strerror}") from err
    except (UnicodeDecodeError, binascii.Error, ValueError):
        raise SealError(f"{path}: must hold one line of base64, 32 bytes long") from None
    if len(key) != 32:
        raise SealError(f"{path}: the key is {len(key)} bytes long; it must be 32")
    return key


def hash_password(password: str) -> str:
    """*password* as it is kept: Argon2id, with its own salt and parameters."""
    return nacl.pwhash.argon2id.str(password.encode()).decode()


def password_matches(kept: str, password: str) -> bool:
    """Whether *password* is the one that was kept."""
    try:
        return nacl.pwhash.verify(kept.encode(), password.encode())
    except (nacl.exceptions.CryptoError, ValueError):
        return False


def make_key_pair(public: Path, private: Path) -> None:
    """Write a new pair of keys. The private one is readable by its owner alone."""
    key = nacl.public.PrivateKey.generate()
    _write_new(private, bytes(key), 0o600)
    _write_new(public, bytes(key.public_key), 0o644)


def _write_new(path: Path, key: bytes, mode: int) -> None:
    try:
        make_file(path, [base64.b64encode(key) + b"\n"], mode)
    except FileExistsError:
        raise SealError(f"{path}: there is a key already; move it away first") from None
