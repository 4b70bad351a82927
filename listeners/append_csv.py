"""A listener that appends each event as a row to a CSV file."""

from __future__ import annotations

from pathlib import Path

from listeners.spreadsheet import DEFAULT, append, cells_of
from py_agent import Event


def append_csv(event: Event, file: Path) -> None:
    """Append an event to a CSV file, with one header at its top.

    It is `listeners.spreadsheet` with the columns `created`, `event_type`, `identifier`,
    `source`, `data` and `delivery`, for a file of any name. A crash leaves no torn row,
    and a repeated delivery adds none. The row is on the disk when the delivery counts as
    done. `data` is JSON; a line break in a text is written as `\\n`, so that a row is
    always one line; and what a spreadsheet would take for a formula has a `'` before it.

    Args:
        event: what to append.
        file: the CSV file; it is made if there is none, and its folder, too.

    Raises:
        Pause: the file cannot be written, or holds something else; it is left as it is,
            and tried again after a minute.
    """
    append(file, cells_of(event, DEFAULT), event)
