from datetime import date, time
from pathlib import Path

import pytest

from edge.errors import RegisterError
from edge.register import (
    KINDS,
    AdminArea,
    Opening,
    Place,
    Register,
    Trip,
    Vehicle,
    check_place,
    read_register,
    write_register,
)

OLD = AdminArea(
    since=date(2021, 7, 2),
    until=date(2025, 6, 30),
    province="Gia Lai",
    district="Thành phố Thử",
    commune="Phường Mẫu",
)
NEW = AdminArea(since=date(2025, 7, 1), province="Gia Lai", commune="Phường Mẫu Mới")


def a_place(**changes: object) -> Place:
    fields: dict[str, object] = {"id": "cho-1", "name": "Chợ Mẫu", "kind": "market"}
    return Place(**(fields | changes))  # type: ignore[arg-type]


def test_a_register_is_read_as_it_was_written(tmp_path: Path) -> None:
    bus = a_place(
        id="xe-1",
        name="Xe Mẫu 1",
        kind="vehicle",
        hours=(Opening(days=("mon", "sun"), opens=time(4, 30), closes=time(0, 15)),),
        vehicle=Vehicle(plate="81B-000.01", route="Pleiku - Chư Thử", trips=(Trip(id="sang-1"),)),
    )
    register = Register().with_places([bus, a_place(admin=(OLD, NEW))])

    write_register(tmp_path / "register.json", register)

    assert read_register(tmp_path / "register.json") == register
    assert [place.id for place in register.places] == ["cho-1", "xe-1"]


def test_a_place_keeps_where_it_lay_before_the_districts_ended() -> None:
    place = a_place(admin=(OLD, NEW))

    assert place.admin_on(date(2025, 6, 30)) == OLD
    assert place.admin_on(date(2025, 7, 1)) == NEW
    assert place.admin_on(date(2020, 1, 1)) is None


def test_the_body_that_leads_its_kind_answers_where_no_other_is_named() -> None:
    assert a_place(kind="hospital").responsible == "Sở Y tế"
    # The departments of transport, and of labour, ended in 2025.
    assert a_place(kind="station").responsible == "Sở Xây dựng"
    assert not any("Giao thông vận tải" in kind.lead for kind in KINDS.values())
    assert not any("Lao động" in kind.lead for kind in KINDS.values())
    assert a_place(kind="hospital", body="UBND phường").responsible == "UBND phường"


def test_the_taxonomy_is_the_letters() -> None:
    assert len(KINDS) == 22
    assert all(kind.vi and kind.en and kind.lead for kind in KINDS.values())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kind": "shop"}, "kind 'shop' must be one of office"),
        ({"kind": "vehicle"}, "has a number plate"),
        ({"vehicle": Vehicle(plate="81B-000.01")}, "has a number plate"),
        ({"name": "Chợ\x1b[2J"}, "cannot be printed"),
        ({"name": "Chợ\u202e1"}, "cannot be printed"),
        ({"admin": (NEW, OLD)}, "must follow one another"),
        (
            {
                "admin": (
                    AdminArea(since=date(2025, 7, 1), province="a", district="b", commune="c"),
                )
            },
            "no districts from 2025-07-01",
        ),
        (
            {"admin": (AdminArea(since=date(2024, 1, 1), province="a", commune="c"),)},
            "a district must be given",
        ),
        (
            {
                "admin": (
                    AdminArea(since=date(2024, 1, 1), province="a", district="b", commune="c"),
                )
            },
            "districts ended with 2025-06-30",
        ),
    ],
)
def test_what_cannot_be_true_of_a_place_is_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(RegisterError, match=why):
        check_place(a_place(**changes))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[", "not a register"),
        ('{"v": 2}', "not a register"),
        ('{"places": [{"id": "../x", "name": "a", "kind": "bar"}]}', "not a register"),
        ('{"places": [{"id": "x", "name": "a", "kind": "bar", "owner": "b"}]}', "owner"),
        (
            '{"places": [' + ", ".join(['{"id": "x", "name": "a", "kind": "bar"}'] * 2) + "]}",
            "twice",
        ),
        ('{"places": [{"id": "x", "name": "a", "kind": "pub"}]}', "'pub' must be one of"),
    ],
)
def test_a_register_that_is_not_one_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "register.json").write_text(text, encoding="utf-8")

    with pytest.raises(RegisterError, match=why):
        read_register(tmp_path / "register.json")
