"""What became of deliveries in a stretch of time, counted by the database.

The answers are small, whatever a store holds; see `history`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import and_, case, func, literal_column, or_, select, text

from .stretch import Stretch, bin_of
from .tables import (
    DROPPED,
    OWED,
    State,
    attempt_errors,
    deliveries,
    events,
    subscriptions,
)

# Spelled as in the partial index, or SQLite does not see that the index applies.
_IS_DEAD = text("deliveries.state = 'discarded'")


class DeadLetter(NamedTuple):
    """A dead letter that nobody has dealt with."""

    event_id: int
    subscription_id: int
    listener: str
    event_type: str
    identifier: str
    at: int | None
    attempts: int
    reason: str | None
    kind: str | None
    message: str | None


class DeadGroup(NamedTuple):
    """Dead letters of one listener that died of the same kind of error."""

    listener: str
    cause: str
    how_many: int


class Failing(NamedTuple):
    """A delivery, and how often it failed."""

    listener: str
    event_type: str
    identifier: str
    how_many: int
    kind: str
    message: str
    state: str | None


class DeliveryHistory:
    """Counts deliveries, changing nothing.

    Args:
        stretch: of what time, and in which store.
    """

    def __init__(self, stretch: Stretch) -> None:
        self._stretch = stretch

    def latencies(self, edges: Sequence[int]) -> list[tuple[int, int, int, int]]:
        """Return (subscription, bin, count, longest) of completed deliveries.

        From the creation of the event to the end of the delivery; the edges are such
        lengths, and bin `BEFORE` has what ended before it began, by the clock.
        """
        length = deliveries.c.finished - events.c.created
        bin = bin_of(length, edges)
        query = (
            select(deliveries.c.subscription_id, bin, func.count(), func.max(length))
            .join(events, events.c.id == deliveries.c.event_id)
            .where(
                deliveries.c.event_id >= self._stretch.lowest,
                self._stretch.has_event,
                deliveries.c.state == State.COMPLETED,
                deliveries.c.finished.is_not(None),
            )
            .group_by(literal_column("1"), literal_column("2"))
        )
        return [(r[0], r[1], r[2], r[3]) for r in self._stretch.rows(query)]

    def owing(self, steps: int) -> list[tuple[int, int, int | None, int]]:
        """Return (subscription, step it began in, step it ended in, count) of deliveries.

        What began before is in step `BEFORE`; the end is None for what is owed still. An
        end before the beginning, by the clock, counts as the same moment.

        Args:
            steps: into how many equal steps the time is cut; see `step_length`.
        """
        began = func.min(events.c.created, self._stretch.end)
        finished = func.coalesce(deliveries.c.finished, events.c.created)
        ended = func.min(func.max(finished, events.c.created), self._stretch.end)
        owed = deliveries.c.state.in_(OWED)
        done = deliveries.c.state.in_((State.COMPLETED, State.DISCARDED))
        query = (
            select(
                deliveries.c.subscription_id,
                self._stretch.step_of(began, steps),
                case((owed, None), else_=self._stretch.step_of(ended, steps)),
                func.count(),
            )
            .join(events, events.c.id == deliveries.c.event_id)
            .where(or_(owed, and_(done, deliveries.c.finished >= self._stretch.start)))
            .group_by(*(literal_column(number) for number in "123"))
        )
        return [(r[0], r[1], r[2], r[3]) for r in self._stretch.rows(query)]

    def dead_letters(self, most: int) -> list[DeadLetter]:
        """Return dead letters, whenever they died, the latest first."""
        latest = _latest_error()
        query = (
            select(
                deliveries.c.event_id, deliveries.c.subscription_id,
                subscriptions.c.name, events.c.event_type, events.c.identifier,
                deliveries.c.finished, deliveries.c.attempts, deliveries.c.reason,
                attempt_errors.c.kind, attempt_errors.c.message,
            )
            .join(events, events.c.id == deliveries.c.event_id)
            .join(subscriptions, subscriptions.c.id == deliveries.c.subscription_id)
            .outerjoin(attempt_errors, attempt_errors.c.id == latest)
            .where(_IS_DEAD, func.coalesce(deliveries.c.reason, "") != DROPPED)
            .order_by(deliveries.c.finished.desc(), deliveries.c.event_id.desc())
            .limit(most)
        )  # fmt: skip
        return [DeadLetter(*row) for row in self._stretch.rows(query)]

    def dead_groups(self, most: int) -> list[DeadGroup]:
        """Return how many dead letters have the same listener and kind of error."""
        cause = func.coalesce(attempt_errors.c.kind, deliveries.c.reason, "no reason")
        query = (
            select(subscriptions.c.name, cause, func.count())
            .select_from(deliveries)
            .join(subscriptions, subscriptions.c.id == deliveries.c.subscription_id)
            .outerjoin(attempt_errors, attempt_errors.c.id == _latest_error())
            .where(_IS_DEAD, func.coalesce(deliveries.c.reason, "") != DROPPED)
            .group_by(subscriptions.c.name, cause)
            .order_by(func.count().desc(), subscriptions.c.name)
            .limit(most)
        )
        return [DeadGroup(*row) for row in self._stretch.rows(query)]

    def failing(self, most: int) -> list[Failing]:
        """Return the deliveries that failed most often, twice at least."""
        delivery = (attempt_errors.c.event_id, attempt_errors.c.subscription_id)
        each = (
            select(*delivery, func.count().label("n"),
                   func.max(attempt_errors.c.id).label("last"))
            .where(attempt_errors.c.at.between(self._stretch.start, self._stretch.end))
            .group_by(*delivery)
            .having(func.count() > 1)
            .order_by(func.count().desc(), func.max(attempt_errors.c.id).desc())
            .limit(most)
            .subquery()
        )  # fmt: skip
        query = (
            select(
                subscriptions.c.name, events.c.event_type, events.c.identifier, each.c.n,
                attempt_errors.c.kind, attempt_errors.c.message, deliveries.c.state,
            )
            .select_from(each)
            .join(events, events.c.id == each.c.event_id)
            .join(subscriptions, subscriptions.c.id == each.c.subscription_id)
            .join(attempt_errors, attempt_errors.c.id == each.c.last)
            .outerjoin(
                deliveries,
                and_(
                    deliveries.c.event_id == each.c.event_id,
                    deliveries.c.subscription_id == each.c.subscription_id,
                ),
            )
            .order_by(each.c.n.desc(), each.c.last.desc())
        )  # fmt: skip
        return [Failing(*row) for row in self._stretch.rows(query)]

    def listeners(self) -> dict[int, str]:
        """Return the names of all listeners, by the number of their subscription."""
        query = select(subscriptions.c.id, subscriptions.c.name)
        return {row[0]: row[1] for row in self._stretch.rows(query)}


def _latest_error() -> Any:
    return (
        select(func.max(attempt_errors.c.id))
        .where(
            attempt_errors.c.event_id == deliveries.c.event_id,
            attempt_errors.c.subscription_id == deliveries.c.subscription_id,
        )
        .correlate(deliveries)
        .scalar_subquery()
    )
