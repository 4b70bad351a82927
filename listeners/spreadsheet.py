"""A listener that appends each event as a row to a spreadsheet: CSV or xlsx."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Annotated

from pydantic import AfterValidator

from listeners import spreadsheet_csv
from listeners.whole_file import AGAIN, unwritable
from py_agent import Event, Pause, at_path
from py_agent.settings import checked_by

Cell = str | int | float | bool | datetime | None

KEY = "delivery"  # the heading of the column by which a row is known again
FIELDS = ("created", "event_type", "identifier", "source", "data")
DEFAULT = {field: field for field in FIELDS}

_MOST_DIGITS = 15  # that a spreadsheet keeps of a number
_LONGEST_NAME = 31  # characters of the name of a sheet


def _checked(columns: Mapping[str, str]) -> Mapping[str, str]:
    """Return a mapping of columns.

    Raises:
        ValueError: one of them cannot be filled.
    """
    if not columns:
        raise ValueError('name at least one column, as { Title = "data.title" }')
    for heading, path in columns.items():
        if heading == KEY or not heading or heading != " ".join(heading.split()):
            raise ValueError(f"a column cannot be called {heading!r}")
        if path not in FIELDS and not path.startswith("data."):
            raise ValueError(
                f"column {heading!r}: {path!r} is nothing that an event has; write "
                f"data.<name>, or one of {', '.join(FIELDS)}"
            )
    return columns


def _usable(path: Path) -> Path:
    """Return a path.

    Raises:
        ValueError: its suffix names no kind of spreadsheet that can be written.
    """
    if path.suffix.lower() not in (".csv", ".xlsx"):
        raise ValueError("its name must end in .csv or .xlsx")
    return path


def _sheet_name(name: str | None) -> str | None:
    """Return the name of a sheet.

    Raises:
        ValueError: Excel would not take it.
    """
    if name is None:
        return None
    if not 1 <= len(name) <= _LONGEST_NAME or name.startswith("'") or name.endswith("'"):
        size = f"1 to {_LONGEST_NAME} characters, without ' at its ends"
        raise ValueError(f"the name of a sheet has {size}; it is not {name!r}")
    wrong = [each for each in name if each in "[]:*?/\\" or not each.isprintable()]
    if wrong:
        raise ValueError(f"the name of a sheet cannot have {wrong[0]!r}; it is {name!r}")
    return name


def _check_together(path: Path, sheet: str | None = None) -> None:
    """Check that what is to be written can be.

    Raises:
        ValueError: a CSV file has no sheets; a workbook needs a library.
    """
    if path.suffix.lower() == ".xlsx":
        _workbooks()
    elif sheet is not None:
        raise ValueError("a CSV file has no sheets; leave out sheet, or take .xlsx")


@checked_by(_check_together)
def spreadsheet(
    event: Event,
    path: Annotated[Path, AfterValidator(_usable)],
    columns: Annotated[dict[str, str], AfterValidator(_checked)] = DEFAULT,
    sheet: Annotated[str | None, AfterValidator(_sheet_name)] = None,
    allow_loss: bool = False,
) -> None:
    """Append an event as a row to a .csv or .xlsx file, once.

    The first row has the headings, and one more, `delivery`: by what stands there a
    delivery that is repeated after a crash finds its own row, whichever stores write
    into the file. Leave that column as it is. You may move columns, add your own, and
    edit, sort or delete rows; a row goes below the last one, each value under its
    heading.

    Texts that a spreadsheet would take for a formula are made harmless: in xlsx they are
    texts, in CSV there is a `'` before them. JSON numbers, true and false stay what they
    are, but for numbers of more than 15 digits, which become texts so that they are not
    rounded. `created` is UTC: with `+00:00` in CSV, and without a zone in xlsx, which has
    none. Lists and objects are JSON.

    While Excel or LibreOffice has the file open, rows wait. A CSV file may have `,`, `;`
    or tabs between its values; a line break in a text is written as `\\n` there. It is
    appended to, and a row is on the disk when the delivery counts as done. Half a row that
    a power cut left is removed when its own delivery comes again next; any other last row
    without a line end gets one, and stays. A new file is its owner's (0600).

    An .xlsx file is written anew with each row and then takes the place of the old one:
    sheets, formulas and formats stay; what openpyxl cannot keep, as pictures and slicers,
    is named, and no row is added, unless you set `allow_loss`. Charts may look different;
    results of formulas are computed when the file is opened. It takes longer with each
    row; from some ten thousand on, use CSV.

    Args:
        event: what to append.
        path: the file; it is made if there is none, and its folder, too.
        columns: the headings, each with what stands in it: `data.` and a dotted path,
            as `data.items.0.title`, or `created`, `event_type`, `identifier`, `source`
            or `data`; all five if not given.
        sheet: the name of the sheet in an .xlsx file, made if there is none; the first
            one if not given.
        allow_loss: write an .xlsx file even if something in it is lost.

    Raises:
        Pause: the file is open elsewhere, cannot be written, or has other headings; it
            is tried again after a minute.
    """
    try:
        cells = cells_of(event, _checked(columns))
        kind = _usable(path).suffix.lower()
        _check_together(path, _sheet_name(sheet))
    except ValueError as error:
        raise Pause(f"{path}: {error}", after=AGAIN) from error
    append(path, cells, event, kind == ".xlsx", sheet, allow_loss)


def append(
    file: Path,
    cells: dict[str, Cell],
    event: Event,
    workbook: bool = False,
    sheet: str | None = None,
    allow_loss: bool = False,
) -> None:
    """Append a row to a file, unless this event's row is there.

    Args:
        file: the file.
        cells: the values by heading.
        event: whose row it is.
        workbook: whether it is an .xlsx file.
        sheet: see `spreadsheet`.
        allow_loss: see `spreadsheet`.

    Raises:
        Pause: see `spreadsheet`.
    """
    row = {**cells, KEY: row_key(event)}
    try:
        _check_is_free(file)
        if workbook:
            _workbooks().append(file, row, KEY, sheet, allow_loss)
        else:
            spreadsheet_csv.append(file, row, KEY)
    except OSError as error:
        raise unwritable(error, file) from error


def cells_of(event: Event, columns: Mapping[str, str]) -> dict[str, Cell]:
    """Return the values of a row by heading.

    Args:
        event: whose row it is.
        columns: the headings, each with the path of what stands in it.
    """
    return {heading: _value(event, path) for heading, path in columns.items()}


def row_key(event: Event) -> str:
    """Return what tells this event's row from all others, of other stores, too.

    `event.delivery_key` counts within one store. The moment at which the store took the
    event tells stores apart, and the listener's number two listeners on one file.

    Args:
        event: the event, as the listener has it.
    """
    listener = (event.delivery_key or "").rpartition(".")[2]
    parts = [event.event_type, event.identifier, event.created.isoformat(), listener]
    # It begins with a letter: a spreadsheet would take 12345e678 for a number.
    return f"row_{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]}"


def _value(event: Event, path: str) -> Cell:
    """Return what stands in a cell."""
    if path == "data":
        return json.dumps(event.data, ensure_ascii=False)
    if not path.startswith("data."):
        found: Cell = getattr(event, path)
        return found
    value = at_path(event.data, path.removeprefix("data."))
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS:
        return str(value)
    return value if isinstance(value, str | int | float) else None


def _check_is_free(file: Path) -> None:
    """Refuse a file that a program has open: it would overwrite our rows.

    Raises:
        Pause: it has left the mark of that.
    """
    for name in (f"~${file.name}", f".~lock.{file.name}#"):
        mark = file.with_name(name)
        if mark.exists():
            raise Pause(
                f"{file} is open in another program; rows are added when it is closed "
                f"(if it is not open, remove {mark.name})",
                after=AGAIN,
            )


def _workbooks() -> ModuleType:
    """Return the module that writes workbooks.

    Raises:
        ValueError: its library is not installed.
    """
    try:
        from listeners import spreadsheet_xlsx
    except ImportError as error:
        raise ValueError(str(error)) from error
    return spreadsheet_xlsx
