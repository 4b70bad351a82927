"""What is withheld: deliveries of a run that goes on, and those held for a person.

They are available, but due at a moment that no clock reaches: so no window holds them, and
neither a crash nor a restart makes them due. Only what is here does, or a person.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from sqlalchemy import (
    ColumnElement,
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

from .dialects import Statement
from .subscriptions import NEVER
from .tables import DROPPED, State, deliveries, events, subscriptions

# Two moments, so that the index tells them apart: at the end of a run, a hundred thousand
# that are held for a person need not be looked through.
OF_RUN = NEVER  # waits for the end of its run
HELD = NEVER + 1  # waits for a person

WITHHELD = and_(deliveries.c.state == State.AVAILABLE, deliveries.c.due >= NEVER)

_RUN = re.compile(r"waits for the end of run (\d+) of (.+)", re.DOTALL)
_HELD = "held: too many at once from "


def run_reason(run: int, job: str) -> str:
    """Return the reason of a delivery that waits for the end of a job's run."""
    return f"waits for the end of run {run} of {job}"


def run_of(reason: str | None) -> tuple[int, str] | None:
    """Return the run and the job that a delivery waits for; None if it is no such."""
    found = _RUN.fullmatch(str(reason))
    return None if found is None else (int(found[1]), found[2])


def is_of(reason: str, job: str) -> bool:
    """Return whether a delivery with this reason waits for the end of a job's run."""
    run = run_of(reason)
    return run is not None and run[1] == job


def held_reason(job: str) -> str:
    """Return the reason of a delivery that is held for a person."""
    return _HELD + job


def held_job(reason: str | None) -> str | None:
    """Return the job whose events are held for this reason; None if it is no such."""
    text_of = str(reason)
    return text_of.removeprefix(_HELD) if text_of.startswith(_HELD) else None


def at(due: int | Any) -> tuple[ColumnElement[bool] | TextClause, ...]:
    """Return the conditions of what is withheld until one of the two moments.

    They are spelled so that SQLite sees that the index of owed deliveries applies.
    """
    return (
        deliveries.c.subscription_id.in_(select(subscriptions.c.id)),
        text("deliveries.state IN ('available', 'retryable', 'running')"),
        text("deliveries.state = 'available'"),
        deliveries.c.due == due,
    )


_OF_REASON = (*at(bindparam("moment")), deliveries.c.reason == bindparam("why"))
_WAITING = Statement(
    select(deliveries.c.reason, deliveries.c.subscription_id).where(*at(OF_RUN)).distinct()
)
_COUNT = Statement(select(func.count(deliveries.c.event_id.distinct())).where(*_OF_REASON))
_FIRST = Statement(
    select(events.c.event_type, events.c.identifier)
    .where(events.c.id.in_(select(deliveries.c.event_id).where(*_OF_REASON)))
    .order_by(events.c.id)
    .limit(bindparam("most"))
)
_CHANGE = Statement(
    update(deliveries)
    .where(*_OF_REASON)
    .values(due=bindparam("new_due"), reason=bindparam("new_reason"))
)
_RELEASE = Statement(
    update(deliveries)
    .where(*_OF_REASON)
    .values(
        due=literal_column("0"),
        reason=literal_column("NULL"),
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
    .where(*_OF_REASON)
    .values(
        due=literal_column("0"),
        reason=literal_column(f"'{DROPPED}'"),
        state=literal_column(f"'{State.DISCARDED}'"),
        finished=bindparam("now"),
    )
)


def waiting(cursor: sqlite3.Cursor) -> dict[str, set[int]]:
    """Return what waits for the end of runs: the reasons, and who is owed it."""
    found: dict[str, set[int]] = {}
    for reason, subscription in _WAITING.run(cursor).fetchall():
        found.setdefault(reason, set()).add(subscription)
    return found


def count_events(cursor: sqlite3.Cursor, reason: str) -> int:
    """Return how many events wait for the end of a run."""
    return int(_COUNT.run(cursor, moment=OF_RUN, why=reason).fetchone()[0])


def first(cursor: sqlite3.Cursor, reason: str, most: int) -> list[tuple[str, str]]:
    """Return the type and identifier of the first events that wait for its end."""
    return _FIRST.run(cursor, moment=OF_RUN, why=reason, most=most).fetchall()


def join(cursor: sqlite3.Cursor, reason: str, another: str) -> None:
    """Let what waits for the end of one run wait for that of another."""
    _CHANGE.run(cursor, moment=OF_RUN, why=reason, new_due=OF_RUN, new_reason=another)


def hold(cursor: sqlite3.Cursor, reason: str, job: str) -> int:
    """Hold for a person what has waited for the end of a run; return how many."""
    values = {"new_due": HELD, "new_reason": held_reason(job)}
    return _CHANGE.run(cursor, moment=OF_RUN, why=reason, **values).rowcount


def release(cursor: sqlite3.Cursor, moment: int, reason: str) -> int:
    """Deliver what is withheld until a moment for a reason; return how many.

    What is owed to a listener that is not in the code is parked.
    """
    return _RELEASE.run(cursor, moment=moment, why=reason).rowcount


def drop(cursor: sqlite3.Cursor, moment: int, reason: str, now: int) -> int:
    """Give up what is withheld until a moment for a reason; return how many."""
    return _DROP.run(cursor, moment=moment, why=reason, now=now).rowcount
