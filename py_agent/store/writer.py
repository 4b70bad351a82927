"""One writer: concurrent writes share a transaction, and so share its sync to disk.

Who comes first leads: it commits all that is queued in one transaction, answers the
others, and hands the lead to one of those who came meanwhile. Acknowledgements *ride*:
they are queued without waiting and go along with the next commit.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..errors import StorageFault, StoreError
from .dialects import storage_error, transaction

log = logging.getLogger("py_agent.store")

T = TypeVar("T")
Work = Callable[[sqlite3.Cursor], T]


def both(first: Work[None], second: Work[None] | None) -> Work[None]:
    """Return what does one piece of work and then, if there is one, another."""
    if second is None:
        return first

    def work(cursor: sqlite3.Cursor) -> None:
        first(cursor)
        second(cursor)

    return work


class _Ticket(Generic[T]):
    """One piece of work in the queue and what became of it."""

    __slots__ = (
        "after", "done", "error", "gate", "kept", "queued", "rides", "value", "work",
    )  # fmt: skip

    def __init__(
        self, work: Work[T], after: Callable[[T], None] | None, rides: bool
    ) -> None:
        self.work = work
        self.after = after
        self.rides = rides
        self.queued = time.monotonic()
        self.gate: threading.Lock | None = None
        self.done = False
        self.kept = False  # it rides, and waits for the next transaction again
        self.value: T
        self.error: BaseException | None = None


class Writer:
    """Runs pieces of work on one connection, grouped into transactions.

    Args:
        connection: the driver's connection, in autocommit mode, used by nobody else.
        path: the store's file, for errors.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._cursor = connection.cursor()
        self._path = path
        self._guard = threading.Lock()
        self._queue: deque[_Ticket[Any]] = deque()
        self._leading = False
        self._heir: _Ticket[Any] | None = None  # has the lead, and has not begun
        self._closed = False
        self.rolled_back: Callable[[], None] = lambda: None

    @property
    def pending(self) -> bool:
        """Whether work is queued that no one has committed yet."""
        return bool(self._queue)

    @property
    def waiting(self) -> float:
        """For how many seconds the oldest queued work has waited; 0 without any."""
        with self._guard:
            if not self._queue:
                return 0.0
            return time.monotonic() - self._queue[0].queued

    def run(self, work: Work[T], after: Callable[[T], None] | None = None) -> T:
        """Run work in a transaction and return its value once it is committed.

        Args:
            work: called with a cursor inside the transaction; may be called again if
                the transaction had to be repeated, and calls no user code.
            after: called with the value after the commit, in the order of commits.

        Raises:
            StorageFault: the transaction failed; nothing of it is stored.
        """
        ticket = _Ticket(work, after, rides=False)
        try:
            self._line_up(ticket)
            if ticket.gate is not None:
                ticket.gate.acquire()
            if not ticket.done:
                self._lead()
        except BaseException:  # Ctrl-C in a thread that waits for its turn
            self._give_up(ticket)
            raise
        if ticket.error is not None:
            raise ticket.error
        return ticket.value

    def ride(self, work: Work[T], after: Callable[[T], None] | None = None) -> None:
        """Queue work that goes along with the next commit; a fault keeps it queued."""
        with self._guard:
            self._queue.append(_Ticket(work, after, rides=True))

    def flush(self) -> None:
        """Commit what rides, if anything does.

        Raises:
            StorageFault: the transaction failed; the work stays queued.
        """
        if self._queue:
            self.run(lambda cursor: None)

    def close(self) -> None:
        """Refuse further work; who is committing finishes first."""
        self.run(lambda cursor: None)
        with self._guard:
            self._closed = True

    def abandon(self) -> None:
        """Refuse further work without committing what is queued."""
        with self._guard:
            self._closed = True
            self._queue.clear()
        # After a fault the cursor keeps the connection, and so the -wal, from closing.
        with contextlib.suppress(sqlite3.Error):
            self._cursor.close()

    def _line_up(self, ticket: _Ticket[Any]) -> None:
        """Queue a ticket; it leads if nobody does, else it waits at its gate."""
        with self._guard:
            if self._closed:
                raise StorageFault(f"{self._path} has been closed")
            self._queue.append(ticket)
            if self._leading:
                ticket.gate = threading.Lock()
                ticket.gate.acquire()
            else:
                self._heir = ticket
            self._leading = True

    def _give_up(self, ticket: _Ticket[Any]) -> None:
        """Take a ticket out of the queue, and pass on the lead if it has that."""
        with self._guard:
            if ticket in self._queue:
                self._queue.remove(ticket)
            if ticket is self._heir:
                self._pass_on()

    def _pass_on(self) -> None:
        """Hand the lead to the next in the queue, if there is one; under the guard."""
        self._heir = next((t for t in self._queue if not t.rides), None)
        self._leading = self._heir is not None
        if self._heir is not None and self._heir.gate is not None:
            self._heir.gate.release()

    def _lead(self) -> None:
        batch: list[_Ticket[Any]] = []
        try:
            with self._guard:
                batch += self._queue
                self._queue.clear()
                self._heir = None
            self._commit(batch)
        finally:
            with self._guard:
                self._queue.extendleft(t for t in reversed(batch) if t.kept)
                for ticket in batch:
                    ticket.done = not ticket.kept
                    ticket.kept = False
                    if ticket.gate is not None:
                        ticket.gate.release()
                self._pass_on()

    def _commit(self, batch: list[_Ticket[Any]]) -> None:
        try:
            with transaction(self._cursor):
                for ticket in batch:
                    ticket.value = ticket.work(self._cursor)
        except BaseException as error:
            self.rolled_back()
            if isinstance(error, sqlite3.IntegrityError):
                self._refuse(batch, storage_error(self._path, error), error)
            elif isinstance(error, sqlite3.Error):
                self._fail(batch, storage_error(self._path, error), error)
            elif isinstance(error, Exception):
                self._refuse(batch, error, error.__cause__)
            else:  # Ctrl-C in the thread that leads
                self._fail(batch, StorageFault(f"{self._path}: interrupted"), error)
                raise
        else:
            self._tell(batch)

    def _tell(self, batch: list[_Ticket[Any]]) -> None:
        """Call what is to follow a commit; one that fails keeps none from its turn."""
        interruption: BaseException | None = None
        for ticket in batch:
            try:
                if ticket.after is not None:
                    ticket.after(ticket.value)
            except Exception:
                log.exception("what follows a commit failed")
            except BaseException as error:  # Ctrl-C in the thread that leads
                interruption = error
        if interruption is not None:
            raise interruption

    def _refuse(
        self, batch: list[_Ticket[Any]], error: Exception, cause: BaseException | None
    ) -> None:
        """Tell the one that was refused; of several, each has its own transaction."""
        if len(batch) == 1:
            error.__cause__ = cause
            batch[0].error = error
            if batch[0].rides:
                log.error("a result could not be recorded: %s", error)
            return
        for n, ticket in enumerate(batch):
            try:
                self._commit([ticket])
            except BaseException as interruption:
                fault = StorageFault(f"{self._path}: interrupted")
                self._fail(batch[n + 1 :], fault, interruption)
                raise
            if ticket.kept and isinstance(ticket.error, StoreError):
                # What rides keeps its order, so nothing may overtake it.
                self._fail(batch[n + 1 :], ticket.error, ticket.error.__cause__)
                return

    def _fail(
        self, batch: list[_Ticket[Any]], error: StoreError, cause: BaseException | None
    ) -> None:
        """Tell those who wait; keep what rides for the next transaction."""
        error.__cause__ = cause
        for ticket in batch:
            ticket.error = error
            ticket.kept = ticket.rides
