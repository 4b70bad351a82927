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
        places = _headings(place, file, row)
        if _holds(place, places[key], row[key]):
            return
        _add(place, places, row)
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
    if name in book.sheetnames:
        return book[name]
    only = book.worksheets[0]
    if len(book.sheetnames) == 1 and only.max_row == 1 and only["A1"].value is None:
        only.title = name
        return only
    return book.create_sheet(name)


def _headings(sheet: Any, file: Path, row: Mapping[str, Cell]) -> dict[str, int]:
    """Return the column of each heading; an empty sheet gets them.

    Raises:
        Pause: one is missing.
    """
    from openpyxl.styles import Font

    if _last_row(sheet) == 0:
        for column, heading in enumerate(row, 1):
            cell = sheet.cell(1, column)
            _put(cell, heading)
            cell.font = Font(bold=True)
        sheet.freeze_panes = "A2"
    values = [str(each.value) for each in sheet[1] if each.value is not None]
    places = {str(each.value): each.column for each in reversed(sheet[1])}
    missing = [heading for heading in row if heading not in places]
    if missing:
        raise Pause(
            f"{file} has no column {', '.join(map(repr, missing))} in the first row of "
            f"sheet {sheet.title!r}, which is {ascii(', '.join(values)[:200])}; add it "
            f"there, or name another file or sheet",
            after=AGAIN,
        )
    return {heading: places[heading] for heading in row}


def _holds(sheet: Any, column: int, key: Cell) -> bool:
    found = sheet.iter_rows(min_row=2, min_col=column, max_col=column, values_only=True)
    return any(value == key for (value,) in found)


def _last_row(sheet: Any) -> int:
    """Return the last row with a value; formats may reach further down."""
    for number in range(sheet.max_row, 0, -1):
        cells = next(sheet.iter_rows(number, number, values_only=True))
        if any(value not in (None, "") for value in cells):
            return number
    return 0


def _add(sheet: Any, places: Mapping[str, int], row: Mapping[str, Cell]) -> None:
    """Write a row below the last one; a table that ends there grows with it."""
    last = _last_row(sheet)
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
