"""What a new event owes: one delivery for each subscription that wants it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from ..events import Event
from ..matching import Index
from .dialects import Statement, insert
from .holding import OF_RUN
from .subscriptions import Subscription
from .tables import State, deliveries

_OWE = Statement(
    insert(deliveries).on_conflict_do_nothing(),
    "event_id", "subscription_id", "state", "attempts", "crashes", "due", "order_key",
)  # fmt: skip

_WITHHOLD = Statement(
    insert(deliveries).on_conflict_do_nothing(),
    "event_id", "subscription_id", "state", "attempts", "crashes", "due", "order_key",
    "reason",
)  # fmt: skip

Owes = tuple[tuple[Subscription, str | None], ...]


@dataclass(frozen=True)
class Committed:
    """What one piece of publishing has just committed.

    Args:
        first: the number of its first new event; numbers are given in sequence.
        last: the number of its last new event.
        owed: events with the subscriptions that want them and their order keys.
    """

    first: int
    last: int
    owed: tuple[tuple[Event, Owes], ...] = ()


def owe(
    cursor: sqlite3.Cursor, index: Index[Subscription], stored: list[Event]
) -> tuple[tuple[Event, Owes], ...]:
    """Insert the deliveries of new events, inside the transaction that stores them.

    Args:
        cursor: the transaction's.
        index: the subscriptions as of the transaction.
        stored: the new events, with their numbers.

    Returns:
        The events with those deliveries that are available.
    """
    rows: list[dict[str, Any]] = []
    owed = []
    for event in stored:
        matching = index.matching(event)
        mine = [each.delivery_of(event, event.id) for each in matching]
        rows += mine
        owed.append((event, _available(matching, mine)))
    if rows:
        _OWE.run_many(cursor, rows)
    return tuple(owed)


def withhold(
    cursor: sqlite3.Cursor, index: Index[Subscription], stored: list[Event], reason: str
) -> None:
    """Insert the deliveries of new events of a run, withheld until it ends.

    Args:
        cursor: the transaction's.
        index: the subscriptions as of the transaction.
        stored: the new events, with their numbers.
        reason: which run they wait for.
    """
    withheld = {"state": State.AVAILABLE, "due": OF_RUN, "reason": reason}
    rows = [
        each.delivery_of(event, event.id) | withheld
        for event in stored
        for each in index.matching(event)
    ]
    if rows:
        _WITHHOLD.run_many(cursor, rows)


def _available(matching: list[Subscription], rows: list[dict[str, Any]]) -> Owes:
    pairs = zip(matching, rows, strict=True)
    return tuple((each, row["order_key"]) for each, row in pairs if not each.parked)
