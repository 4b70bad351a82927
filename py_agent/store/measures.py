"""What the store holds, in numbers, read beside the agent in one short snapshot.

Made for who asks every few seconds, whatever the store's size: no table is read to its
end, what is counted has a limit, and so has the time that all of it takes.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

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

# Deliveries in one state that are counted; more are told as so many. All listeners share
# them, as each takes a look-up, but LEAST are counted of each.
IN_ALL, LEAST = 100_000, 1_000
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


Look = Callable[..., Any]  # returns the first row that a statement finds, if any


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
        listeners: dict[str, ListenerMeasures] = {}
        rows = _SUBSCRIPTIONS.run(cursor).fetchall()
        counted = max(LEAST, IN_ALL // max(1, len(rows)))
        for id, name, parked, until in rows:
            found = ListenerMeasures(bool(parked), until is not None and now < until)
            look = partial(_look, cursor, subscription=id, now=now, counted=counted)
            _of_listener(look, found)
            listeners[name] = found
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


def _of_listener(look: Look, found: ListenerMeasures) -> None:
    """Fill in the deliveries of a listener."""
    oldest: list[int] = []
    for state, (least, most) in _DUE.items():
        found.deliveries[state], first = look(_DUE_THEN, least=least, most=most)
        oldest += [] if first is None else [first]
    for apart, moment in _WITHHELD.items():
        found.deliveries[apart], _ = look(_DUE_THEN, least=moment, most=moment)
    (found.deliveries[State.DISCARDED],) = look(_DEAD)
    # Nothing tells where they are, so they are looked for where there may be any.
    (found.deliveries[State.PARKED],) = look(_PARKED) if found.parked else (0,)
    if oldest:
        (found.oldest,) = look(_CREATED, key=min(oldest)) or (None,)


def _look(cursor: sqlite3.Cursor, statement: Statement, **values: int) -> Any:
    """Return the first row that a statement finds, if any."""
    return statement.run(cursor, **values).fetchone()


@contextmanager
def _reading(path: Path, limit: float) -> Iterator[sqlite3.Cursor]:
    """Lend a cursor on a connection of its own, on one state of the store."""
    with storage_errors(path), _in_time(path, limit):
        connection = read_connection(path)
        try:
            connection.execute(f"PRAGMA busy_timeout = {round(limit * 1000)}").close()
            connection.set_progress_handler(_is_late(time.monotonic() + limit), STEPS)
            cursor = connection.cursor()
            with snapshot(cursor):
                yield cursor
        finally:
            connection.close()


@contextmanager
def _in_time(path: Path, limit: float) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        raise StorageFault(f"{path}: reading took longer than {limit:g} s") from error


def _is_late(deadline: float) -> Callable[[], int]:
    return lambda: int(time.monotonic() > deadline)
