"""How many calls run at once, and what becomes of those that hang."""

from __future__ import annotations

import threading

import pytest

from py_agent import Agent, Event, Pause, RetryPolicy
from py_agent.lanes import MAX_REPLACED
from py_agent.testing import FakeClock

from .support import (
    PATIENCE,
    WANTED,
    Calls,
    Gate,
    MakeAgent,
    MakeGate,
    StoreFile,
    publish,
    until,
)


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_concurrency_is_reached_and_never_exceeded(
    agent: Agent, gate: Gate, store: StoreFile, concurrency: int
) -> None:
    """N calls of a listener run at once, and never one more."""
    together = threading.Barrier(concurrency)

    def listener(event: Event) -> None:
        gate.hold()
        together.wait(PATIENCE)

    agent.add_listener(listener, WANTED, name="l", concurrency=concurrency)
    agent.start()
    publish(agent, concurrency * 5)
    for _ in range(concurrency):
        gate.await_entry()
    assert not agent.drain(0.05)
    crowd = gate.most

    gate.open()

    assert agent.drain(PATIENCE)
    assert crowd == gate.most == concurrency
    assert store.states("l") == {"completed": concurrency * 5}


def test_the_limit_is_each_listeners_own(agent: Agent, gate: Gate) -> None:
    """Three listeners with one slot each run three calls at once."""
    for name in "abc":
        agent.add_listener(lambda event: gate.hold(), WANTED, name=name)
    agent.start()

    publish(agent, 4)

    for _ in range(3):
        gate.await_entry()
    assert not agent.drain(0.05)
    assert gate.most == 3


def test_hung_calls_of_one_listener_starve_nobody(
    agent: Agent, gate: Gate, store: StoreFile
) -> None:
    """64 hung calls of one listener leave another free to complete a thousand."""
    works = Calls()
    agent.add_listener(lambda event: gate.hold(), WANTED, name="hangs", concurrency=64)
    agent.add_listener(works, WANTED, name="works")
    agent.start()

    publish(agent, 1_000)

    for _ in range(64):
        gate.await_entry()
    assert works.await_count(1_000) == [str(number) for number in range(1, 1_001)]
    until(lambda: store.states("works") == {"completed": 1_000}, agent)
    assert gate.untouched
    gate.open()
    assert agent.drain(PATIENCE)
    assert store.states("hangs") == {"completed": 1_000}


def hang(agent: Agent, gate: Gate, clock: FakeClock, calls: int) -> list[str]:
    """Let so many calls, each with a timeout of 10 seconds, hang past it."""
    entered = []
    for _ in range(calls):
        entered.append(gate.await_entry())
        clock.advance(10)
    assert agent.drain(PATIENCE), "a stuck call is not waited for"
    return entered


def test_a_stuck_call_gets_a_replacement(
    agent: Agent, gate: Gate, clock: FakeClock, store: StoreFile
) -> None:
    """Past its timeout a call is stuck, its delivery stays running, and others go on."""

    def listener(event: Event) -> None:
        if event.identifier == "1":
            gate.hold()

    agent.add_listener(listener, WANTED, name="l", timeout=10)
    agent.start()
    publish(agent, 50)

    hang(agent, gate, clock, 1)

    until(lambda: store.states("l") == {"running": 1, "completed": 49}, agent)
    assert store.errors("l") == ["Stuck: it does not end after 10 s"]
    clock.advance(hours=5)
    assert agent.drain(PATIENCE)
    assert gate.untouched, "a stuck delivery is not tried again while it runs"


def test_after_four_replacements_a_listener_is_paused(
    agent: Agent, gate: Gate, clock: FakeClock, store: StoreFile
) -> None:
    """The fifth stuck call pauses its listener; another one goes on."""
    works = Calls()
    agent.add_listener(
        lambda event: gate.hold(event.identifier), WANTED, name="hangs", timeout=10
    )
    agent.add_listener(works, WANTED, name="works")
    agent.start()
    publish(agent, 9)

    entered = hang(agent, gate, clock, MAX_REPLACED + 1)

    assert entered == ["1", "2", "3", "4", "5"]
    until(lambda: store.paused("hangs"), agent)
    assert agent.drain(PATIENCE)
    assert gate.untouched
    assert store.states("hangs") == {"running": 5, "available": 4}
    assert store.states("works") == {"completed": 9}


def test_a_stuck_call_that_ends_late_is_recorded_and_the_listener_goes_on(
    agent: Agent, gate: Gate, clock: FakeClock, store: StoreFile
) -> None:
    """When stuck calls end, their results count, the pause ends, the rest is done."""
    agent.add_listener(
        lambda event: gate.hold(event.identifier), WANTED, name="l", timeout=10
    )
    agent.start()
    publish(agent, 9)
    hang(agent, gate, clock, MAX_REPLACED + 1)
    until(lambda: store.paused("l"), agent)

    gate.open()

    until(lambda: store.states("l") == {"completed": 9}, agent)
    assert not store.paused("l")
    assert sorted(store.errors("l")) == ["Stuck: it does not end after 10 s"] * 5


def test_a_stuck_call_that_fails_late_is_tried_again(
    agent: Agent, gate: Gate, clock: FakeClock, store: StoreFile
) -> None:
    """The late error counts as the attempt's result; then comes the retry."""
    late = [RuntimeError("late")]

    def listener(event: Event) -> None:
        gate.hold()
        if late:
            raise late.pop()

    agent.add_listener(listener, WANTED, name="l", timeout=10, retry=RetryPolicy(first=1))
    agent.start()
    publish(agent, 1)
    hang(agent, gate, clock, 1)

    gate.open()

    until(lambda: store.states("l") == {"retryable": 1}, agent)
    clock.advance(10)
    assert agent.drain(PATIENCE)
    assert store.delivery("l")["state"] == "completed"
    assert store.delivery("l")["attempts"] == 2


def test_a_pause_asked_for_outlasts_the_end_of_a_stuck_call(
    agent: Agent, make_gate: MakeGate, clock: FakeClock, store: StoreFile
) -> None:
    """Pause until resumed by hand is not undone because a stuck call ended late."""
    stuck, pausing, asked = make_gate(), make_gate(), Calls()

    def listener(event: Event) -> None:
        if event.identifier == "1":
            stuck.hold()
        else:
            asked.note(event.identifier)
            pausing.hold()
            raise Pause("until a person looks")

    agent.add_listener(listener, WANTED, name="l", timeout=10, concurrency=2)
    agent.start()
    publish(agent, 1)
    hang(agent, stuck, clock, 1)
    agent.handler.publish("t", "2")
    pausing.await_entry()
    pausing.open()
    until(lambda: store.paused("l"), agent)

    stuck.open()

    until(lambda: store.delivery("l", "1")["state"] == "completed", agent)
    agent.handler.publish("t", "3")
    assert agent.drain(PATIENCE)
    assert store.paused("l")
    assert asked.seen == ["2"]
    assert store.states("l") == {"completed": 1, "available": 2}


def test_too_many_stuck_calls_are_forgiven_with_the_next_process(
    make_agent: MakeAgent, gate: Gate, clock: FakeClock, store: StoreFile
) -> None:
    """A restart ends that pause, and the stuck deliveries are tried again."""
    agent = make_agent(grace=0)
    agent.add_listener(
        lambda event: gate.hold(event.identifier), WANTED, name="l", timeout=10
    )
    agent.start()
    publish(agent, 9)
    hang(agent, gate, clock, MAX_REPLACED + 1)
    until(lambda: store.paused("l"), agent)
    agent.stop()

    again = make_agent()
    again.add_listener(Calls(), WANTED, name="l")
    again.start()
    clock.advance(hours=1)

    assert again.drain(PATIENCE)
    assert store.states("l") == {"completed": 9}
    assert store.rows("SELECT max(crashes) FROM deliveries") == [(0,)]


def test_a_result_is_kept_that_comes_at_the_very_timeout(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Calls that end just when they are found to be stuck end as completed."""
    agent.add_listener(
        lambda event: clock.advance(10), WANTED, name="l", timeout=10, concurrency=4
    )
    agent.start()

    publish(agent, 300)

    until(lambda: store.states("l") == {"completed": 300}, agent)
    assert agent.drain(PATIENCE)
    assert store.states("l") == {"completed": 300}
