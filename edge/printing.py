"""Pages for people to print: PDF with Vietnamese letters. The home of fpdf2.

Text is only ever drawn, never interpreted: there is no script, link or form in what we make.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace

from edge.cli import printable
from edge.errors import PrintingError

FONTS = Path("/usr/share/fonts/truetype/dejavu")
_FAMILY = "DejaVu"
_INK, _SOFT, _LINE = (22, 32, 44), (82, 96, 111), (200, 207, 215)

Align = Literal["L", "R"]


class Paper:
    """An A4 document that grows from top to bottom."""

    def __init__(self, title: str, made: datetime, fonts: Path = FONTS) -> None:
        """*title* and *made* are what its properties say. Raises PrintingError without fonts."""
        self._pdf = FPDF(orientation="portrait", unit="mm", format="A4")
        self._pdf.set_margins(15, 14)
        self._pdf.set_auto_page_break(True, margin=14)
        self._pdf.set_title(printable(title))
        self._pdf.set_creation_date(made)
        for style, file in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf")):
            if not (fonts / file).is_file():
                raise PrintingError(f"{fonts / file} is missing: apt install fonts-dejavu-core")
            self._pdf.add_font(_FAMILY, style, fonts / file)
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
