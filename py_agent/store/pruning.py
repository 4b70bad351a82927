"""Drops the data of old events. Who they are stays, so none of them is ever new again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

from sqlalchemy import exists, literal_column, select, text, update

from .dialects import Statement, storage_errors, values_of
from .event_store import EventStore
from .tables import DROPPED, State, deliveries, events

LOOKED_AT = 1_000  # events that are read at once
AT_ONCE = 100  # whose data is dropped in one transaction, which others wait for

_page = (
    select(events.c.id, events.c.created, events.c.data.is_not(None).label("has_data"))
    .order_by(events.c.id)
    .limit(LOOKED_AT)
)
_needed = exists().where(
    deliveries.c.event_id == events.c.id,
    text(f"state <> '{State.COMPLETED}'"),
    text(f"NOT (state = '{State.DISCARDED}' AND coalesce(reason, '') = '{DROPPED}')"),
)
_DROP = Statement(
    update(events)
    .where(events.c.id.in_(values_of("ids")), ~_needed)
    .values(data=literal_column("NULL"))
)


def old_events(opened: EventStore, before: int) -> Iterator[list[int]]:
    """Yield the numbers of events from before a moment that have data, some at a time.

    It ends where only newer ones come, so that their rows need not be read each time.

    Args:
        opened: the store.
        before: the moment in microseconds.
    """
    last = 0
    while True:
        with storage_errors(opened.path), opened.engine.connect() as connection:
            rows = connection.execute(_page.where(events.c.id > last)).fetchall()
        old = [row for row in rows if row.created < before]
        found = [row.id for row in old if row.has_data]
        yield from (found[i : i + AT_ONCE] for i in range(0, len(found), AT_ONCE))
        if not old:
            return
        last = rows[-1].id


def prune(opened: EventStore, ids: list[int]) -> int:
    """Drop the data of events that nobody is owed any more; return of how many.

    What is owed, parked, or a dead letter that nobody has dealt with, keeps it.

    Args:
        opened: the store, whose lock the agent holds.
        ids: the events' numbers.
    """

    def work(cursor: sqlite3.Cursor) -> int:
        return _DROP.run(cursor, ids=json.dumps(ids)).rowcount

    return opened.writer.run(work)
