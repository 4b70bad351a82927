"""When a throttled listener was called last, for each key that it keeps apart."""

from __future__ import annotations

import sqlite3
import threading

from sqlalchemy import bindparam, delete, select

from .dialects import Statement, insert
from .reader import Reader
from .tables import last_calls
from .writer import Work, Writer

MOST = 1_000  # moments in memory

_ADD = insert(last_calls)
_SET = Statement(
    _ADD.on_conflict_do_update(
        index_elements=[last_calls.c.subscription_id, last_calls.c.order_key],
        set_={"at": _ADD.excluded.at},
    ),
    "subscription_id", "order_key", "at",
)  # fmt: skip
_OF = Statement(
    select(last_calls.c.at).where(
        last_calls.c.subscription_id == bindparam("key"),
        last_calls.c.order_key == bindparam("order_key"),
    )
)
_FORGET = Statement(
    delete(last_calls).where(
        last_calls.c.subscription_id == bindparam("key"),
        last_calls.c.at < bindparam("before"),
    )
)


class LastCalls:
    """The moments of the last calls; only the holder of the agent lock asks.

    They are also kept in memory: the next call may come before a moment is committed.

    Args:
        writer: where they are committed.
        reader: where they are read.
    """

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._lock = threading.Lock()
        self._known: dict[tuple[int, str], int] = {}

    def of(self, subscription: int, key: str) -> int | None:
        """Return when a listener was called last for a key, in microseconds."""
        with self._lock:
            known = self._known.get((subscription, key))
        if known is not None:
            return known
        row = self._reader.row(_OF, key=subscription, order_key=key)
        return None if row is None else int(row[0])

    def note(self, subscription: int, key: str, at: int) -> Work[None]:
        """Remember a call from now on; return what writes it in a transaction.

        Args:
            subscription: the listener's.
            key: what it keeps apart from others.
            at: when it ended, in microseconds.
        """
        with self._lock:
            # Long before so many calls are made, the first of them are committed.
            self._known.pop((subscription, key), None)
            self._known[subscription, key] = at
            if len(self._known) > MOST:
                del self._known[next(iter(self._known))]

        def write(cursor: sqlite3.Cursor) -> None:
            _SET.run(cursor, subscription_id=subscription, order_key=key, at=at)

        return write

    def forget(self, subscription: int, before: int) -> None:
        """Drop the moments that matter no more; it goes along with the next commit."""
        self._writer.ride(
            lambda cursor: _FORGET.run(cursor, key=subscription, before=before)
        )
