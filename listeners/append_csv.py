"""A listener that appends each event as a row to a CSV file."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from pathlib import Path

from py_agent import Event

HEADER = ("created", "event_type", "identifier", "source", "data", "delivery")
_RECENT = 64 * 1024  # bytes at the end of the file in which a repeated row is looked for


def append_csv(event: Event, file: Path) -> None:
    """Append an event to a CSV file, with one header at its top.

    A crash half-way leaves no torn row: an unfinished last line is removed before the
    next row is written. A row that a repeated delivery would write again is left out.
    The row is on the disk when the delivery counts as done. `data` is JSON; a line break
    in a text is written as `\\n`, so that a row is always one line.

    Args:
        event: what to append.
        file: the CSV file; it is made if there is none, its folder is not.

    Raises:
        OSError: the file cannot be written; it is as it was before.
        ValueError: the file holds something else; it is left as it is.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _check_is_ours(descriptor, file)
        size = _without_torn_row(descriptor)
        row = _line(_row(event))
        if event.delivery_key and _ends_with_row(descriptor, size, row):
            return
        header = _line(HEADER) if size == 0 else b""
        _append(descriptor, size, header + row)
    finally:
        os.close(descriptor)


def _row(event: Event) -> tuple[str, ...]:
    cells = (
        event.created.isoformat(), event.event_type, event.identifier, event.source or "",
        json.dumps(event.data, ensure_ascii=False), event.delivery_key or "",
    )  # fmt: skip
    return tuple(cell.replace("\r", "\\r").replace("\n", "\\n") for cell in cells)


def _line(cells: tuple[str, ...]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _check_is_ours(descriptor: int, file: Path) -> None:
    """Refuse a file that does not begin with our header, or with a torn one."""
    header = _line(HEADER)
    begin = os.pread(descriptor, len(header), 0)
    if begin != header and not (len(begin) < len(header) and header.startswith(begin)):
        raise ValueError(f"{file} does not begin with the columns {', '.join(HEADER)}")


def _without_torn_row(descriptor: int) -> int:
    """Cut an unfinished last line off; return the size that is left."""
    size = os.fstat(descriptor).st_size
    end = size
    while end > 0:
        start = max(0, end - _RECENT)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end != size:
        os.ftruncate(descriptor, end)
    return end


def _ends_with_row(descriptor: int, size: int, row: bytes) -> bool:
    """Return whether the very same row is among the last ones.

    The whole row, and not the delivery's key alone: keys begin anew in every store.
    """
    start = max(0, size - _RECENT - len(row))
    recent = os.pread(descriptor, size - start, start)
    return b"\n" + row in recent


def _append(descriptor: int, size: int, content: bytes) -> None:
    try:
        written = os.pwrite(descriptor, content, size)
        if written != len(content):
            raise OSError(f"only {written} of {len(content)} bytes could be written")
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise
