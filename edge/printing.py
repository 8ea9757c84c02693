"""Pages for people to print: PDF with Vietnamese letters. The home of fpdf2 and segno.

Text is only ever drawn, never interpreted: there is no script, link or form in what we make.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import segno
from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace

from edge.cli import printable
from edge.errors import PrintingError

FONTS = Path("/usr/share/fonts/truetype/dejavu")
_FAMILY = "DejaVu"
_INK, _SOFT, _LINE = (22, 32, 44), (82, 96, 111), (200, 207, 215)

#: The lights of a unit, as they are printed.
_LIGHTS = {"green": (40, 160, 70), "yellow": (235, 185, 20), "red": (205, 45, 45)}

Align = Literal["L", "R"]


def _document(title: str, made: datetime, fonts: Path) -> FPDF:
    pdf = FPDF(orientation="portrait", unit="mm", format="A4")
    pdf.set_title(printable(title))
    pdf.set_creation_date(made)
    for style, file in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf")):
        if not (fonts / file).is_file():
            raise PrintingError(f"{fonts / file} is missing: apt install fonts-dejavu-core")
        pdf.add_font(_FAMILY, style, fonts / file)
    return pdf


class Paper:
    """An A4 document that grows from top to bottom."""

    def __init__(self, title: str, made: datetime, fonts: Path = FONTS) -> None:
        """*title* and *made* are what its properties say. Raises PrintingError without fonts."""
        self._pdf = _document(title, made, fonts)
        self._pdf.set_margins(15, 14)
        self._pdf.set_auto_page_break(True, margin=14)
        self._pdf.add_page()

    @property
    def pages(self) -> int:
        """How many pages there are so far."""
        return self._pdf.page_no()

    @property
    def room_mm(self) -> float:
        """How much of this page is left, in millimetres."""
        return float(self._pdf.h - self._pdf.b_margin - self._pdf.get_y())

    def text(self, text: str, size: float = 10, *, bold: bool = False, soft: bool = False) -> None:
        """A paragraph of *size* points."""
        self._pdf.set_font(_FAMILY, "B" if bold else "", size)
        self._pdf.set_text_color(*(_SOFT if soft else _INK))
        self._pdf.multi_cell(
            0, size * 0.5, printable(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT
        )

    def sides(self, left: str, right: str, size: float, *, bold: bool = False) -> None:
        """Two texts beside each other, each in the middle of its half; a line may break."""
        self._pdf.set_font(_FAMILY, "B" if bold else "", size)
        self._pdf.set_text_color(*_INK)
        top, half, ends = self._pdf.get_y(), self._pdf.epw / 2, []
        for number, text in enumerate((left, right)):
            self._pdf.set_xy(self._pdf.l_margin + number * half, top)
            self._pdf.multi_cell(
                half, size * 0.5, printable(text), align="C", new_x=XPos.LMARGIN, new_y=YPos.NEXT
            )
            ends.append(self._pdf.get_y())
        self._pdf.set_y(max(ends))

    def space(self, mm: float) -> None:
        """Leave *mm* millimetres free."""
        self._pdf.ln(mm)

    def table(
        self,
        header: Sequence[str],
        rows: Sequence[Sequence[str]],
        widths: Sequence[int],
        aligns: Sequence[Align],
        size: float = 8.5,
    ) -> None:
        """A table; *widths* are parts of the page's width."""
        self._pdf.set_font(_FAMILY, "", size)
        self._pdf.set_text_color(*_INK)
        self._pdf.set_draw_color(*_LINE)
        with self._pdf.table(
            col_widths=tuple(widths),
            text_align=tuple(aligns),
            line_height=size * 0.52,
            borders_layout="HORIZONTAL_LINES",
            headings_style=FontFace(emphasis="BOLD"),
        ) as table:
            for cells in (header, *rows):
                row = table.row()
                for cell in cells:
                    row.cell(printable(cell))

    def bytes(self) -> bytes:
        """The document."""
        return bytes(self._pdf.output())


@dataclass(frozen=True)
class Meaning:
    """What a signal means. Each flash: its lights, such as "red yellow", and whether it is long."""

    flashes: tuple[tuple[str, bool], ...]
    vi: str
    en: str


@dataclass(frozen=True)
class Label:
    """What stands on one label; *code* becomes a QR code."""

    name: str
    place: str
    note: str
    code: str
    meanings: Sequence[Meaning]


@dataclass(frozen=True)
class ShownCode:
    """A code to be shown to a unit, and what is printed above and below it."""

    name: str
    lines: Sequence[str]
    code: str


def code_picture(text: str) -> bytes:
    """*text* as a QR code, a PNG to be shown on a telephone."""
    picture = io.BytesIO()
    segno.make(text, error="m", micro=False).save(picture, kind="png", scale=10, border=4)
    return picture.getvalue()


class LabelSheet:
    """Labels, eight on a page of A4, with lines along which they are cut."""

    _WIDTH, _HEIGHT, _COLUMNS, _ROWS = 100.0, 70.0, 2, 4
    _LEFT, _TOP = 5.0, 8.5

    def __init__(self, title: str, made: datetime, fonts: Path = FONTS) -> None:
        """*title* and *made* are what its properties say. Raises PrintingError without fonts."""
        self._pdf = _document(title, made, fonts)
        self._pdf.set_auto_page_break(False)
        self._count = 0

    def add(self, label: Label) -> None:
        """The next label. Text that is too long for its line is cut."""
        x, y = self._next_place()
        self._draw_code(label.code, x + 76, y + 3, 21)
        self._line(label.name, x + 3, y + 3, 72, self._size_for(label.name, 72, 13), bold=True)
        self._line(label.place, x + 3, y + 10, 72, 10)
        self._line(label.note, x + 3, y + 16, 72, 9, bold=True)
        for number, meaning in enumerate(label.meanings):
            top = y + 25 + number * 5.4
            self._draw_flashes(meaning.flashes, x + 3, top)
            self._line(meaning.vi, x + 24, top, 74, 7, bold=True)
            self._line(meaning.en, x + 24, top + 2.6, 74, 5.5)

    def bytes(self) -> bytes:
        """The document."""
        return bytes(self._pdf.output())

    def _next_place(self) -> tuple[float, float]:
        """Where the next one begins, framed."""
        at = self._count % (self._COLUMNS * self._ROWS)
        if at == 0:
            self._pdf.add_page()
        self._count += 1
        x = self._LEFT + (at % self._COLUMNS) * self._WIDTH
        y = self._TOP + (at // self._COLUMNS) * self._HEIGHT
        self._pdf.set_draw_color(*_LINE)
        self._pdf.rect(x, y, self._WIDTH, self._HEIGHT)
        return x, y

    def _line(
        self, text: str, x: float, y: float, width: float, size: float, *, bold: bool = False
    ) -> None:
        self._pdf.set_font(_FAMILY, "B" if bold else "", size)
        self._pdf.set_text_color(*_INK)
        text = printable(text)
        while text and self._pdf.get_string_width(text) > width - 2:
            text = text[:-1]
        self._pdf.set_xy(x, y)
        self._pdf.cell(width, size * 0.45, text)

    def _size_for(self, text: str, width: float, size: float) -> float:
        """The largest size up to *size* in which *text* fits in bold: a name is never cut."""
        while size > 4:
            self._pdf.set_font(_FAMILY, "B", size)
            if self._pdf.get_string_width(text) <= width - 2:
                break
            size -= 0.5
        return size

    def _draw_flashes(self, flashes: Sequence[tuple[str, bool]], x: float, y: float) -> None:
        """A bar for a long flash, a dot for a short one; two colours stand one over the other."""
        for lights, long in flashes:
            names = lights.split()
            height = 4.0 / len(names)
            width = 7.0 if long else 3.0
            for number, name in enumerate(names):
                self._pdf.set_fill_color(*_LIGHTS[name])
                self._pdf.rect(x, y + number * height, width, height, style="F")
            x += width + 1.5

    def _draw_code(self, text: str, x: float, y: float, size: float) -> None:
        modules = list(segno.make(text, error="m", micro=False).matrix)
        side = size / len(modules)
        self._pdf.set_fill_color(0, 0, 0)
        for row, cells in enumerate(modules):
            for column, dark in enumerate(cells):
                if dark:
                    self._pdf.rect(x + column * side, y + row * side, side, side, style="F")


class CodeSheet(LabelSheet):
    """Codes to be shown to units, four on a page of A4."""

    _HEIGHT, _ROWS = 140.0, 2

    def add_code(self, shown: ShownCode) -> None:
        """The next code. Text that is too long for its line is cut."""
        x, y = self._next_place()
        size = self._size_for(shown.name, 94, 13)
        self._line(shown.name, x + 3, y + 3, 94, size, bold=True)
        for number, line in enumerate(shown.lines):
            self._line(line, x + 3, y + 11 + number * 5, 94, 8.5)
        self._draw_code(shown.code, x + 9, y + 48, 82)
