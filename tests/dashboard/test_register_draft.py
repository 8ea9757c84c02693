"""A register by spreadsheet: shown before it is taken, refused by rows, and out again."""

import io
import zipfile
from collections.abc import Sequence
from datetime import time

import pytest
from starlette.testclient import TestClient

from edge.dashboard.register_draft import MAX_UNPACKED_BYTES, compare, read_handed_in
from edge.place_table import COLUMNS, read_places
from edge.refusals import why_refused
from edge.register import Opening, Place, Register, Trip, Vehicle
from edge.storage.places import Places, keep_register
from edge.tables import Kind, write_table
from tests.dashboard.parts import HOSTILE, OTHER_PLACE, OWN_PLACE, Deployment, token_in


def register_of(deployment: Deployment) -> dict[str, Place]:
    with deployment.database.reading() as connection:
        return dict(Places().all(connection))


def sheet(rows: Sequence[dict[str, str]], kind: Kind = "xlsx") -> bytes:
    columns = [column for column in COLUMNS if any(column in row for row in rows)]
    out = io.BytesIO()
    write_table(out, kind, columns, [[row.get(column, "") for column in columns] for row in rows])
    return out.getvalue()


def hand_in(
    client: TestClient, content: bytes, name: str = "danh-muc.xlsx", remove: bool = False
) -> tuple[str, str]:
    """What is shown of a file, and under which name it waits."""
    token = token_in(client.get("/set-up").text)
    answer = client.post(
        "/set-up/register",
        data={"token": token} | ({"remove": "yes"} if remove else {}),
        files={"register": (name, content)},
    )
    draft = answer.text.partition('name="draft" value="')[2].partition('"')[0]
    return answer.text, draft


def take(client: TestClient, draft: str) -> str:
    token = token_in(client.get("/set-up").text)
    return client.post("/set-up/register/take", data={"token": token, "draft": draft}).text


ROWS: list[dict[str, str]] = [
    {"id": OWN_PLACE, "name": "Chợ Mẫu, cổng chính", "kind": "market", "commune": "Phường Pleiku"},
    {"id": "cho-moi", "name": "Chợ Mới", "kind": "market", "commune": "Xã Mẫu"},
]


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
def test_a_spreadsheet_is_shown_first_and_then_taken(deployment: Deployment, kind: Kind) -> None:
    client, before = deployment.client("operator"), register_of(deployment)

    shown, draft = hand_in(client, sheet(ROWS, kind), f"danh-muc.{kind}")

    assert "<ins>Chợ Mẫu, cổng chính</ins>" in shown
    assert "<del>Chợ Mẫu, cổng 1</del>" in shown
    # What the file says nothing of would go as well, and is named.
    assert "giờ mở cửa: <del>05:00-18:00</del>" in shown
    assert "Chợ Mới" in shown
    assert register_of(deployment) == before

    assert "thêm 1, đổi 1, bỏ 0" in take(client, draft)
    assert register_of(deployment)[OWN_PLACE].name == "Chợ Mẫu, cổng chính"
    assert set(register_of(deployment)) == {*before, "cho-moi"}
    # Once.
    assert "không còn ở đây" in take(client, draft)


def test_rows_that_are_no_places_are_named_and_left_out(deployment: Deployment) -> None:
    client, before = deployment.client("operator"), register_of(deployment)
    bad = [
        {"id": OTHER_PLACE, "name": "Bến xe", "kind": "castle", "commune": ""},
        {"id": "a/b", "name": HOSTILE, "kind": "market", "commune": HOSTILE},
        {"id": "xe-1", "name": "Xe", "kind": "vehicle", "commune": ""},
    ]

    shown, draft = hand_in(client, sheet([*ROWS, *bad]))

    for row in (4, 5, 6):
        assert f'<td class="n">{row}</td>' in shown
    assert "<script>alert" not in shown
    take(client, draft)
    after = register_of(deployment)
    assert set(after) == {*before, "cho-moi"}
    assert after[OTHER_PLACE] == before[OTHER_PLACE]

    # While a row is refused nothing is removed: it may be of a place that is still there.
    shown, draft = hand_in(client, sheet([*ROWS, *bad]), remove=True)
    assert not draft
    assert "Hãy sửa các dòng bị từ chối" in shown


def test_places_that_are_to_go_are_named_before_they_do(deployment: Deployment) -> None:
    client = deployment.client("operator")

    shown, draft = hand_in(client, sheet(ROWS), remove=True)

    assert "Bến xe Mẫu" in shown.partition('id="removed"')[2]
    take(client, draft)
    assert set(register_of(deployment)) == {OWN_PLACE, "cho-moi"}


def test_what_was_shown_is_what_is_taken(deployment: Deployment) -> None:
    client = deployment.client("operator")
    _, draft = hand_in(client, sheet(ROWS))
    other = Place(id="khac", name="Khác", kind="bar")
    keep_register(deployment.database, Register(places=(other,)), deployment.clock.now().at)

    assert "vừa được thay đổi" in take(client, draft)

    assert "cho-moi" not in register_of(deployment)
    # Nor can anybody take what another was shown.
    deployment.people.add("second", "operator", "mot-mat-khau-dai", deployment.clock.now().at)
    _, draft = hand_in(client, sheet(ROWS))
    second = deployment.client()
    secret = deployment.people.sign_in("second", "mot-mat-khau-dai", deployment.clock.now().at)
    assert secret is not None
    second.cookies.set("edge-session", secret)
    assert "không còn ở đây" in take(second, draft)
    # And a technician hands in nothing at all.
    assert deployment.client("technician").post("/set-up/register").status_code == 403


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "a.xlsx"),
        (b"PK\x03\x04 but no more", "a.xlsx"),
        (b"id,name\n1,2\n", "a.csv"),
        (b"id,name,kind,=cmd|x\n", "a.csv"),
        (b"{", "register.json"),
        (b"\xff\xd8\xff\xe0 a picture", HOSTILE),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(
    deployment: Deployment, content: bytes, name: str
) -> None:
    shown, draft = hand_in(deployment.client("operator"), content, name)

    assert not draft
    assert 'role="alert"' in shown
    assert "<script>alert" not in shown


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04 but no more", "không phải tệp XLSX nguyên vẹn"),
        (b"id,name\n1,2\n", "dòng đầu không có cột &#39;kind&#39;"),
        (b"id,name,kind,x\n", "không có cột nào tên &#39;x&#39;"),
        (b"\xff\xd8\xff\xe0 a picture", "không phải UTF-8"),
        (b"{", "không phải JSON nguyên vẹn"),
        (b'{"places": 1}', "nội dung không đúng"),
        (b'{"places":[{"id":"a","name":"A","kind":"shop"}]}', "điểm a: loại hình &#39;shop&#39;"),
        (
            b'{"places":[' + b",".join(2 * [b'{"id":"a","name":"A","kind":"bar"}']) + b"]}",
            "có hai lần",
        ),
    ],
)
def test_why_a_file_is_refused_is_said_in_vietnamese(
    deployment: Deployment, content: bytes, says: str
) -> None:
    alert = hand_in(deployment.client("operator"), content, "a: b.xlsx")[0]

    assert f"Không dùng được tệp này: {says}" in alert.replace("tệp này: điểm a có", "tệp này: có")


def test_a_spreadsheet_that_unpacks_to_too_much_is_refused(deployment: Deployment) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/worksheets/sheet1.xml", b" " * (MAX_UNPACKED_BYTES + 1))
    assert len(out.getvalue()) < 100_000

    shown, draft = hand_in(deployment.client("operator"), out.getvalue())

    assert "khi giải nén, quá lớn" in shown
    assert not draft


def test_a_file_of_refused_rows_alone_is_not_said_to_be_the_register(
    deployment: Deployment,
) -> None:
    bad = {"id": "xe-1", "name": "Xe", "kind": "castle", "commune": ""}

    shown, draft = hand_in(deployment.client("operator"), sheet([bad]))

    assert not draft
    assert "mọi thay đổi nằm ở dòng bị từ chối" in shown
    assert "đã giống như tệp này" not in shown


@pytest.mark.parametrize("form", ["csv", "xlsx", "json"])
def test_the_register_comes_out_as_it_would_go_in(deployment: Deployment, form: str) -> None:
    bus = Place(
        id="xe-2",
        name="=1+1",
        kind="vehicle",
        admin=register_of(deployment)[OWN_PLACE].admin,
        hours=(Opening(days=("mon", "tue", "sun"), opens=time(22), closes=time(2)),),
        vehicle=Vehicle(
            plate="81B-000.02",
            route="Pleiku - An Khê",
            operator="HTX Mẫu",
            trips=(
                Trip(id="sang-1", departs=time(5, 30), arrives=time(7), days=("mon", "fri")),
                Trip(id="chieu-1"),
            ),
        ),
    )
    keep_register(deployment.database, Register(places=(bus,)), deployment.clock.now().at)
    before = register_of(deployment)

    answer = deployment.client("technician").get(f"/set-up/register/{form}")

    handed_in = read_handed_in(answer.content, f"danh-muc.{form}")
    assert handed_in.refused == []
    assert {place.id for place in handed_in.places} == set(before)
    assert not compare(before, handed_in, remove=True).does_something
    shown, draft = hand_in(deployment.client("operator"), answer.content, f"danh-muc.{form}")
    assert "đã giống như tệp này" in shown
    assert not draft


def test_a_place_with_one_wrong_row_is_refused_as_a_whole() -> None:
    lines = (
        "id,name,kind,since,until,province,district,commune",
        "cho-1,Chợ,market,2020-01-01,2025-06-30,Gia Lai,Huyện,Xã Cũ",
        "cho-2,Chợ,market,2025-07-01,,Gia Lai,,Xã",
        "cho-1,Chợ,market,2025-01-01,,Gia Lai,,Xã Mới",
    )

    table = read_places(io.BytesIO("\n".join(lines).encode()), "a.csv")

    assert [place.id for place in table.places] == ["cho-2"]
    assert [(one.row, one.id) for one in table.refused] == [(4, "cho-1")]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("cho/2,C,market", "mã 'cho/2' không dùng được"),
        ("cho-2,C,shop", "loại hình 'shop' không có; phải là một trong: office, factory"),
        ("cho-2,,market", "thiếu name"),
        ("cho-2,C,market,,,,,,5h", "giờ mở cửa '5h' phải viết như"),
        ("cho-2,C,market,,,,,,,81B-1", "chỉ phương tiện (vehicle) mới có biển số"),
        ("cho-2,C,market,2020-01-01,,Gia Lai,,Xã", "phải ghi huyện"),
        ("cho-2,C,market,2025-08-01,,Gia Lai,Huyện,Xã", "không còn cấp huyện"),
        ("cho-2,C,market,2020-01-01,,Gia Lai,Huyện,Xã", "cấp huyện kết thúc 2025-06-30"),
        ("cho-2,C,market,2025-08-01,2025-07-01,Gia Lai,,Xã", "trước ngày bắt đầu 2025-08-01"),
        ("cho-2,C,market,hôm nay,,Gia Lai,,Xã", "phải là ngày, như 2026-12-31"),
        ("cho-2,C,market,,,,,,,,sang-1", "có trips mà không có plate"),
        ("xe-2,C,vehicle,,,,,,,8!B", "biển số '8!B' phải viết như trên xe"),
        ("xe-2,C,vehicle,,,,,,,81B-1,a@5", "chuyến 'a@5' phải viết như"),
        ("cho-2,C\u202e,market", "có ký tự không in được"),
        (
            "cho-2,C,market,2025-07-01,,Gia Lai,,Xã\ncho-2,C,market,2025-07-01,,Gia Lai,,Xã",
            "nối tiếp nhau theo thời gian",
        ),
    ],
)
def test_why_a_row_is_refused_is_said_in_vietnamese(row: str, says: str) -> None:
    header = "id,name,kind,since,until,province,district,commune,hours,plate,trips"
    (refused,) = read_places(io.BytesIO(f"{header}\n{row}\n".encode()), "a.csv").refused

    assert says in why_refused(refused.why, "vi")
    assert says not in why_refused(refused.why, "en")
    assert "row" not in why_refused(refused.why, "en")
