"""What was published and which jobs ran in a stretch of time, counted by the database.

Whatever a store holds, the answers are small: moments are sorted into bins where they
lie, and lists have a length at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, literal_column, or_, select

from .stretch import Stretch, bin_of
from .tables import Outcome, events, runs

MOST_SPANS = 500  # long runs that are told one by one

_TROUBLE = (Outcome.FAILED, Outcome.CRASHED)


class TypeCount(NamedTuple):
    """An event type: how many events, the first and the last of them."""

    event_type: str
    how_many: int
    first: int
    last: int


class Types(NamedTuple):
    """Event types, the busiest first, and how much there is in all."""

    rows: list[TypeCount]
    types: int
    events: int


class RunSums(NamedTuple):
    """All runs of a job that ended in one way, and what they did."""

    job: str
    outcome: str
    how_many: int
    published: int
    duplicates: int
    skips: int


class Span(NamedTuple):
    """A long run; `finished` is None while it goes on."""

    job: str
    started: int
    finished: int | None


class Trouble(NamedTuple):
    """The last run of a job that failed or crashed."""

    job: str
    at: int
    outcome: str
    error: str | None


class Busy(NamedTuple):
    """An identifier with events of several types."""

    identifier: str
    how_many: int
    last: int


class History:
    """Counts events and runs, changing nothing.

    Args:
        stretch: of what time, and in which store.
    """

    def __init__(self, stretch: Stretch) -> None:
        self._stretch = stretch

    def types(self, most: int) -> Types:
        """Return the event types with the most events."""
        # Not the bare column: by its index, each event would be looked up by itself.
        name = func.coalesce(events.c.event_type, "")
        each = (
            select(
                name.label("name"), func.count().label("n"),
                func.min(events.c.created).label("first"),
                func.max(events.c.created).label("last"),
            )
            .where(self._stretch.has_event)
            .group_by(name)
            .subquery()
        )  # fmt: skip
        query = select(
            each.c.name, each.c.n, each.c.first, each.c.last,
            func.count().over(), func.sum(each.c.n).over(),
        )  # fmt: skip
        found = self._stretch.rows(query.order_by(each.c.n.desc(), each.c.name).limit(most))
        if not found:
            return Types([], 0, 0)
        return Types([TypeCount(*row[:4]) for row in found], found[0][4], found[0][5])

    def events(
        self, edges: Sequence[int], types: Sequence[str]
    ) -> list[tuple[str | None, int, int]]:
        """Return (event type, bin, count); None is all types that are not named."""
        name = case((events.c.event_type.in_(types), events.c.event_type))
        bin = bin_of(events.c.created, edges)
        query = select(name, bin, func.count()).where(self._stretch.has_event)
        return [
            (row[0], row[1], row[2])
            for row in self._stretch.rows(
                query.group_by(literal_column("1"), literal_column("2"))
            )
        ]

    def ahead(self) -> int:
        """Return how many events are dated after the present."""
        query = select(func.count()).where(events.c.created > self._stretch.end)
        return int(self._stretch.rows(query.select_from(events))[0][0])

    def sources(self, most: int) -> list[tuple[str | None, int]]:
        """Return (job or listener, how many events it published); None is by hand."""
        query = select(events.c.source, func.count()).where(self._stretch.has_event)
        ordered = query.group_by(events.c.source).order_by(func.count().desc())
        return [(row[0], row[1]) for row in self._stretch.rows(ordered.limit(most))]

    def busy(self, most: int) -> list[Busy]:
        """Return the identifiers under which the most event types were published."""
        query = (
            select(events.c.identifier, func.count(), func.max(events.c.created))
            .where(self._stretch.has_event)
            .group_by(events.c.identifier)
            .having(func.count() > 1)
            .order_by(func.count().desc(), events.c.identifier)
            .limit(most)
        )
        return [Busy(*row) for row in self._stretch.rows(query)]

    def runs(self, edges: Sequence[int]) -> list[tuple[str, int, str, int]]:
        """Return (job, bin of the end, outcome, count) of the runs that have ended."""
        bin = bin_of(_ended(), edges)
        query = select(runs.c.job, bin, runs.c.outcome, func.count()).where(
            self._ended_inside()
        )
        grouped = query.group_by(*(literal_column(number) for number in "123"))
        return [(r[0], r[1], r[2], r[3]) for r in self._stretch.rows(grouped)]

    def run_sums(self) -> list[RunSums]:
        """Return what the runs of each job came to; those that go on are among them."""
        sums = (runs.c.published, runs.c.duplicates, runs.c.skips)
        query = select(
            runs.c.job, runs.c.outcome, func.count(), *(func.sum(each) for each in sums)
        ).where(or_(self._ended_inside(), runs.c.outcome == Outcome.RUNNING))
        return [
            RunSums(*row)
            for row in self._stretch.rows(query.group_by(runs.c.job, runs.c.outcome))
        ]

    def spans(self, least: int) -> list[Span]:
        """Return the runs that go on, or took so many microseconds at least."""
        long = and_(
            runs.c.finished >= self._stretch.start,
            runs.c.finished - runs.c.started >= least,
        )
        query = (
            select(runs.c.job, runs.c.started, runs.c.finished)
            .where(or_(runs.c.outcome == Outcome.RUNNING, long))
            .order_by(runs.c.id.desc())
            .limit(MOST_SPANS)
        )
        found = self._stretch.rows(query)
        return [Span(r[0], int(r[1]), None if r[2] is None else int(r[2])) for r in found]

    def troubles(self) -> list[Trouble]:
        """Return the last run of each job that failed or crashed."""
        last = (
            select(func.max(runs.c.id))
            .where(self._ended_inside(), runs.c.outcome.in_(_TROUBLE))
            .group_by(runs.c.job)
        )
        query = select(runs.c.job, _ended(), runs.c.outcome, runs.c.error)
        return [
            Trouble(*row) for row in self._stretch.rows(query.where(runs.c.id.in_(last)))
        ]

    def _ended_inside(self) -> ColumnElement[bool]:
        ended = _ended().between(self._stretch.start, self._stretch.end)
        return and_(ended, runs.c.outcome != Outcome.RUNNING)


def _ended() -> ColumnElement[Any]:
    """The moment that a run belongs to: its end, where it has one."""
    return func.coalesce(runs.c.finished, runs.c.started)
