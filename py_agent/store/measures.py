"""What the store holds, in numbers, read beside the agent in one short snapshot.

Made for who asks every few seconds, whatever the store's size: no table is read to its
end, a count stops at COUNTED, and all of it at a time limit.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import bindparam, case, func, or_, select, text

from ..errors import StorageFault
from . import holding
from .dialects import (
    Statement,
    damaged_values,
    read_connection,
    snapshot,
    storage_errors,
)
from .subscriptions import NEVER
from .tables import DROPPED, SNOOZED, State, deliveries, events, jobs, subscriptions

COUNTED = 100_000  # deliveries of one listener in one state; more are told as so many
LIMIT_SECONDS = 3.0
STEPS = 10_000  # of SQLite's machine between two looks at the time

_JOBS = Statement(select(jobs.c.name, jobs.c.paused, jobs.c.last_success))
_SUBSCRIPTIONS = Statement(
    select(
        subscriptions.c.id, subscriptions.c.name, subscriptions.c.parked,
        subscriptions.c.paused_until,
    )
)  # fmt: skip
_NEWEST = Statement(select(func.coalesce(func.max(events.c.id), 0)))
_CREATED = Statement(select(events.c.created).where(events.c.id == bindparam("key")))

# The states are spelled as in the partial indexes, or SQLite does not use these.
_some_due = (
    select(deliveries.c.event_id, deliveries.c.due, deliveries.c.reason)
    .where(
        deliveries.c.subscription_id == bindparam("subscription"),
        text("state IN ('available', 'retryable', 'running')"),
        deliveries.c.due >= bindparam("least"),
        deliveries.c.due <= bindparam("most"),
    )
    .limit(bindparam("counted"))
    .subquery()
)
_DUE_THEN = Statement(
    select(
        func.count(),
        func.min(
            case(
                (
                    or_(
                        _some_due.c.due <= bindparam("now"),
                        func.coalesce(_some_due.c.reason, "") != SNOOZED,
                    ),
                    _some_due.c.event_id,
                )
            )
        ),
    ).select_from(_some_due)
)
_DEAD = Statement(
    select(func.count()).select_from(
        select(deliveries.c.event_id)
        .where(
            deliveries.c.subscription_id == bindparam("subscription"),
            text("state = 'discarded'"),
            func.coalesce(deliveries.c.reason, "") != DROPPED,
        )
        .limit(bindparam("counted"))
        .subquery()
    )
)
_PARKED = Statement(
    select(func.count()).select_from(
        select(deliveries.c.event_id)
        .where(
            deliveries.c.subscription_id == bindparam("subscription"),
            deliveries.c.state == State.PARKED,
        )
        .limit(bindparam("counted"))
        .subquery()
    )
)

# When something is due tells its state: at once, later, or not before its call ends.
_DUE = {
    State.AVAILABLE: (0, 0),
    State.RETRYABLE: (1, NEVER - 1),
    State.RUNNING: (NEVER, NEVER),
}
# What is withheld is available and not owed, so it makes no event the oldest.
WAITING, HELD = "waiting", "held"
_WITHHELD = {WAITING: holding.OF_RUN, HELD: holding.HELD}


@dataclass(frozen=True)
class JobMeasures:
    """A job as the store knows it.

    Args:
        paused: whether it is held until a person resumes it.
        last_success: when its last successful run began, in microseconds, if ever.
    """

    paused: bool = False
    last_success: int | None = None


@dataclass
class ListenerMeasures:
    """A listener's deliveries.

    Args:
        parked: whether it is not in the code.
        paused: whether it is held.
        deliveries: how many are in each state, but for the completed ones; those that wait
            for the end of their run, or are held, are counted apart.
        oldest: when the oldest owed event was stored, in microseconds, if any is owed.
    """

    parked: bool
    paused: bool
    deliveries: dict[str, int] = field(default_factory=dict)
    oldest: int | None = None


@dataclass
class Measures:
    """What the store holds.

    Args:
        events: events that have ever been stored.
        jobs: by name.
        listeners: by name.
    """

    events: int
    jobs: dict[str, JobMeasures]
    listeners: dict[str, ListenerMeasures]


def measure(path: Path, now: int, limit: float = LIMIT_SECONDS) -> Measures:
    """Return what a store holds.

    Args:
        path: the store's file.
        now: the present in microseconds.
        limit: seconds after which to give up.

    Raises:
        StoreError: it cannot be read, or not in time.
    """
    with _reading(path, limit) as cursor, damaged_values(path):
        newest = int(_NEWEST.run(cursor).fetchone()[0])
        known = {
            name: JobMeasures(bool(paused), last)
            for name, paused, last in _JOBS.run(cursor).fetchall()
        }
        listeners = {
            name: _of_listener(cursor, id, bool(parked), paused_until, now)
            for id, name, parked, paused_until in _SUBSCRIPTIONS.run(cursor).fetchall()
        }
    return Measures(newest, known, listeners)


def size(path: Path) -> tuple[int, int]:
    """Return the bytes that a store takes, with its -wal, and those left on its disk.

    Raises:
        StorageFault: that cannot be found out.
    """
    try:
        taken = sum(
            os.stat(each).st_size
            for each in (path, Path(f"{path}-wal"))
            if each == path or each.exists()
        )
        return taken, shutil.disk_usage(path.parent).free
    except OSError as error:
        raise StorageFault(f"{path}: {error.strerror}") from error


def _of_listener(
    cursor: sqlite3.Cursor, id: int, parked: bool, paused_until: int | None, now: int
) -> ListenerMeasures:
    found = ListenerMeasures(parked, paused_until is not None and now < paused_until)
    oldest: list[int] = []
    for state, (least, most) in _DUE.items():
        found.deliveries[state], first = _due(cursor, id, least, most, now)
        oldest += [] if first is None else [first]
    for state, moment in _WITHHELD.items():
        found.deliveries[state], _ = _due(cursor, id, moment, moment, now)
    found.deliveries[State.DISCARDED] = _count(cursor, _DEAD, id)
    # Nothing tells where they are, so they are looked for where there may be any.
    found.deliveries[State.PARKED] = _count(cursor, _PARKED, id) if parked else 0
    if oldest:
        row = _CREATED.run(cursor, key=min(oldest)).fetchone()
        found.oldest = None if row is None else int(row[0])
    return found


def _due(
    cursor: sqlite3.Cursor, id: int, least: int, most: int, now: int
) -> tuple[int, int | None]:
    """Return how many deliveries are due between two moments, and the oldest event owed."""
    count, first = _DUE_THEN.run(
        cursor, subscription=id, least=least, most=most, now=now, counted=COUNTED
    ).fetchone()
    return count, first


def _count(cursor: sqlite3.Cursor, statement: Statement, id: int) -> int:
    return int(statement.run(cursor, subscription=id, counted=COUNTED).fetchone()[0])


@contextmanager
def _reading(path: Path, limit: float) -> Iterator[sqlite3.Cursor]:
    """Lend a cursor on a connection of its own, on one state of the store."""
    with storage_errors(path):
        connection = read_connection(path)
        try:
            connection.execute(f"PRAGMA busy_timeout = {round(limit * 1000)}").close()
            connection.set_progress_handler(_is_late(time.monotonic() + limit), STEPS)
            cursor = connection.cursor()
            with snapshot(cursor):
                yield cursor
        finally:
            connection.close()


def _is_late(deadline: float) -> Callable[[], int]:
    return lambda: int(time.monotonic() > deadline)
