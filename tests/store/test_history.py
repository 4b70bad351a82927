"""What happened in a stretch of time, counted by the database as by hand."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from py_agent.clock import to_micros
from py_agent.failures import Failure
from py_agent.store import by_hand
from py_agent.store.deliveries import Attempt, record
from py_agent.store.delivery_history import DeliveryHistory
from py_agent.store.event_store import EventStore
from py_agent.store.history import History, Trouble
from py_agent.store.runs import RunResult
from py_agent.store.stretch import BEFORE, Stretch, first_moment, looking_back
from py_agent.store.tables import Outcome, State
from py_agent.testing import FakeClock

from .support import listener, of_type, start

SECOND = 1_000_000


class Look(NamedTuple):
    """The two histories of one stretch, and where it lies."""

    history: History
    made: DeliveryHistory
    start: int
    end: int

    def edges(self, count: int = 7) -> list[int]:
        """Return the edges of bins that are not all of one length."""
        length = self.end - self.start
        return [self.start + length * n * n // count**2 for n in range(count)] + [self.end]


@pytest.fixture
def begin(clock: FakeClock) -> datetime:
    """When the stretch begins."""
    return clock.now()


class Looking:
    """Looks at a store, from the beginning until the present of its clock."""

    def __init__(self, path: Path, clock: FakeClock, begin: datetime) -> None:
        self._path, self._clock, self._begin = path, clock, begin

    @contextmanager
    def __call__(self, store: EventStore) -> Iterator[Look]:
        store.writer.flush()
        begin, end = to_micros(self._begin), to_micros(self._clock.now())
        with looking_back(self._path) as (_, connection):
            stretch = Stretch(connection, begin, end)
            yield Look(History(stretch), DeliveryHistory(stretch), begin, end)


@pytest.fixture
def looking(path: Path, clock: FakeClock, begin: datetime) -> Looking:
    return Looking(path, clock, begin)


def bin_by_hand(value: int, edges: list[int]) -> int:
    return max(n for n in range(len(edges) - 1) if value >= edges[n])


def finish(store: EventStore, event: int, subscription: int, at: int) -> None:
    attempt = Attempt(State.COMPLETED, 1, at)
    store.writer.ride(lambda cursor: record(cursor, event, subscription, attempt))


def fail(store: EventStore, event: int, at: int, state: State, attempts: int = 1) -> None:
    attempt = Attempt(state, attempts, at, reason="gave up", failure=Failure("E", "no"))
    store.writer.ride(lambda cursor: record(cursor, event, 1, attempt))


def test_an_empty_store_has_no_history(store: EventStore, looking: Looking) -> None:
    """Given nothing, When counted, Then all is empty, and nothing fails."""
    with looking(store) as look:
        edges = look.edges()
        assert look.history.types(3) == ([], 0, 0)
        assert look.history.events(edges, []) == look.history.runs(edges) == []
        assert look.history.sources(3) == look.history.busy(3) == []
        assert look.history.run_sums() == look.history.spans(1) == []
        assert look.history.ahead() == 0
        assert look.made.owing(9) == look.made.latencies([0, 1, 2]) == []
        assert look.made.dead_letters(3) == look.made.dead_groups(3) == []


def test_every_event_is_in_one_bin(
    store: EventStore, clock: FakeClock, looking: Looking
) -> None:
    """Given events of several types, When counted, Then each bin has those by hand."""
    chance, wanted = random.Random(3), []
    for number in range(300):
        clock.advance(seconds=chance.expovariate(0.1))
        kind = chance.choice("aaabbcde")
        store.publish(kind, str(number))
        wanted.append((kind, to_micros(clock.now())))
    with looking(store) as look:
        types = look.history.types(2)
        assert [(row.event_type, row.how_many) for row in types.rows] == Counter(
            kind for kind, _ in wanted
        ).most_common(2)
        assert (types.types, types.events) == (5, 300)
        edges = look.edges()
        counted = {
            (kind, bin): n for kind, bin, n in look.history.events(edges, ["a", "b"])
        }
        assert counted == Counter(
            (kind if kind in "ab" else None, bin_by_hand(at, edges)) for kind, at in wanted
        )


def test_what_lies_outside_is_left_out(
    store: EventStore, clock: FakeClock, begin: datetime, looking: Looking, path: Path
) -> None:
    """Given events from before, and from a clock that was ahead, When counted, Then those
    within are, and those dated after now are told apart.
    """
    for days, identifier in ((-9, "before"), (400, "ahead"), (1, "inside"), (2, "now")):
        clock.set_wall_clock(begin + timedelta(days=days))
        store.publish("a", identifier)
    with looking(store) as look:
        assert look.history.types(9).events == 2
        assert look.history.ahead() == 1
    with looking_back(path) as (_, connection):
        assert first_moment(connection) == to_micros(begin - timedelta(days=9))


def test_runs_are_counted_where_they_ended(
    store: EventStore, clock: FakeClock, looking: Looking
) -> None:
    """Given runs, When counted, Then by job, outcome and the bin of their end."""
    first = to_micros(clock.now())
    for number in range(6):
        run = store.runs.open("a", first + number * SECOND)
        outcome = Outcome.FAILED if number == 4 else Outcome.COMPLETED
        failure = Failure("E", "no") if number == 4 else None
        end = first + (number + 2) * SECOND
        store.runs.close(run, RunResult(outcome, end, 2, 3, failure))
    store.runs.open("long", first + SECOND)
    store.runs.skip("b", first + SECOND, None)
    clock.advance(seconds=60)
    with looking(store) as look:
        edges = [look.start, look.start + 5 * SECOND, look.end]
        assert sorted(look.history.runs(edges)) == [
            ("a", 0, "completed", 3), ("a", 1, "completed", 2), ("a", 1, "failed", 1),
            ("b", 0, "skipped", 1),
        ]  # fmt: skip
        sums = {(row.job, row.outcome): row[2:] for row in look.history.run_sums()}
        assert sums["a", "completed"] == (5, 10, 15, 0)
        assert sums["b", "skipped"] == (1, 0, 0, 1)
        assert sums["long", "running"][0] == 1
        assert look.history.spans(10 * SECOND) == [("long", first + SECOND, None)]
        (trouble,) = look.history.troubles()
        assert trouble == Trouble("a", first + 6 * SECOND, "failed", "E: no")


def test_lengths_are_from_creation_to_end(
    store: EventStore, clock: FakeClock, looking: Looking
) -> None:
    """Given deliveries, When counted by length, Then those that ended are, and an end
    before the beginning is apart.
    """
    start(store, listener("all"))
    for number in range(4):
        store.publish("a", str(number))
    at = to_micros(clock.now())
    for event, length in ((1, 5), (2, 15), (3, -9)):
        finish(store, event, 1, at + length)
    clock.advance(seconds=1)
    with looking(store) as look:
        found = {bin: n for _, bin, n, _ in look.made.latencies([0, 10, 20])}
        assert found == {0: 1, 1: 1, BEFORE: 1}


def test_what_is_owed_adds_up_to_the_present(
    store: EventStore, clock: FakeClock, looking: Looking
) -> None:
    """Given deliveries that ended and some that did not, When counted, Then the ends and
    beginnings give what is owed, whatever the clock did.
    """
    start(store, listener("all"), listener("b", of_type("b")))
    clock.set_wall_clock(clock.now() - timedelta(days=1))
    store.publish("a", "from before")
    clock.set_wall_clock(clock.now() + timedelta(days=1, seconds=10))
    for number in range(4):
        store.publish("b", str(number))
    at = to_micros(clock.now())
    finish(store, 1, 1, at + SECOND)
    finish(store, 2, 1, at - 8 * SECOND)  # by a clock that was set back
    fail(store, 3, at + 2 * SECOND, State.DISCARDED)
    fail(store, 4, at, State.RETRYABLE)
    clock.advance(seconds=10)
    with looking(store) as look:
        found = sorted(look.made.owing(20), key=str)
        assert all(ended is None or began <= ended for _, began, ended, _ in found)
        owed = Counter[int]()
        for subscription, _, ended, how_many in found:
            owed[subscription] += how_many if ended is None else 0
        assert owed == {1: 2, 2: 4}
        assert (1, BEFORE, 10, 1) in [(s, b, e, n) for s, b, e, n in found]


def test_dead_letters_are_told_with_their_last_error(
    store: EventStore, clock: FakeClock, looking: Looking
) -> None:
    """Given dead letters, When told, Then the latest first, without those dropped."""
    start(store, listener("all"))
    for number in range(4):
        store.publish("a", str(number))
    at = to_micros(clock.now())
    for event in (1, 2, 3):
        fail(store, event, at + event, State.RETRYABLE)
        fail(store, event, at + event, State.DISCARDED, attempts=2)
    store.writer.flush()
    by_hand.discard(store, [(2, 1)])
    clock.advance(seconds=1)
    with looking(store) as look:
        found = look.made.dead_letters(9)
        assert [(row.event_id, row.identifier) for row in found] == [(3, "2"), (1, "0")]
        assert (found[0].kind, found[0].reason, found[0].attempts) == ("E", "gave up", 2)
        assert look.made.dead_letters(1) == found[:1]
        assert look.made.dead_groups(9) == [("all", "E", 2)]
        failing = look.made.failing(9)
        assert {row.identifier: row.how_many for row in failing} == {"0": 2, "1": 2, "2": 2}


def test_names_that_stand_out(
    store: EventStore, clock: FakeClock, looking: Looking
) -> None:
    """Given an identifier of several types and a publisher, When asked, Then both come."""
    for kind, identifier in (("a", "7"), ("b", "7"), ("a", "8")):
        store.publish(kind, identifier, source="job")
    store.publish("c", "9")
    with looking(store) as look:
        (busy,) = look.history.busy(9)
        assert (busy.identifier, busy.how_many) == ("7", 2)
        assert look.history.sources(9) == [("job", 3), (None, 1)]


def test_all_is_read_as_of_one_moment(
    store: EventStore, clock: FakeClock, looking: Looking
) -> None:
    """Given a look that has begun, When events are published, Then it sees none of them."""
    store.publish("a", "1")
    with looking(store) as look:
        store.publish("a", "2")
        assert look.history.types(9).events == 1
