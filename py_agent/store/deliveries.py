"""Deliveries as the dispatcher sees them: load a window, look again, record an attempt."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    bindparam,
    exists,
    func,
    or_,
    select,
    text,
    update,
)

from ..events import Event
from ..failures import Failure
from .dialects import Statement, damaged_values, insert, texts_of
from .reader import Reader
from .subscriptions import NEVER
from .tables import (
    IN_DOUBT,
    OWED,
    SNOOZED,
    State,
    attempt_errors,
    deliveries,
    events,
    store,
    subscriptions,
)
from .writer import Work, Writer

# Spelled as in the partial index, or SQLite does not see that the index applies.
_IS_OWED = text("state IN ('available', 'retryable', 'running')")
_BLOCKS = text("state = 'retryable' AND order_key IS NOT NULL")

_OF_SUBSCRIPTION = deliveries.c.subscription_id == bindparam("subscription")
_OF_DELIVERY = (
    deliveries.c.event_id == bindparam("event"),
    deliveries.c.subscription_id == bindparam("subscription"),
)
_WINDOW = select(
    deliveries.c.event_id, deliveries.c.attempts, deliveries.c.crashes,
    deliveries.c.order_key, deliveries.c.due, deliveries.c.reason,
    deliveries.c.admitted,
).where(_OF_SUBSCRIPTION, _IS_OWED)  # fmt: skip


def _oldest_first(rows: Select[Any]) -> Select[Any]:
    ordered = rows.order_by(deliveries.c.due, deliveries.c.event_id)
    return ordered.limit(bindparam("most"))


def _unblocked() -> ColumnElement[bool]:
    """The condition that no failed delivery of the same key waits to be retried."""
    other = deliveries.alias("other")
    return ~exists(
        select(other.c.event_id).where(
            other.c.subscription_id == deliveries.c.subscription_id,
            other.c.order_key == deliveries.c.order_key,
            text("other.state = 'retryable' AND other.order_key IS NOT NULL"),
        )
    )


_DUE_AGAIN = Statement(
    _oldest_first(_WINDOW.where(deliveries.c.due > 0, deliveries.c.due <= bindparam("now")))
)
_NEW = Statement(_oldest_first(_WINDOW.where(deliveries.c.due == 0)))
_NEW_UNBLOCKED = Statement(
    _oldest_first(
        _WINDOW.where(
            deliveries.c.due == 0,
            _unblocked(),
            or_(
                deliveries.c.order_key.is_(None),
                deliveries.c.order_key.not_in(texts_of("left_out")),
            ),
        )
    )
)
_NEXT_DUE = Statement(
    select(func.min(deliveries.c.due)).where(
        _OF_SUBSCRIPTION, _IS_OWED,
        deliveries.c.due > bindparam("now"), deliveries.c.due < NEVER,
    )
)  # fmt: skip
_ANY_BLOCKED = Statement(
    select(deliveries.c.event_id).where(_OF_SUBSCRIPTION, _BLOCKS).limit(1)
)
_NEWEST = Statement(select(func.coalesce(func.max(events.c.id), 0)))
_OWED = Statement(
    select(func.count()).select_from(
        select(deliveries.c.event_id)
        .where(
            _IS_OWED,
            # Not what is withheld, nor what is stuck, which is a handful. By subscription,
            # so that SQLite leaves a hundred thousand that are withheld aside unread.
            deliveries.c.due < NEVER,
            deliveries.c.subscription_id.in_(
                select(subscriptions.c.id).where(
                    or_(
                        subscriptions.c.paused_until.is_(None),
                        subscriptions.c.paused_until <= bindparam("now"),
                    )
                )
            ),
            or_(
                deliveries.c.due <= bindparam("now"),
                func.coalesce(deliveries.c.reason, "") != SNOOZED,
            ),
        )
        .limit(bindparam("most"))
        .subquery()
    )
)
_OWED_ANY = Statement(
    select(deliveries.c.event_id)
    .where(_OF_SUBSCRIPTION, _IS_OWED, deliveries.c.due < NEVER)
    .limit(1)
)
_VERSION = Statement(select(store.c.deliveries_version))
_STATE = Statement(select(deliveries.c.state).where(*_OF_DELIVERY))
_GAP = Statement(
    select(deliveries.c.subscription_id)
    .where(deliveries.c.event_id > bindparam("last"))
    .distinct()
)
_SUSPECTS = Statement(
    select(
        deliveries.c.subscription_id, deliveries.c.event_id, deliveries.c.attempts,
        deliveries.c.crashes, deliveries.c.order_key, deliveries.c.due,
        deliveries.c.reason, deliveries.c.admitted,
    )
    .where(_IS_OWED, deliveries.c.crashes >= bindparam("crashes"))
    .order_by(deliveries.c.event_id)
)  # fmt: skip
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


@dataclass(slots=True)
class Owed:
    """One delivery in memory.

    Args:
        event_id: its event.
        subscription_id: its listener's subscription.
        attempts: counted tries so far.
        crashes: times in a row that the process ended inside it.
        order_key: deliveries with equal keys are kept in order; None is unordered.
        retried: whether it failed before and was loaded as due again.
        event: its event, when that is in memory anyway.
        version: the deliveries' version as of which it was known to be owed.
        reason: what the store says of it while it is owed, if anything.
        admitted: whether its listener's pace has let it in before, or a person has.
    """

    event_id: int
    subscription_id: int
    attempts: int = 0
    crashes: int = 0
    order_key: str | None = None
    retried: bool = False
    event: Event | None = None
    version: int = 0
    reason: str | None = None
    admitted: bool = False

    @property
    def key(self) -> str:
        """The delivery's id, which is also `event.delivery_key`."""
        return f"{self.event_id}.{self.subscription_id}"

    @property
    def in_doubt(self) -> bool:
        """Whether the try before was cut off inside an effect."""
        return self.reason == IN_DOUBT


@dataclass(frozen=True)
class Backlog:
    """A window of a listener's deliveries, read in one snapshot.

    Args:
        rows: deliveries to try now.
        more: whether the store holds more than was asked for.
        next_due: when the next failed one is due, in microseconds.
        blocked: whether failed deliveries hold back others with their key.
        newest: the store's newest event as of the snapshot.
    """

    rows: list[Owed]
    more: bool
    next_due: int | None
    blocked: bool
    newest: int


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


class Deliveries:
    """Reads and records deliveries.

    Args:
        writer: where attempts are committed.
        reader: for the small looks before each call.
        backlog: for windows, so that a long read does not hold up the small ones.
    """

    def __init__(self, writer: Writer, reader: Reader, backlog: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._backlog = backlog

    def version(self) -> int:
        """Return the number that every change by hand raises."""
        row = self._reader.row(_VERSION)
        with damaged_values("the version of the deliveries"):
            return int(row[0]) if row else 0

    def newest_event(self) -> int:
        """Return the number of the newest event, 0 if there is none."""
        row = self._reader.row(_NEWEST)
        return int(row[0]) if row else 0

    def owed(self, most: int, now: int) -> int:
        """Count the owed deliveries of all listeners that are not paused, up to a number.

        Left out is what no listener is to work off now: what is withheld, stuck, or put
        off by its listener on purpose.

        Args:
            most: the number at which to stop counting.
            now: the present in microseconds.
        """
        row = self._reader.row(_OWED, most=most, now=now)
        return int(row[0]) if row else 0

    def is_owed_any(self, subscription: int) -> bool:
        """Return whether a listener is owed anything that is not withheld."""
        return self._reader.row(_OWED_ANY, subscription=subscription) is not None

    def still_owed(self, owed: Owed) -> bool:
        """Look again whether a delivery is owed, after a change by hand."""
        row = self._reader.row(
            _STATE, event=owed.event_id, subscription=owed.subscription_id
        )
        return row is not None and row[0] in OWED

    def load(
        self,
        subscription: int,
        most: int,
        now: int,
        skip: Collection[int] = (),
        left_out: Collection[str] | None = None,
    ) -> Backlog:
        """Read a window: half at most are retries, the rest are new, in order.

        Args:
            subscription: the listener's subscription.
            most: how many to return at most.
            now: the present in microseconds.
            skip: event ids that are in memory already.
            left_out: for a listener that keeps an order, keys of which enough are in
                memory; None for one that keeps none.
        """
        with self._backlog.snapshot() as cursor:
            version = _VERSION.run(cursor).fetchone()[0]
            newest = _NEWEST.run(cursor).fetchone()[0]
            reach, half = len(skip), max(1, most // 2)
            # Half the window for retries, so that neither starves the other.
            again = _DUE_AGAIN.run(
                cursor, subscription=subscription, now=now, most=half + reach
            ).fetchall()
            if left_out is None:
                found = _NEW.run(cursor, subscription=subscription, most=most + reach)
            else:
                found = _NEW_UNBLOCKED.run(
                    cursor,
                    subscription=subscription,
                    most=most + reach,
                    left_out=json.dumps(list(left_out)),
                )
            fresh = found.fetchall()
            due = _NEXT_DUE.run(cursor, subscription=subscription, now=now).fetchone()[0]
            blocked = left_out is not None and (
                _ANY_BLOCKED.run(cursor, subscription=subscription).fetchone() is not None
            )
        retried = [row for row in again if row[0] not in skip]
        unseen = [row for row in fresh if row[0] not in skip]
        wanted = retried[:half]
        wanted += unseen[: most - len(wanted)]
        more = (
            len(again) == half + reach
            or len(fresh) == most + reach
            or len(retried) + len(unseen) > len(wanted)
        )
        rows = [_owed(subscription, row, version) for row in wanted]
        return Backlog(rows, more, due, blocked, newest)

    def gap(self, last: int) -> tuple[int, list[int]]:
        """Return the newest event and the subscriptions owed one after `last`."""
        with self._backlog.snapshot() as cursor:
            newest = _NEWEST.run(cursor).fetchone()[0]
            rows = _GAP.run(cursor, last=last).fetchall()
        return newest, [row[0] for row in rows]

    def suspects(self, crashes: int) -> list[Owed]:
        """Return owed deliveries in which the process ended so often in a row."""
        version = self.version()
        return [
            _owed(row[0], row[1:], version)
            for row in self._reader.rows(_SUSPECTS, crashes=crashes)
        ]

    def record(
        self, owed: Owed, attempt: Attempt, after: Callable[[], None] | None = None
    ) -> None:
        """Queue the result of an attempt; it goes along with the next commit.

        Args:
            owed: the delivery.
            attempt: what became of it.
            after: called once it is committed.
        """
        self._writer.ride(
            lambda cursor: record(cursor, owed.event_id, owed.subscription_id, attempt),
            None if after is None else lambda _: after(),
        )


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


def _owed(subscription: int, row: tuple[Any, ...], version: int) -> Owed:
    event_id, attempts, crashes, order_key, due, reason, admitted = row
    return Owed(
        event_id, subscription, attempts, crashes, order_key, due != 0, None, version,
        reason, bool(admitted),
    )  # fmt: skip
