"""What became of a try to deliver, and how it is written down."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from sqlalchemy import bindparam, text, update

from ..failures import Failure
from .dialects import Statement, insert
from .tables import OWED, State, attempt_errors, deliveries
from .writer import Work

_OF_DELIVERY = (
    deliveries.c.event_id == bindparam("event"),
    deliveries.c.subscription_id == bindparam("subscription"),
)
_RECORD = Statement(
    update(deliveries).where(*_OF_DELIVERY),
    "state", "attempts", "crashes", "due", "reason", "finished", "admitted",
)  # fmt: skip
# A failure does not bring back what was discarded by hand during the call.
_RECORD_IF_OWED = Statement(
    update(deliveries).where(
        *_OF_DELIVERY, text("state NOT IN ('completed', 'discarded')")
    ),
    "state", "attempts", "crashes", "due", "reason", "finished", "admitted",
)  # fmt: skip
_ADD_ERROR = Statement(
    insert(attempt_errors),
    "event_id", "subscription_id", "attempt", "at", "kind", "message", "traceback",
)  # fmt: skip


@dataclass(frozen=True)
class Attempt:
    """What became of one try.

    Args:
        state: the delivery's new state.
        attempts: counted tries, this one included where it counts.
        at: when it ended, in microseconds.
        due: when it is tried again, in microseconds; 0 for at once.
        crashes: 0 when the function ended, one way or the other.
        reason: why it was completed without a call, or discarded; IN_DOUBT where it was
            cut off inside an effect.
        failure: what went wrong, if anything.
        also: written in the same transaction: what the listener remembers.
        admitted: whether its function was entered, so that no pace leaves it out again.
    """

    state: State
    attempts: int
    at: int
    due: int = 0
    crashes: int = 0
    reason: str | None = None
    failure: Failure | None = None
    also: Work[None] | None = None
    admitted: bool = True


def record(
    cursor: sqlite3.Cursor, event_id: int, subscription_id: int, attempt: Attempt
) -> None:
    """Write the result of an attempt inside the caller's transaction."""
    finished = attempt.state in (State.COMPLETED, State.DISCARDED)
    statement = _RECORD_IF_OWED if attempt.state in OWED else _RECORD
    statement.run(
        cursor,
        event=event_id,
        subscription=subscription_id,
        state=attempt.state,
        attempts=attempt.attempts,
        crashes=attempt.crashes,
        due=attempt.due,
        reason=attempt.reason,
        finished=attempt.at if finished else None,
        admitted=attempt.admitted,
    )
    if attempt.also is not None:
        attempt.also(cursor)
    if attempt.failure is not None:
        _ADD_ERROR.run(
            cursor,
            event_id=event_id,
            subscription_id=subscription_id,
            attempt=attempt.attempts,
            at=attempt.at,
            kind=attempt.failure.kind,
            message=attempt.failure.message,
            traceback=attempt.failure.traceback,
        )
