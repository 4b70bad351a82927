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
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    func,
    literal_column,
    select,
)

from .listing import Listing, connected
from .tables import events, runs

BEFORE = -1  # the bin of what lies before the first edge


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
        self.lowest = self._lowest_event()
        self.has_event = and_(
            events.c.id >= self.lowest, events.c.created.between(start, end)
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

    def _lowest_event(self) -> int:
        """Return the number of the first event inside; no clock tells it, only a look."""
        query = select(func.min(events.c.id)).where(events.c.created >= self.start)
        found = self._connection.execute(query).scalar()
        return 0 if found is None else int(found)


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
    query = select(
        select(func.min(events.c.created)).scalar_subquery(),
        select(func.min(runs.c.started)).scalar_subquery(),
    )
    found = [each for each in connection.execute(query).one() if each is not None]
    return min(found, default=None)


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
