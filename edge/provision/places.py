"""Spreadsheets of places and units, as files."""

from pathlib import Path

from edge.errors import ProvisionError, RegisterError
from edge.place_table import read_places
from edge.register import Place
from edge.tables import read_rows


def places_from_table(path: Path) -> list[Place]:
    """The places in a table with a row of column names; several rows of one id are its areas.

    Raises RegisterError that names file, row and which others are wrong too, and takes nothing
    then; or TableError.
    """
    try:
        with path.open("rb") as file:
            table = read_places(file, str(path))
    except OSError as err:
        raise ProvisionError(f"{path}: cannot read it: {err.strerror}") from err
    if table.refused:
        first, *others = table.refused
        at = f", row {first.row}"
        rows = ", ".join(str(one.row) for one in others[:6]) + ("..." if len(others) > 6 else "")
        more = f"{at} (and rows {rows})" if others else at
        raise RegisterError(first.why.replace(at, more, 1))
    return table.places


def rows(
    path: Path, required: tuple[str, ...], known: tuple[str, ...]
) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table (CSV, XLSX) as `read_rows` gives them.

    Raises TableError or ProvisionError.
    """
    try:
        with path.open("rb") as file:
            return read_rows(file, str(path), required, known)
    except OSError as err:
        raise ProvisionError(f"{path}: cannot read it: {err.strerror}") from err
