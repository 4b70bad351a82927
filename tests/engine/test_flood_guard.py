"""The flood guard: a run with far too many new events is one question to a person."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from py_agent import Agent, Handler
from py_agent.clock import SystemClock
from py_agent.store import by_hand
from py_agent.store.event_store import EventStore
from py_agent.store.listing import reading
from py_agent.testing import AgentUnderTest

from .support import PATIENCE, WANTED, Gate, MakeAgent, StoreFile, run_script

HELD = "held: too many at once from poll"
DECIDE = {"release": by_hand.release_held, "discard": by_hand.discard_held}


class Source:
    """A job that publishes the items of a source; it may fail in the middle."""

    def __init__(self) -> None:
        self.items = range(0)
        self.many = False
        self.fails_at: int | None = None
        self.deliver = True

    def __call__(self, handler: Handler) -> None:
        if self.many:
            handler.publish_many((("t", str(n), None) for n in self._read()), self.deliver)
            return
        for n in self._read():
            handler.publish("t", str(n), deliver=self.deliver)

    def _read(self) -> Iterator[int]:
        for n in self.items:
            if n == self.fails_at:
                raise ValueError("the source broke off")
            yield n


@pytest.fixture
def source() -> Source:
    """A source without items."""
    return Source()


Make = Callable[..., AgentUnderTest]


@pytest.fixture
def make(store: StoreFile) -> Iterator[Make]:
    """Make agents on one store, one after the other."""
    made: list[AgentUnderTest] = []

    def begin(**options: Any) -> AgentUnderTest:
        made.append(AgentUnderTest(store.path, **options))
        return made[-1]

    yield begin
    for each in made:
        each.stop()


@pytest.fixture
def agent(make: Make, source: Source) -> AgentUnderTest:
    """An agent with the source as a job that holds more than 50 new events."""
    agent = make()
    agent.add_job(source, every="1 hour", name="poll", hold_above=50)
    return agent


def poll(agent: AgentUnderTest, source: Source, first: int, behind: int) -> None:
    """Run the job once, on a source with these items, and deliver."""
    source.items = range(first, behind)
    agent.run_job("poll")
    agent.drain()


def decide(agent: AgentUnderTest, how: str, job: str = "poll") -> int:
    """Decide as a command in another process does."""
    opened = EventStore.open(agent.store_path(), SystemClock())
    try:
        count = DECIDE[how](opened, job)
    finally:
        opened.close()
    agent.drain()
    return count


def withheld(agent: AgentUnderTest) -> dict[str, int]:
    """Return how many events of each job are held for a person."""
    with reading(agent.store_path()) as listing:
        return {row["job"]: row["events"] for row in listing.withheld() if row["held"]}


def reasons(agent: AgentUnderTest) -> dict[tuple[str, str | None], int]:
    """Return how many deliveries of type `t` are in which state, and why."""
    return Counter((each.state, each.reason) for each in agent.deliveries(event_type="t"))


def test_what_a_run_publishes_is_delivered_when_it_has_ended(
    agent: AgentUnderTest, gate: Gate, store: StoreFile
) -> None:
    """Given a guarded run, Then its events are stored at once and delivered at its end."""
    seen = agent.record(WANTED)

    def slow(handler: Handler) -> None:
        handler.publish("t", "1")
        handler.publish("t", "2")
        gate.hold()

    agent.add_job(slow, every="1 hour", at_start=True, name="slow", hold_above=2)
    runner = threading.Thread(target=agent.run_job, args=["slow"])
    runner.start()
    gate.await_entry()
    assert store.rows("SELECT count(*) FROM events") == [(2,)]
    assert reasons(agent) == {("available", "waits for the end of run 1 of slow"): 2}
    assert Agent.drain(agent, 5)  # what is withheld is not waited for
    assert seen == []

    gate.open()
    runner.join(PATIENCE)
    agent.drain()

    assert [event.identifier for event in seen] == ["1", "2"]
    assert reasons(agent) == {("completed", None): 2}


@pytest.mark.parametrize("many", [False, True], ids=["publish", "publish_many"])
def test_a_flood_is_one_question(
    agent: AgentUnderTest, source: Source, many: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Given 500 new events in one run, Then none fires, and one event and one warning
    say so; and later runs with few new events deliver them.
    """
    source.many = many
    seen, asked = agent.record(WANTED), agent.record({"event_type": ("==", "job.held")})
    poll(agent, source, 0, 50)
    assert len(seen) == 50

    poll(agent, source, 0, 550)

    assert len(seen) == 50 and withheld(agent) == {"poll": 500}
    assert reasons(agent) == {("completed", None): 50, ("available", HELD): 500}
    (question,) = asked
    assert question.data == {
        "job": "poll", "new": 500, "limit": 50,
        "examples": ["t/50", "t/51", "t/52", "t/53", "t/54"],
    }  # fmt: skip
    started = agent.runs("poll")[-1].started
    assert question.identifier == f"poll@{started.isoformat()}"
    assert question.source == "poll"
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.getMessage() == (
        "job poll: 500 new events in one run are more than 50, so 500 deliveries are "
        "held; agent release poll delivers them, agent discard --held poll drops them"
    )
    poll(agent, source, 0, 553)
    assert [event.identifier for event in seen[50:]] == ["550", "551", "552"]
    assert agent.runs("poll")[1].outcome == "completed"


def test_a_flood_is_released(agent: AgentUnderTest, source: Source) -> None:
    """Given a flood that is wanted, When released, Then each event fires once."""
    seen = agent.record(WANTED)
    poll(agent, source, 0, 300)

    assert decide(agent, "release") == 300

    assert [event.identifier for event in seen] == [str(n) for n in range(300)]
    assert withheld(agent) == {}
    assert reasons(agent) == {("completed", None): 300}


def test_a_flood_is_discarded(agent: AgentUnderTest, source: Source) -> None:
    """Given a flood that is a mistake, When discarded, Then it is dealt with, and stays
    known.
    """
    seen = agent.record(WANTED)
    poll(agent, source, 0, 300)

    assert decide(agent, "discard") == 300
    poll(agent, source, 0, 301)

    assert [event.identifier for event in seen] == ["300"]
    assert reasons(agent)["discarded", "dropped by hand"] == 300
    assert by_hand.dead_letters(agent._store.get(), None) == []


def test_floods_add_up_until_someone_decides(agent: AgentUnderTest, source: Source) -> None:
    """Given two floods, Then each asks, and one decision is for all that is held."""
    asked = agent.record({"event_type": ("==", "job.held")})
    agent.record(WANTED)
    poll(agent, source, 0, 100)
    agent.clock.advance(minutes=1)
    poll(agent, source, 0, 200)

    assert [event.data["new"] for event in asked] == [100, 100]
    assert decide(agent, "release") == 200


def test_nothing_is_held_before_it_is_known_what_is_usual(
    make: Make, source: Source
) -> None:
    """Given `hold_above="usual"`, Then five runs that published show what that is."""
    agent = make()
    agent.add_job(source, every="1 hour", name="poll", hold_above="usual")
    seen = agent.record(WANTED)
    end = 0
    for new in (100, 0, 0, 1, 1, 1):  # four that published, the first one many
        poll(agent, source, end, end := end + new)
    poll(agent, source, end, end := end + 40)
    assert len(seen) == 143 and withheld(agent) == {}

    poll(agent, source, end, end + 21)

    assert len(seen) == 143 and withheld(agent) == {"poll": 21}


def test_a_job_with_much_to_tell_may_tell_more(make: Make, source: Source) -> None:
    """Given runs of 30 new events each, Then 300 are many, and 301 too many."""
    agent = make()
    agent.add_job(source, every="1 hour", name="poll", hold_above="usual")
    asked = agent.record({"event_type": ("==", "job.held")})
    agent.record(WANTED)
    for number in range(5):  # each is usual
        poll(agent, source, 30 * number, 30 * (number + 1))
    poll(agent, source, 1_000, 1_300)
    assert asked == []

    poll(agent, source, 2_000, 2_301)

    assert [(event.data["new"], event.data["limit"]) for event in asked] == [(301, 300)]


@pytest.mark.parametrize("many", [False, True], ids=["publish", "publish_many"])
def test_a_failed_run_decides_likewise(
    agent: AgentUnderTest, source: Source, many: bool
) -> None:
    """Given a run that fails, Then its events are facts: few are delivered, a flood is
    held.
    """
    seen = agent.record(WANTED)
    source.many, source.items, source.fails_at = many, range(3_000), 40
    with pytest.raises(ValueError, match="broke off"):
        agent.run_job("poll")
    agent.drain()
    stored = 0 if many else 40  # a thousand that was not whole is not stored
    assert len(seen) == stored

    source.fails_at = 1_001
    with pytest.raises(ValueError, match="broke off"):
        agent.run_job("poll")
    agent.drain()

    assert len(seen) == stored
    assert withheld(agent) == {"poll": (1_000 if many else 1_001) - stored}


def test_events_that_nobody_wants_count(agent: AgentUnderTest, source: Source) -> None:
    """Given 100 new events of which one is wanted, Then that one is held."""
    seen = agent.record({"event_type": ("==", "t"), "identifier": ("==", "7")})
    asked = agent.record({"event_type": ("==", "job.held")})
    poll(agent, source, 0, 100)

    assert seen == [] and withheld(agent) == {"poll": 1}
    (question,) = asked
    assert (question.data["new"], question.data["examples"]) == (100, ["t/7"])
    assert decide(agent, "release") == 1
    assert len(seen) == 1


def test_where_nobody_wants_anything_nobody_is_asked(
    agent: AgentUnderTest, source: Source
) -> None:
    """Given a flood without listeners, Then there is nothing to hold and to decide."""
    poll(agent, source, 0, 100)

    assert withheld(agent) == {} and agent.published("job.held") == []


def test_a_baseline_is_no_flood(make: Make, source: Source) -> None:
    """Given a job with a baseline, Then what it stores as seen counts nothing."""
    agent = make()
    agent.add_job(source, every="1 hour", name="poll", first="baseline", hold_above=50)
    seen = agent.record(WANTED)
    poll(agent, source, 0, 500)
    poll(agent, source, 0, 550)
    assert len(seen) == 50

    poll(agent, source, 0, 601)

    assert len(seen) == 50 and withheld(agent) == {"poll": 51}


def test_what_a_job_stores_as_seen_counts_nothing(
    agent: AgentUnderTest, source: Source
) -> None:
    """Given events that are published with deliver=False, Then they make no flood."""
    seen = agent.record(WANTED)

    def mixed(handler: Handler) -> None:
        source.deliver, source.items = False, range(100)
        source(handler)
        source.deliver, source.items = True, range(100, 150)
        source(handler)

    agent.add_job(mixed, every="1 hour", name="mixed", hold_above=50)
    agent.run_job("mixed")
    agent.drain()

    assert len(seen) == 50


def test_only_what_the_run_publishes_is_withheld(agent: AgentUnderTest) -> None:
    """Given listeners that publish, and agent.handler, Then these are not held."""
    seen = agent.record(WANTED)

    def answer(event: Any, handler: Handler) -> None:
        handler.publish_many([("t", f"{event.identifier} {n}", None) for n in range(100)])

    def ask(handler: Handler) -> None:
        handler.publish("asked", "1")
        agent.handler.publish_many([("t", str(n), None) for n in range(100)])

    agent.add_listener(answer, {"event_type": ("==", "asked")}, name="answer")
    agent.add_job(ask, every="1 hour", name="answer", hold_above=1)
    agent.run_job("answer")
    agent.drain()

    assert len(seen) == 200 and withheld(agent) == {}


def test_two_jobs_at_once_do_not_share_their_fate(agent: AgentUnderTest) -> None:
    """Given two guarded runs at the same time, Then the flood of one holds no other."""
    seen = agent.record(WANTED)
    meet = threading.Barrier(2)

    def publish(handler: Handler, prefix: str, count: int) -> None:
        meet.wait(PATIENCE)
        for n in range(count):
            handler.publish("t", f"{prefix}{n}")
        meet.wait(PATIENCE)

    for name, count in (("flood", 60), ("few", 40)):
        agent.add_job(
            publish, every="1 hour", name=name, hold_above=50, prefix=name, count=count
        )
    agent.start()
    agent.advance(0)

    assert {event.identifier for event in seen} == {f"few{n}" for n in range(40)}
    assert withheld(agent) == {"flood": 60}


def test_a_run_may_publish_on_several_threads(agent: AgentUnderTest) -> None:
    """Given four threads of one run, Then all they publish counts, and once."""
    seen = agent.record(WANTED)

    def threaded(handler: Handler, count: int) -> None:
        def publish(offset: int) -> None:
            for n in range(count):
                handler.publish("t", f"{count}/{(offset + n) % (4 * count)}")

        threads = [
            threading.Thread(target=publish, args=[count * quarter]) for quarter in range(4)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join(PATIENCE)

    agent.add_job(threaded, every="1 hour", name="threaded", hold_above=100, count=25)
    agent.run_job("threaded")
    agent.drain()
    assert len(seen) == 100

    agent.run_job("threaded", count=26)
    agent.drain()

    assert len(seen) == 100 and withheld(agent) == {"threaded": 104}


def test_a_coroutine_is_guarded(agent: AgentUnderTest) -> None:
    """Given a job that is async, Then its flood is held, too."""
    seen = agent.record(WANTED)

    async def job(handler: Handler, count: int) -> None:
        for n in range(count):
            await asyncio.sleep(0)
            handler.publish("t", f"{count}/{n}")

    agent.add_job(job, every="1 hour", name="async", hold_above=5, count=5)
    agent.run_job("async")
    agent.run_job("async", count=6)
    agent.drain()

    assert len(seen) == 5 and withheld(agent) == {"async": 6}


def test_what_comes_after_the_run_waits_for_the_next_one(agent: AgentUnderTest) -> None:
    """Given a run whose handler publishes after its end, Then the next run decides."""
    seen, kept = agent.record(WANTED), list[Handler]()

    def job(handler: Handler, late: int) -> None:
        for n in range(late):
            kept[-1].publish("t", f"{late}/{n}")
        kept.append(handler)

    agent.add_job(job, every="1 hour", name="late", hold_above=5, late=0)
    agent.run_job("late")
    kept[-1].publish("t", "after")
    agent.drain()
    assert seen == []

    agent.run_job("late", late=5)
    agent.drain()
    assert seen == [] and withheld(agent) == {"late": 6}
    kept[-1].publish("t", "again")
    agent.run_job("late")
    agent.drain()

    assert [event.identifier for event in seen] == ["again"]


def test_what_is_withheld_keeps_no_job_waiting(make: Make, source: Source) -> None:
    """Given a limit of what may be owed, Then a flood does not wait for itself, and what
    is held leaves room for others.
    """
    agent = make(max_owed=10)
    agent.add_job(source, every="1 hour", name="poll", hold_above=50)
    seen = agent.record({"event_type": ("in", ["t", "u"])})
    poll(agent, source, 0, 100)
    assert seen == []

    def other(handler: Handler) -> None:
        for n in range(30):
            handler.publish("u", str(n))

    agent.run_job(other, name="other")
    agent.drain()

    assert len(seen) == 30 and withheld(agent) == {"poll": 100}


def test_a_held_run_is_a_success(make: Make, source: Source) -> None:
    """Given a job that is expected to succeed, Then a flood does not make it silent."""
    agent = make()
    agent.add_job(
        source, every="1 hour", name="poll", hold_above=50, expect_every="90 minutes"
    )
    agent.record(WANTED)
    source.items = range(500)
    agent.advance(hours=4)

    assert withheld(agent) == {"poll": 500}
    assert agent.published("job.silent") == []


def test_a_held_delivery_does_not_hold_back_its_key(
    agent: AgentUnderTest, source: Source
) -> None:
    """Given a listener that keeps an order, Then new events of a held key are delivered."""
    seen: list[str] = []
    agent.add_listener(
        lambda event: seen.append(event.identifier), WANTED, name="l",
        ordered_by="event_type",
    )  # fmt: skip
    poll(agent, source, 0, 100)
    poll(agent, source, 100, 103)
    assert seen == ["100", "101", "102"]

    decide(agent, "release")

    assert seen[3:] == [str(n) for n in range(100)]


def test_one_held_delivery_is_released_by_its_id(
    agent: AgentUnderTest, source: Source
) -> None:
    """Given a flood, When one delivery is redelivered by its id, Then only that fires."""
    seen = agent.record(WANTED)
    poll(agent, source, 0, 100)
    opened = EventStore.open(agent.store_path(), SystemClock())
    (subscription,) = [each.id for each in opened.subscriptions.all()]
    event = opened.find("t", "42")
    by_hand.redeliver(opened, [(event.id, subscription)])
    opened.close()
    agent.drain()

    assert [each.identifier for each in seen] == ["42"]
    assert decide(agent, "release") == 99
    assert len(seen) == 100


def test_the_question_survives_a_small_limit_of_data(make: Make, source: Source) -> None:
    """Given a store that takes no event so large, Then the flood is held all the same."""
    agent = make(max_data=60)
    agent.add_job(source, every="1 hour", name="poll", hold_above=50)
    seen = agent.record({})
    poll(agent, source, 0, 100)

    assert seen == [] and withheld(agent) == {"poll": 100}
    assert [run.outcome for run in agent.runs("poll")] == ["completed"]


def test_held_is_held_over_restarts_and_without_its_listener(
    make: Make, source: Source
) -> None:
    """Given a flood, When the agent is started anew, without the listener and with it,
    Then it stays held until someone decides.
    """

    def life(listens: bool) -> tuple[AgentUnderTest, list[Any]]:
        agent = make()
        agent.add_job(source, every="1 hour", name="poll", hold_above=50)
        seen = agent.record(WANTED, name="l") if listens else []
        return agent, seen

    agent, seen = life(listens=True)
    poll(agent, source, 0, 100)
    agent.stop()
    agent, _ = life(listens=False)
    poll(agent, source, 100, 103)
    agent.stop()
    agent, later = life(listens=True)
    agent.drain()

    assert seen == [] and [event.identifier for event in later] == ["100", "101", "102"]
    assert decide(agent, "release") == 100
    assert len(later) == 103


def test_a_run_that_is_given_up_at_the_stop_decides_likewise(
    make_agent: MakeAgent, make: Make, gate: Gate, store: StoreFile
) -> None:
    """Given a run that outlives the grace time, Then its few events are delivered by
    the next life.
    """
    stopped = make_agent(grace=0)

    def job(handler: Handler) -> None:
        handler.publish("t", "1")
        gate.hold()

    stopped.add_job(job, every="1 hour", name="poll", hold_above=50)
    stopped.add_listener(lambda: None, WANTED, name="l")
    stopped.start()
    gate.await_entry()
    stopped.stop()
    assert store.delivery("l")["reason"] is None

    agent = make()
    seen = agent.record(WANTED, name="l")
    agent.drain()

    assert [event.identifier for event in seen] == ["1"]


@pytest.mark.parametrize("guarded", [True, False])
def test_a_guard_that_is_taken_away_frees_what_a_crash_left(
    store: StoreFile, make: Make, source: Source, guarded: bool
) -> None:
    """Given a run that was killed, When its job is not guarded any more, Then its events
    are delivered at the start; and else they wait for its next run.
    """
    assert run_script("flood.py", store.path, "30", check=False).returncode == (
        -signal.SIGKILL
    )
    agent = make()
    options = {"hold_above": 50} if guarded else {}
    agent.add_job(source, every="1 hour", name="poll", **options)
    seen = agent.record({"event_type": ("==", "t")}, name="l")
    agent.drain()
    assert len(seen) == (0 if guarded else 30)

    poll(agent, source, 0, 30)

    assert len(seen) == 30


def test_a_killed_run_shares_the_fate_of_the_next(store: StoreFile, make: Make) -> None:
    """Given a kill after 30 of 500 events, When the run is repeated, Then all are held."""
    killed = run_script("flood.py", store.path, "30", check=False)
    assert killed.returncode == -signal.SIGKILL
    assert store.states("l") == {"available": 30}

    told = run_script("flood.py", store.path).stdout.splitlines()

    assert len(told) == 1 and told[0].startswith("job.held {")
    data = json.loads(told[0].removeprefix("job.held ").replace("'", '"'))
    assert (data["new"], data["examples"][0]) == (500, "t/0")
    assert store.rows(
        "SELECT count(*) FROM deliveries WHERE state = 'available' AND reason = ?", HELD
    ) == [(500,)]
    assert store.outcomes("poll") == ["crashed", "completed"]
    agent = make()
    seen = agent.record(WANTED, name="l")
    agent.drain()
    assert seen == []
    assert decide(agent, "release") == 500
    assert [event.identifier for event in seen] == [str(n) for n in range(500)]


def test_a_job_without_a_guard_asks_nothing(make: Make, source: Source) -> None:
    """Given a job that did not ask for it, Then a thousand events are delivered."""
    agent = make()
    agent.add_job(source, every="1 hour", name="poll")
    source.many = True
    seen = agent.record({})
    poll(agent, source, 0, 1_000)

    assert len(seen) == 1_000
