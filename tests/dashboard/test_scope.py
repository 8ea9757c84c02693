"""What a manager has: single places, those of a body, those in an area, an operator's vehicles."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec
import pytest

from edge.dashboard.__main__ import main
from edge.dashboard.scope import Scope, choices
from edge.register import AdminArea, Place, Register, Vehicle
from edge.storage.places import Places, keep_register
from tests.dashboard.parts import HOSTILE, Deployment, token_in

DAY = date(2025, 8, 1)


def a_place(name: str, body: str, commune: str, operator: str | None = None) -> Place:
    """A place that moved to another commune when the districts ended."""
    return Place(
        id=name,
        name=f"Điểm {name}",
        kind="market" if operator is None else "vehicle",
        body=body,
        admin=(
            AdminArea(
                since=date(2020, 1, 1),
                until=date(2025, 6, 30),
                province="Gia Lai",
                district="Huyện Mẫu",
                commune="Xã Cũ",
            ),
            AdminArea(since=date(2025, 7, 1), province="Gia Lai", commune=commune),
        ),
        vehicle=None if operator is None else Vehicle(plate="81B-012.34", operator=operator),
    )


PLACES = {
    place.id: place
    for place in (
        a_place("cho-1", "UBND xã Một", "Xã Một"),
        a_place("cho-2", "UBND xã Hai", "Xã Hai"),
        a_place("xe-1", "Sở Xây dựng", "Xã Một", "HTX Vận tải Mẫu"),
        a_place("xe-2", "Sở Xây dựng", "Xã Hai", ""),
    )
}


@pytest.fixture
def province(tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path)
    # On 1 August 2025, after the districts.
    made.clock.advance((DAY - date(2021, 7, 2)).days * 86_400)
    keep_register(made.database, Register(places=tuple(PLACES.values())), made.clock.now().at)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Scope(), ""),
        (Scope.of(["cho-2", "moi"]), "cho-2 moi"),
        (Scope.of(bodies=["Sở Xây dựng"]), "xe-1 xe-2"),
        (Scope.of(areas=["Xã Một, Gia Lai"]), "cho-1 xe-1"),
        (Scope.of(areas=["Gia Lai"]), "cho-1 cho-2 xe-1 xe-2"),
        (Scope.of(areas=["Xã Một"]), ""),
        (Scope.of(areas=["Xã Cũ, Huyện Mẫu, Gia Lai"]), ""),
        (Scope.of(operators=["HTX Vận tải Mẫu"]), "xe-1"),
        (Scope.of(operators=[""], bodies=[""], areas=[""]), ""),
        (Scope.of(["moi"], ["UBND xã Hai"], operators=["HTX Vận tải Mẫu"]), "cho-2 moi xe-1"),
    ],
)
def test_a_scope_is_its_places_as_they_lie_on_that_day(scope: Scope, expected: str) -> None:
    assert " ".join(sorted(scope.among(PLACES, DAY))) == expected


def test_a_place_without_a_body_is_nobodys_also_where_its_kind_has_a_lead() -> None:
    place = a_place("cho-3", "", "Xã Ba")
    assert place.responsible

    assert Scope.of(bodies=[place.responsible]).among({place.id: place}, DAY) == set()
    assert choices({place.id: place}, DAY)["body"] == []


def test_where_places_lay_before_counts_for_those_days_alone() -> None:
    scope = Scope.of(areas=["Huyện Mẫu, Gia Lai"])

    assert scope.among(PLACES, date(2025, 6, 30)) == set(PLACES)
    assert scope.among(PLACES, date(2025, 7, 1)) == set()
    assert choices(PLACES, DAY)["operator"] == ["HTX Vận tải Mẫu"]
    assert "Xã Cũ, Huyện Mẫu, Gia Lai" not in choices(PLACES, DAY)["area"]


def test_an_operator_gives_a_body_and_its_next_place_is_there_by_itself(
    province: Deployment,
) -> None:
    operator = province.client("operator")
    page = operator.get("/people/manager").text
    assert "<option>UBND xã Một</option>" in page
    operator.post(
        "/people/manager",
        data={
            "token": token_in(page),
            "role": "manager",
            "active": "yes",
            "body": ["UBND xã Một", "Sở Xây dựng"],
        },
    )

    assert "<option selected>UBND xã Một</option>" in operator.get("/people/manager").text
    manager = province.client("manager")
    shown = manager.get("/").text
    assert "Điểm cho-1" in shown
    assert "Điểm xe-2" in shown
    assert "Điểm cho-2" not in shown
    assert manager.get("/places/cho-2").status_code == 403
    new = msgspec.structs.replace(PLACES["cho-2"], id="cho-3", name="Chợ Mới", body="UBND xã Một")
    keep_register(province.database, Register(places=(new,)), province.clock.now().at)
    assert "Chợ Mới" in manager.get("/").text
    # Of another body, it is gone at once.
    away = msgspec.structs.replace(new, body="UBND xã Hai")
    keep_register(province.database, Register(places=(away,)), province.clock.now().at)
    assert "Chợ Mới" not in manager.get("/").text
    assert manager.get("/places/cho-3").status_code == 403


def test_names_from_a_spreadsheet_stay_text(province: Deployment) -> None:
    hostile = msgspec.structs.replace(PLACES["cho-1"], body=HOSTILE)
    keep_register(province.database, Register(places=(hostile,)), province.clock.now().at)
    operator = province.client("operator")
    token = token_in(operator.get("/people").text)

    for path in ("/people", "/people/manager"):
        form = {"token": token, "name": "b", "role": "manager", "body": HOSTILE, "active": "yes"}
        operator.post(path, data=form)
        assert "<script>alert" not in operator.get(path).text

    with province.database.reading() as connection:
        register = Places().all(connection)
    (person,) = [person for person in province.people.all() if person.name == "b"]
    assert person.scope.among(register, DAY) == {"cho-1"}


def test_the_command_gives_a_scope(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "dashboard.toml"
    settings.write_text(f'[storage]\nurl = "{tmp_path / "s.db"}"\n')
    arguments = ["--config", str(settings), "people", "add", "lan", "--role", "manager", "--make"]

    assert main([*arguments, "--body", "UBND xã Một", "--area", "Gia Lai"]) == 0
    assert main(["--config", str(settings), "people", "list", "--json"]) == 0

    listed = msgspec.json.decode(capsys.readouterr().out.splitlines()[-1])
    assert listed["scope"]["bodies"] == ["UBND xã Một"]
    assert listed["scope"]["areas"] == ["Gia Lai"]
