"""What lies inside the seal of a scan, and never travels outside of it."""

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from edge.errors import BadMessage
from edge.messages import whole

#: A name is cut to this, so that every sealed identity has one length.
NAME_BYTES = 96


class Identity(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The least that tracing needs, and all that is kept of a person. Never travels unsealed.

    No address, old card number, issue date, parents, insurance dates or facility. Identifiers are
    as presented: a code proves nothing about who holds it. Inside the seal it is MessagePack, whose
    length depends on the text alone and not on how much of it JSON would have to escape.
    """

    v: Literal[1] = 1
    #: The scan this belongs to, filled in by `Sealer.seal`, so that a sealed identity cannot be
    #: moved to another scan.
    scan: Annotated[str, Meta(pattern=whole("(?:[0-9a-f]{32})?"))] = ""
    #: 12-digit personal identification number, or a passport or old card number.
    pin: Annotated[str, Meta(max_length=20)] = ""
    #: User code of the national QR platform; the only key that full and masked codes share.
    qid: Annotated[str, Meta(max_length=32)] = ""
    #: Health-insurance card: 15 characters, or 10 digits on the newer ones.
    bhyt: Annotated[str, Meta(max_length=15)] = ""
    #: As the code gives it, NFC, cut to NAME_BYTES of UTF-8.
    name: Annotated[str, Meta(max_length=96)] = ""
    birth_year: Annotated[int, Meta(ge=0, le=9999)] = 0
    sex: Literal["", "m", "f"] = ""
    phone: Annotated[str, Meta(max_length=15)] = ""
    #: Of a masked number: what was left readable.
    tail: Annotated[str, Meta(max_length=12)] = ""
    #: What was odd about the document, one bit for each of FLAGS: see `flag_bits`. It stands here
    #: and not beside the seal because it is about a person: a proxy, for one, is a child's.
    flags: Annotated[int, Meta(ge=0, lt=2**32)] = 0

    def encode(self) -> bytes:
        """This identity as MessagePack, to be sealed at once."""
        return msgspec.msgpack.encode(self)

    @staticmethod
    def decode(packed: bytes) -> "Identity":
        """Read what `encode` made. Raises BadMessage with a reason that holds no content."""
        try:
            return msgspec.msgpack.decode(packed, type=Identity)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise BadMessage("not an identity of version 1") from None


#: What may be odd about a document without being a reason to refuse it; scanner/documents.py says
#: what each means. The position is the bit, so new ones go to the end and none is ever taken out.
FLAGS = (
    "masked",
    "by_proxy",
    "no_identifier",
    "prefix_unknown",
    "sex_mismatch",
    "year_mismatch",
    "impossible_date",
    "odd_date",
    "odd_sex",
    "odd_number",
    "odd_qid",
    "odd_card",
    "odd_phone",
    "odd_name",
    "hidden_characters",
    "name_cut",
)


def flag_bits(flags: Iterable[str]) -> int:
    """*flags*, each one of FLAGS, as `Identity.flags` holds them."""
    return sum(1 << FLAGS.index(flag) for flag in set(flags))
