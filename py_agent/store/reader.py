"""One held connection for the small reads of the hot path."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .dialects import Statement, snapshot, storage_errors


class Reader:
    """Runs compiled statements on one connection, one thread at a time.

    Args:
        connection: the driver's connection, in autocommit mode, used by nobody else.
        path: the store's file, for errors.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._cursor = connection.cursor()
        self._path = path
        self._lock = threading.Lock()

    def row(self, statement: Statement, **values: Any) -> tuple[Any, ...] | None:
        """Return the first row of a statement, None if it has none."""
        try:
            with self._lock:
                found = statement.run(self._cursor, **values)
                row: tuple[Any, ...] | None = found.fetchone()
                return row
        except Exception:
            with storage_errors(self._path):  # only now: this is asked for every event
                raise

    def rows(self, statement: Statement, **values: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a statement."""
        with self._lock, storage_errors(self._path):
            return statement.run(self._cursor, **values).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Cursor]:
        """Lend the cursor for several reads that see one state of the store."""
        with self._lock, storage_errors(self._path), snapshot(self._cursor):
            yield self._cursor
