"""What travels: each message comes back as it went, and anything else is refused with a reason."""

import copy
import itertools
import random
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from edge.errors import BadMessage
from edge.messages import (
    CHANNEL_MESSAGES,
    MAX_MESSAGE_BYTES,
    MOST_SCANS,
    TOGETHER_BYTES,
    Again,
    Answer,
    Command,
    Config,
    Confirmed,
    ConfirmedRange,
    Health,
    Message,
    MissingRange,
    OnBoard,
    Scan,
    SignedCommand,
    SignedConfig,
    Status,
    Stop,
    Update,
    Utc,
    check_of,
    fit_together,
    read_scans,
    scans_message,
)
from tests.fakes import a_health, a_scan, a_status

CONFIRMED = Confirmed(epoch="e" * 16, ranges=(ConfirmedRange(first=1, last=3, check="0" * 16),))
AGAIN = Again(epoch="e" * 16, ranges=(MissingRange(first=4, last=4),))
CORRECTED = a_scan(corrected="2021-07-02T03:00:00.000Z")
MESSAGES: list[Message] = [
    a_scan(),
    CORRECTED,
    a_status(),
    CONFIRMED,
    AGAIN,
    a_health(refused={"payment": 2}),
    SignedCommand(
        order=Command(
            unit="cong-1",
            id="c" * 32,
            action="identify",
            asked="2021-07-02T01:30:00.000Z",
            expires="2021-07-02T01:40:00.000Z",
        ),
        signature=bytes(64),
    ),
    SignedConfig(
        order=Config(
            unit="cong-1", number=7, revision="d" * 16, settings={"camera": {"frame_rate": 10.0}}
        ),
        signature=bytes(64),
    ),
    Answer(
        about="command", to="c" * 32, state="failed", at="2021-07-02T01:31:00.000Z", reason="late"
    ),
]

#: What units send, with every text in it.
FULL: list[Message] = [
    CORRECTED,
    a_status(),
    a_health(
        setup="tốt",
        repair_reason="no frames",
        update=Update(version="1.1", state="waiting", reason="open", at=CORRECTED.at),
        on_board=OnBoard(
            trip="02-0700",
            gps="fix",
            stops=(Stop(since=CORRECTED.at, until=CORRECTED.at, latitude=14, longitude=108),),
        ),
        oldest=CORRECTED.at,
        certificate_ends=CORRECTED.at,
    ),
    Answer(
        about="command",
        to="c" * 32,
        state="failed",
        at=CORRECTED.at,
        reason="line one\nline two",
        detail="{}",
    ),
]


class Timed(msgspec.Struct):
    """A time as messages have it."""

    at: Utc


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_comes_back_as_it_went(message: Message) -> None:
    assert type(message).decode(message.encode()) == message


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not JSON"),
        (b"\x00\xff\xfe noise", "not JSON"),
        (b"[" * 50_000, "no version"),
        (b"[]", "no version"),
        (b"{}", "no version"),
        (b'{"v": 2, "id": "x"}', "version 2 of this message is not known here"),
        (b'{"v": 1}', "missing required field"),
        (b" " * (MAX_MESSAGE_BYTES + 1), "bytes are more than"),
        (b"x" * 10_000_000, "10000000 bytes are more than"),
    ],
)
def test_what_is_no_message_is_refused_with_its_reason(payload: bytes, reason: str) -> None:
    for message in CHANNEL_MESSAGES.values():
        with pytest.raises(BadMessage, match=reason):
            message.decode(payload)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "X" * 32),
        ("id", "a" * 32 + "\n"),
        ("id", "a" * 32 + "\n" + "b" * 16),
        ("seq", 0),
        ("seq", -1),
        ("seq", 2**60),
        ("seq", 1.5),
        ("place", "Chợ; DROP TABLE scan"),
        ("place", "cho\n"),
        ("direction", "sideways <script>"),
        ("document", "passport"),
        ("at", "yesterday"),
        ("at", "2021-07-02T01:30:00Z"),
        ("at", "2026-02-31T01:30:00.000Z"),
        ("at", "2026-19-39T29:59:69.000Z"),
        ("corrected", "2026-02-29T01:30:00.000Z"),
        ("corrected", "yesterday"),
        ("clock", "sundial <script>"),
        ("trip", "=HYPERLINK()"),
        ("sealed", "not base64!"),
        ("sealed", "A" * 8000),
        ("extra <b>", 1),
    ],
)
def test_a_field_out_of_bounds_is_refused_without_repeating_it(field: str, value: object) -> None:
    fields = msgspec.to_builtins(a_scan()) | {field: value}

    with pytest.raises(BadMessage) as caught:
        Scan.decode(msgspec.json.encode(fields))

    for hostile in ("DROP", "script", "passport", "yesterday", "HYPERLINK", "<b>"):
        assert hostile not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_time_is_taken_if_the_calendar_has_it_and_not_otherwise() -> None:
    hours = ("00:00:00.000Z", "23:59:59.999Z", "24:00:00.000Z", "12:60:00.000Z", "12:00:60.000Z")
    days = itertools.product((0, 1, 1900, 2000, 2024, 2026, 2100, 9999), range(20), range(40))
    for (year, month, day), hour in itertools.product(days, hours):
        at = f"{year:04}-{month:02}-{day:02}T{hour}"
        if is_taken(at) != is_time(at):
            pytest.fail(at)


def is_taken(at: str) -> bool:
    try:
        msgspec.convert({"at": at}, Timed)
    except msgspec.ValidationError:
        return False
    return True


def is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    # Newer Pythons take this for the next day's beginning.
    return "T24" not in text


def places_of_text(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """Where in *value* there is text."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places_of_text(part, (*path, key))


def with_text(value: Any, path: tuple[object, ...], text: str) -> Any:
    """*value* with *text* behind what is at *path*."""
    if not path:
        return value + text
    changed = copy.copy(value)
    changed[path[0]] = with_text(value[path[0]], path[1:], text)
    return changed


@pytest.mark.parametrize("message", FULL, ids=lambda m: type(m).__name__)
def test_no_text_of_a_unit_holds_what_a_database_does_not_take(message: Message) -> None:
    fields = msgspec.to_builtins(message)
    places = list(places_of_text(fields))
    assert len(places) > 5

    for path in places:
        with pytest.raises(BadMessage):
            type(message).decode(msgspec.json.encode(with_text(fields, path, "\0")))
    if isinstance(message, Health):
        with pytest.raises(BadMessage):
            Health.decode(msgspec.json.encode(fields | {"refused": {"pay\0": 1}}))


def test_no_mutation_of_a_message_does_more_than_be_refused() -> None:
    chance = random.Random(11)
    for _ in range(3000):
        payload = bytearray(chance.choice(MESSAGES).encode())
        for _ in range(chance.randrange(1, 5)):
            payload[chance.randrange(len(payload))] = chance.randrange(256)
        for message in (
            Scan,
            Confirmed,
            Again,
            Status,
            Health,
            SignedCommand,
            SignedConfig,
            Answer,
        ):
            reason = ""
            try:
                message.decode(bytes(payload))
            except BadMessage as err:
                reason = str(err)
            assert all(char.isprintable() for char in reason)


def test_one_scan_travels_as_it_is_and_several_as_an_array() -> None:
    scans = [a_scan(seq) for seq in range(1, 4)]
    encoded = [scan.encode() for scan in scans]

    assert scans_message(encoded[:1]) == encoded[0]
    assert read_scans(encoded[0]) == ((scans[0],), [])
    assert read_scans(scans_message(encoded)) == (tuple(scans), [])


def test_a_bad_scan_among_others_is_told_alone() -> None:
    good = [a_scan(seq) for seq in (1, 2)]
    unknown = a_scan(3).encode().replace(b'"v":1', b'"v":2')
    hostile = a_scan(4).encode().replace(b'"cccd"', b'"<script>"')
    parts = [good[0].encode(), unknown, b"7", hostile, good[1].encode()]

    scans, bad = read_scans(scans_message(parts))

    assert scans == tuple(good)
    assert [part for part, _ in bad] == [unknown, b"7", hostile]
    reasons = [reason for _, reason in bad]
    assert "version 2" in reasons[0]
    assert "no version" in reasons[1]
    assert "script" not in reasons[2]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"[]", "empty, or of more than"),
        (b"[%b]" % b",".join([b"1"] * (MOST_SCANS + 1)), "empty, or of more than"),
        (b"[" * 50_000, "not JSON"),
        (b"[1", "not JSON"),
        (b"[" + a_scan(1).encode() + b',{"v":1', "not JSON"),
        (b"[" + b" " * MAX_MESSAGE_BYTES, "bytes are more than"),
    ],
)
def test_an_array_that_is_none_is_refused_as_a_whole(payload: bytes, reason: str) -> None:
    with pytest.raises(BadMessage, match=reason):
        read_scans(payload)


def test_what_fits_together_stays_within_its_bytes_and_its_number() -> None:
    size = len(a_scan(1).encode())
    many = [a_scan(seq).encode() for seq in range(1, 2 * MOST_SCANS)]

    count = fit_together(many)

    assert len(scans_message(many[:count])) <= TOGETHER_BYTES < count * (size + 1) + size + 3
    assert fit_together(many, 10**9) == MOST_SCANS
    assert fit_together(many, 10) == fit_together(many[:1]) == 1
    assert fit_together(many, 2 * size + 3) == 2
    assert len(scans_message(many[:MOST_SCANS])) > MAX_MESSAGE_BYTES > TOGETHER_BYTES


def test_no_mutation_of_an_array_does_more_than_be_refused() -> None:
    chance = random.Random(12)
    whole = scans_message([a_scan(seq).encode() for seq in range(1, 6)])
    for _ in range(3000):
        payload = bytearray(whole)
        for _ in range(chance.randrange(1, 5)):
            payload[chance.randrange(len(payload))] = chance.randrange(256)
        count, reasons = 1, [""]
        try:
            scans, bad = read_scans(bytes(payload))
            count, reasons = len(scans) + len(bad), [reason for _, reason in bad]
        except BadMessage as err:
            reasons = [str(err)]
        assert count in range(1, 7)
        assert all(reason.isprintable() for reason in reasons)


#: What a text may hold beside what it should: line ends, digits of other scripts, capitals.
ODD = ("", "\n", "\0", " ", "\r", "\x85", "\u2028", "\u0663", "\uff13", "A", "g", "_", "0" * 33)


def a_text_like(chance: random.Random, text: str) -> str:
    """*text* with something put in, taken out or put in place of something."""
    start = chance.randrange(len(text) + 1)
    end = start + chance.randrange(3)
    return text[:start] + chance.choice((*ODD, "0", "a", "2")) + text[end:]


def odd_scans(chance: random.Random) -> list[Scan]:
    """Some scans of one message, whose texts may be wrong, also so that they make up for others."""
    scans = [a_scan(seq, trip="t-1") for seq in range(1, chance.randrange(2, 6))]
    for place, scan in enumerate(scans):
        name, other = chance.sample(list(SCAN_FORMS), 2)
        text, more = (getattr(scan, each) or scan.at for each in (name, other))
        if chance.random() < 0.3:
            scans[place] = replace(scan, **{name: a_text_like(chance, text)})
        elif chance.random() < 0.1:
            moved = {name: text + more[:1], other: more[1:]}
            scans[place] = replace(scan, **chance.choice((moved, {name: f"{text}\n{more}"})))
    if len(scans) > 1 and chance.random() < 0.2:
        first, second, *rest = scans
        moved_id = replace(first, id=first.id + second.id[:1])
        scans = [moved_id, replace(second, id=second.id[1:]), *rest]
    return scans


SCAN_FORMS = {
    name: re.compile(option["pattern"])
    for name, kind in msgspec.json.schema(Scan)["$defs"]["Scan"]["properties"].items()
    for option in (kind, *kind.get("anyOf", ()))
    if "pattern" in option
}


def is_right(scan: Scan) -> bool:
    """Whether each text of *scan* is as the schema says."""
    texts = ((getattr(scan, name), form) for name, form in SCAN_FORMS.items())
    return all(text is None or form.search(text) for text, form in texts)


def test_of_the_scans_of_a_message_those_are_taken_whose_texts_are_as_the_schema_says() -> None:
    assert len(SCAN_FORMS) == 8
    chance, seen = random.Random(13), Counter[bool]()
    for _ in range(4000):
        scans = odd_scans(chance)
        right = [is_right(scan) for scan in scans]
        try:
            taken, bad = read_scans(scans_message([scan.encode() for scan in scans]))
        except BadMessage:
            assert right == [False], "what comes alone and is wrong is refused"
            continue
        assert list(taken) == list(itertools.compress(scans, right))
        assert len(bad) == right.count(False)
        seen[all(right)] += 1
    assert min(seen[True], seen[False]) > 500


def test_the_check_of_a_range_depends_on_each_id_and_their_order() -> None:
    ids = [a_scan().id for _ in range(3)]

    assert check_of(ids) == check_of(list(ids))
    assert check_of(ids) != check_of(ids[::-1])
    assert check_of(ids) != check_of(ids[:2])
