"""A stretch of time in a store, read as of one moment, and its cutting into bins.

Moments are microseconds. A bin is told by its number: bin `n` is from `edges[n]` until
just before `edges[n + 1]`, and the database sorts each moment into its bin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    func,
    literal_column,
    or_,
    select,
    text,
)

from .listing import Listing, connected
from .tables import Outcome, events, runs

BEFORE = -1  # the bin of what lies before the first edge
BLOCK = 10_000  # rows; a clock that was wrong for fewer of them misleads nobody

# Spelled as in the partial index, or SQLite does not see that the index applies.
_IS_OPEN = text("runs.outcome = 'running'")


class Stretch:
    """A stretch of time in a store.

    Args:
        connection: a connection to it.
        start: the first moment.
        end: the present; what is dated after it has been dated by a clock that was set
            back since.
    """

    def __init__(self, connection: Connection, start: int, end: int) -> None:
        self._connection = connection
        self.start, self.end = start, end
        self.lowest = _lowest(connection, events.c.id, events.c.created, start)
        self.has_event = and_(
            events.c.id >= self.lowest, events.c.created.between(start, end)
        )
        lowest_run = _lowest(connection, runs.c.id, runs.c.started, start)
        self.may_have_run = or_(
            runs.c.id >= lowest_run, runs.c.id.in_(_reaching(connection, lowest_run))
        )

    def rows(self, query: Select[Any]) -> list[Any]:
        """Return the rows of a query."""
        return list(self._connection.execute(query))

    def step_length(self, steps: int) -> int:
        """Return the microseconds of each of so many equal steps."""
        return max(1, -(-(self.end - self.start + 1) // steps))

    def step_of(self, moment: ColumnElement[Any], steps: int) -> ColumnElement[Any]:
        """Return the number of the step that a moment is in.

        Equal steps are counted, not searched: that takes a quarter of the time.
        """
        number = (moment - self.start) // self.step_length(steps)
        return case((moment < self.start, literal_column(str(BEFORE))), else_=number)


@contextmanager
def looking_back(path: Path) -> Iterator[tuple[Listing, Connection]]:
    """Open a store to read all that follows as of one moment, beside a running agent.

    Raises:
        StoreMissingError: there is none.
        StoreError: it cannot be read.
    """
    with connected(path) as connection:
        connection.exec_driver_sql("BEGIN")
        yield Listing(path, connection), connection


def first_moment(connection: Connection) -> int | None:
    """Return when the first event was created or the first run began."""
    found = []
    for key, moment in ((events.c.id, events.c.created), (runs.c.id, runs.c.started)):
        first = select(moment).order_by(key).limit(BLOCK).subquery()
        found.append(connection.execute(select(func.min(first.c[0]))).scalar())
    return min((each for each in found if each is not None), default=None)


def _lowest(
    connection: Connection, key: Column[Any], moment: Column[Any], start: int
) -> int:
    """Return a number such that no row below it is dated `start` or later.

    Moments have no index, but they grow with the numbers, as long as no clock is set
    back; so the place is found by halving, and what stands before it is looked at.
    """
    last = connection.execute(select(func.max(key))).scalar() or 0
    low, high = 0, int(last) + 1
    while low < high:
        middle = (low + high) // 2
        probe = select(key, moment).where(key >= middle).order_by(key).limit(1)
        row = connection.execute(probe).first()
        if row is None or row[1] >= start:
            high = middle
        else:
            low = int(row[0]) + 1
    while (begin := _block_before(connection, key, moment, low, start)) is not None:
        low = begin
    return low


def _block_before(
    connection: Connection, key: Column[Any], moment: Column[Any], low: int, start: int
) -> int | None:
    """Return where the rows just before one begin; None if all are dated before `start`."""
    block = (
        select(key.label("key"), moment.label("moment"))
        .where(key < low)
        .order_by(key.desc())
        .limit(BLOCK)
        .subquery()
    )
    query = select(func.min(block.c.key), func.max(block.c.moment))
    begin, latest = connection.execute(query).one()
    return int(begin) if latest is not None and latest >= start else None


def _reaching(connection: Connection, lowest: int) -> list[int]:
    """Return the runs from before one that may have ended after it began, or go on.

    A job never overlaps itself, so that is the last run of each; the jobs are found by
    stepping from name to name in the index.
    """
    first = select(func.min(runs.c.job).label("job")).cte("names", recursive=True)
    following = select(func.min(runs.c.job)).where(runs.c.job > first.c.job)
    names = first.union_all(
        select(following.correlate(first).scalar_subquery()).where(first.c.job.is_not(None))
    )
    last = (
        select(runs.c.id)
        .where(
            runs.c.job == names.c.job,
            runs.c.id < lowest,
            runs.c.outcome != Outcome.SKIPPED,
        )
        .order_by(runs.c.id.desc())
        .limit(1)
        .correlate(names)
        .scalar_subquery()
    )
    found = connection.execute(select(last).select_from(names)).scalars().all()
    still_open = connection.execute(select(runs.c.id).where(_IS_OPEN)).scalars().all()
    return sorted({int(each) for each in (*found, *still_open) if each is not None})


def bin_of(value: ColumnElement[Any], edges: Sequence[int]) -> ColumnElement[Any]:
    """Return the number of the bin that a value is in, found by halving.

    What lies after the last edge is in the last bin.

    Args:
        value: what is sorted.
        edges: the edges, in order; two at least.
    """
    last = len(edges) - 2
    inside = _halves(value, edges, 0, last)
    return case((value < edges[0], literal_column(str(BEFORE))), else_=inside)


def _halves(
    value: ColumnElement[Any], edges: Sequence[int], low: int, high: int
) -> ColumnElement[Any]:
    if low == high:
        return literal_column(str(low))
    middle = (low + high + 1) // 2
    return case(
        (value < edges[middle], _halves(value, edges, low, middle - 1)),
        else_=_halves(value, edges, middle, high),
    )
