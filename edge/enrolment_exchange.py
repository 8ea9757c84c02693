"""What a unit and the centre say to each other when it enrols: over TLS, or as files on a stick.

A unit asks with a request for the key that it made itself and, the first time or when its
certificate has ended, with a token; the centre answers with a certificate. JSON, both ways.
"""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from edge.enrolment_token import MAX_BYTES as TOKEN_BYTES
from edge.errors import EnrolmentError
from edge.messages import Name

#: Where requests with a token are posted, and those that renew by the certificate shown; and where
#: a unit says that the certificate shown works at the broker.
ENROL_PATH = "/v1/enrol"
RENEW_PATH = "/v1/renew"
WORKED_PATH = "/v1/worked"
#: No request, and no answer, of ours is half as large.
MAX_BYTES = 16_384
#: What the files are called, behind the unit's name.
REQUEST_SUFFIX = ".request.json"
ANSWER_SUFFIX = ".certificate.json"

Pem = Annotated[str, Meta(min_length=1, max_length=8192)]


class EnrolmentRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A unit asks for a certificate."""

    v: Literal[1] = 1
    unit: Name
    #: See edge.enrolment_token; empty where a certificate is shown instead.
    token: Annotated[bytes, Meta(max_length=TOKEN_BYTES)] = b""
    #: A certificate request (PKCS #10) in PEM.
    request: Annotated[str, Meta(min_length=1, max_length=4096)]


class EnrolmentAnswer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The centre gives one."""

    v: Literal[1] = 1
    unit: Name
    #: In PEM, and behind it that of the issuing authority.
    certificate: Pem


class EnrolmentWorked(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The certificate that a unit shows works; the centre answers with the same."""

    v: Literal[1] = 1
    unit: Name


class EnrolmentRefusal(Struct, frozen=True, kw_only=True):
    """The centre gives none, for now or at all: why, for people."""

    error: Annotated[str, Meta(max_length=500)]


Said = TypeVar("Said", EnrolmentRequest, EnrolmentAnswer, EnrolmentWorked, EnrolmentRefusal)


def decode(data: bytes, kind: type[Said]) -> Said:
    """*data* as what it says. Raises EnrolmentError, whose text has nothing of it."""
    if len(data) <= MAX_BYTES:
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
    raise EnrolmentError("this is nothing that a unit or the centre says of an enrolment")
