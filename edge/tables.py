"""Tables for people, out and in: CSV and XLSX, in which no cell can act and no number is bent.

Whoever opens an exported table opens it with a spreadsheet, and some of its text was written by
strangers: a name in a code may be a formula, and "only text" is one CSV away from a formula again.
So every text that a spreadsheet might run is disarmed in both kinds of file, with the apostrophe by
which spreadsheets themselves mark text; text that looks like a number (identity cards, phones) is
marked in a CSV in the same way, so that its leading zeros stay. Reading takes the mark off again.

XLSX goes through openpyxl, in its streaming modes: rows are never all in memory.
"""

import csv
import io
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import date, datetime, time
from itertools import chain, islice
from typing import Any, BinaryIO, Literal

import openpyxl
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.worksheet.properties import PageSetupProperties

from edge.errors import TableError

#: What may stand in a cell. Text stays text, whatever it looks like; only numbers are numbers.
Cell = str | int | float | None
Kind = Literal["csv", "xlsx"]

#: Excel's own limit for the text of one cell.
CELL_CHARACTERS = 32_767
#: Columns of an XLSX are as wide, in characters, as what stands in so many first rows, and at most.
LOOKED_AT, WIDEST = 200, 50
#: The number by which an XLSX knows that paper.
A4 = 9
#: What a table from outside may have; more is refused before it takes our memory.
MAX_FILE_BYTES = 50_000_000
MAX_UNPACKED_BYTES = 200_000_000
MAX_ROWS = 200_000
MAX_CELLS = 20_000_000
MAX_COLUMNS = 256

# Formula starts, with their full-width and small forms, at the beginning of a cell or of what would
# be one where another separator is in use: Excel in Vietnamese splits at ";", not at ",". Behind
# apostrophes of its own each gets one more, so that taking one off gives back what was there.
_ACTS = r"[=+\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212]"
_FIRST = re.compile(rf"( *)(?='|{_ACTS})")
_WITHIN = re.compile(rf"([,;|\"] *)(?='*{_ACTS})")
_WITHIN_MARKED = re.compile(rf"([,;|\"] *)'(?='*{_ACTS})")
# What a spreadsheet would take for a number, and drop its leading zeros or its last digits.
_NUMBER = re.compile(r" *[0-9][0-9.,]*(?:[eE][0-9]+)? *%?")
# How an XLSX writes characters that it cannot hold; in a text of ours it is only text.
_ESCAPE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_MARK = "'"
_NOT_IN_A_TITLE = re.compile(r"[\[\]:*?/\\']")


def harmless(text: str) -> str:
    """*text* as a cell that does nothing in any spreadsheet, and reads the same to a person."""
    visible = "".join(map(_visible, text[:CELL_CHARACTERS]))
    disarmed = _WITHIN.sub(rf"\1{_MARK}", visible)
    if first := _FIRST.match(disarmed):
        disarmed = first[0] + _MARK + disarmed[first.end() :]
    return disarmed[: CELL_CHARACTERS - 1]


def write_csv(out: BinaryIO, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> int:
    """Write a table as UTF-8 with a byte order mark; gives how many rows. *rows* is streamed."""
    text = io.TextIOWrapper(out, encoding="utf-8-sig", newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow([_csv_cell(title) for title in header])
    count = 0
    for row in rows:
        writer.writerow([_csv_cell(cell) for cell in row])
        count += 1
    text.flush()
    text.detach()
    return count


def write_xlsx(
    out: BinaryIO, header: Sequence[str], rows: Iterable[Sequence[Cell]], title: str = ""
) -> int:
    """Write a table as one sheet called *title*; gives how many rows. *rows* is streamed."""
    with closing(openpyxl.Workbook(write_only=True)) as book:
        sheet = book.create_sheet(_NOT_IN_A_TITLE.sub(" ", harmless(title))[:31] or "1")
        sheet.freeze_panes = "A2"
        rows = iter(rows)
        first = list(islice(rows, LOOKED_AT))
        letters = _set_up_to_print(sheet, header, first)
        titles = [_xlsx_cell(sheet, cell) for cell in header]
        for title_cell in titles:
            title_cell.font = Font(bold=True)
        sheet.append(titles)
        count = 0
        for row in chain(first, rows):
            sheet.append([_xlsx_cell(sheet, cell) for cell in row])
            count += 1
        sheet.auto_filter.ref = f"A1:{letters}{count + 1}"
        book.save(out)
    return count


def _set_up_to_print(sheet: Any, header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Columns as wide as what stands in them, and pages across, as wide as the table.

    Gives the letters of the last column.
    """
    for number, title in enumerate(header):
        texts = (row[number] for row in rows if number < len(row))
        longest = max((len(str(text)) for text in texts if text is not None), default=0)
        width = min(max(longest, len(title)) + 3, WIDEST)
        sheet.column_dimensions[get_column_letter(number + 1)].width = width
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.paperSize = A4
    sheet.page_setup.fitToHeight = 0
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    sheet.print_title_rows = "1:1"
    return str(get_column_letter(max(len(header), 1)))


def write_table(
    out: BinaryIO,
    kind: Kind,
    header: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    title: str = "",
) -> int:
    """Write a table as *kind*; gives how many rows."""
    if kind == "csv":
        return write_csv(out, header, rows)
    return write_xlsx(out, header, rows, title)


def read_table(file: BinaryIO, name: str) -> Iterator[list[str]]:
    """The rows of a CSV or XLSX *file*, each cell as text without spaces around it.

    *name* is what the person called it, for the errors. Rows without any text are left out. Dates
    come in ISO 8601; of a formula comes what it last gave. Raises TableError: not a table, or too
    large. Numbers come as they are shown, so a leading zero that a spreadsheet took is gone.
    """
    start = file.read(4)
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size > MAX_FILE_BYTES:
        raise TableError(f"{name}: {size} bytes; a table may have {MAX_FILE_BYTES}: split it")
    rows = _read_xlsx(file, name) if start == b"PK\x03\x04" else _read_csv(file, name)
    taken = 0
    for number, row in enumerate(rows, start=1):
        taken += len(row)
        if number > MAX_ROWS or taken > MAX_CELLS:
            raise TableError(f"{name}: more than {MAX_ROWS} rows or {MAX_CELLS} cells; split it")
        cells = [_unmarked(cell) for cell in row[:MAX_COLUMNS]]
        if any(cells):
            yield cells


def check_unpacked(file: BinaryIO, name: str, most: int = MAX_UNPACKED_BYTES) -> None:
    """Raise TableError if *file* is an XLSX of more than *most* bytes when it is unpacked."""
    start = file.read(4)
    file.seek(0)
    if start != b"PK\x03\x04":
        return
    try:
        with zipfile.ZipFile(file) as packed:
            unpacked = sum(part.file_size for part in packed.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, LookupError, NotImplementedError) as err:
        raise TableError(f"{name}: not a whole XLSX file; save it anew as XLSX or CSV") from err
    file.seek(0)
    if unpacked > most:
        raise TableError(f"{name}: {unpacked} bytes when unpacked are too many: split it")


def read_rows(
    file: BinaryIO, name: str, required: Sequence[str], known: Sequence[str]
) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table below that of its columns, with their numbers, each as column to text.

    Rows without any text are not counted. Raises TableError, also where a *required* column is
    missing, or one is not *known*.
    """
    table = list(read_table(file, name))
    columns = [title.lower() for title in table[0]] if table else []
    if missing := [column for column in required if column not in columns]:
        raise TableError(f"{name}: there is no column {missing[0]!r} in the first row")
    if unknown := [column for column in columns if column and column not in known]:
        raise TableError(f"{name}: column {unknown[0]!r} is not known; they are {', '.join(known)}")
    return [
        (number, dict(zip(columns, row, strict=False)))
        for number, row in enumerate(table[1:], start=2)
    ]


def _visible(character: str) -> str:
    # Controls (NUL, tab, line ends), directions and zero-width characters could act or hide;
    # surrogates and the last two of each plane cannot be written at all.
    if character.isprintable():
        return character
    if unicodedata.category(character) in ("Cs", "Cn"):
        return "\ufffd"
    return " "


def _csv_cell(cell: Cell) -> str:
    if cell is None:
        return ""
    if not isinstance(cell, str):
        return str(cell)
    text = harmless(cell)
    return _MARK + text if _NUMBER.fullmatch(text) else text


def _xlsx_cell(sheet: Any, cell: Cell) -> Any:
    if not isinstance(cell, str):
        return cell
    written = WriteOnlyCell(sheet, value="")
    # Set by hand: from the value alone openpyxl would make "#N/A" an error.
    written.value = _ESCAPE.sub("_x005F_", harmless(cell))
    written.data_type = "s"
    written.number_format = "@"
    return written


def _read_xlsx(file: BinaryIO, name: str) -> Iterator[list[str]]:
    try:
        check_unpacked(file, name)
        with closing(openpyxl.load_workbook(file, read_only=True, data_only=True)) as book:
            if not book.worksheets:
                raise TableError(f"{name}: has no sheet with cells")
            sheet = book.worksheets[0]
            # What the file says of its own size is not believed.
            sheet.reset_dimensions()
            for row in sheet.iter_rows(values_only=True):
                yield [_text(value) for value in row]
    except TableError:
        raise
    # A file from outside: what openpyxl raises for a damaged one is anything at all.
    except (zipfile.BadZipFile, InvalidFileException, OSError, SyntaxError) as err:
        raise TableError(f"{name}: not a whole XLSX file; save it anew as XLSX or CSV") from err
    except (
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        EOFError,
        NotImplementedError,
    ) as err:
        raise TableError(f"{name}: not an XLSX file that can be read; save it anew") from err


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), str(value))


def _read_csv(file: BinaryIO, name: str) -> Iterator[list[str]]:
    start = file.read(2)
    file.seek(0)
    # Excel's "Unicode text" is UTF-16 with tabs.
    encoding = "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = io.TextIOWrapper(file, encoding=encoding, newline="")
    try:
        first = text.readline(65_536)
        text.seek(0)
        yield from csv.reader(text, delimiter=_delimiter(first))
    except UnicodeDecodeError as err:
        raise TableError(f"{name}: not UTF-8; save it as CSV UTF-8 or as XLSX") from err
    except csv.Error as err:
        raise TableError(f"{name}: not a CSV file: {err}") from err
    finally:
        text.detach()


def _delimiter(first_line: str) -> str:
    """What parts the cells: whatever of the usual three the first line has most of."""
    return max(",;\t", key=first_line.count)


def _unmarked(cell: str) -> str:
    """*cell* without the marks that `harmless` and `_csv_cell` put in."""
    text = cell.strip().removeprefix(_MARK).strip()
    return _WITHIN_MARKED.sub(r"\1", text)
