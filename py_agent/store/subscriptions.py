"""Subscriptions as rows, so that who publishes owes deliveries to who listens elsewhere.

Every process keeps an index of them and compares the store's version in each publishing
transaction; a moved version means: read them again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, select, update

from ..events import Event
from ..filters import Filter, parse_filter
from ..matching import Index, Ordering, order_key
from ..registry import Listener
from .dialects import Statement, damaged_values, insert
from .reader import Reader
from .tables import (
    State,
    attempt_errors,
    deliveries,
    last_calls,
    store,
    subscriptions,
)
from .writer import Writer

NEVER = 2**62  # microseconds; a moment that no clock reaches

VERSION = Statement(select(store.c.subscriptions_version))
TOUCH = Statement(
    update(store).values(subscriptions_version=store.c.subscriptions_version + 1)
)
ALL = Statement(
    select(
        subscriptions.c.id, subscriptions.c.name, subscriptions.c.filter,
        subscriptions.c.ordered_by, subscriptions.c.parked,
        subscriptions.c.paused_until, subscriptions.c.pause_reason,
    ).order_by(subscriptions.c.id)
)  # fmt: skip
ADD = Statement(
    insert(subscriptions).on_conflict_do_nothing(),
    "name", "filter", "ordered_by", "parked",
)  # fmt: skip
CHANGE = Statement(
    update(subscriptions).where(subscriptions.c.id == bindparam("key")),
    "filter", "ordered_by", "parked",
)  # fmt: skip
PAUSE = Statement(
    update(subscriptions).where(subscriptions.c.name == bindparam("key")),
    "paused_until", "pause_reason",
)  # fmt: skip
_REMOVE = Statement(delete(subscriptions).where(subscriptions.c.id == bindparam("key")))
_REMOVE_ERRORS = Statement(
    delete(attempt_errors).where(attempt_errors.c.subscription_id == bindparam("key"))
)
_REMOVE_CALLS = Statement(
    delete(last_calls).where(last_calls.c.subscription_id == bindparam("key"))
)
_REMOVE_DELIVERIES = Statement(
    delete(deliveries).where(deliveries.c.subscription_id == bindparam("key"))
)


@dataclass(frozen=True)
class Subscription:
    """A listener's interest, as the store knows it.

    Args:
        id: the store's number, never given twice.
        name: the listener's stable name.
        filter: which events it wants.
        ordered_by: by which values its deliveries are kept in order.
        parked: whether the running agent's code lacks its function.
        paused_until: microseconds until which it is held, None if it is not.
        pause_reason: why it is held.
    """

    id: int
    name: str
    filter: Filter
    ordered_by: Ordering = ()
    parked: bool = False
    paused_until: int | None = None
    pause_reason: str | None = None

    def delivery_of(self, event: Event, event_id: int) -> dict[str, object]:
        """Return the new delivery row that this subscription is owed for an event."""
        return {
            "event_id": event_id,
            "subscription_id": self.id,
            "state": State.PARKED if self.parked else State.AVAILABLE,
            "attempts": 0,
            "crashes": 0,
            "due": 0,
            "order_key": order_key(self.ordered_by, event),
        }


def read_all(cursor: sqlite3.Cursor) -> list[Subscription]:
    """Return all subscriptions, oldest first."""
    with damaged_values("a subscription"):
        return [
            Subscription(
                id, name, parse_filter(condition), tuple(json.loads(ordered_by)),
                bool(parked), paused_until, reason,
            )
            for id, name, condition, ordered_by, parked, paused_until, reason in (
                ALL.run(cursor).fetchall()
            )
        ]  # fmt: skip


class Subscriptions:
    """The process's index of the store's subscriptions.

    Args:
        writer: where changes are committed.
        reader: where they are read outside a transaction.
    """

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._version = -1
        self._index: Index[Subscription] = Index(())
        writer.rolled_back = self._forget

    def current(self, cursor: sqlite3.Cursor) -> Index[Subscription]:
        """Return the index as of the caller's transaction."""
        version = VERSION.run(cursor).fetchone()[0]
        if version != self._version:
            found = read_all(cursor)
            self._index = Index((each.filter, each) for each in found)
            self._version = version
        return self._index

    def _forget(self) -> None:
        """Drop the index: it may be of a transaction that was not committed, whose
        version another change will have."""
        self._version = -1

    def all(self) -> list[Subscription]:
        """Return all subscriptions, oldest first."""
        with self._reader.snapshot() as cursor:
            return read_all(cursor)

    def ensure(self, listeners: Iterable[Listener]) -> None:
        """Add, in one transaction, those that the store lacks; change none."""
        known = {each.name for each in self.all()}
        lacking = [each for each in listeners if each.name not in known]
        if lacking:
            self._writer.run(lambda cursor: add(cursor, lacking))

    def pause(self, name: str, until: int | None, reason: str | None) -> None:
        """Hold a listener until a moment in microseconds, or let it go on (None)."""

        def work(cursor: sqlite3.Cursor) -> None:
            PAUSE.run(cursor, key=name, paused_until=until, pause_reason=reason)
            TOUCH.run(cursor)

        self._writer.run(work)

    def remove(self, names: Iterable[str]) -> None:
        """Forget subscriptions and all their deliveries."""
        wanted = set(names)

        def work(cursor: sqlite3.Cursor) -> None:
            for each in read_all(cursor):
                if each.name in wanted:
                    erase(cursor, each.id)
            TOUCH.run(cursor)

        self._writer.run(work)


def erase(cursor: sqlite3.Cursor, subscription_id: int) -> None:
    """Remove a subscription and all that belongs to it, inside a transaction."""
    for statement in (_REMOVE_ERRORS, _REMOVE_DELIVERIES, _REMOVE_CALLS, _REMOVE):
        statement.run(cursor, key=subscription_id)


def add(cursor: sqlite3.Cursor, listeners: Iterable[Listener]) -> None:
    """Add subscriptions for listeners inside the caller's transaction."""
    ADD.run_many(
        cursor,
        (
            {
                "name": each.name,
                "filter": each.filter.to_json(),
                "ordered_by": json.dumps(each.ordered_by),
                "parked": False,
            }
            for each in listeners
        ),
    )
    TOUCH.run(cursor)
