"""Silence: a job that does not succeed in time is told of once, and its return too."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from py_agent import Agent, StorageFault
from py_agent.store.event_store import EventStore
from py_agent.testing import AgentUnderTest, FakeClock

from .support import MakeAgent, StoreFile, pass_time, ran, until


class Switch:
    """A job that fails while it is broken."""

    def __init__(self) -> None:
        self.broken = threading.Event()

    def __call__(self) -> None:
        if self.broken.is_set():
            raise ValueError("broken")


@pytest.fixture
def job() -> Switch:
    """A job that works, at first."""
    return Switch()


@pytest.fixture
def watched(make_agent: MakeAgent, job: Switch) -> Callable[[], Agent]:
    """Start agents with the job, which should succeed every hour."""

    def start() -> Agent:
        agent = make_agent()
        agent.add_job(job, every="10 minutes", expect_every="1 hour", name="poll")
        agent.start()
        return agent

    return start


def told(store: StoreFile) -> list[str]:
    """Return the types of the events, oldest first."""
    return [kind for (kind,) in store.rows("SELECT event_type FROM events ORDER BY id")]


def hours(agent: Agent, clock: FakeClock, store: StoreFile, count: float) -> None:
    """Let hours pass, ten minutes at a time, until all is at rest."""
    pass_time(agent, clock, store, "poll", round(count * 6), minutes=10)


def test_a_job_that_succeeds_is_not_told_of(
    watched: Callable[[], Agent], clock: FakeClock, store: StoreFile
) -> None:
    """Given a job that works, When a day passes, Then nothing is published."""
    hours(watched(), clock, store, 24)
    assert told(store) == []


def test_a_silence_is_told_once_and_its_end_once(
    watched: Callable[[], Agent], job: Switch, clock: FakeClock, store: StoreFile
) -> None:
    """Given a job that fails for a day, When it works again, Then one event each."""
    agent = watched()
    hours(agent, clock, store, 1)
    job.broken.set()
    hours(agent, clock, store, 0.5)
    assert told(store) == []

    hours(agent, clock, store, 24)
    until(lambda: told(store) == ["job.silent"], agent)

    job.broken.clear()
    hours(agent, clock, store, 24)
    until(lambda: told(store) == ["job.silent", "job.recovered"], agent)


def test_each_silence_is_told(
    watched: Callable[[], Agent], job: Switch, clock: FakeClock, store: StoreFile
) -> None:
    """Given two silences, When both have ended, Then there are two events of each."""
    agent = watched()
    for number in (1, 2):
        job.broken.set()
        hours(agent, clock, store, 2)
        until(lambda n=number: len(told(store)) == 2 * n - 1, agent)  # type: ignore[misc]
        job.broken.clear()
        hours(agent, clock, store, 1)
        until(lambda n=number: len(told(store)) == 2 * n, agent)  # type: ignore[misc]

    assert told(store) == ["job.silent", "job.recovered"] * 2


def test_a_silence_is_told_once_over_restarts(
    watched: Callable[[], Agent], job: Switch, clock: FakeClock, store: StoreFile
) -> None:
    """Given restarts within a silence, When it ends, Then one event of each."""
    agent = watched()
    hours(agent, clock, store, 1)
    job.broken.set()
    for _ in range(3):
        hours(agent, clock, store, 2)
        until(lambda: told(store) == ["job.silent"], agent)
        agent.stop()
        agent = watched()
    hours(agent, clock, store, 2)
    assert told(store) == ["job.silent"]

    job.broken.clear()
    hours(agent, clock, store, 1)

    until(lambda: told(store) == ["job.silent", "job.recovered"], agent)


def test_a_job_that_never_succeeded_is_silent_once(
    watched: Callable[[], Agent], job: Switch, clock: FakeClock, store: StoreFile
) -> None:
    """Given a job that fails from the first, When restarted, Then it is told once."""
    job.broken.set()
    for _ in range(2):
        agent = watched()
        hours(agent, clock, store, 3)
        until(lambda: told(store) == ["job.silent"], agent)
        agent.stop()
    assert told(store) == ["job.silent"]


def test_an_agent_that_was_down_gives_the_job_time_to_succeed(
    watched: Callable[[], Agent], clock: FakeClock, store: StoreFile
) -> None:
    """Given a day down, When the job succeeds at the start, Then nothing is told."""
    agent = watched()
    hours(agent, clock, store, 1)
    agent.stop()
    clock.advance(days=1)
    before = ran(store, "poll")
    agent = watched()
    until(lambda: ran(store, "poll") > before, agent)
    hours(agent, clock, store, 2)
    assert told(store) == []


@pytest.mark.parametrize("days", [-400, 400])
def test_a_clock_that_is_set_makes_no_silence(
    watched: Callable[[], Agent], clock: FakeClock, store: StoreFile, days: int
) -> None:
    """Given a job that works, When the wall clock jumps, Then nothing is told."""
    agent = watched()
    hours(agent, clock, store, 1)
    clock.advance(0)
    clock.set_wall_clock(clock.now().replace(year=clock.now().year + days // 400))
    hours(agent, clock, store, 2)
    assert told(store) == []


def test_a_silence_says_what_it_is_about(
    watched: Callable[[], Agent], job: Switch, clock: FakeClock, store: StoreFile
) -> None:
    """Given a silence, When it is stored, Then job, limit and last success are in it."""
    agent = watched()
    hours(agent, clock, store, 1)
    job.broken.set()
    hours(agent, clock, store, 2)
    until(lambda: told(store) == ["job.silent"], agent)

    (event,) = agent.handler.query_events({"event_type": ("==", "job.silent")})
    assert (event.source, event.data["job"], event.data["expect_every"]) == (
        "poll", "poll", 3_600,
    )  # fmt: skip
    assert event.identifier == f"poll@{event.data['last_success']}"


def test_restarts_do_not_put_off_the_silence_of_a_job_that_never_succeeded(
    store: StoreFile, clock: FakeClock, job: Switch
) -> None:
    """Given a job that always fails and nightly restarts, Then its silence is told once."""
    job.broken.set()
    for _ in range(4):
        agent = AgentUnderTest(store.path, clock=clock)
        agent.add_job(job, every="6 hours", expect_every="36 hours", name="poll")
        agent.advance(hours=23)
        agent.stop()
        clock.advance(hours=1)
    assert told(store) == ["job.silent"]


def test_an_end_of_silence_that_could_not_be_stored_is_told_later(
    store: StoreFile, clock: FakeClock, job: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a disk that is full as the job succeeds again, Then that is told later."""
    agent = AgentUnderTest(store.path, clock=clock)
    agent.add_job(job, every="1 hour", expect_every="2 hours", name="poll")
    job.broken.set()
    agent.advance(hours=3)
    job.broken.clear()
    publish, full = EventStore.publish, [True]

    def refuse_once(self: EventStore, event_type: str, *args: Any, **options: Any) -> Any:
        if event_type == "job.recovered" and full.pop():
            raise StorageFault("the disk is full")
        return publish(self, event_type, *args, **options)

    monkeypatch.setattr(EventStore, "publish", refuse_once)
    full.insert(0, False)
    agent.advance(hours=1)
    agent.advance(minutes=2)
    agent.stop()
    assert told(store) == ["job.silent", "job.recovered"]
