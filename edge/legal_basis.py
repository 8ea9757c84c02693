"""The legal basis: the signed, dated document by which a unit may collect at all.

An authority signs who ordered the collecting, at which places, from when until when. Units carry
the document and its authority's public key; outside it they do not look at codes, and say so by
light. The centre opens nothing that no document covers. A document is JSON that people can read;
its signature is Ed25519 over exactly what it says.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from edge.clock import Moment
from edge.errors import BasisError
from edge.files import replace_file
from edge.messages import Utc
from edge.sealing import Signer, Verifier

Text = Annotated[str, Meta(min_length=1, max_length=200)]
#: A place, a beginning of names such as "cho-*", or "*" for every place.
Scope = Annotated[
    str,
    Meta(
        pattern=r"^(?:[a-z0-9-]{1,32}\*?|\*)(?![\s\S])",
        description='the id of a place, a beginning of ids such as "cho-*", or "*" for all',
    ),
]

_DOMAIN = b"edge legal basis v1\n"
#: Nothing of ours is larger; what is, is not read.
MAX_BYTES = 65_536
#: The field of the updates' signed list that brings documents to units, each on a line of its own.
FIELD = "Edge-Basis"
_IN_LIST = re.compile(rb"(?m)^Edge-Basis:\r?\n((?: [A-Za-z0-9+/=]+\r?\n)+)")
#: A list brings no more.
MOST_LISTED = 50


class BasisSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the legal basis is found."""

    required: bool = True
    folder: str = "basis"
    key_file: str = "basis.pub"


class LegalBasis(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One document. Valid from *start* up to, and not including, *end*."""

    v: Literal[1] = 1
    number: Text
    issuer: Text
    places: Annotated[tuple[Scope, ...], Meta(min_length=1)]
    issued: Utc
    start: Utc
    end: Utc

    def covers(self, place: str) -> bool:
        """Whether *place* is in its scope."""
        return any(
            place.startswith(scope[:-1]) if scope.endswith("*") else place == scope
            for scope in self.places
        )

    def encode(self) -> bytes:
        """What is signed."""
        return _DOMAIN + msgspec.json.encode(self, order="deterministic")


class SignedBasis(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A document with its signature, as the file has it."""

    basis: LegalBasis
    signature: str


def sign_basis(basis: LegalBasis, signer: Signer) -> bytes:
    """*basis* as the content of its file. Raises BasisError for one that cannot be valid."""
    _check(basis, basis.number)
    signature = base64.b64encode(signer.sign(basis.encode())).decode()
    signed = SignedBasis(basis=basis, signature=signature)
    return msgspec.json.format(msgspec.json.encode(signed), indent=2) + b"\n"


def write_basis(path: Path, basis: LegalBasis, signer: Signer) -> None:
    """Sign *basis* into *path*. Raises BasisError."""
    content = sign_basis(basis, signer)
    try:
        replace_file(path, [content], mode=0o644)
    except OSError as err:
        raise BasisError(f"{path}: cannot write the legal basis: {err.strerror}") from err


def read_basis(path: Path, verifier: Verifier) -> LegalBasis:
    """The document in *path*. Raises BasisError if it is damaged or another's than the key's."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as err:
        raise BasisError(f"{path}: cannot read the legal basis: {err.strerror}") from err
    return verified_basis(content, str(path), verifier)


def verified_basis(content: bytes, where: str, verifier: Verifier) -> LegalBasis:
    """The document that is *content*, found *where*. Raises BasisError as `read_basis`."""
    try:
        signed = msgspec.json.decode(content[:MAX_BYTES], type=SignedBasis)
        signature = base64.b64decode(signed.signature, validate=True)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, ValueError) as err:
        raise BasisError(f"{where}: not a legal basis; copy it anew from its issuer") from err
    if not verifier.verifies(signed.basis.encode(), signature):
        raise BasisError(
            f"{where}: its signature is not of the authority whose key is here, or it was changed;"
            " copy it anew from its issuer"
        )
    _check(signed.basis, where)
    return signed.basis


def listed(documents: Sequence[bytes]) -> str:
    """*documents* as a field of the updates' signed list; "" for none. Raises BasisError."""
    if len(documents) > MOST_LISTED:
        raise BasisError(
            f"{len(documents)} legal bases are more than a list brings ({MOST_LISTED}); take those"
            " out of legal-basis/ that others have taken the place of, or have one order for"
            " several places"
        )
    lines = "".join(f" {base64.b64encode(document).decode()}\n" for document in documents)
    return f"{FIELD}:\n{lines}" if lines else ""


def documents_in(signed_list: bytes) -> list[bytes]:
    """The documents that a list brings, none of them verified. Raises BasisError."""
    found = _IN_LIST.search(signed_list)
    lines = found[1].split() if found else []
    if len(lines) > MOST_LISTED:
        raise BasisError(f"the list brings more than {MOST_LISTED} legal bases")
    try:
        return [base64.b64decode(line, validate=True) for line in lines]
    except binascii.Error:
        raise BasisError("what the list brings is no legal basis") from None


def read_bases(folder: Path, verifier: Verifier) -> tuple[list[LegalBasis], list[BasisError]]:
    """Every document `*.json` in *folder*, and what is wrong with those that are none."""
    bases, wrong = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            bases.append(read_basis(path, verifier))
        except BasisError as err:
            wrong.append(err)
    return bases, wrong


def why_not(bases: Sequence[LegalBasis], place: str, moment: Moment) -> str:
    """Why nothing may be collected at *place* at *moment*; "" if a document allows it.

    A unit whose clock is not set knows only that it is not earlier than its clock says, as it
    starts with the time at which it was last on, nor earlier than the document was signed. By that
    earliest time it goes: it stops when that is past the end, and does not begin before that has
    reached the start. In between it collects, since a bus that starts without a network would
    otherwise lose its passengers each morning; the centre knows the true time later, and what turns
    out to be outside is not opened.
    """
    here = [basis for basis in bases if basis.covers(place)]
    if not here:
        return f"no legal basis covers {place}" if bases else "there is no legal basis"
    reasons = []
    for basis in here:
        earliest = moment.at if moment.clock != "none" else max(moment.at, basis.issued)
        if basis.start <= earliest < basis.end:
            return ""
        when = f"begins {basis.start}" if earliest < basis.start else f"ended {basis.end}"
        reasons.append(f"{basis.number} {when}")
    # The same document may come with the card and with the office's list.
    return "; ".join(dict.fromkeys(reasons))


def _check(basis: LegalBasis, where: str) -> None:
    if basis.start >= basis.end:
        raise BasisError(f"{where}: it ends {basis.end}, not after its start {basis.start}")
    for text in (basis.number, basis.issuer):
        if not text.isprintable():
            raise BasisError(f"{where}: {text!r} has characters that cannot be printed")
