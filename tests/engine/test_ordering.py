"""`ordered_by`: equal keys one after the other, and nothing else held up by that."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

import pytest

from py_agent import Agent, Discard, Event, Retry
from py_agent.lanes import Lane
from py_agent.registry import make_listener
from py_agent.store.attempts import Attempt
from py_agent.store.deliveries import Backlog, Owed
from py_agent.store.tables import State
from py_agent.testing import FakeClock

from .support import PATIENCE, WANTED, Calls, Gate, MakeAgent, StoreFile, publish, until


class Ledger:
    """A listener that notes the order within each key, and calls at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: set[str] = set()
        self.overlaps = 0
        self.order: dict[str, list[int]] = defaultdict(list)

    def __call__(self, event: Event) -> None:
        key = event.data["key"]
        with self._lock:
            self.overlaps += key in self._inside
            self._inside.add(key)
        with self._lock:
            self.order[key].append(event.data["number"])
            self._inside.discard(key)


def numbered(keys: int, each: int) -> list[tuple[str, str, Any]]:
    """Return events of so many keys, mixed, each key counted from 0."""
    return [
        ("t", f"{key}-{number}", {"key": f"k{key}", "number": number})
        for number in range(each)
        for key in range(keys)
    ]


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize(("keys", "each"), [(3, 400), (100, 12), (600, 2)])
def test_equal_keys_come_in_order_and_never_at_once(
    agent: Agent, store: StoreFile, concurrency: int, keys: int, each: int
) -> None:
    """Order holds with many slots, many keys, and far more than fits in memory."""
    ledger = Ledger()
    agent.add_listener(
        ledger, WANTED, name="l", ordered_by="data.key", concurrency=concurrency
    )
    agent.start()

    agent.handler.publish_many(numbered(keys, each))

    assert agent.drain(PATIENCE)
    assert store.states("l") == {"completed": keys * each}
    assert ledger.overlaps == 0
    assert list(ledger.order.values()) == [list(range(each))] * keys


def test_a_backlog_from_elsewhere_keeps_the_order(
    make_agent: MakeAgent, store: StoreFile
) -> None:
    """What another store handle publishes before and beside the agent is in order."""
    ledger = Ledger()
    agent, other = make_agent(), make_agent()
    for each in (agent, other):
        each.add_listener(ledger, WANTED, name="l", ordered_by="data.key", concurrency=8)
    events = numbered(5, 160)

    other.handler.publish_many(events[:300])
    agent.start()
    for at in range(300, 800, 20):
        publisher = agent if at % 40 else other
        publisher.handler.publish_many(events[at : at + 20])

    assert agent.drain(PATIENCE)
    assert store.states("l") == {"completed": 800}
    assert ledger.overlaps == 0
    assert list(ledger.order.values()) == [list(range(160))] * 5


def test_a_failing_key_holds_back_only_itself(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """The followers of a failed delivery wait for its retry; other keys do not."""
    order: list[str] = []

    def listener(event: Event) -> None:
        order.append(event.identifier)
        if event.identifier == "0-0" and order.count("0-0") < 3:
            raise Retry(after=10)

    agent.add_listener(listener, WANTED, name="l", ordered_by="data.key", concurrency=4)
    agent.start()
    agent.handler.publish_many(numbered(3, 300))

    assert agent.drain(PATIENCE)
    held = store.states("l")
    for _ in range(2):
        clock.advance(10)
        assert agent.drain(PATIENCE)

    assert held == {"retryable": 1, "available": 299, "completed": 600}
    assert store.states("l") == {"completed": 900}
    of_key = [each for each in order if each.startswith("0-")]
    assert of_key == ["0-0", "0-0", *(f"0-{number}" for number in range(300))]


def test_failures_at_random_never_break_the_order(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Each key's successes are in order, though every third attempt fails."""
    ledger = Ledger()
    tries = iter(range(10**9))

    def listener(event: Event) -> None:
        if next(tries) % 3 == 0:
            raise Retry(after=1, count=False)
        ledger(event)

    agent.add_listener(listener, WANTED, name="l", ordered_by="data.key", concurrency=8)
    agent.start()
    for event in numbered(8, 40):
        agent.handler.publish(*event)

    while set(store.states("l")) != {"completed"}:
        assert agent.drain(PATIENCE)
        clock.advance(1)

    assert list(ledger.order.values()) == [list(range(40))] * 8
    assert ledger.overlaps == 0


@pytest.mark.parametrize("hot", [1, 7])
def test_a_key_with_a_thousand_waiting_starves_no_other(
    agent: Agent, gate: Gate, store: StoreFile, hot: int
) -> None:
    """While hot keys hang with long queues behind them, another key is delivered."""
    other = Calls()

    def listener(event: Event) -> None:
        if event.data["key"] == "other":
            other(event)
        else:
            gate.hold()

    agent.add_listener(
        listener, WANTED, name="l", ordered_by="data.key", concurrency=hot + 1
    )
    agent.start()
    agent.handler.publish_many(numbered(hot, 1_000))
    for _ in range(hot):
        gate.await_entry()

    agent.handler.publish("t", "other", {"key": "other"})

    assert other.await_count(1) == ["other"]
    assert gate.most == hot
    gate.open()
    assert agent.drain(PATIENCE)
    assert store.states("l") == {"completed": hot * 1_000 + 1}


@pytest.mark.parametrize("backlog", [False, True], ids=["in memory", "from the store"])
def test_many_hot_keys_starve_no_other(agent: Agent, gate: Gate, backlog: bool) -> None:
    """Forty keys that hang, of 64 slots, leave the other slots to other keys."""
    other = Calls()

    def listener(event: Event) -> None:
        if event.data["key"] == "other":
            other(event)
        else:
            gate.hold()

    agent.add_listener(listener, WANTED, name="l", ordered_by="data.key", concurrency=64)
    if not backlog:
        agent.start()
    agent.handler.publish_many(numbered(40, 20))
    if backlog:
        agent.start()
    for _ in range(40):
        gate.await_entry()

    agent.handler.publish("t", "other", {"key": "other"})

    assert other.await_count(1) == ["other"]
    assert gate.most == 40


@pytest.mark.parametrize("data", [None, {}, {"key": None}, {"key": {}}])
def test_events_without_a_value_are_not_ordered(
    agent: Agent, gate: Gate, data: Any
) -> None:
    """A missing or null value at the path means no order: two run at once."""
    agent.add_listener(
        lambda event: gate.hold(), WANTED, name="l", ordered_by="data.key.id", concurrency=2
    )
    agent.start()

    publish(agent, 2, data=data)

    gate.await_entry()
    gate.await_entry()
    assert gate.most == 2


def test_a_dead_letter_frees_its_key(agent: Agent, store: StoreFile) -> None:
    """What follows a dead letter is delivered, in order."""
    seen: list[int] = []

    def listener(event: Event) -> None:
        if event.data["number"] < 2:
            raise Discard("bad")
        seen.append(event.data["number"])

    agent.add_listener(listener, WANTED, name="l", ordered_by="data.key", concurrency=4)
    agent.start()

    agent.handler.publish_many(numbered(1, 600))

    assert agent.drain(PATIENCE)
    assert seen == list(range(2, 600))
    assert store.states("l") == {"discarded": 2, "completed": 598}


def test_a_stuck_call_keeps_its_key_and_no_other(
    agent: Agent, gate: Gate, clock: FakeClock, store: StoreFile
) -> None:
    """The followers of a stuck call wait until it ends; other keys go on."""
    order: list[str] = []

    def listener(event: Event) -> None:
        if event.identifier == "0-0":
            gate.hold()
        order.append(event.identifier)

    agent.add_listener(listener, WANTED, name="l", ordered_by="data.key", timeout=10)
    agent.start()
    agent.handler.publish_many(numbered(2, 3))
    gate.await_entry()

    clock.advance(10)

    until(lambda: order == ["1-0", "1-1", "1-2"], agent)
    gate.open()
    until(lambda: store.states("l") == {"completed": 6}, agent)
    assert order[3:] == ["0-0", "0-1", "0-2"]


def owed(event_id: int) -> Owed:
    """Return a delivery of the one key of the tests below."""
    return Owed(event_id, 1, order_key='["k"]')


def test_a_window_read_before_a_failure_was_recorded_does_not_overtake_it() -> None:
    """A failure that is recorded while a window is read still holds back its key."""
    lane = Lane(make_listener(lambda event: None, {}, name="l", ordered_by="data.k"), 1)
    lane.begin_load()
    lane.fill(Backlog([owed(1)], True, None, False, 1))
    call = lane.take(now=0)
    assert call is not None
    lane.begin_load()  # now the window is read: 1 is still available in the store
    read = Backlog([owed(2)], False, None, False, 2)
    failed = Attempt(State.RETRYABLE, 1, at=0, due=5)
    lane.end(call, failed)
    lane.recorded(call.owed, failed)

    lane.fill(read)

    assert lane.take(now=0) is None
    assert lane.hungry(now=0), "the next window tells the truth"


def test_what_is_committed_just_after_a_failure_does_not_overtake_it() -> None:
    """A failure while a window is read holds back what is published before it is known."""
    lane = Lane(make_listener(lambda event: None, {}, name="l", ordered_by="data.k"), 1)
    lane.begin_load()
    lane.fill(Backlog([owed(1)], True, None, False, 1))
    call = lane.take(now=0)
    assert call is not None
    lane.begin_load()
    read = Backlog([], False, None, False, 1)
    failed = Attempt(State.RETRYABLE, 1, at=0, due=5)
    lane.end(call, failed)
    lane.fill(read)
    lane.recorded(call.owed, failed)

    lane.offer(owed(2))

    assert lane.take(now=0) is None
    assert lane.hungry(now=0)


def test_an_earlier_success_recorded_late_does_not_free_a_failing_key() -> None:
    """A success that is recorded after the next failure leaves its key held back."""
    lane = Lane(make_listener(lambda event: None, {}, name="l", ordered_by="data.k"), 1)
    lane.begin_load()
    lane.fill(Backlog([owed(1), owed(2)], True, None, False, 2))
    done, failed = Attempt(State.COMPLETED, 1, at=0), Attempt(State.RETRYABLE, 1, 0, due=5)
    first = lane.take(now=0)
    assert first is not None
    lane.end(first, done)
    second = lane.take(now=0)
    assert second is not None
    lane.end(second, failed)
    lane.recorded(first.owed, done)
    lane.begin_load()  # the failure of 2 is not in the store yet

    lane.fill(Backlog([owed(3)], False, None, False, 3))

    assert lane.take(now=0) is None
    assert lane.hungry(now=0)
