"""What jobs and listeners remember: kept on success, thrown away on failure."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from responses import RequestsMock

from py_agent import Agent, AgentError, Event, Handler, RetryPolicy
from py_agent.testing import AgentUnderTest, FakeClock

from .support import (
    PATIENCE,
    WANTED,
    Calls,
    Gate,
    MakeAgent,
    StoreFile,
    await_runs,
    pass_time,
    publish,
    run_script,
    until,
)

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
AT_ONCE = RetryPolicy(attempts=3, first=0)


@pytest.fixture
def seen() -> Calls:
    """What jobs and listeners noted."""
    return Calls()


def state_of(store: StoreFile, table: str) -> list[str]:
    """Return the stored states of a table's rows."""
    return [text for (text,) in store.rows(f"SELECT state FROM {table} ORDER BY name")]


# Jobs


def test_a_job_remembers_from_run_to_run(
    agent: Agent, clock: FakeClock, store: StoreFile, seen: Calls
) -> None:
    """Given a job that counts, When it runs three times, Then it counts on."""

    def job(handler: Any) -> None:
        handler.state["n"] = handler.state.get("n", 0) + 1
        seen.note(str(handler.state["n"]))

    agent.add_job(job, every="1 hour", name="job")
    agent.start()
    await_runs(agent, store, 1)
    pass_time(agent, clock, store, "job", 2, hours=1)

    assert seen.seen == ["1", "2", "3"]


def test_a_job_remembers_over_restarts(make_agent: MakeAgent, seen: Calls) -> None:
    """Given a job that counts, When the agent is started anew, Then it counts on."""

    def job(handler: Any) -> None:
        handler.state["n"] = handler.state.get("n", 0) + 1
        seen.note(str(handler.state["n"]))

    for count in range(1, 4):
        agent = make_agent()
        agent.add_job(job, every="1 hour", name="job")
        agent.start()
        seen.await_count(count)
        agent.stop()
    assert seen.seen == ["1", "2", "3"]


def test_a_failed_run_remembers_nothing_of_itself(
    agent: Agent, clock: FakeClock, store: StoreFile, seen: Calls
) -> None:
    """Given a run that changed its state and failed, Then the next sees the old one."""
    fails = iter([False, True, False])

    def job(handler: Any) -> None:
        seen.note(str(handler.state))
        handler.state.setdefault("deep", []).append(len(seen.seen))
        if next(fails):
            raise ValueError("no")

    agent.add_job(job, every="1 hour", name="job")
    agent.start()
    await_runs(agent, store, 1)
    pass_time(agent, clock, store, "job", 2, hours=1)

    assert seen.seen == ["{}", "{'deep': [1]}", "{'deep': [1]}"]


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), b"bytes", "x" * 2_000_000])
def test_a_state_that_cannot_be_stored_fails_the_run(
    agent: Agent, clock: FakeClock, store: StoreFile, value: Any
) -> None:
    """Given a state that is no JSON, When the run ends, Then it has failed, in one line."""

    def job(handler: Any) -> None:
        handler.state["value"] = value

    agent.add_job(job, every="1 hour", name="job")
    agent.start()
    await_runs(agent, store, 1)

    ((outcome, error),) = store.rows("SELECT outcome, error FROM runs")
    assert outcome == "failed"
    assert error.startswith("AgentError: handler.state")
    assert "\n" not in error
    assert state_of(store, "jobs") in ([], ["{}"])


def test_a_window_begins_where_the_last_success_looked_until(
    agent: Agent, clock: FakeClock, store: StoreFile, seen: Calls
) -> None:
    """Given a failed run between, Then the window begins at the last successful one."""
    fails = iter([True, False, True, False])
    windows: list[Any] = []

    def job(handler: Any) -> None:
        windows.append(handler.window)
        if next(fails):
            raise ValueError("no")

    agent.add_job(job, every="1 hour", name="job")
    agent.start()
    await_runs(agent, store, 1)
    pass_time(agent, clock, store, "job", 3, hours=1)

    hour = timedelta(hours=1)
    assert [each.since for each in windows] == [None, None, NOON + hour, NOON + hour]
    assert [each.until for each in windows] == [NOON + number * hour for number in range(4)]


def test_a_checkpoint_survives_a_failure_after_it(
    agent: Agent, clock: FakeClock, store: StoreFile, seen: Calls
) -> None:
    """Given a run that fails after its checkpoint, Then its state stays, not the window."""

    def job(handler: Any) -> None:
        seen.note(f"{handler.state.get('n')} {handler.window.since}")
        handler.state["n"] = 7
        clock.advance(60)
        handler.checkpoint()
        handler.state["n"] = 8
        raise ValueError("no")

    agent.add_job(job, every="1 hour", name="job")
    agent.start()
    await_runs(agent, store, 1)
    assert state_of(store, "jobs") == ['{"n":7}']
    pass_time(agent, clock, store, "job", 1, hours=1)

    assert seen.seen == ["None None", "7 None"]


def test_the_window_of_a_service_begins_at_its_last_checkpoint(
    agent: Agent, clock: FakeClock, store: StoreFile, seen: Calls
) -> None:
    """Given a service that ends after a checkpoint, Then its next window begins there."""

    def job(handler: Any) -> None:
        seen.note(str(handler.window.since))
        if len(seen.seen) == 1:
            clock.advance(60)
            handler.checkpoint()

    agent.add_job(job, keep=True, name="job")
    agent.start()
    await_runs(agent, store, 1)
    pass_time(agent, clock, store, "job", 1, hours=1)

    assert seen.seen[:2] == ["None", str(NOON + timedelta(seconds=60))]


def test_who_has_no_state_says_so(agent: Agent) -> None:
    """Given agent.handler, When its state or window is asked for, Then one clear line."""
    for ask in (
        lambda: agent.handler.state,
        lambda: agent.handler.window,
        lambda: agent.handler.checkpoint(),
    ):
        with pytest.raises(AgentError):
            ask()


# Listeners


def test_a_listener_remembers_from_call_to_call_and_over_restarts(
    make_agent: MakeAgent, store: StoreFile, seen: Calls
) -> None:
    """Given a listener that counts, When events come in two lives, Then it counts on."""

    def listener(handler: Any, event: Any) -> None:
        handler.state["n"] = handler.state.get("n", 0) + 1
        seen.note(str(handler.state["n"]))

    for count in (3, 6):
        agent = make_agent()
        agent.add_listener(listener, WANTED, name="l")
        publish(agent, count)
        assert agent.drain(20)
        agent.stop()

    assert seen.seen == [str(number) for number in range(1, 7)]
    assert state_of(store, "subscriptions") == ['{"n":6}']


def test_a_failed_call_remembers_nothing_of_itself(
    agent: Agent, clock: FakeClock, store: StoreFile, seen: Calls
) -> None:
    """Given a listener that fails twice, When it succeeds, Then its state counts once."""

    def listener(handler: Any) -> None:
        handler.state["n"] = handler.state.get("n", 0) + 1
        seen.note(str(handler.state["n"]))
        if len(seen.seen) < 3:
            raise ValueError("no")

    agent.add_listener(listener, WANTED, name="l", retry=AT_ONCE)
    agent.start()
    publish(agent, 1)

    def completed() -> bool:
        clock.advance(1)
        return store.states("l") == {"completed": 1}

    until(completed, agent)

    assert seen.seen == ["1", "1", "1"]
    assert state_of(store, "subscriptions") == ['{"n":1}']


def test_a_listener_with_several_calls_at_once_has_no_state(
    agent: Agent, store: StoreFile
) -> None:
    """Given concurrency=2, When the state is asked for, Then the attempt says why not."""

    def listener(handler: Any) -> None:
        handler.state["n"] = 1

    agent.add_listener(
        listener, WANTED, name="l", concurrency=2, retry=RetryPolicy(attempts=1)
    )
    agent.start()
    publish(agent, 1)
    until(lambda: store.states("l") == {"discarded": 1}, agent)
    (error,) = store.errors("l")
    assert "concurrency above 1 has no state" in error


# Crashes


def test_a_crash_in_a_job_leaves_its_state_behind_its_events(
    tmp_path: Path, store: StoreFile
) -> None:
    """Given a crash after an event, When it runs again, Then it polls anew, none twice."""
    crashed = run_script("memory.py", store.path, "job", check=False)
    assert crashed.returncode == 9, crashed.stderr
    assert store.rows("SELECT identifier FROM events") == [("1",)]
    assert state_of(store, "jobs") in ([], ["{}"])

    lived = run_script("memory.py", store.path, "nowhere")

    assert "job 0 False" in lived.stdout
    assert store.rows("SELECT identifier FROM events") == [("1",)]
    assert state_of(store, "jobs") == ['{"page":1}']


def test_a_crash_in_a_listener_leaves_its_state_as_it_was(
    tmp_path: Path, store: StoreFile
) -> None:
    """Given a crash inside a call, When it is repeated, Then its state counts it once."""
    crashed = run_script("memory.py", store.path, "listener", check=False)
    assert crashed.returncode == 9, crashed.stderr

    lived = run_script("memory.py", store.path, "nowhere")

    assert lived.stdout.count("listener 0") == 1
    assert state_of(store, "subscriptions") == [
        f'{{"seen":{store.states("listener")["completed"]}}}'
    ]


# What is ahead of nothing


@pytest.fixture
def agent_under_test(store: StoreFile, clock: FakeClock) -> Iterator[AgentUnderTest]:
    """An agent that runs one job at a time."""
    agent = AgentUnderTest(store.path, clock=clock)
    yield agent
    agent.stop()


def test_a_checkpoint_does_not_say_that_a_page_is_done(
    agent_under_test: AgentUnderTest, http: RequestsMock
) -> None:
    """Given a page half published at a checkpoint, When it fails, Then it is read anew."""
    url = "https://example.org/items"
    answers = [http.get(url, json=[1, 2], headers={"ETag": '"1"'}) for _ in range(2)]
    failing = [True, False]

    def job(handler: Handler) -> None:
        answer = handler.http.get_if_changed(url)
        assert answer is not None
        for item in answer.json():
            handler.publish("item", str(item))
            handler.checkpoint()
            if failing.pop(0):
                raise ValueError("no")
            failing.insert(0, False)

    with pytest.raises(ValueError, match="no"):
        agent_under_test.run_job(job)
    agent_under_test.run_job(job)

    assert [each.identifier for each in agent_under_test.published()] == ["1", "2"]
    assert "If-None-Match" not in answers[1].calls[0].request.headers


def test_a_service_that_is_cancelled_leaves_no_half_a_state(
    agent: Agent, store: StoreFile
) -> None:
    """Given a coroutine between state and event, When the stop comes, Then neither is."""
    began = threading.Event()

    async def serve(handler: Handler) -> None:
        handler.state["n"] = 1
        handler.checkpoint()
        handler.state["n"] = 2
        began.set()
        await asyncio.Event().wait()
        handler.publish("n", "2")

    agent.add_job(serve, keep=True, name="serve")
    agent.start()
    assert began.wait(PATIENCE)
    agent.stop()

    assert state_of(store, "jobs") == ['{"n":1}']
    assert store.outcomes("serve") == ["completed"]


def test_a_call_that_ends_late_does_not_bring_back_an_old_state(
    agent: Agent, clock: FakeClock, store: StoreFile, gate: Gate
) -> None:
    """Given a stuck call with a state, When later calls counted on, Then theirs stays."""

    def count(handler: Handler, event: Event) -> None:
        found = handler.state.get("n", 0)
        if event.identifier == "0":
            gate.hold()
        handler.state["n"] = found + 1

    agent.add_listener(count, WANTED, name="l", timeout=10)
    agent.start()
    agent.handler.publish("t", "0")
    gate.await_entry()
    clock.advance(11)
    for number in range(1, 4):
        agent.handler.publish("t", str(number))
    until(lambda: store.states("l").get("completed") == 3, agent)
    gate.open()
    until(lambda: store.states("l") == {"completed": 4}, agent)
    agent.stop()

    assert state_of(store, "subscriptions") == ['{"n":3}']


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({7: True}, "handler.state['seen']: the key 7 is no text"),
        (datetime(2026, 1, 5, tzinfo=UTC), "handler.state['seen'] is a datetime"),
        ([1, {"a": {1}}], "handler.state['seen'][1]['a'] is a set"),
    ],
)
def test_what_would_come_back_otherwise_is_no_state(
    agent_under_test: AgentUnderTest, value: Any, told: str
) -> None:
    """Given a state that JSON would change, When the run ends, Then it says which part."""

    def job(handler: Handler) -> None:
        handler.state["seen"] = value

    with pytest.raises(AgentError, match=re.escape(told)):
        agent_under_test.run_job(job)
