"""What was to follow an event and did not come is told once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from py_agent import expect
from py_agent.absence import watch
from py_agent.errors import ConfigError, FilterError, RegistrationError
from py_agent.loading import agent_of_config
from py_agent.testing import AgentUnderTest


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentUnderTest]:
    """An agent that expects a run to end within two hours."""
    made = AgentUnderTest(tmp_path / "agent.sqlite")
    made.add_listener(expect("run.ended", after="run.started", within="2 hours"))
    yield made
    made.stop()


def missing(agent: AgentUnderTest) -> list[str]:
    """Return for which runs an end was missed."""
    found = agent.published("run.ended.missing")
    return [event.identifier.removeprefix("run.started/") for event in found]


def test_an_end_that_does_not_come_is_told_once(agent: AgentUnderTest) -> None:
    """Given a start, When two hours pass without an end, Then one event says so."""
    agent.handler.publish("run.started", "42", {"run": 42})
    agent.advance(hours=1, minutes=59)
    assert missing(agent) == []

    agent.advance(minutes=1)
    agent.advance(days=2)

    (told,) = agent.published("run.ended.missing")
    assert told.identifier == "run.started/42"
    assert told.data["expected"] == "run.ended"
    assert told.data["within"] == 7200
    assert told.data["after"]["event_type"] == "run.started"
    assert told.data["after"]["data"] == {"run": 42}


def test_an_end_in_time_is_the_end_of_it(agent: AgentUnderTest) -> None:
    """Given a start, When the end comes in time, Then nothing is told."""
    agent.handler.publish("run.started", "42")
    agent.advance(hours=1)
    agent.handler.publish("run.ended", "42")
    agent.advance(days=2)
    assert missing(agent) == []


def test_an_end_that_was_stored_before_the_start_counts(agent: AgentUnderTest) -> None:
    """Given a source that lists the newest first, When both are there, Then all is well."""
    agent.handler.publish("run.ended", "42")
    agent.handler.publish("run.started", "42")
    agent.advance(days=2)
    assert missing(agent) == []
    assert [each.state for each in agent.deliveries()] == ["completed"]


def test_it_holds_over_a_downtime(agent: AgentUnderTest) -> None:
    """Given a start before the agent went down, When it is back a day later, Then the
    missing end is told once, after the jobs have had a minute.
    """
    agent.handler.publish("run.started", "42")
    agent.advance(minutes=5)
    agent.stop()
    agent.clock.advance(days=1)

    agent.start()
    agent.advance(59)
    assert missing(agent) == []
    agent.advance(1)
    agent.stop()
    agent.start()
    agent.advance(days=1)
    assert missing(agent) == ["42"]


def test_an_end_that_is_found_after_a_downtime_counts(agent: AgentUnderTest) -> None:
    """Given an end that happened while the agent was down, When a job finds it soon after
    the start, Then nothing is told.
    """
    agent.handler.publish("run.started", "42")
    agent.advance(minutes=5)
    agent.stop()
    agent.clock.advance(days=1)

    agent.start()
    agent.advance(30)
    agent.handler.publish("run.ended", "42")
    agent.advance(days=1)

    assert missing(agent) == []


def test_it_is_told_again_to_nobody_after_it_came_late(agent: AgentUnderTest) -> None:
    """Given a missing end that comes late, When time passes, Then it was told once."""
    agent.handler.publish("run.started", "42")
    agent.advance(hours=3)
    agent.handler.publish("run.ended", "42")
    agent.handler.publish("run.started", "42")
    agent.advance(days=1)
    assert missing(agent) == ["42"]


def by_run(agent: AgentUnderTest) -> None:
    """Expect ends by what stands in the data."""
    agent.add_listener(
        expect("end", after={"event_type": ("==", "begin"), "data.kind": ("==", "big")},
               within=60, by="data.run.id", name="ends")
    )  # fmt: skip


def test_events_may_be_matched_by_their_data(agent: AgentUnderTest) -> None:
    """Given a path, When one of two runs has an end, Then the other one is told."""
    by_run(agent)
    for run in (1, 2):
        data = {"run": {"id": run}, "kind": "big"}
        agent.handler.publish("begin", f"begin {run}", data)
    agent.handler.publish("begin", "small", {"run": {"id": 3}, "kind": "small"})
    agent.handler.publish("end", "end 1", {"run": {"id": 1}})
    agent.advance(120)
    assert [each.identifier for each in agent.published("end.missing")] == ["begin/begin 2"]


def test_a_value_that_comes_again_is_watched_each_time(agent: AgentUnderTest) -> None:
    """Given a backup of one host each hour, When the ends of some do not come, Then each
    of these is told, and the end of the one before does not count.
    """
    agent.add_listener(
        expect("end", after="begin", within="1 hour", by="data.host", name="ends")
    )
    for hour in range(6):
        agent.handler.publish("begin", f"begin {hour}", {"host": "db1"})
        agent.advance(minutes=10)
        if hour in (0, 3):
            agent.handler.publish("end", f"end {hour}", {"host": "db1"})
        agent.advance(minutes=50)
    agent.advance(hours=2)
    found = [each.identifier for each in agent.published("end.missing")]
    assert found == [f"begin/begin {hour}" for hour in (1, 2, 4, 5)]


def test_a_machine_that_slept_gives_jobs_a_minute(agent: AgentUnderTest) -> None:
    """Given a sleep over the deadline, When an end is found soon after waking, Then nothing
    is told; and when none is found, that is told a minute after waking.
    """
    for run in ("42", "43"):
        agent.handler.publish("run.started", run)
    agent.advance(minutes=5)
    agent.clock.advance(hours=5)
    agent.advance(30)
    agent.handler.publish("run.ended", "42")
    assert missing(agent) == []
    agent.advance(31)
    assert missing(agent) == ["43"]


def test_large_data_does_not_silence_it(agent: AgentUnderTest) -> None:
    """Given an event near the limit of size, When nothing follows, Then that is told."""
    agent.handler.publish("run.started", "42", {"log": "x" * 1_000_000})
    agent.advance(hours=3)
    (told,) = agent.published("run.ended.missing")
    assert told.data["after"]["data"] is None


@pytest.mark.parametrize("data", [{}, {"run": {"id": None}}, {"run": {"id": [1]}}])
def test_an_event_without_what_they_have_in_common(
    agent: AgentUnderTest, data: dict[str, Any]
) -> None:
    """Given an event that lacks the path, When delivered, Then it is visibly dead."""
    by_run(agent)
    agent.handler.publish("begin", "1", {"kind": "big"} | data)
    agent.advance(1)
    (dead,) = agent.deliveries("ends")
    assert dead.state == "discarded"
    assert dead.reason is not None and "'data.run.id'" in dead.reason


def test_the_names_may_be_long(agent: AgentUnderTest) -> None:
    """Given the longest names, When an event is missed, Then it is told."""
    by_run(agent)
    data = {"kind": "big", "run": {"id": "x" * 5_000}}
    agent.handler.publish("begin", "i" * 1_024, data)
    agent.advance(60)
    (told,) = agent.published("end.missing")
    assert len(told.identifier) == 64


def test_it_can_be_written_in_agent_toml(tmp_path: Path) -> None:
    """Given a [[listeners]] table, When read, Then it is the same listener."""
    file = tmp_path / "agent.toml"
    file.write_text(
        '[[listeners]]\nrun = "py_agent.absence.watch"\n'
        'match = { event_type = ["==", "run.started"] }\n'
        'with = { event_type = "run.ended", within = "2 hours" }\n'
    )
    (found,) = agent_of_config(file).registry.listeners
    assert found.function is watch
    assert found.arguments == {"event_type": "run.ended", "within": "2 hours"}


def test_mistakes_are_told_when_it_is_written() -> None:
    """Given a wrong time or path, When written, Then that is an error at once."""
    with pytest.raises(RegistrationError, match="more than 0"):
        expect("b", after="a", within=0)
    with pytest.raises(RegistrationError, match="no length of time"):
        expect("b", after="a", within="later")
    with pytest.raises(FilterError, match="no field 'run'"):
        expect("b", after="a", within=1, by="run")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ('within = "2 hour s"', "within: '2 hour s' is no length of time"),
        ("within = 0", "within must be more than 0 seconds"),
        ('within = "2 hours", by = "run"', "there is no field 'run'"),
    ],
)
def test_mistakes_in_agent_toml_are_told_at_start(
    tmp_path: Path, given: str, problem: str
) -> None:
    """Given a wrong time or path in agent.toml, Then the agent does not start."""
    file = tmp_path / "agent.toml"
    file.write_text(
        '[[listeners]]\nrun = "py_agent.absence.watch"\n'
        'match = { event_type = ["==", "run.started"] }\n'
        f'with = {{ event_type = "run.ended", {given} }}\n'
    )
    with pytest.raises(ConfigError, match=problem):
        agent_of_config(file)
