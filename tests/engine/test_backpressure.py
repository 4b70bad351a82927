"""Back-pressure: a job waits while listeners have too much left to do."""

from __future__ import annotations

import threading
from typing import Any

from py_agent import Pause
from py_agent.testing import FakeClock

from .support import (
    PATIENCE,
    WANTED,
    Calls,
    Gate,
    MakeAgent,
    StoreFile,
    await_runs,
    until,
)

MOST = 20


def flood(count: int, published: Calls) -> Any:
    """Return a job that publishes so many events, and notes each."""

    def job(handler: Any) -> None:
        for number in range(count):
            handler.publish("t", str(number))
            published.note(str(number))

    return job


def owed(store: StoreFile) -> int:
    """Return how many deliveries are not completed."""
    states = store.states()
    return sum(count for state, count in states.items() if state != "completed")


def test_a_job_waits_while_too_much_is_owed_and_goes_on_then(
    make_agent: MakeAgent, clock: Any, gate: Gate, store: StoreFile
) -> None:
    """Given max_owed, When listeners hang, Then the job holds, and later finishes."""
    agent = make_agent(max_owed=MOST)
    published = Calls()
    agent.add_listener(lambda event: gate.hold(), WANTED, name="l")
    agent.add_job(flood(100, published), every="1 day", name="job")
    agent.start()
    published.await_count(MOST)
    gate.await_entry()
    for _ in range(20):
        clock.advance(1)
        agent.drain(0.01)

    assert MOST <= len(published.seen) <= MOST + 2
    assert owed(store) <= MOST + 2
    gate.open()

    def finished() -> bool:
        clock.advance(1)
        return store.outcomes("job") == ["completed"]

    until(finished, agent)
    assert len(published.seen) == 100


def test_several_listeners_share_the_room(
    make_agent: MakeAgent, clock: Any, gate: Gate, store: StoreFile
) -> None:
    """Given five listeners, When the job waits, Then a fifth of the events is out."""
    agent = make_agent(max_owed=MOST)
    published = Calls()
    for number in range(5):
        agent.add_listener(lambda event: gate.hold(), WANTED, name=f"l {number}")
    agent.add_job(flood(100, published), every="1 day", name="job")
    agent.start()
    published.await_count(MOST // 5)
    for _ in range(20):
        clock.advance(1)
        agent.drain(0.01)
    assert owed(store) <= MOST + 5


def test_a_listener_never_waits(make_agent: MakeAgent, store: StoreFile) -> None:
    """Given max_owed=1, When a listener publishes many, Then it is not held."""
    agent = make_agent(max_owed=1)
    done = threading.Event()

    def listener(handler: Any) -> None:
        for number in range(50):
            handler.publish("other", str(number))
        done.set()

    agent.add_listener(listener, WANTED, name="l")
    agent.add_listener(lambda: None, {"event_type": ("==", "other")}, name="others")
    agent.start()
    agent.handler.publish("t", "1")

    assert done.wait(PATIENCE)


def test_whoever_publishes_from_outside_never_waits(
    make_agent: MakeAgent, gate: Gate
) -> None:
    """Given listeners that hang, When agent.handler publishes, Then it is not held."""
    agent = make_agent(max_owed=1)
    agent.add_listener(lambda event: gate.hold(), WANTED, name="l")
    agent.start()
    assert sum(bool(agent.handler.publish("t", str(n))) for n in range(10)) == 10


def test_a_job_that_waits_ends_with_the_stop(
    make_agent: MakeAgent, gate: Gate, store: StoreFile
) -> None:
    """Given a job that is held, When the agent stops, Then its run failed, and says why."""
    agent = make_agent(max_owed=5, grace=1)
    published = Calls()
    agent.add_listener(lambda event: gate.hold(), WANTED, name="l")
    agent.add_job(flood(100, published), every="1 day", name="job")
    agent.start()
    published.await_count(5)
    gate.await_entry()
    stopping = threading.Thread(target=agent.stop)
    stopping.start()
    gate.open()
    stopping.join(PATIENCE)

    ((outcome, error),) = store.rows("SELECT outcome, error FROM runs")
    assert (outcome, error.split(":")[0]) == ("failed", "StoppedError")


def test_a_batch_is_held_back_too(
    make_agent: MakeAgent, clock: Any, gate: Gate, store: StoreFile
) -> None:
    """Given publish_many of thousands, When listeners hang, Then about one batch is out."""
    agent = make_agent(max_owed=MOST)

    def job(handler: Any) -> None:
        handler.publish_many([("t", str(number), None) for number in range(5_000)])

    agent.add_listener(lambda event: gate.hold(), WANTED, name="l")
    agent.add_job(job, every="1 day", name="job")
    agent.start()
    gate.await_entry()
    for _ in range(20):
        clock.advance(1)
        agent.drain(0.01)

    assert owed(store) <= 2_000
    assert store.outcomes("job") == ["running"]
    agent.handler.publish("other", "x")


def test_without_a_limit_nobody_waits(
    make_agent: MakeAgent, gate: Gate, store: StoreFile
) -> None:
    """Given no max_owed, When listeners hang, Then the job publishes all."""
    agent = make_agent()
    agent.add_listener(lambda event: gate.hold(), WANTED, name="l")
    agent.add_job(flood(200, Calls()), every="1 day", name="job")
    agent.start()
    await_runs(agent, store, 1)
    assert store.outcomes("job") == ["completed"]


def test_coroutines_do_not_wait_for_each_other(make_agent: MakeAgent) -> None:
    """Given an async job and an async listener, When much is owed, Then all is done."""
    agent, heard = make_agent(max_owed=2), []

    async def job(handler: Any) -> None:
        for number in range(20):
            handler.publish("t", str(number))

    async def listener(event: Any) -> None:
        heard.append(event.identifier)

    agent.add_job(job, every="1 hour", name="job")
    agent.add_listener(listener, WANTED, name="l")
    agent.start()
    until(lambda: len(heard) == 20, agent)
    assert agent.drain(PATIENCE)


def test_a_paused_listener_holds_back_no_job(
    make_agent: MakeAgent, store: StoreFile, clock: FakeClock
) -> None:
    """Given a listener that paused itself, When a job publishes, Then it goes on."""
    agent = make_agent(max_owed=2)

    def listener(event: Any) -> None:
        raise Pause("closed")

    def job(handler: Any) -> None:
        for number in range(20):
            handler.publish("t", str(number))

    agent.add_job(job, every="1 hour", name="job")
    agent.add_listener(listener, WANTED, name="l")
    agent.start()

    def ended() -> bool:
        clock.advance(1)  # the job looks each half second whether there is room
        return store.outcomes("job") == ["completed"]

    until(ended, agent)
    assert store.states("l") == {"available": 20}
