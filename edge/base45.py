"""Bytes as the letters that a QR code holds most tightly: RFC 9285, 3 characters for 2 bytes.

Own code rather than a package: it is two loops, and a unit would have to carry the package.
"""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}


def encode(data: bytes) -> str:
    """*data* in the alphabet of QR's alphanumeric mode."""
    characters: list[str] = []
    for at in range(0, len(data), 2):
        pair = data[at : at + 2]
        number = int.from_bytes(pair, "big")
        for _ in range(len(pair) + 1):
            number, value = divmod(number, 45)
            characters.append(_ALPHABET[value])
    return "".join(characters)


def decode(text: str) -> bytes:
    """The bytes of *text*. Raises ValueError for what `encode` would not have written."""
    data = bytearray()
    for at in range(0, len(text), 3):
        group = text[at : at + 3]
        try:
            number = sum(_VALUES[character] * 45**place for place, character in enumerate(group))
        except KeyError:
            raise ValueError("not base45") from None
        if len(group) == 1 or number >= 256 ** (len(group) - 1):
            raise ValueError("not base45")
        data += number.to_bytes(len(group) - 1, "big")
    return bytes(data)
