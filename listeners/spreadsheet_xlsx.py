"""Rows of a workbook: appended to a sheet, none twice, and no formulas."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from listeners.whole_file import AGAIN, replacing
from py_agent import Pause

if find_spec("openpyxl") is None:
    raise ImportError("an .xlsx file needs: pip install 'py-agent[spreadsheet]'")

Cell = str | int | float | bool | datetime | None

MAX_TEXT = 32_767  # characters of a cell
MAX_ROWS = 1_048_576  # of a sheet
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

# Parts of a workbook that openpyxl may leave out, by how their names begin.
_PARTS = {
    "xl/media/": "pictures",
    "xl/charts/chart": "charts",
    "xl/drawings/drawing": "drawings",
    "xl/diagrams/": "diagrams",
    "xl/embeddings/": "embedded files",
    "xl/ctrlProps/": "form controls",
    "xl/activeX/": "form controls",
    "xl/pivotTables/": "pivot tables",
    "xl/slicers/": "slicers",
    "xl/timelines/": "timelines",
    "xl/threadedComments/": "threaded comments",
    "xl/queryTables/": "queries",
    "xl/connections": "connections",
}


def append(
    file: Path, row: Mapping[str, Cell], key: str, sheet: str | None, allow_loss: bool
) -> None:
    """Append a row to a sheet of a workbook, unless it is there.

    Args:
        file: the workbook; it is made if there is none.
        row: the values by heading.
        key: the heading of the value that no other row has.
        sheet: its name; the first one if not given.
        allow_loss: write it even if something in it is lost.

    Raises:
        OSError: it cannot be written; it is as it was before.
        Pause: it is no workbook, has other headings, or would lose something.
    """
    with replacing(file) as draft:
        before = file.read_bytes() if file.exists() else b""
        book, said = _loaded(before, file)
        place = _sheet(book, sheet)
        filled = _filled(place)
        places, last = _headings(place, filled, file, row)
        if any(each.column == places[key] and each.value == row[key] for each in filled):
            return
        _add(place, last, places, row)
        content = io.BytesIO()
        book.save(content)
        lost = _lost(before, content.getvalue(), said)
        if lost and not allow_loss:
            raise Pause(
                f"{file} has {', '.join(lost)}, which would be lost with the next row; "
                f"name another file, or set allow_loss = true",
                after=AGAIN,
            )
        draft.write(content.getvalue())


def _loaded(content: bytes, file: Path) -> tuple[Any, list[str]]:
    """Return a workbook and what openpyxl says of it; a new one without content.

    Raises:
        Pause: it cannot be read.
    """
    from openpyxl import Workbook, load_workbook

    if not content:
        return Workbook(), []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            return load_workbook(io.BytesIO(content), rich_text=True), [
                str(each.message) for each in said
            ]
        except Exception as error:  # whatever a broken file makes it stumble over
            raise Pause(
                f"{file} cannot be read as a workbook, which must be without a password: "
                f"{ascii(str(error))[1:-1][:200]}",
                after=AGAIN,
            ) from error


def _sheet(book: Any, name: str | None) -> Any:
    """Return a sheet, made if there is none of that name."""
    if name is None:
        return book.worksheets[0]
    for each in book.worksheets:
        if each.title.casefold() == name.casefold():  # as Excel compares them
            return each
    only = book.worksheets[0]
    if len(book.sheetnames) == 1 and only.max_row == 1 and only["A1"].value is None:
        only.title = name
        return only
    return book.create_sheet(name)


def _filled(sheet: Any) -> list[Any]:
    """Return the cells of a sheet that have a value; formats may reach much further.

    What openpyxl offers for it makes each cell up to the last one that has a format.
    """
    return [each for each in sheet._cells.values() if each.value not in (None, "")]


def _headings(
    sheet: Any, filled: list[Any], file: Path, row: Mapping[str, Cell]
) -> tuple[dict[str, int], int]:
    """Return the column of each heading, and the last row; an empty sheet gets them.

    Raises:
        Pause: one is missing, or there is no room for a row.
    """
    last = max((each.row for each in filled), default=0)
    if last == 0:
        return _new_headings(sheet, row), 1
    if last >= MAX_ROWS:
        full = f"{file} is full: sheet {sheet.title!r} has a value in its last row"
        raise Pause(f"{full}; name another file or sheet", after=AGAIN)
    first = [each for each in filled if each.row == 1]
    first.sort(key=lambda each: int(each.column), reverse=True)
    places = {str(each.value): each.column for each in first}
    missing = [heading for heading in row if heading not in places]
    if missing:
        found = ", ".join(str(each.value) for each in reversed(first))
        raise Pause(
            f"{file} has no column {', '.join(map(repr, missing))} in the first row of "
            f"sheet {sheet.title!r}, which is {ascii(found[:200])}; add it "
            f"there, or name another file or sheet",
            after=AGAIN,
        )
    return {heading: places[heading] for heading in row}, last


def _new_headings(sheet: Any, row: Mapping[str, Cell]) -> dict[str, int]:
    from openpyxl.styles import Font

    places = {heading: column for column, heading in enumerate(row, 1)}
    for heading, column in places.items():
        cell = sheet.cell(1, column)
        _put(cell, heading)
        cell.font = Font(bold=True)
    sheet.freeze_panes = "A2"
    return places


def _add(sheet: Any, last: int, places: Mapping[str, int], row: Mapping[str, Cell]) -> None:
    """Write a row below the last one; a table that ends there grows with it."""
    for heading, column in places.items():
        _put(sheet.cell(last + 1, column), row[heading])
    for table in sheet.tables.values():
        begin, _, end = table.ref.partition(":")
        letters = end.rstrip("0123456789")
        if end == f"{letters}{last}" and not table.totalsRowCount:
            table.ref = f"{begin}:{letters}{last + 1}"
            if table.autoFilter is not None:
                table.autoFilter.ref = table.ref


def _put(cell: Any, value: Cell) -> None:
    """Write a value into a cell; a text stays a text, whatever it looks like."""
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    if isinstance(value, datetime):
        value = value.astimezone(UTC).replace(tzinfo=None)
    if not isinstance(value, str):
        cell.value = value
        return
    text = value.encode("utf-8", "backslashreplace").decode()
    cell.value = ILLEGAL_CHARACTERS_RE.sub("", text)[:MAX_TEXT]
    cell.data_type = "s"
    if value.lstrip(" ").startswith(_FORMULA):
        cell.quotePrefix = True  # so it stays, should somebody edit it


def _lost(before: bytes, after: bytes, said: list[str]) -> list[str]:
    """Return what of a workbook is not in it any more."""
    if not before:
        return []
    had, has = _parts(before), _parts(after)
    lost = [name for name in had if had[name] > has[name]]
    removed = [each.split(" is not")[0] for each in said if "will be removed" in each]
    return [*lost, *dict.fromkeys(each.lower() for each in removed)]


def _parts(content: bytes) -> Counter[str]:
    with ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
    kinds = ((name, begin) for name in names for begin in _PARTS)
    return Counter(_PARTS[begin] for name, begin in kinds if name.startswith(begin))
