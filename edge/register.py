"""The register of places: what kind each is, where, who answers for it, when it is open.

A file of JSON, `register.json`, that `edge-provision place` keeps and the centre reads. The kinds
are those of the letter 144/CV-BCĐ; the administrative tree is dated, because it changes: three
levels until 30 June 2025, two from 1 July 2025 on.
"""

from collections.abc import Iterable
from datetime import date, time
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from edge.config import decode_file
from edge.errors import ConfigError, RegisterError
from edge.files import replace_file
from edge.messages import Name
from edge.opening_hours import DAYS, Day

#: The first day without districts.
TWO_LEVELS_FROM = date(2025, 7, 1)

#: Text that people write and read; anything that could act on a terminal or a sheet is refused.
Text = Annotated[str, Meta(max_length=200)]
#: A number plate as it is painted, such as "81B-012.34".
Plate = Annotated[
    str,
    Meta(
        pattern=r"^[0-9A-Z](?:[0-9A-Z.-]{0,14}[0-9A-Z])?(?![\s\S])",
        description="as it is painted, such as 81B-012.34",
    ),
]


class PlaceKind(Struct, frozen=True, kw_only=True):
    """A kind of place of the letter, and who leads there."""

    group: Literal["business", "crowded"]
    vi: str
    en: str
    #: The body that leads; the one in charge of a place stands in its own record.
    lead: str


def _kind(group: Literal["business", "crowded"], vi: str, en: str, lead: str) -> PlaceKind:
    return PlaceKind(group=group, vi=vi, en=en, lead=lead)


#: The letter's taxonomy: its codes stand in registers, topics and reports, and never change. Of the
#: bodies that it names, those that decree 45/2025/NĐ-CP ended are called by their successors: since
#: 1 March 2025 a province has one department, Sở Xây dựng, for building and for transport.
KINDS: dict[str, PlaceKind] = {
    "office": _kind("business", "Trụ sở làm việc", "Office", "Thủ trưởng đơn vị"),
    "factory": _kind(
        "business",
        "Khu công nghiệp, nhà máy, xí nghiệp, cơ sở sản xuất kinh doanh",
        "Industrial zone, factory, workshop",
        "Ban Quản lý Khu kinh tế, Sở Công Thương",
    ),
    "lodging": _kind(
        "business",
        "Khách sạn, cơ sở lưu trú",
        "Hotel, lodging",
        "Sở Văn hóa, Thể thao và Du lịch",
    ),
    "food": _kind("business", "Ăn uống tại chỗ", "Food and drink on site", "UBND"),
    "bar": _kind("business", "Quán bar", "Bar", "UBND"),
    "dance": _kind("business", "Vũ trường", "Dance hall", "UBND"),
    "karaoke": _kind("business", "Karaoke", "Karaoke", "UBND"),
    "massage_beauty": _kind("business", "Massage, làm đẹp", "Massage, beauty", "UBND"),
    "gym": _kind("business", "Thể dục, thể hình", "Gym", "UBND"),
    "meeting": _kind(
        "business",
        "Họp, hội nghị, hội thảo, tập huấn",
        "Meeting, conference, training",
        "Đơn vị tổ chức",
    ),
    "hospital": _kind("crowded", "Bệnh viện, cơ sở y tế", "Hospital, health facility", "Sở Y tế"),
    "apartment": _kind("crowded", "Chung cư", "Apartment building", "UBND"),
    "school": _kind("crowded", "Trường học", "School", "Sở Giáo dục và Đào tạo"),
    "station": _kind("crowded", "Nhà ga, bến xe", "Railway or bus station", "Sở Xây dựng"),
    "shelter": _kind("crowded", "Nhà chờ", "Waiting shelter", "Sở Xây dựng"),
    "vehicle": _kind(
        "crowded",
        "Phương tiện giao thông công cộng",
        "Public transport vehicle",
        "Sở Xây dựng",
    ),
    "mall": _kind(
        "crowded", "Trung tâm thương mại, siêu thị", "Mall, supermarket", "Sở Công Thương"
    ),
    "market": _kind("crowded", "Chợ đầu mối, chợ dân sinh", "Wholesale or local market", "UBND"),
    "essential_store": _kind(
        "crowded", "Cửa hàng thiết yếu", "Shop for daily needs", "Sở Công Thương"
    ),
    "funeral_wedding": _kind("crowded", "Đám tang, đám cưới", "Funeral, wedding", "UBND"),
    "tourism": _kind(
        "crowded",
        "Tham quan, vui chơi",
        "Sight, amusement",
        "Sở Văn hóa, Thể thao và Du lịch",
    ),
    "worship": _kind("crowded", "Cơ sở tâm linh, tôn giáo", "Place of worship", "UBND"),
}


class AdminArea(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a place lies in the administrative tree, and from when until when."""

    since: date
    #: The last day; None while it holds.
    until: date | None = None
    province: Text
    #: Only until 30 June 2025.
    district: Text | None = None
    commune: Text


class Opening(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hours in local time, on some days. A closing time before the opening is the next day's."""

    days: tuple[Day, ...]
    opens: time
    closes: time


class Trip(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A trip of a vehicle, as scans name it."""

    id: Annotated[
        str, Meta(pattern=r"^[a-z0-9-]{1,64}(?![\s\S])", description="1 to 64 of a-z, 0-9, hyphens")
    ]
    departs: time | None = None
    #: As its schedule says, if it does; not after the departure, it is the next day's.
    arrives: time | None = None
    #: On which days it goes.
    days: tuple[Day, ...] = DAYS


class Vehicle(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What makes a place of a vehicle."""

    plate: Plate
    route: Text = ""
    #: The company that runs it; "" where the body in charge does.
    operator: Text = ""
    trips: tuple[Trip, ...] = ()


class Place(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A gate, a door or a vehicle, as units name it."""

    id: Name
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    #: One of KINDS.
    kind: str
    address: Text = ""
    #: Oldest first, without overlap.
    admin: tuple[AdminArea, ...] = ()
    #: The body in charge; "" for the one that leads places of its kind.
    body: Text = ""
    #: Empty: not known, or always open.
    hours: tuple[Opening, ...] = ()
    vehicle: Vehicle | None = None

    @property
    def responsible(self) -> str:
        """Who answers for it."""
        return self.body or KINDS[self.kind].lead

    def admin_on(self, day: date) -> AdminArea | None:
        """Where it lay, or lies, on *day*; None if the register does not say."""
        for area in self.admin:
            if area.since <= day and (area.until is None or day <= area.until):
                return area
        return None


class Register(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All places of a deployment, in the order of their ids."""

    v: Literal[1] = 1
    places: tuple[Place, ...] = ()

    def place(self, name: str) -> Place:
        """The place of that id. Raises RegisterError if there is none."""
        for place in self.places:
            if place.id == name:
                return place
        raise RegisterError(f"the register has no place {name!r}; add it with: place add {name}")

    def with_places(self, places: Iterable[Place]) -> "Register":
        """This register with *places* put in, each in place of the one of its id."""
        merged = {place.id: place for place in self.places} | {place.id: place for place in places}
        return Register(places=tuple(merged[name] for name in sorted(merged)))


def check_place(place: Place) -> None:
    """Raise RegisterError, saying what to correct, where *place* cannot be true."""
    where = f"place {place.id}"
    if place.kind not in KINDS:
        raise RegisterError(f"{where}: kind {place.kind!r} must be one of {', '.join(KINDS)}")
    if (place.kind == "vehicle") != (place.vehicle is not None):
        raise RegisterError(
            f"{where}: a vehicle, and nothing else, has a number plate; kind is {place.kind!r}"
        )
    _check_texts(place, where)
    for earlier, later in zip(place.admin, place.admin[1:], strict=False):
        if earlier.until is None or earlier.until >= later.since:
            raise RegisterError(f"{where}: admin areas must follow one another, oldest first")
    for area in place.admin:
        _check_levels(area, where)


def _check_texts(place: Place, where: str) -> None:
    texts = [place.name, place.address, place.body]
    for area in place.admin:
        texts += [area.province, area.district or "", area.commune]
    if place.vehicle is not None:
        texts += [place.vehicle.route, place.vehicle.operator]
    for text in texts:
        if not text.isprintable():
            raise RegisterError(f"{where}: {text!r} has characters that cannot be printed")


def _check_levels(area: AdminArea, where: str) -> None:
    if area.until is not None and area.until < area.since:
        raise RegisterError(f"{where}: an admin area ends on {area.until}, before {area.since}")
    if area.since >= TWO_LEVELS_FROM and area.district:
        raise RegisterError(f"{where}: there are no districts from {TWO_LEVELS_FROM} on")
    if area.since < TWO_LEVELS_FROM:
        if not area.district:
            raise RegisterError(f"{where}: before {TWO_LEVELS_FROM} a district must be given")
        if area.until is None or area.until >= TWO_LEVELS_FROM:
            raise RegisterError(
                f"{where}: districts ended with 2025-06-30; end this admin area then,"
                " and begin one without district on 2025-07-01"
            )


def read_register(path: Path) -> Register:
    """The register in *path*. Raises RegisterError that names the file and what is wrong in it."""
    try:
        register = decode_file(path.read_bytes(), Register)
    except OSError as err:
        raise RegisterError(f"{path}: cannot read the register: {err.strerror}") from err
    except ConfigError as err:
        raise RegisterError(
            f"{path}: not a register of places: {err}; mend it, or take it from a backup"
        ) from None
    seen: set[str] = set()
    for place in register.places:
        if place.id in seen:
            raise RegisterError(f"{path}: place {place.id} stands there twice")
        seen.add(place.id)
        try:
            check_place(place)
        except RegisterError as err:
            raise RegisterError(f"{path}: {err}") from None
    return register


def write_register(path: Path, register: Register) -> None:
    """Replace *path* by *register*, as JSON that people can read. Raises RegisterError."""
    for place in register.places:
        check_place(place)
    try:
        text = msgspec.json.format(msgspec.json.encode(register), indent=2)
        replace_file(path, [text, b"\n"], mode=0o644)
    except OSError as err:
        raise RegisterError(f"{path}: cannot write the register: {err.strerror}") from err
