"""Listeners that are called for the last of several events, or for the first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from py_agent import Agent, Event, Handler, Snooze
from py_agent.errors import RegistrationError, UsageError
from py_agent.registry import make_listener
from py_agent.store import by_hand
from py_agent.testing import AgentUnderTest

from .support import WANTED

Seen = list[str]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "agent.sqlite"


@pytest.fixture
def agent(path: Path) -> Iterator[AgentUnderTest]:
    """An agent on a clock that the test advances."""
    made = AgentUnderTest(path)
    yield made
    made.stop()


@pytest.fixture
def seen() -> Seen:
    """What the listener was called for."""
    return []


def listen(agent: Agent, seen: Seen, **options: Any) -> None:
    """Add the listener under test."""

    def listener(event: Event) -> None:
        seen.append(event.identifier)

    agent.add_listener(listener, WANTED, name="paced", **options)


def publish(agent: AgentUnderTest, *identifiers: str, gap: float = 0) -> None:
    """Publish events, some seconds between them."""
    for identifier in identifiers:
        agent.handler.publish("t", identifier, {"key": identifier[0]})
        agent.advance(gap)


def rows(path: Path, query: str) -> list[Any]:
    """Return what a store that is not open holds."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def ends(agent: AgentUnderTest) -> list[tuple[str, str, str | None]]:
    """Return how each delivery stands."""
    found = agent.deliveries("paced")
    return [(each.identifier, each.state, each.reason) for each in found]


# Debounce


def test_a_debounced_listener_gets_the_last_event(
    agent: AgentUnderTest, seen: Seen
) -> None:
    """Given events that follow each other closely, When it is quiet, Then the last one is
    delivered and the others say why they were not.
    """
    listen(agent, seen, debounce="30 seconds")
    publish(agent, "1", "2", "3", gap=20)
    assert seen == []

    agent.advance(10)

    assert seen == ["3"]
    assert ends(agent) == [
        ("1", "completed", "debounced"),
        ("2", "completed", "debounced"),
        ("3", "completed", None),
    ]


def test_events_far_apart_are_all_delivered(agent: AgentUnderTest, seen: Seen) -> None:
    """Given a pause longer than the debounce, When it goes on, Then each burst counts."""
    listen(agent, seen, debounce=30)
    publish(agent, "1", "2", gap=31)
    assert seen == ["1", "2"]


def test_each_key_is_debounced_on_its_own(agent: AgentUnderTest, seen: Seen) -> None:
    """Given `ordered_by`, When two keys are busy, Then the last of each is delivered."""
    listen(agent, seen, debounce=30, ordered_by="data.key")
    publish(agent, "a1", "b1", "a2", "b2", gap=1)
    agent.advance(30)
    assert seen == ["a2", "b2"]


def test_a_debounce_survives_a_restart(
    agent: AgentUnderTest, seen: Seen, path: Path
) -> None:
    """Given a stop while events wait, When started a day later, Then one fires."""
    listen(agent, seen, debounce=30)
    publish(agent, "1", "2", gap=1)
    agent.stop()
    agent.clock.advance(days=1)

    agent.start()
    agent.drain()

    assert seen == ["2"]


def test_a_day_of_events_found_at_once_is_one_call(
    path: Path, seen: Seen, agent: AgentUnderTest
) -> None:
    """Given a backlog from while the agent was down, When it starts, Then one call."""
    listen(agent, seen, debounce=30)
    for number in range(500):
        agent.handler.publish("t", str(number), {})
    agent.clock.advance(days=1)
    agent.drain()
    assert seen == ["499"]


def test_a_debounce_waits_once_when_the_clock_is_set_back(
    agent: AgentUnderTest, seen: Seen
) -> None:
    """Given an event from the future, When the time has passed, Then it is delivered."""
    agent.handler.publish("other", "1")
    listen(agent, seen, debounce=30)
    agent.clock.set_wall_clock(agent.clock.now().replace(year=2030))
    agent.handler.publish("t", "1")
    agent.clock.set_wall_clock(agent.clock.now().replace(year=2029))
    agent.start()
    agent.advance(30)
    assert seen == ["1"]


def test_what_waits_counts_as_no_attempt_and_no_failure(
    agent: AgentUnderTest, seen: Seen
) -> None:
    """Given a debounced event, When it waits, Then it has no attempt and no error."""
    listen(agent, seen, debounce=30)
    publish(agent, "1")
    (waiting,) = agent.deliveries("paced")
    assert (waiting.state, waiting.reason) == ("retryable", "snoozed")
    assert (waiting.attempts, waiting.error) == (0, None)


# Throttle


def test_a_throttled_listener_gets_the_first_event(
    agent: AgentUnderTest, seen: Seen
) -> None:
    """Given several events within the time, When delivered, Then only the first is, and
    after that time the next one.
    """
    listen(agent, seen, throttle="1 minute")
    publish(agent, "1", "2", "3", "4", gap=25)
    assert seen == ["1", "4"]
    assert ends(agent)[1:3] == [
        ("2", "completed", "throttled"),
        ("3", "completed", "throttled"),
    ]


def test_each_key_is_throttled_on_its_own(agent: AgentUnderTest, seen: Seen) -> None:
    """Given `ordered_by`, When two keys are busy, Then the first of each is delivered."""
    listen(agent, seen, throttle=60, ordered_by="data.key")
    publish(agent, "a1", "a2", "b1", "b2", gap=1)
    assert seen == ["a1", "b1"]


def test_a_throttle_survives_a_restart(agent: AgentUnderTest, seen: Seen) -> None:
    """Given a call and a restart soon after, When events come, Then it is not called."""
    listen(agent, seen, throttle=60)
    publish(agent, "1", gap=10)
    agent.stop()
    agent.start()

    publish(agent, "2", gap=50)
    publish(agent, "3")

    assert seen == ["1", "3"]


def test_a_failure_does_not_throttle_what_comes_after(agent: AgentUnderTest) -> None:
    """Given a first event that fails, When a second one comes, Then it is called for
    that, and the first one's retry is left out.
    """
    called: Seen = []

    def listener(event: Event) -> None:
        called.append(event.identifier)
        if len(called) == 1:
            raise ValueError("not yet")

    agent.add_listener(listener, WANTED, name="paced", throttle=60)
    agent.start()
    publish(agent, "1", "2")
    agent.advance(10)

    assert called == ["1", "2"]
    assert ends(agent)[0] == ("1", "completed", "throttled")


def test_a_clock_that_is_set_back_does_not_throttle_for_ever(
    agent: AgentUnderTest, seen: Seen
) -> None:
    """Given a last call in the future, When an event comes, Then it is delivered."""
    listen(agent, seen, throttle=60)
    publish(agent, "1")
    agent.clock.set_wall_clock(agent.clock.now().replace(year=2020))
    publish(agent, "2")
    assert seen == ["1", "2"]


def test_a_person_is_not_throttled(agent: AgentUnderTest, seen: Seen, path: Path) -> None:
    """Given a throttled event, When it is redelivered by hand, Then it is delivered."""
    listen(agent, seen, throttle=60)
    publish(agent, "1", "2")

    by_hand.redeliver(agent._store.get(), [by_hand.parse_id("2.1")])
    agent.drain()

    assert seen == ["1", "2"]


def test_old_calls_are_forgotten(agent: AgentUnderTest, seen: Seen, path: Path) -> None:
    """Given calls for many keys long ago, When started anew, Then the store drops them."""
    listen(agent, seen, throttle=60, ordered_by="data.key")
    publish(agent, "a", "b", "c")
    agent.stop()
    agent.clock.advance(hours=1)
    agent.start()
    publish(agent, "d")
    agent.stop()

    assert len(seen) == 4
    assert rows(path, "SELECT count(*) FROM last_calls") == [(1,)]


# What cannot be combined


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"debounce": 1, "throttle": 1}, "either debounce or throttle"),
        ({"debounce": 0}, "debounce must be more than 0"),
        ({"throttle": "0 s"}, "throttle must be more than 0"),
        ({"throttle": "soon"}, "'soon' is no length of time"),
        ({"debounce": 1, "concurrency": 2}, "needs concurrency = 1"),
        ({"debounce": 1, "where": bool}, "cannot be used with where"),
    ],
)
def test_a_pace_that_makes_no_sense(options: dict[str, Any], problem: str) -> None:
    """Given options that exclude each other, When registered, Then one line says so."""
    with pytest.raises(RegistrationError, match=problem):
        make_listener(lambda event: None, WANTED, name="l", **options)


# Snooze


def test_a_snoozed_delivery_comes_again_and_the_state_is_kept(
    agent: AgentUnderTest, path: Path
) -> None:
    """Given a listener that snoozes twice, When time passes, Then it was called three
    times, with what it remembered, and has one attempt and no error.
    """

    def listener(handler: Handler, event: Event) -> None:
        handler.state["calls"] = handler.state.get("calls", 0) + 1
        if handler.state["calls"] < 3:
            raise Snooze(60)

    agent.add_listener(listener, WANTED, name="paced")
    publish(agent, "1")
    agent.stop()
    agent.advance(180)

    (done,) = agent.deliveries("paced")
    assert (done.state, done.attempts, done.error) == ("completed", 1, None)
    agent.stop()
    assert rows(path, "SELECT state FROM subscriptions") == [('{"calls":3}',)]


def test_a_snooze_keeps_the_order_of_its_key(agent: AgentUnderTest) -> None:
    """Given `ordered_by`, When the first of a key snoozes, Then the second one waits."""
    called: Seen = []

    def listener(event: Event) -> None:
        called.append(event.identifier)
        if called == ["a1"]:
            raise Snooze(60)

    agent.add_listener(listener, WANTED, name="paced", ordered_by="data.key")
    agent.start()
    publish(agent, "a1", "a2", "b1")
    assert called == ["a1", "b1"]

    agent.advance(60)
    assert called == ["a1", "b1", "a1", "a2"]


def test_what_is_snoozed_neither_holds_up_jobs_nor_counts_as_late(
    tmp_path: Path,
) -> None:
    """Given `max_owed` and many events that snooze, When more come, Then none waits."""
    agent = AgentUnderTest(tmp_path / "agent.sqlite", max_owed=3)

    def listener(event: Event) -> None:
        raise Snooze(3_600)

    def job(handler: Handler) -> None:
        handler.publish("other", "1")

    agent.add_listener(listener, WANTED, name="paced")
    try:
        for number in range(20):
            agent.handler.publish("t", str(number))
        agent.drain()
        assert agent.run_job(job).published == 1
    finally:
        agent.stop()


def test_a_snooze_is_longer_than_nothing() -> None:
    """Given a negative time, When it is asked for, Then that is wrong use."""
    with pytest.raises(UsageError, match="must not be negative"):
        Snooze(-1)
