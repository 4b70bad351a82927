"""Rows for people (a table) and for programs (JSON)."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Sequence
from typing import Any, TextIO

import click

from py_agent.failures import printable
from py_agent.json_text import is_unicode

Row = dict[str, Any]


class Unbroken:
    """A stdout whose reader may go away: what functions print never fails their work.

    Lines are passed on as they come, since a service's log is read as it grows. All but
    writing is the real stream's own, so that a program started with it still works.

    Args:
        stream: the real stdout; None where the process has none.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._mine = threading.local()  # each thread's unfinished line

    def write(self, text: str) -> int:
        """Pass whole lines on, or drop them; two threads' lines are never mixed."""
        self._mine.text = getattr(self._mine, "text", "") + text
        if "\n" in text:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Pass on what this thread has written, or drop it."""
        text, self._mine.text = getattr(self._mine, "text", ""), ""
        with contextlib.suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.write(text)
                self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def as_json(value: Any) -> str:
    """Return a value as indented JSON that any stdout takes."""
    told = json.dumps(value, indent=2, ensure_ascii=False)
    return told if is_unicode(told) else json.dumps(value, indent=2)


def show(
    rows: Sequence[Row], columns: Sequence[str], json_wanted: bool, nothing: str
) -> None:
    """Print rows.

    Args:
        rows: the rows.
        columns: the keys that a table shows, in order; JSON has all of them.
        json_wanted: whether to print an array of objects.
        nothing: the sentence for an empty table.
    """
    if json_wanted:
        click.echo(as_json(list(rows)))
    elif not rows:
        click.echo(nothing, err=True)
    elif sys.stdout is not None and sys.stdout.isatty():
        _rich_table(rows, columns)
    else:
        _plain_table(rows, columns)


def text(value: Any) -> str:
    """Return a value as one line that cannot change the terminal."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    return printable(value)


def _rich_table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text, and not a string: what an event says is no markup.
        table.add_row(*(Text(text(row[column]), _style(column, row)) for column in columns))
    Console().print(table)


def _style(column: str, row: Row) -> str:
    colours = {
        "completed": "green", "running": "cyan", "retryable": "yellow", "failed": "red",
        "discarded": "red", "crashed": "red", "parked": "magenta", "skipped": "yellow",
    }  # fmt: skip
    if column in ("state", "outcome"):
        return colours.get(str(row[column]), "")
    return "red" if column == "error" else ""


def _plain_table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    lines = [list(columns), *([text(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())
