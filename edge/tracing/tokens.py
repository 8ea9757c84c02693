"""Keyed tokens: what the desk knows a person by, instead of a name or a number.

A token is BLAKE2b, keyed with the desk's secret, over one identifier of one kind. Without the
secret nobody can compute the token of a number, so that a dictionary of all numbers finds nobody;
a plain hash would be undone in minutes, as there are only some 10^10 numbers. Tokens are computed
on the desk alone: no other tier ever has a function of an identifier that could be tried out.
"""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from edge.errors import DeskError, SealError
from edge.identity import Identity

#: The strongest first: a scan that shows several identifiers is filed under the first.
Kind = Literal["pin", "document", "bhyt", "qid", "name"]
KINDS: tuple[Kind, ...] = ("pin", "document", "bhyt", "qid", "name")

SECRET_BYTES = 32
TOKEN_BYTES = 16

# A byte each, so that one number as two kinds gives two tokens that nobody can match.
_DOMAIN: dict[str, bytes] = {kind: f"edge {kind}".encode() for kind in KINDS}


_BETWEEN = re.compile(r"[\s.]+")
#: What a number of each kind looks like, in capitals, and how to say so. Scanners keep no other.
_FORMS: dict[Kind, tuple[re.Pattern[str], str]] = {
    "pin": (re.compile(r"[0-9]{12}"), "a personal number has 12 digits"),
    # Twelve digits are a personal number, whichever document shows it.
    "document": (
        re.compile(r"(?![0-9]{12}$)[0-9A-Z]{1,20}"),
        "a passport or old card has up to 20 letters and digits; 12 digits alone are a pin",
    ),
    "bhyt": (
        re.compile(r"[A-Z]{2}[0-9][0-9A-Z]{12}|[0-9]{10}"),
        "a health-insurance card has 2 letters and 13 more characters, or 10 digits",
    ),
    "qid": (re.compile(r"[0-9A-Z-]{1,32}"), "a QID has 1 to 32 letters, digits, hyphens"),
}


@dataclass(frozen=True)
class Token:
    """A pseudonym for one identifier."""

    kind: Kind
    value: bytes


class Tokens:
    """Computes tokens with the desk's secret."""

    def __init__(self, secret: bytes) -> None:
        """*secret*: 32 bytes, made once for a deployment. Raises SealError for anything else."""
        if len(secret) != SECRET_BYTES:
            raise SealError(f"the token secret is {len(secret)} bytes long; it must be 32")
        self._secret = secret

    def of(self, identity: Identity) -> tuple[Token, ...]:
        """The tokens of what one document shows, the strongest first; the name is not among them.

        A 12-digit number, a passport or old card number, a health-insurance card, a QID. All of one
        document are one person's, as far as documents tell.
        """
        found: list[Token] = []
        number = identity.pin.strip().upper()
        if number:
            kind: Kind = "pin" if len(number) == 12 and number.isdecimal() else "document"
            found.append(self.token(kind, number))
        if identity.bhyt:
            found.append(self.token("bhyt", identity.bhyt))
        if identity.qid:
            found.append(self.token("qid", identity.qid))
        return tuple(found)

    def of_name(self, identity: Identity) -> Token | None:
        """The weak token of name and birth year: many people share it. None without both."""
        name = plain_name(identity.name)
        if not name or not identity.birth_year:
            return None
        return self.token("name", f"{name} {identity.birth_year}")

    def token(self, kind: Kind, value: str) -> Token:
        """The token of an identifier as somebody wrote it; spaces and capitals do not count."""
        return Token(kind, self._keyed(_DOMAIN[kind], _normal(kind, value)))

    def of_text(self, number: str) -> Token:
        """The token of an identifier as people give it: "pin:…", "bhyt:…". Raises DeskError.

        So it does for what no document can show: who mistypes a number must not be told that nobody
        with it was anywhere, nor that all of them is erased.
        """
        kind, _, value = number.partition(":")
        for known, (form, words) in _FORMS.items():
            if kind != known:
                continue
            # As people write numbers: in groups.
            typed = _BETWEEN.sub("", value)
            if form.fullmatch(typed.upper()):
                return self.token(known, typed)
            # The number itself is not repeated.
            raise DeskError(f"{known}: {words}; {len(typed)} characters were typed")
        raise DeskError(f"a person is named by {', '.join(f'{known}:NUMBER' for known in _FORMS)}")

    def _keyed(self, domain: bytes, value: str) -> bytes:
        return hashlib.blake2b(
            value.encode(), digest_size=TOKEN_BYTES, key=self._secret, person=domain
        ).digest()


def plain_name(name: str) -> str:
    """A name as the personal code writes it: capitals, no marks, single spaces."""
    letters = unicodedata.normalize("NFD", name.replace("đ", "d").replace("Đ", "D"))
    plain = "".join(c for c in letters if not unicodedata.combining(c))
    return " ".join(plain.upper().split())


def _normal(kind: Kind, value: str) -> str:
    if kind == "name":
        return value
    text = "".join(value.split()).upper()
    # The last ten of the old 15-character card are the social-insurance number, which is all that
    # the newer card shows: one person's two cards give one token.
    if kind == "bhyt" and len(text) == 15 and text[-10:].isdecimal():
        return text[-10:]
    return text
