"""Rows of CSV: whole, none twice, and no formulas."""

from __future__ import annotations

import csv
import fcntl
import io
import logging
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from listeners.whole_file import AGAIN, sync_folder
from py_agent import Pause

log = logging.getLogger(__name__)

Cell = str | int | float | bool | datetime | None

_STEP = 1024 * 1024  # bytes that are read at once
_DELIMITERS = (",", ";", "\t")

# OWASP, "CSV Injection". In a country where ; stands between values, Excel splits a file
# with commas there, too.
_FORMULA = re.compile("^( *)(?=[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")
_INNER = re.compile("([;\t] *)(?=[=+\\-@])")


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
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size, before = os.fstat(descriptor).st_size, b""
        headings, delimiter = _headings(descriptor, file, list(row))
        if not headings:
            headings, size = list(row), 0
            before = _line(headings, delimiter)
        else:
            size, before = _end(descriptor, file, size, len(headings), delimiter, row[key])
            if _holds(descriptor, size, str(row[key]).encode()):
                return
        line = _line([text_of(row.get(each)) for each in headings], delimiter)
        _write(descriptor, size, before + line)
        if size == 0:
            sync_folder(file.parent)
    finally:
        os.close(descriptor)


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
    text = _INNER.sub(r"\1'", _FORMULA.sub(r"'\1", cell))
    return text.replace("\0", "").replace("\r", "\\r").replace("\n", "\\n")


def _line(cells: Sequence[str], delimiter: str) -> bytes:
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
        Pause: one is missing.
    """
    begin = os.pread(descriptor, _STEP, 0)
    first, newline, _ = begin.partition(b"\n")
    ours = _line(wanted, ",")
    if not newline and ours.startswith(first) and len(first) < len(ours) - 1:
        return [], ","  # empty, or a crash left half of them
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


def _end(
    descriptor: int, file: Path, size: int, width: int, delimiter: str, key: Cell
) -> tuple[int, bytes]:
    """Return where the next row goes, and what is to be written before it.

    A last row without its end is a whole one that an editor left so, or half a one of
    ours after a power cut, which is cut off.
    """
    start = _start_of_last_line(descriptor, size)
    if start == size:
        return size, b""
    last = os.pread(descriptor, size - start, start)
    cells = _cells(last, delimiter)
    known = any(re.fullmatch(r"row_[0-9a-f]{24}", each) for each in cells)
    if start == 0 or (known and len(cells) == width):
        return size, b"\n"
    log.warning("%s: half a row at its end is removed: %r", file, last[:500])
    os.ftruncate(descriptor, start)
    return start, b""


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
