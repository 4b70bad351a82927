"""Every database: the data of old events is dropped, and nothing else of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from py_agent.clock import to_micros
from py_agent.errors import NotFoundError
from py_agent.failures import Failure
from py_agent.filters import compile_filter
from py_agent.store import by_hand, pruning
from py_agent.store.attempts import Attempt
from py_agent.store.deliveries import Owed
from py_agent.store.event_store import EventStore
from py_agent.store.tables import DROPPED, State
from py_agent.testing import FakeClock

from .support import EVERY, NOW, listener, of_type, start

MINE = listener("mine", of_type("order"))


def end(store: EventStore, event_id: int, state: State, reason: str | None = None) -> None:
    """Bring a delivery into a state."""
    failure = Failure("ValueError", "boom") if state is State.DISCARDED else None
    attempt = Attempt(state, 1, NOW, reason=reason, failure=failure)
    store.deliveries.record(Owed(event_id, 1), attempt)
    store.writer.flush()


def prune(store: EventStore, clock: FakeClock) -> int:
    """Drop the data of all that is older than now; return of how many events."""
    found = pruning.old_events(store, to_micros(clock.now()))
    return sum(pruning.prune(store, ids) for ids in found)


def has_data(store: EventStore) -> dict[str, bool]:
    """Return which events have their data."""
    return {event.identifier: not event.pruned for event in store.query(EVERY)}


def test_old_events_lose_their_data_and_stay_known(
    store: EventStore, clock: FakeClock
) -> None:
    """Given old and new events, When pruned, Then the old ones are known without data."""
    for number in range(3):
        store.publish("reading", str(number), {"n": number})
    clock.advance(days=1)
    store.publish("reading", "new", {"n": 9})

    assert prune(store, clock) == 3
    assert has_data(store) == {"0": False, "1": False, "2": False, "new": True}
    again = store.publish("reading", "1", {"n": "another"})
    assert not again.new
    assert (again.event.pruned, again.event.data) == (True, None)
    assert prune(store, clock) == 0


def test_data_of_nothing_is_data(store: EventStore, clock: FakeClock) -> None:
    """Given an event that was published without data, Then it counts as whole."""
    store.publish("reading", "1")
    assert has_data(store) == {"1": True}
    clock.advance(days=1)
    assert prune(store, clock) == 1


@pytest.mark.parametrize(
    ("state", "reason", "needed"),
    [
        (State.COMPLETED, None, False), (State.DISCARDED, DROPPED, False),
        (State.DISCARDED, None, True), (State.RETRYABLE, None, True),
        (State.AVAILABLE, None, True), (State.RUNNING, None, True),
        (State.PARKED, None, True),
    ],
)  # fmt: skip
def test_what_is_still_of_use_keeps_its_data(
    store: EventStore, clock: FakeClock, state: State, reason: str | None, needed: bool
) -> None:
    """Given a delivery in a state, When pruned, Then only what is done with is dropped."""
    start(store, MINE)
    store.publish("order", "1", {"n": 1})
    end(store, 1, state, reason)
    clock.advance(days=1)

    prune(store, clock)
    assert has_data(store) == {"1": needed}


def test_many_are_dropped_some_at_a_time(
    store: EventStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given more than one page of events, When pruned, Then each is dropped once."""
    monkeypatch.setattr(pruning, "AT_ONCE", 3)
    count = pruning.LOOKED_AT + 5
    store.publish_many(("reading", str(n), n) for n in range(count))
    clock.advance(days=1)

    sizes = [len(ids) for ids in pruning.old_events(store, to_micros(clock.now()))]
    assert (sum(sizes), max(sizes)) == (count, 3)
    assert prune(store, clock) == count
    assert not any(has_data(store).values())


def test_a_pruned_event_is_not_delivered_again(store: EventStore, clock: FakeClock) -> None:
    """Given a pruned event, When asked for by hand, Then it is refused or left out."""
    start(store, MINE)
    store.publish("order", "1", {"n": 1})
    end(store, 1, State.COMPLETED)
    clock.advance(days=1)
    prune(store, clock)
    start(store, MINE, listener("later", of_type("order")))

    with pytest.raises(NotFoundError, match=r"1\.1 .*its event was dropped"):
        by_hand.redeliver(store, [(1, 1)])
    assert by_hand.replay(store, "later", EVERY) == 0


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ({"identifier": ("==", "1")}, 1), ({"data.n": ("==", 1)}, 0),
        ({"data.n": ("exists", False)}, 1), ({"data.name": ("==", "tea")}, 0),
    ],
)  # fmt: skip
def test_a_query_finds_no_data_in_pruned_events(
    store: EventStore, clock: FakeClock, match: dict[str, Any], found: int
) -> None:
    """Given a pruned event, When asked for by its data, Then it has none."""
    store.publish("order", "1", {"n": 1, "name": "tea"})
    clock.advance(days=1)
    prune(store, clock)
    assert len([*store.query(compile_filter(match))]) == found


def test_a_store_of_another_process_sees_it(
    store: EventStore, open_store: Callable[[], EventStore], clock: FakeClock
) -> None:
    """Given a pruned event, When another process opens the store, Then it knows it."""
    store.publish("order", "1", {"n": 1})
    clock.advance(days=1)
    prune(store, clock)
    assert not open_store().publish("order", "1", {"n": 2}).new
