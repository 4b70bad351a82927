"""Events reach the listeners that want them, each as it was stored."""

from __future__ import annotations

import asyncio
from typing import Any

from py_agent import Agent, Event, Handler, RetryPolicy, listen_for
from py_agent.events import MAX_ECHO
from py_agent.testing import FakeClock

from .support import PATIENCE, WANTED, Calls, MakeAgent, StoreFile, await_runs, publish


def test_what_is_published_before_the_start_is_delivered(
    agent: Agent, store: StoreFile
) -> None:
    """add_listener, publish and start, in this order, deliver."""
    calls = Calls()
    agent.add_listener(calls, WANTED, name="calls")
    agent.handler.publish("t", "1")

    agent.start()

    assert calls.await_count(1) == ["1"]
    assert agent.drain(PATIENCE)
    assert store.delivery("calls")["state"] == "completed"


def test_the_ten_line_example_fires_once_however_often_the_job_runs(
    make_agent: MakeAgent, clock: FakeClock, store: StoreFile
) -> None:
    """A job that publishes the same event again fires its listener once, restarts too."""
    heard: list[str] = []

    def my_job(handler: Any = None) -> None:
        handler.publish("my_event_type", "123", {"payload": "hello world"})

    @listen_for({"event_type": ("==", "my_event_type")})
    def my_listener(handler: Any = None, event: Any = None) -> None:
        heard.append(event.data["payload"])

    for life in range(2):
        agent = make_agent()
        agent.schedule.every(2).seconds.do(my_job, handler=agent.handler)
        agent.add_listener(my_listener)
        agent.start()
        for run in range(2):
            clock.advance(2)
            await_runs(agent, store, 2 * life + run + 1)
        agent.stop()

    assert heard == ["hello world"]
    assert store.rows("SELECT count(*) FROM events") == [(1,)]
    assert store.rows("SELECT outcome, published, duplicates FROM runs ORDER BY id") == [
        ("completed", 1, 0), *[("completed", 0, 1)] * 3,
    ]  # fmt: skip


def test_a_job_given_the_agents_handler_publishes_in_its_own_name(
    agent: Agent, store: StoreFile
) -> None:
    """agent.handler, given as a job's argument, is replaced by the run's own."""

    def look(handler: Any) -> None:
        handler.publish("t", "1")

    agent.schedule.every().hour.do(look, handler=agent.handler, name="look")

    assert agent.run_once()

    assert store.rows("SELECT source FROM events") == [("look",)]
    assert store.rows("SELECT published, outcome FROM runs") == [(1, "completed")]


def test_only_listeners_that_want_an_event_get_it(agent: Agent, store: StoreFile) -> None:
    """A filter that does not match owes no delivery."""
    agent.add_listener(Calls(), WANTED, name="wants")
    agent.add_listener(Calls(), {"event_type": ("==", "other")}, name="other")

    publish(agent, 3)

    assert agent.drain(PATIENCE)
    assert store.states("wants") == {"completed": 3}
    assert store.states("other") == {}


def test_an_event_stored_as_seen_is_not_delivered(agent: Agent, store: StoreFile) -> None:
    """deliver=False keeps the event and owes nothing, and what follows is delivered."""
    calls = Calls()
    agent.add_listener(calls, WANTED, name="calls")
    agent.start()

    agent.handler.publish("t", "seen", deliver=False)
    agent.handler.publish("t", "new")

    assert agent.drain(PATIENCE)
    assert calls.seen == ["new"]


def test_a_listener_that_changes_the_data_changes_it_for_nobody(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Others, and the next attempt, see the data as it was stored."""
    seen: dict[str, list[Any]] = {"vandal": [], "neighbour": []}

    def vandal(event: Event) -> None:
        seen["vandal"].append(list(event.data["list"]))
        event.data["list"].append(99)
        event.data.clear()
        if len(seen["vandal"]) < 3:
            raise RuntimeError("again")

    def neighbour(event: Event) -> None:
        seen["neighbour"].append(list(event.data["list"]))

    agent.add_listener(vandal, WANTED, name="vandal", retry=RetryPolicy(first=1))
    agent.add_listener(neighbour, WANTED, name="neighbour")
    agent.start()

    agent.handler.publish("t", "1", {"list": [1, 2]})
    for _ in range(3):
        assert agent.drain(PATIENCE)
        clock.advance(60)

    assert seen == {"vandal": [[1, 2]] * 3, "neighbour": [[1, 2]]}
    assert store.rows("SELECT data FROM events") == [('{"list":[1,2]}',)]


def test_the_delivery_key_is_the_same_on_every_attempt(
    make_agent: MakeAgent, clock: FakeClock
) -> None:
    """The key is `<event id>.<subscription id>`, after a restart as well."""
    keys: list[str] = []

    def failing(event: Event) -> None:
        keys.append(str(event.delivery_key))
        raise RuntimeError

    for _ in range(2):
        agent = make_agent()
        agent.add_listener(failing, WANTED, name="failing")
        agent.start()
        agent.handler.publish("t", "1")
        assert agent.drain(PATIENCE)
        clock.advance(hours=2)
        assert agent.drain(PATIENCE)
        agent.stop()
        clock.advance(hours=2)

    assert len(keys) == 4
    assert set(keys) == {"1.1"}


def test_an_unwanted_event_is_completed_without_a_call(
    agent: Agent, store: StoreFile
) -> None:
    """`where` answering no completes the delivery, which says so."""
    calls = Calls()
    agent.add_listener(
        calls, WANTED, name="calls", where=lambda event: event.identifier == "2"
    )

    publish(agent, 2)

    assert agent.drain(PATIENCE)
    assert calls.seen == ["2"]
    row = store.delivery("calls", "1")
    assert (row["state"], row["reason"], row["attempts"]) == ("completed", "not wanted", 0)
    assert store.delivery("calls", "2")["reason"] is None


def test_an_error_in_where_is_a_failed_attempt(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """A `where` that raises is tried again like the listener itself."""
    answers: list[ValueError | None] = [ValueError("no idea"), None]
    calls = Calls()

    def where(event: Event) -> bool:
        if error := answers.pop(0):
            raise error
        return True

    agent.add_listener(calls, WANTED, name="calls", where=where)
    agent.start()
    agent.handler.publish("t", "1")
    assert agent.drain(PATIENCE)
    assert store.delivery("calls")["state"] == "retryable"

    clock.advance(60)

    assert agent.drain(PATIENCE)
    assert calls.seen == ["1"]
    assert store.errors("calls") == ["ValueError: no idea"]


def test_a_listener_may_publish(agent: Agent, store: StoreFile) -> None:
    """A chain of listeners works, and each link is named as the source of the next."""

    def link(event: Event, handler: Handler, to: str) -> None:
        handler.publish(to, event.identifier)

    for here, there in ("ab", "bc", "cd"):
        agent.add_listener(link, {"event_type": ("==", here)}, name=f"to {there}", to=there)
    agent.start()

    agent.handler.publish("a", "1")

    assert agent.drain(PATIENCE)
    assert store.rows("SELECT event_type, source, depth FROM events ORDER BY id") == [
        ("a", None, 0), ("b", "to b", 1), ("c", "to c", 2), ("d", "to d", 3),
    ]  # fmt: skip


def test_an_endless_echo_ends_in_a_dead_letter(agent: Agent, store: StoreFile) -> None:
    """Two listeners that answer each other for ever are cut off, agent.handler too."""

    def answer(event: Event) -> None:
        agent.handler.publish("t", str(int(event.identifier) + 1))

    agent.add_listener(answer, WANTED, name="answer")
    agent.start()

    agent.handler.publish("t", "0")

    assert agent.drain(PATIENCE)
    assert store.states("answer") == {"completed": MAX_ECHO, "discarded": 1}
    assert store.errors("answer")[0].startswith("EchoError: ")


def test_an_endless_echo_of_coroutines_ends_too(agent: Agent, store: StoreFile) -> None:
    """The number of answers in a row is kept across the event loop."""

    async def answer(event: Event, handler: Handler) -> None:
        await asyncio.to_thread(handler.publish, "t", str(int(event.identifier) + 1))

    agent.add_listener(answer, WANTED, name="answer")
    agent.start()

    agent.handler.publish("t", "0")

    assert agent.drain(PATIENCE)
    assert store.states("answer") == {"completed": MAX_ECHO, "discarded": 1}


def test_a_listener_added_while_the_agent_runs_gets_what_comes_next(
    make_agent: MakeAgent, store: StoreFile
) -> None:
    """add_listener after start works, in the second life of the store as in the first."""
    calls = Calls()

    for identifier in ("1", "2"):
        agent = make_agent()
        agent.start()
        agent.add_listener(calls, WANTED, name="calls")
        agent.handler.publish("t", identifier)
        assert agent.drain(PATIENCE)
        agent.stop()

    assert calls.seen == ["1", "2"]
    assert store.states("calls") == {"completed": 2}


def test_coroutines_are_jobs_and_listeners_too(agent: Agent, store: StoreFile) -> None:
    """An `async def` job publishes, and an `async def` listener is awaited."""
    seen: list[str] = []

    async def job(handler: Handler) -> None:
        await asyncio.to_thread(handler.publish, "t", "1", "hello")

    async def listener(event: Event) -> None:
        await asyncio.to_thread(seen.append, event.data)

    agent.add_job(job, every="1 hour", name="job")
    agent.add_listener(listener, WANTED, name="listener")

    assert agent.run_once()

    assert seen == ["hello"]
    assert store.outcomes("job") == ["completed"]
    assert store.delivery("listener")["state"] == "completed"


def test_a_coroutine_past_its_timeout_is_cancelled_and_tried_again(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """A timeout cancels an `async def` listener at its await; the retry succeeds."""
    attempts: list[str] = []

    async def listener(event: Event) -> None:
        attempts.append("began")
        if len(attempts) == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                attempts.append("cancelled")
                raise

    agent.add_listener(listener, WANTED, name="listener", timeout=0.05)
    agent.start()
    agent.handler.publish("t", "1")
    assert agent.drain(PATIENCE)

    clock.advance(60)

    assert agent.drain(PATIENCE)
    assert attempts == ["began", "cancelled", "began"]
    assert store.delivery("listener")["state"] == "completed"
    assert store.errors("listener") == ["TimeoutError: did not end within 0.05 s"]


def test_a_coroutine_that_raises_systemexit_leaves_the_loop_to_others(
    agent: Agent, store: StoreFile
) -> None:
    """SystemExit and KeyboardInterrupt in a coroutine are failed attempts, no more."""

    async def leaves(event: Event) -> None:
        raise {"1": SystemExit, "2": KeyboardInterrupt, "3": GeneratorExit}[
            event.identifier
        ]("gone")

    async def stays(event: Event) -> None:
        await asyncio.to_thread(calls.note, event.identifier)

    calls = Calls()
    agent.add_listener(leaves, WANTED, name="leaves", retry=RetryPolicy(attempts=1))
    agent.add_listener(stays, WANTED, name="stays")
    agent.start()

    publish(agent, 3)

    assert agent.drain(PATIENCE)
    assert store.states("stays") == {"completed": 3}
    assert store.states("leaves") == {"discarded": 3}
    assert store.errors("leaves") == [
        "SystemExit: gone", "KeyboardInterrupt: gone", "GeneratorExit: gone",
    ]  # fmt: skip
