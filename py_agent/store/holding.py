"""What is withheld: deliveries of a run that goes on, and those held for a person.

They are available, but due at a moment that no clock reaches: so no window holds them, and
neither a crash nor a restart makes them due. Only what is here does, or a person. The
number of their run says whose they are; their reason is for people, and never read.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    TextClause,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    select,
    text,
    update,
)

from .dialects import Statement, values_of
from .subscriptions import NEVER
from .tables import DROPPED, Outcome, State, deliveries, events, runs, subscriptions

# Moments of their own, so that the index tells them apart: at the end of a run, a hundred
# thousand that are held for a person need not be looked through, and who counts the calls
# that are stuck, which are due at NEVER, need not look through either.
OF_RUN = NEVER + 1  # waits for the end of its run
HELD = NEVER + 2  # waits for a person

WITHHELD = and_(
    deliveries.c.state == State.AVAILABLE,
    deliveries.c.due >= NEVER,
    deliveries.c.held_run.is_not(None),
)

RUN_REASON = "waits for the end of its run"


def held_reason(job: str) -> str:
    """Return the reason of a delivery that is held for a person."""
    return f"held: too many at once from {job}"


def by_run(due: int | Any) -> Select[Any]:
    """Return the query of what is withheld until one of the two moments.

    Its columns are the run, its job, and how many events and deliveries that are.
    """
    each = (
        select(
            deliveries.c.held_run.label("run"),
            func.min(deliveries.c.event_id).label("first"),
            func.count(deliveries.c.event_id.distinct()).label("events"),
            func.count().label("deliveries"),
        )
        .where(*_at(due))
        .group_by(deliveries.c.held_run)
        .subquery()
    )
    # Should a run be gone one day, its events still say who has published them.
    job = func.coalesce(runs.c.job, events.c.source).label("job")
    return (
        select(each.c.run, job, each.c.events, each.c.deliveries)
        .select_from(each)
        .outerjoin(runs, runs.c.id == each.c.run)
        .outerjoin(events, events.c.id == each.c.first)
        .order_by(each.c.run)
    )


def _at(due: int | Any) -> tuple[ColumnElement[bool] | TextClause, ...]:
    """Return the conditions of what is withheld until one of the two moments.

    They are spelled so that SQLite sees that the index of owed deliveries applies.
    """
    return (
        deliveries.c.subscription_id.in_(select(subscriptions.c.id)),
        text("deliveries.state IN ('available', 'retryable', 'running')"),
        text("deliveries.state = 'available'"),
        deliveries.c.held_run.is_not(None),
        deliveries.c.due == due,
    )


_OF_RUNS = (
    *_at(bindparam("moment")),
    deliveries.c.held_run.in_(values_of("runs")),
)
_OF_RUN = (*_at(bindparam("moment")), deliveries.c.held_run == bindparam("run"))
_WAITING = Statement(by_run(bindparam("moment")))
_OWED_TO = Statement(select(deliveries.c.subscription_id).where(*_OF_RUN).distinct())
_GOES_ON = Statement(
    select(runs.c.id).where(
        runs.c.id == bindparam("key"), runs.c.outcome == Outcome.RUNNING
    )
)
_COUNT = Statement(select(func.count(deliveries.c.event_id.distinct())).where(*_OF_RUN))
_FIRST = Statement(
    select(events.c.event_type, events.c.identifier)
    .where(events.c.id.in_(select(deliveries.c.event_id).where(*_OF_RUN)))
    .order_by(events.c.id)
    .limit(bindparam("most"))
)
_JOIN = Statement(update(deliveries).where(*_OF_RUNS).values(held_run=bindparam("another")))
_HOLD = Statement(
    update(deliveries)
    .where(*_OF_RUN)
    .values(due=bindparam("held"), reason=bindparam("why"))
)
_RELEASE = Statement(
    update(deliveries)
    .where(*_OF_RUNS)
    .values(
        due=literal_column("0"),
        reason=literal_column("NULL"),
        held_run=literal_column("NULL"),
        state=case(
            (
                deliveries.c.subscription_id.in_(
                    select(subscriptions.c.id).where(subscriptions.c.parked)
                ),
                literal_column(f"'{State.PARKED}'"),
            ),
            else_=literal_column(f"'{State.AVAILABLE}'"),
        ),
    )
)
_DROP = Statement(
    update(deliveries)
    .where(*_OF_RUNS)
    .values(
        due=literal_column("0"),
        reason=literal_column(f"'{DROPPED}'"),
        held_run=literal_column("NULL"),
        state=literal_column(f"'{State.DISCARDED}'"),
        finished=bindparam("now"),
    )
)


def waiting(cursor: sqlite3.Cursor, moment: int = OF_RUN) -> dict[int, str | None]:
    """Return the runs of which something is withheld, and the job of each.

    The job is None if nothing tells it any more.
    """
    rows = _WAITING.run(cursor, moment=moment).fetchall()
    return {run: job for run, job, _, _ in rows}


def goes_on(cursor: sqlite3.Cursor, run: int) -> bool:
    """Return whether a run is open, as of the transaction."""
    return _GOES_ON.run(cursor, key=run).fetchone() is not None


def owed_to(cursor: sqlite3.Cursor, run: int) -> frozenset[int]:
    """Return the subscriptions whose deliveries wait for the end of a run."""
    rows = _OWED_TO.run(cursor, moment=OF_RUN, run=run).fetchall()
    return frozenset(row[0] for row in rows)


def count_events(cursor: sqlite3.Cursor, run: int) -> int:
    """Return how many events wait for the end of a run."""
    return int(_COUNT.run(cursor, moment=OF_RUN, run=run).fetchone()[0])


def first(cursor: sqlite3.Cursor, run: int, most: int) -> list[tuple[str, str]]:
    """Return the type and identifier of the first events that wait for its end."""
    return _FIRST.run(cursor, moment=OF_RUN, run=run, most=most).fetchall()


def join(cursor: sqlite3.Cursor, runs: Iterable[int], another: int) -> None:
    """Let what waits for the end of runs wait for that of another."""
    _JOIN.run(cursor, moment=OF_RUN, runs=_listed(runs), another=another)


def hold(cursor: sqlite3.Cursor, run: int, job: str) -> int:
    """Hold for a person what has waited for the end of a run; return how many."""
    why = held_reason(job)
    return _HOLD.run(cursor, moment=OF_RUN, run=run, held=HELD, why=why).rowcount


def release(cursor: sqlite3.Cursor, moment: int, runs: Iterable[int]) -> int:
    """Deliver what is withheld of runs until a moment; return how many.

    What is owed to a listener that is not in the code is parked.
    """
    return _RELEASE.run(cursor, moment=moment, runs=_listed(runs)).rowcount


def drop(cursor: sqlite3.Cursor, moment: int, runs: Iterable[int], now: int) -> int:
    """Give up what is withheld of runs until a moment; return how many."""
    return _DROP.run(cursor, moment=moment, runs=_listed(runs), now=now).rowcount


def _listed(runs: Iterable[int]) -> str:
    return json.dumps(list(runs))
