"""Listeners that are called for the last of several events, or for the first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from py_agent import Agent, Event, Handler, RetryPolicy, Snooze
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


def change(path: Path, statement: str) -> None:
    """Change a store that is not open."""
    with closing(sqlite3.connect(path)) as database:
        database.execute(statement)
        database.commit()


def path_of(agent: AgentUnderTest) -> Path:
    """Return where its store is."""
    return agent.store_path()


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


def test_the_last_event_is_discarded_by_hand(agent: AgentUnderTest, seen: Seen) -> None:
    """Given two debounced events, When a person gives the second one up, Then the first
    one is delivered: no later one ever will be.
    """
    listen(agent, seen, debounce=30)
    publish(agent, "1", "2")
    by_hand.discard(agent._store.get(), [(2, 1)])
    agent.advance(60)
    assert seen == ["1"]


def test_a_later_event_that_was_left_out_does_not_count(
    agent: AgentUnderTest, seen: Seen
) -> None:
    """Given three events, When the last is given up after the second was left out, Then
    the first one is delivered.
    """
    listen(agent, seen, debounce=30)
    publish(agent, "1", "2", "3")
    agent.stop()
    change(path_of(agent), "UPDATE deliveries SET state = 'completed', reason = 'debounced'"
           " WHERE event_id = 2")  # fmt: skip
    change(path_of(agent), "UPDATE deliveries SET state = 'discarded', due = 0,"
           " reason = 'discarded by hand' WHERE event_id = 3")  # fmt: skip
    agent.start()
    agent.advance(60)
    assert seen == ["1"]


def test_a_stream_that_never_pauses_is_delivered_now_and_then(
    agent: AgentUnderTest, seen: Seen
) -> None:
    """Given an event every second, When it goes on, Then the listener is called after ten
    times the debounce, and again after that.
    """
    listen(agent, seen, debounce=3)
    publish(agent, *(str(number) for number in range(70)), gap=1)
    assert len(seen) == 2
    agent.advance(10)
    assert seen[-1] == "69"


def test_a_failed_call_is_made_again_though_a_later_event_came(
    agent: AgentUnderTest,
) -> None:
    """Given a debounced call that failed, When a later event comes, Then its retry is made:
    it was let in before.
    """
    called: Seen = []

    def listener(event: Event) -> None:
        called.append(event.identifier)
        if called == ["1"]:
            raise ValueError("not yet")

    agent.add_listener(
        listener, WANTED, name="paced", debounce=3, retry=RetryPolicy(first=60)
    )
    publish(agent, "1", gap=5)
    publish(agent, "2", gap=5)
    agent.advance(60)
    assert called == ["1", "2", "1"]


def test_a_person_is_obeyed_even_if_the_call_fails(agent: AgentUnderTest) -> None:
    """Given a debounced delivery that is redelivered by hand and fails, When its retry is
    due, Then it is made.
    """
    called: Seen = []

    def listener(event: Event) -> None:
        called.append(event.identifier)
        if called[-2:] == ["2", "1"]:
            raise ValueError("not yet")

    agent.add_listener(listener, WANTED, name="paced", debounce=3)
    agent.start()
    publish(agent, "1", "2")
    agent.advance(5)
    by_hand.redeliver(agent._store.get(), [(1, 1)])
    agent.drain()
    agent.advance(10)
    assert called == ["2", "1", "1"]


def test_a_backlog_of_many_keys(agent: AgentUnderTest, seen: Seen) -> None:
    """Given a backlog of many keys, When it is worked off, Then the last of each key is
    delivered, and no other.
    """
    listen(agent, seen, debounce=3, ordered_by="data.key")
    for number in range(300):
        agent.handler.publish("t", str(number), {"key": number % 150})
    agent.clock.advance(60)
    agent.start()
    agent.drain()
    assert sorted(map(int, seen)) == list(range(150, 300))


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
    that, and the first one's retry is made: it was let in before.
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

    publish(agent, "3")
    assert called == ["1", "2", "1"]
    assert ends(agent)[2] == ("3", "completed", "throttled")


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


def test_an_event_that_is_not_wanted_throttles_nothing(agent: AgentUnderTest) -> None:
    """Given `where`, When it declines the first event, Then the second is delivered."""
    called: Seen = []
    agent.add_listener(
        lambda event: called.append(event.identifier), WANTED, name="paced", throttle=60,
        where=lambda event: event.identifier != "1",
    )  # fmt: skip
    agent.start()
    publish(agent, "1", "2", "3")
    assert called == ["2"]


def test_a_call_that_snoozed_is_made_again(agent: AgentUnderTest) -> None:
    """Given a throttled listener that snoozes, When another event is delivered meanwhile,
    Then the snoozed one comes again all the same: it was let in before.
    """
    called: Seen = []

    def listener(event: Event) -> None:
        called.append(event.identifier)
        if called == ["1"]:
            raise Snooze(10)

    agent.add_listener(listener, WANTED, name="paced", throttle=60)
    agent.start()
    publish(agent, "1", "2")
    agent.advance(10)
    assert called == ["1", "2", "1"]


def test_the_moments_of_many_keys_do_not_pile_up(
    agent: AgentUnderTest, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a key for each event, When it goes on for long, Then old moments go."""
    monkeypatch.setattr("py_agent.pacing.TIDY_AFTER", 5)
    agent.add_listener(
        lambda event: None, WANTED, name="paced", throttle=60, ordered_by="data.id"
    )
    agent.start()
    for number in range(23):
        agent.handler.publish("t", str(number), {"id": number})
        agent.advance(61)
    agent.stop()
    assert rows(path, "SELECT count(*) < 10 FROM last_calls") == [(1,)]


@pytest.mark.parametrize("pace", ["debounce", "throttle"])
def test_an_event_without_a_key_has_no_pace(
    agent: AgentUnderTest, seen: Seen, pace: str
) -> None:
    """Given `ordered_by`, When events lack what it names, Then each one is delivered."""
    listen(agent, seen, ordered_by="data.missing", **{pace: 60})
    publish(agent, "1", "2")
    assert seen == ["1", "2"]


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


def test_a_snooze_with_a_state_that_cannot_be_stored_is_a_failure(
    agent: AgentUnderTest,
) -> None:
    """Given a state that is no JSON and a Snooze, When called, Then that is an attempt that
    failed, and the listener goes on with the next event.
    """
    called: Seen = []

    def listener(handler: Handler, event: Event) -> None:
        called.append(event.identifier)
        if event.identifier == "1":
            handler.state["x"] = {1, 2}
            raise Snooze(5)

    agent.add_listener(listener, WANTED, name="paced", retry=RetryPolicy(attempts=1))
    publish(agent, "1", "2")
    agent.drain()
    assert called == ["1", "2"]
    (dead, done) = agent.deliveries("paced")
    assert (dead.state, done.state) == ("discarded", "completed")
    assert dead.error is not None and "set" in dead.error


def test_a_snooze_clears_up_no_doubt(agent: AgentUnderTest, path: Path) -> None:
    """Given a delivery in doubt whose listener snoozes, When it comes again, Then it is
    still in doubt.
    """
    doubts: list[bool] = []

    def listener(event: Event) -> None:
        doubts.append(event.in_doubt)
        if len(doubts) < 3:
            raise Snooze(5)

    agent.add_listener(listener, WANTED, name="paced")
    agent.handler.publish("t", "1")
    agent.stop()
    change(path, "UPDATE deliveries SET reason = 'in doubt'")
    agent.start()
    agent.advance(20)
    assert doubts == [True, True, True]


@pytest.mark.parametrize("pace", ["debounce", "throttle"])
def test_what_is_in_doubt_has_no_pace(agent: AgentUnderTest, path: Path, pace: str) -> None:
    """Given a delivery in doubt, When it could be left out, Then it is delivered, so that
    the doubt can be cleared up.
    """
    doubts: list[bool] = []
    agent.add_listener(
        lambda event: doubts.append(event.in_doubt), WANTED, name="paced", **{pace: 60}
    )
    for identifier in "12":
        agent.handler.publish("t", identifier)
    agent.stop()
    change(path, "UPDATE deliveries SET reason = 'in doubt' WHERE event_id = 1")
    agent.start()
    agent.advance(1)
    assert doubts[0] is True


def test_a_snooze_of_nothing_waits_a_moment(agent: AgentUnderTest) -> None:
    """Given Snooze(0), When raised, Then the next call comes a second later."""
    called: Seen = []

    def listener(event: Event) -> None:
        called.append(event.identifier)
        if len(called) < 3:
            raise Snooze(0)

    agent.add_listener(listener, WANTED, name="paced")
    publish(agent, "1")
    assert len(called) == 1
    agent.advance(2)
    assert len(called) == 3


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
