"""Invented sightings and times for the tests of the desk."""

import uuid
from datetime import UTC, datetime
from typing import Any

from edge.messages import DocumentKind
from edge.register import Opening, Place, Register, Vehicle
from edge.tracing.persons import Opened
from edge.tracing.places import LOCAL_MS, Places
from edge.tracing.tokens import Token, Tokens
from edge.tracing.visits import Direction, Quality, Sighting

TOKENS = Tokens(bytes(range(32)))
DAYS: Any = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def at(clock: str, day: int = 2) -> int:
    """A local time of July 2021, such as "08:30", in milliseconds since 1970."""
    moment = datetime.fromisoformat(f"2021-07-{day:02}T{clock}+00:00").astimezone(UTC)
    return round(moment.timestamp() * 1000) - LOCAL_MS


def local(time: int) -> str:
    """The reverse: "02 08:30"."""
    return datetime.fromtimestamp((time + LOCAL_MS) / 1000, UTC).strftime("%d %H:%M")


def the_places() -> Places:
    """A market that closes at 17:00, a station always open, a bus, a bar open past midnight."""

    def hours(opens: str, closes: str) -> tuple[Opening, ...]:
        moment = datetime.fromisoformat
        return (
            Opening(
                days=DAYS,
                opens=moment(f"2021-07-02T{opens}").time(),
                closes=moment(f"2021-07-02T{closes}").time(),
            ),
        )

    return Places(
        Register(
            places=(
                Place(id="cho-1", name="Chợ Mẫu", kind="market", hours=hours("05:00", "17:00")),
                Place(id="ben-xe", name="Bến xe Mẫu", kind="station"),
                Place(
                    id="xe-1",
                    name="Xe buýt 1",
                    kind="vehicle",
                    vehicle=Vehicle(plate="81B-012.34", route="05"),
                ),
                Place(id="bar-1", name="Quán Mẫu", kind="bar", hours=hours("18:00", "02:00")),
                Place(id="office", name="Sở Mẫu", kind="office"),
            )
        )
    )


def seen(
    clock: str,
    place: str = "cho-1",
    direction: str = "in",
    *,
    day: int = 2,
    trip: str = "",
    quality: Quality = Quality.SYNCED,
    received: int | None = None,
    scan: bytes | None = None,
) -> Sighting:
    """A sighting."""
    time = at(clock, day)
    return Sighting(
        time,
        place,
        Direction[direction.upper()],
        trip,
        quality,
        time if received is None else received,
        scan or uuid.uuid4().bytes,
    )


def shown(
    sighting: Sighting,
    document: DocumentKind = "cccd",
    unit: str = "cong-1",
    name: str = "",
    **identifiers: str,
) -> Opened:
    """A scan in which these identifiers were seen: pin, bhyt, qid."""
    tokens: list[Token] = []
    for kind in ("pin", "document", "bhyt", "qid"):
        if kind in identifiers:
            tokens.append(TOKENS.token(kind, identifiers[kind]))
    namesake = TOKENS.token("name", name) if name else None
    return Opened(tuple(tokens), namesake, unit, document, sighting)


def stay(
    begins: str,
    ends: str,
    place: str = "cho-1",
    *,
    day: int = 2,
    trip: str = "",
    **identifiers: str,
) -> list[Opened]:
    """An entry and an exit."""
    return [
        shown(seen(begins, place, "in", day=day, trip=trip), **identifiers),  # type: ignore[arg-type]
        shown(seen(ends, place, "out", day=day, trip=trip), **identifiers),  # type: ignore[arg-type]
    ]
