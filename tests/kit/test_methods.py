"""What a test can ask of its agent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from py_agent import Event, Handler, Publication, RetryPolicy, Settings, listen_for
from py_agent.errors import AgentError, NotFoundError, UsageError
from py_agent.retry import Discard
from py_agent.testing import AgentUnderTest

MakeAgent = Callable[..., AgentUnderTest]


class ShopSettings(Settings, section="kit_shop", env_prefix="KIT_SHOP_"):
    """Settings with a value that is required."""

    url: str
    pages: int = 10


def publish(handler: Handler, number: int = 1) -> Publication:
    """A job."""
    return handler.publish("t", str(number), {"number": number, "even": number % 2 == 0})


@listen_for({"event_type": ("==", "t")}, retry=RetryPolicy(attempts=2))
def refuse(event: Event) -> None:
    """A listener that fails."""
    raise ValueError(event.identifier)


# run_job


def test_a_run_says_what_it_did(agent: AgentUnderTest) -> None:
    """Given a known event, When a job publishes it again, Then the run counts it."""
    first, second = agent.run_job(publish), agent.run_job(publish)
    assert (first.outcome, first.published, first.duplicates) == ("completed", 1, 0)
    assert (second.outcome, second.published, second.duplicates) == ("completed", 0, 1)
    assert first.started == first.finished == agent.clock.now()


def test_a_job_raises_into_the_test(agent: AgentUnderTest) -> None:
    """Given a job that fails, When it is run,
    Then its own error arrives, traceback and all.
    """

    def fail(handler: Handler) -> None:
        raise LookupError("no such page")

    with pytest.raises(LookupError, match="no such page") as caught:
        agent.run_job(fail)
    assert caught.traceback[-1].name == "fail"
    assert [each.error for each in agent.runs(fail)] == ["LookupError: no such page"]


def test_a_failed_run_leaves_no_state(agent: AgentUnderTest) -> None:
    """Given a job that fails the second time, When run a third time,
    Then it knows run one.
    """
    seen: list[int] = []

    def job(handler: Handler) -> None:
        seen.append(handler.state.get("runs", 0))
        handler.state["runs"] = seen[-1] + 1
        if len(seen) == 2:
            raise ValueError

    agent.run_job(job)
    with pytest.raises(ValueError):
        agent.run_job(job)
    agent.run_job(job)
    assert seen == [0, 1, 1]


def test_a_window_begins_where_the_last_run_did(agent: AgentUnderTest) -> None:
    """Given a run an hour ago, When the job runs again, Then its window is that hour."""
    windows: list[Any] = []

    def job(handler: Handler) -> None:
        windows.append(handler.window)

    agent.run_job(job)
    agent.clock.advance(hours=1)
    agent.run_job(job)
    assert windows[0].since is None
    assert windows[1].until - windows[1].since == timedelta(hours=1)


def test_a_job_is_run_by_its_name_with_its_arguments(agent: AgentUnderTest) -> None:
    """Given an added job, When run by name, Then it has the arguments it was added with."""
    agent.add_job(publish, every="1 hour", name="numbers", number=7)
    agent.run_job("numbers")
    assert agent.published("t", "7")


def test_arguments_of_a_run_win_over_those_of_the_job(agent: AgentUnderTest) -> None:
    """Given an added job, When run with an argument, Then that one counts, this time."""
    agent.add_job(publish, every="1 hour", number=7)
    agent.run_job(publish, number=8)
    agent.run_job(publish)
    assert [event.identifier for event in agent.published()] == ["8", "7"]


def test_a_baseline_stays_one(agent: AgentUnderTest) -> None:
    """Given a job with first="baseline", When its first run is by hand,
    Then nothing fires.
    """
    seen = agent.record({})
    agent.add_job(publish, every="1 hour", at_start=False, first="baseline")
    agent.run_job(publish, number=1)
    agent.run_job(publish, number=2)
    agent.drain()
    assert [event.identifier for event in seen] == ["2"]


def test_time_that_a_job_waits_for_passes(agent: AgentUnderTest) -> None:
    """Given a job that waits for minutes, When it is run, Then only the clock moves."""
    passed: list[bool] = []

    def job(handler: Handler) -> None:
        passed.append(handler.wait(timedelta(minutes=5)))

    began = agent.clock.now()
    agent.run_job(job)
    assert passed == [True]
    assert agent.clock.now() - began == timedelta(minutes=5)


def test_an_unknown_job_is_named(agent: AgentUnderTest) -> None:
    """Given no job of that name, When it is run, Then the error names it."""
    with pytest.raises(NotFoundError, match="'nothing'"):
        agent.run_job("nothing")


def test_arguments_that_do_not_fit_are_refused(agent: AgentUnderTest) -> None:
    """Given a job without such an argument, When it is run with it, Then it is refused."""
    with pytest.raises(AgentError, match="nonsense"):
        agent.run_job(publish, nonsense=1)


def test_a_lambda_needs_a_name(agent: AgentUnderTest) -> None:
    """Given a lambda, When it is run with a name, Then the run has that name."""
    assert agent.run_job(lambda handler: None, name="nothing").job == "nothing"


# drain, record


def test_a_recorder_keeps_events_in_order(agent: AgentUnderTest) -> None:
    """Given a recorder with a filter, When events come, Then it has those that match."""
    even = agent.record({"data.even": ("==", True)})
    everything = agent.record({})
    for number in range(1, 51):
        agent.run_job(publish, number=number)
    agent.drain()
    assert [event.data["number"] for event in even] == list(range(2, 51, 2))
    assert len(everything) == 50


def test_a_chain_of_listeners_is_drained_to_its_end(agent: AgentUnderTest) -> None:
    """Given listeners that publish for each other, When drained,
    Then the last one has it.
    """

    def first(handler: Handler, event: Event) -> None:
        handler.publish("second", event.identifier)

    def second(handler: Handler, event: Event) -> None:
        handler.publish("third", event.identifier)

    agent.add_listener(first, {"event_type": ("==", "t")})
    agent.add_listener(second, {"event_type": ("==", "second")})
    third = agent.record({"event_type": ("==", "third")})
    agent.run_job(publish)
    assert agent.drain()
    assert [event.identifier for event in third] == ["1"]


def test_draining_waits_for_no_retry(agent: AgentUnderTest) -> None:
    """Given a failed delivery, When drained,
    Then it waits for its time, which stands still.
    """
    agent.add_listener(refuse)
    agent.run_job(publish)
    now = agent.clock.now()
    agent.drain()
    (delivery,) = agent.deliveries(refuse, "retryable")
    assert delivery.due == now + timedelta(seconds=1)
    assert agent.clock.now() == now


def test_time_that_a_listener_waits_for_passes(agent: AgentUnderTest) -> None:
    """Given a listener that waits, When drained, Then it has ended."""

    def slow(handler: Handler) -> None:
        assert handler.wait(30)

    agent.add_listener(slow, {})
    agent.run_job(publish)
    agent.drain()
    assert [each.state for each in agent.deliveries(slow)] == ["completed"]


# published, deliveries, runs


def test_published_events_are_narrowed(agent: AgentUnderTest) -> None:
    """Given three events, When asked by type, identifier or data,
    Then those are returned.
    """
    for number in (1, 2, 3):
        agent.run_job(publish, number=number)
    agent.handler.publish("other", "1")
    assert len(agent.published()) == 4
    assert [event.identifier for event in agent.published("t")] == ["1", "2", "3"]
    assert [event.event_type for event in agent.published(None, "1")] == ["t", "other"]
    assert [event.identifier for event in agent.published(even=False, number=3)] == ["3"]


def test_data_of_any_name_can_be_asked_for(agent: AgentUnderTest) -> None:
    """Given data with the names of our own arguments, When asked, Then the data counts."""
    agent.handler.publish("t", "1", {"identifier": "x", "event_type": "y", "self": [1]})
    assert agent.published(identifier="x", event_type="y", self=[1])


def test_a_delivery_tells_its_errors(agent: AgentUnderTest) -> None:
    """Given a listener that gave up, When asked, Then its delivery says why."""
    agent.add_listener(refuse)
    agent.run_job(publish)
    agent.advance(minutes=1)
    (delivery,) = agent.deliveries(refuse)
    assert (delivery.state, delivery.attempts) == ("discarded", 2)
    assert delivery.reason == "gave up after 2 attempts"
    assert delivery.error == "ValueError: 1"


def test_deliveries_are_narrowed(agent: AgentUnderTest) -> None:
    """Given two listeners, When asked by each argument, Then only those are returned."""

    def discard(event: Event) -> None:
        raise Discard("not for us")

    agent.record({}, name="all")
    agent.add_listener(discard, {"event_type": ("==", "t")})
    agent.handler.publish("t", "1")
    agent.handler.publish("u", "2")
    agent.drain()
    assert len(agent.deliveries()) == 3
    assert [each.identifier for each in agent.deliveries("all")] == ["1", "2"]
    assert [each.reason for each in agent.deliveries(discard)] == ["not for us"]
    assert len(agent.deliveries(state="completed")) == 2
    assert [each.identifier for each in agent.deliveries(event_type="u")] == ["2"]
    assert len(agent.deliveries(identifier="1")) == 2


def test_a_listener_that_was_never_added_is_named(agent: AgentUnderTest) -> None:
    """Given a function that is no listener, When its deliveries are asked,
    Then it says so.
    """
    with pytest.raises(NotFoundError, match="refuse"):
        agent.deliveries(refuse)


def test_an_agent_that_did_nothing_has_nothing(agent: AgentUnderTest) -> None:
    """Given a new agent, When it is looked at, Then there is nothing in its store."""
    assert (agent.published(), agent.deliveries(), agent.runs()) == ([], [], [])


# settings


def test_settings_of_the_test_are_handed_over(agent: AgentUnderTest) -> None:
    """Given settings in the test, When a job names the class, Then it gets that object."""
    given = ShopSettings(url="https://shop.example")
    got: list[ShopSettings] = []

    def job(handler: Handler, shop: ShopSettings) -> None:
        got.extend([shop, handler.settings(ShopSettings)])

    agent.settings[ShopSettings] = given
    agent.run_job(job)
    assert got[0] is given and got[1] is given


def test_a_required_value_that_is_missing_is_named(agent: AgentUnderTest) -> None:
    """Given no settings, When a job needs a required value,
    Then the error says what to write.
    """

    def job(handler: Handler) -> None:
        handler.settings(ShopSettings)

    with pytest.raises(UsageError, match=r"agent\.settings\[ShopSettings\] = .*url=\.\.\."):
        agent.run_job(job)


# several agents, and one that is started again


def test_two_agents_know_nothing_of_each_other(make_agent: MakeAgent) -> None:
    """Given two agents, When one works, Then the other's store and clock are untouched."""
    one, other = make_agent(), make_agent()
    seen = other.record({})
    one.run_job(publish)
    one.advance(hours=1)
    other.drain()
    assert (len(one.published()), other.published(), seen) == (1, [], [])
    assert one.clock.now() - other.clock.now() == timedelta(hours=1)


def test_two_agents_can_share_a_clock(make_agent: MakeAgent) -> None:
    """Given one clock for two agents, When one lets time pass, Then both are later."""
    one = make_agent()
    other = make_agent(clock=one.clock)
    one.add_job(publish, every="1 hour")
    one.advance(hours=1)
    other.add_job(publish, every="1 hour")
    other.advance(hours=1)
    assert len(one.runs(publish)) >= 2 and len(other.runs(publish)) == 2


def test_an_agent_goes_on_where_it_stopped(agent: AgentUnderTest) -> None:
    """Given a delivery that failed, When the agent is started again, Then it is retried."""
    agent.add_listener(refuse)
    agent.run_job(publish)
    agent.drain()
    agent.stop()
    agent.clock.advance(days=1)
    agent.start()
    agent.drain()
    assert [each.state for each in agent.deliveries(refuse)] == ["discarded"]


def test_stopping_twice_and_starting_twice_does_no_harm(agent: AgentUnderTest) -> None:
    """Given an agent, When each is asked twice, Then it still works."""
    agent.start()
    agent.start()
    agent.stop()
    agent.stop()
    assert agent.run_job(publish).outcome == "completed"


def test_a_word_that_matches_nothing_is_refused(agent: AgentUnderTest) -> None:
    """Given a state or outcome that there is not, When asked for, Then it says so: an
    assertion that there is none would always hold.
    """
    with pytest.raises(UsageError, match="no state 'finished'; known are available"):
        agent.deliveries(state="finished")
    with pytest.raises(UsageError, match="no outcome 'succeeded'; known are running"):
        agent.runs(outcome="succeeded")


def test_a_service_that_waits_ends_by_itself_at_the_stop(agent: AgentUnderTest) -> None:
    """Given a service that waits for a day, When its agent stops, Then it has completed."""

    def serve(handler: Handler) -> None:
        handler.wait(86_400)

    agent.add_job(serve, keep=True)
    for _ in range(20):
        agent.advance(0)
        agent.stop()
    assert {run.outcome for run in agent.runs(serve)} == {"completed"}


# A job that changes its own rhythm


def test_a_job_chooses_when_it_runs_again(agent: AgentUnderTest) -> None:
    """Given a job that asks to run again, When time passes, Then it runs when it said,
    and as planned when it says nothing.
    """
    runs: list[float] = []
    waits = [600.0, 1.0]

    def job(handler: Handler) -> None:
        runs.append(handler.clock.boot())
        if waits:
            handler.run_again(waits.pop(0))

    agent.add_job(job, every=60)
    agent.advance(minutes=12)
    assert [round(later - runs[0]) for later in runs] == [0, 600, 601, 661]


def test_what_a_job_warns_of_is_known(agent: AgentUnderTest) -> None:
    """Given a job that logs, When it is asked, Then its warnings are there, and no more."""
    found: list[tuple[str, ...]] = []

    def job(handler: Handler) -> None:
        found.append(handler.warnings)
        handler.log.info("fine")
        handler.log.warning("%d of %s", 3, "four")
        handler.log.error("100 % wrong")
        found.append(handler.warnings)

    agent.run_job(job)
    assert found == [(), ("3 of four", "100 % wrong")]


def test_a_line_of_the_log_names_who_said_it(
    agent: AgentUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a job that logs, When its record is looked at, Then its place is the job's."""

    def job(handler: Handler) -> None:
        handler.log.warning("odd")

    agent.run_job(job, name="mine")
    (record,) = [each for each in caplog.records if each.getMessage() == "mine: odd"]
    assert (record.filename, record.funcName) == ("test_methods.py", "job")
