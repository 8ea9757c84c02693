from datetime import date
from pathlib import Path

import pytest

from edge.errors import EdgeError
from edge.place_table import place_from
from edge.provision.__main__ import main
from edge.provision.places import places_from_table
from edge.tables import write_xlsx
from tests.provision.deployments import a_deployment

TABLE = """\
\ufeffid;name;kind;since;until;province;district;commune;hours;plate;route;trips
cho-1;Chợ;market;2021-07-02;2025-06-30;Gia Lai;Thử;Phường Mẫu;mon-sat 05:00-18:00,sun 06:00-09:00;;;
cho-1;Chợ Mẫu;market;2025-07-01;;Gia Lai;;Phường Mẫu Mới;;;;
xe-1;Xe Mẫu;vehicle;;;;;;04:30-00:15;81b-000.01;Pleiku - Chư Thử;sang-1@05:30 chieu-1
"""


def test_a_table_as_a_vietnamese_spreadsheet_saves_it_becomes_places(tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_text(TABLE, encoding="utf-8")

    market, bus = places_from_table(tmp_path / "places.csv")

    assert [(area.district, area.commune) for area in market.admin] == [
        ("Thử", "Phường Mẫu"),
        (None, "Phường Mẫu Mới"),
    ]
    assert [len(opening.days) for opening in market.hours] == [6, 1]
    assert market.admin_on(date(2026, 1, 1)) == market.admin[1]
    assert bus.vehicle is not None
    assert bus.vehicle.plate == "81B-000.01"
    assert [trip.id for trip in bus.vehicle.trips] == ["sang-1", "chieu-1"]
    assert len(bus.hours[0].days) == 7


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("cho-2;Chợ;shop;;;;;;;;;", "row 5.*must be one of"),
        ("cho/2;Chợ;market;;;;;;;;;", "row 5"),
        ("cho-2;Chợ;market;;;;;;mon-sat 5h;;;", "row 5.*must be as in"),
        ("cho-2;Chợ;market;;;;;;xyz 05:00-06:00;;;", "row 5.*must be as in"),
        ("cho-2;Chợ;market;;;;;;;81B-1;;", "row 5.*number plate"),
        ("xe-2;Xe;vehicle;;;;;;;81B-2;;sang@5h", "row 5.*trip 'sang@5h' must be as in"),
        ("cho-1;Chợ Mẫu;market;2025-07-01;;Gia Lai;;Xã Mẫu;;;;", "row 5.*follow one another"),
        ("cho-2;Chợ\u202e;market;;;;;;;;;", "row 5.*cannot be printed"),
    ],
)
def test_a_table_with_a_mistake_is_refused_whole_with_its_row(
    tmp_path: Path, line: str, why: str
) -> None:
    deployment = a_deployment(tmp_path / "gia-lai")
    before = deployment.register
    (tmp_path / "places.csv").write_text(f"{TABLE}{line}\n", encoding="utf-8")

    with pytest.raises(EdgeError, match=why):
        places_from_table(tmp_path / "places.csv")

    config = str(deployment.folder / "provision.toml")
    assert main(["place", "import", str(tmp_path / "places.csv"), "--config", config]) == 1
    assert deployment.register == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no column 'id'"),
        ("id,name,kind,owner\n", "'owner' is not known"),
        ("\xff\xfe", "no column 'id'"),
    ],
)
def test_what_is_no_table_of_places_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "places.csv").write_text(text, encoding="utf-8")

    with pytest.raises(EdgeError, match=why):
        places_from_table(tmp_path / "places.csv")


def test_a_spreadsheet_does_as_well(tmp_path: Path) -> None:
    with (tmp_path / "places.xlsx").open("wb") as file:
        row = ["cho-1", "Chợ Mẫu", "market", "2025-07-01", "Phường Mẫu"]
        write_xlsx(file, ["id", "name", "kind", "since", "commune"], [row])

    (place,) = places_from_table(tmp_path / "places.xlsx")

    assert (place.id, place.admin[0].commune) == ("cho-1", "Phường Mẫu")


def test_a_place_over_midnight_and_over_the_weekend() -> None:
    place = place_from(
        {"id": "ben-1", "name": "Bến Mẫu", "kind": "station", "hours": "fri-mon 22:00-02:00"}, "x"
    )

    assert place.hours[0].days == ("fri", "sat", "sun", "mon")


def test_the_first_row_that_is_wrong_is_explained_and_the_others_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = a_deployment(tmp_path / "gia-lai")
    table = tmp_path / "dia-diem.csv"
    table.write_text(
        "id,name,kind,since,commune\na,A,market,hôm-qua,Mẫu\nb,B,shop,,\nc,C,market,,\n"
    )
    words = ["place", "import", str(table), "--config", str(deployment.folder / "provision.toml")]

    assert main(words) == 1

    error = capsys.readouterr().err
    assert "dia-diem.csv, dòng 2 (và các dòng 3) / row 2 (and rows 3): cột since là" in error
    assert "since is 'hôm-qua'; it must be a date such as 2026-12-31" in error
    table.write_text("mã,name,kind\n")
    assert main(words) == 1
    assert "dòng đầu không có cột 'id' / " in capsys.readouterr().err
