"""What jobs and listeners remember between runs and calls.

A state is written in one transaction with the end of the run or call that left it, so it
is never ahead of what was published. It is also kept in memory: the next run may begin
before that transaction, which is not waited for.
"""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

from sqlalchemy import Select, Table, bindparam, select, update

from ..memory import Remembered
from .dialects import Statement, insert
from .reader import Reader
from .tables import jobs, subscriptions
from .writer import Work, Writer


def _of(table: Table, *more: str) -> Select[Any]:
    names = ("state", "validators", *more)
    columns = [table.c[name] for name in names]
    return select(*columns).where(table.c.name == bindparam("key"))


_JOB = Statement(_of(jobs, "succeeded_until"))
_LISTENER = Statement(_of(subscriptions))
_ADD_JOB = Statement(insert(jobs).on_conflict_do_nothing(), "name", "crashes", "paused")
_KEEP_JOB = Statement(
    update(jobs).where(jobs.c.name == bindparam("key")),
    "state", "validators", "succeeded_until",
)  # fmt: skip
_SUCCEEDED = Statement(update(jobs).where(jobs.c.name == bindparam("key")), "last_success")
_KEEP_LISTENER = Statement(
    update(subscriptions).where(subscriptions.c.name == bindparam("key")),
    "state", "validators",
)  # fmt: skip


class States:
    """What each job and listener remembers; only the holder of the agent lock asks.

    Args:
        reader: where it is read, once for each.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._known: dict[tuple[Statement, str], Remembered] = {}

    def of_job(self, name: str) -> Remembered:
        """Return what a job remembers."""
        return self._read(_JOB, name)

    def of_listener(self, name: str) -> Remembered:
        """Return what a listener remembers."""
        return self._read(_LISTENER, name)

    def keep_job(self, name: str, found: Remembered, began: int) -> Work[None]:
        """Remember for a job from now on; return what writes it in a transaction.

        Args:
            name: the job.
            found: what a run that succeeded has left.
            began: when that run began, in microseconds.
        """
        write = self._write_job(name, found)

        def write_success(cursor: sqlite3.Cursor) -> None:
            write(cursor)
            _SUCCEEDED.run(cursor, key=name, last_success=began)

        # At once: what rides is written sooner or later.
        self._keep(_JOB, name, found)
        return write_success

    def store_job(self, writer: Writer, name: str, found: Remembered) -> None:
        """Write what a job remembers, and remember it then.

        Raises:
            StorageFault: it is not written, and nothing else is remembered.
        """
        write = self._write_job(name, found)
        writer.run(write, lambda _: self._keep(_JOB, name, found))

    def _write_job(self, name: str, found: Remembered) -> Work[None]:
        def write(cursor: sqlite3.Cursor) -> None:
            _ADD_JOB.run(cursor, name=name, crashes=0, paused=False)
            _KEEP_JOB.run(
                cursor, key=name, state=found.state, validators=found.validators,
                succeeded_until=found.since,
            )  # fmt: skip

        return write

    def keep_listener(self, name: str, found: Remembered) -> Work[None]:
        """Remember for a listener from now on; return what writes it likewise."""

        def write(cursor: sqlite3.Cursor) -> None:
            _KEEP_LISTENER.run(
                cursor, key=name, state=found.state, validators=found.validators
            )

        self._keep(_LISTENER, name, found)
        return write

    def _read(self, statement: Statement, name: str) -> Remembered:
        with self._lock:
            found = self._known.get((statement, name))
        if found is None:
            row = self._reader.row(statement, key=name)
            found = Remembered() if row is None else Remembered(*row)
            self._keep(statement, name, found)
        return found

    def _keep(self, statement: Statement, name: str, found: Remembered) -> None:
        with self._lock:
            self._known[statement, name] = found
