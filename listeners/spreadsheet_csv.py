"""Rows of CSV: whole, none twice, and no formulas."""

from __future__ import annotations

import csv
import io
import logging
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from listeners.whole_file import AGAIN, locked, sync_folder
from py_agent import Pause

log = logging.getLogger(__name__)

Cell = str | int | float | bool | datetime | None

_STEP = 1024 * 1024  # bytes that are read at once
_KEY = re.compile(rb"row_[0-9a-f]{24}")  # see spreadsheet.row_key
_DELIMITERS = (",", ";", "\t")

# OWASP, "CSV Injection". Whoever opens the file may have other delimiters set than it has,
# and then what follows one of them begins a cell, in quotes or not.
_TRIGGERS = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f'^(?=[\\s"]*[{_TRIGGERS}]| *[\t\r\n])')
_INNER = re.compile(f"([,;\t|][\\s\"']*)(?=[{_TRIGGERS}])")


def append(file: Path, row: Mapping[str, Cell], key: str) -> None:
    """Append a row to a file, unless it is there; headings come first in a new file.

    Args:
        file: the file; it is made if there is none, as its folder.
        row: the values by heading.
        key: the heading of the value that no other row has.

    Raises:
        OSError: it cannot be written; it is as it was before.
        Pause: it has other headings; it is left as it is.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file) as descriptor:
        headings, delimiter = _headings(descriptor, file, list(row))
        if not headings:
            line = _line(list(row)) + _line([text_of(each) for each in row.values()])
            _write(descriptor, 0, line)
            sync_folder(file.parent)
            return
        line = _line([text_of(row.get(each)) for each in headings], delimiter)
        own = str(row[key]).encode()
        size, before = _end(descriptor, file, line, delimiter)
        if not _holds(descriptor, size, own):
            _write(descriptor, size, before + line)


def text_of(cell: Cell) -> str:
    """Return what is written for a value: no formula, and no second line.

    Args:
        cell: the value.
    """
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, datetime):
        return cell.isoformat()
    if not isinstance(cell, str):
        return repr(cell)
    text = _INNER.sub(r"\1'", _FORMULA.sub("'", cell))
    return text.replace("\0", "").replace("\r", "\\r").replace("\n", "\\n")


def _line(cells: Sequence[str], delimiter: str = ",") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cells(line: bytes, delimiter: str) -> list[str]:
    text = line.decode("utf-8-sig", "replace").rstrip("\r\n")
    try:
        return next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:
        return []


def _headings(descriptor: int, file: Path, wanted: list[str]) -> tuple[list[str], str]:
    """Return the headings of a file, none if it is yet to have them, and its delimiter.

    Raises:
        Pause: one is missing, or they are in another encoding than our rows.
    """
    begin = os.pread(descriptor, _STEP, 0)
    first, newline, _ = begin.partition(b"\n")
    ours = _line(wanted)
    if not newline and ours.startswith(first) and len(first) < len(ours) - 1:
        return [], ","  # empty, or a crash left half of them
    if not _is_utf8(first):
        raise Pause(
            f"{file} is not in UTF-8: {ascii(first[:200])[1:]} stands in its first row; "
            f"save it as CSV UTF-8, or name another file",
            after=AGAIN,
        )
    for delimiter in _DELIMITERS:
        found = _cells(first, delimiter)
        if set(wanted) <= set(found):
            return found, delimiter
    found = _cells(first, ",")
    missing = ", ".join(repr(each) for each in wanted if each not in found)
    raise Pause(
        f"{file} has no column {missing} in its first row, which is "
        f"{ascii(first.decode('utf-8', 'replace').strip()[:200])}; add it there, or name "
        f"another file",
        after=AGAIN,
    )


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in text  # UTF-16 of ASCII is UTF-8, too, with NULs between


def _end(descriptor: int, file: Path, line: bytes, delimiter: str) -> tuple[int, bytes]:
    """Return where a line goes, and what is to be written before it.

    A last row without its end is the first part of this very line, when a crash came
    while it was written, and is cut off. Any other stays, and gets its end: an editor
    left it so, or it is half of another line. Editors leave out empty last cells, too.
    """
    size = os.fstat(descriptor).st_size
    start = _start_of_last_line(descriptor, size)
    if start == size:
        return size, b""
    last = os.pread(descriptor, size - start, start)
    written = last.rstrip(b"\0")  # a power cut may leave room that was not filled
    least = len(line.rstrip(f"{delimiter}\n".encode()))
    if start and line.startswith(written) and len(written) < least:
        log.warning("%s: half a row at its end is removed: %r", file, last[:500])
        os.ftruncate(descriptor, start)
        return start, b""
    level = logging.INFO if _KEY.search(last) else logging.WARNING
    log.log(level, "%s: its last row had no line end, and gets one: %r", file, last[:500])
    return size, b'"\n' if _ends_in_quotes(last, delimiter.encode()) else b"\n"


def _ends_in_quotes(line: bytes, delimiter: bytes) -> bool:
    """Return whether the last cell of a line has no end, so that the next line is in it."""
    inside = False
    for part in line.split(delimiter):
        if inside or part.startswith(b'"'):
            inside ^= part.count(b'"') % 2 == 1
    return inside


def _start_of_last_line(descriptor: int, size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - _STEP)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _holds(descriptor: int, size: int, key: bytes) -> bool:
    """Return whether a key stands anywhere in a file, from its end on."""
    end = size
    while end > 0:
        start = max(0, end - _STEP)
        if key in os.pread(descriptor, min(size, end + len(key)) - start, start):
            return True
        end = start
    return False


def _write(descriptor: int, size: int, content: bytes) -> None:
    try:
        written = os.pwrite(descriptor, content, size)
        if written != len(content):
            raise OSError(f"only {written} of {len(content)} bytes could be written")
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise
