"""A value that is looked at again and again, and what counts as a change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_agent import Handler, observe
from py_agent.errors import EventError, UsageError
from py_agent.observation import looked
from py_agent.testing import AgentUnderTest


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentUnderTest]:
    """An agent on a store of its own."""
    made = AgentUnderTest(tmp_path / "agent.sqlite")
    yield made
    made.stop()


def look(agent: AgentUnderTest, *values: Any, **options: Any) -> list[tuple[Any, Any]]:
    """Look at one value after the other, a run each; return the changes so far."""

    def job(handler: Handler, value: Any) -> None:
        observe(handler, "door", value, **options)

    for value in values:
        agent.run_job(job, value=value)
    return [
        (each.data["before"], each.data["value"])
        for each in agent.published("value.changed")
    ]


def test_the_first_value_is_no_change(agent: AgentUnderTest) -> None:
    """Given a value that stays, When looked at, Then nothing is published."""
    assert look(agent, *["closed"] * 6) == []


def test_a_change_counts_when_it_is_confirmed(agent: AgentUnderTest) -> None:
    """Given a new value, When it was seen three times in a row, Then one event."""
    assert look(agent, *["closed"] * 3, "open", "open") == []
    assert look(agent, "open", "open") == [("closed", "open")]
    (event,) = agent.published("value.changed")
    assert event.data == {"key": "door", "value": "open", "before": "closed", "change": 1}


def test_a_value_that_flaps_is_no_change(agent: AgentUnderTest) -> None:
    """Given a value that comes and goes, When looked at, Then nothing is published."""
    flaps = ["open", "closed", "open", "open", "closed", "ajar", "open", "ajar"]
    assert look(agent, *["closed"] * 3, *flaps * 3) == []


def test_a_value_that_changes_back_is_a_change_each_time(agent: AgentUnderTest) -> None:
    """Given two states in turn, When each is confirmed, Then each change is an event."""
    found = look(agent, "a", "b", "a", "b", confirm=1)
    assert found == [("a", "b"), ("b", "a"), ("a", "b")]


def test_what_was_seen_survives_a_restart(agent: AgentUnderTest) -> None:
    """Given two looks before a stop, When the third comes after it, Then it counts."""
    look(agent, *["closed"] * 3, "open", "open")
    agent.stop()
    assert look(agent, "open") == [("closed", "open")]


def test_a_change_whose_run_fails_is_known_and_the_next_is_not_lost(
    agent: AgentUnderTest,
) -> None:
    """Given a run that fails after its change was stored, When the value is another one
    by then, Then that change is an event, too.
    """

    look(agent, "closed", confirm=1)
    with pytest.raises(ValueError, match="after it"):
        fail_after(agent, "open")
    found = look(agent, "ajar", confirm=1)
    assert found == [("closed", "open"), ("open", "ajar")]


def fail_after(agent: AgentUnderTest, value: str) -> None:
    """Look at a value in a run that fails afterwards."""

    def failing(handler: Handler) -> None:
        observe(handler, "door", value, confirm=1)
        raise ValueError("after it")

    agent.run_job(failing, name=job_name(agent))


def test_a_change_back_after_a_failed_run_is_told(agent: AgentUnderTest) -> None:
    """Given a run that fails after its change was stored, When the value is the old one
    again by then, Then that is a change back, and the next opening is one, too.
    """
    look(agent, "closed", confirm=1)
    with pytest.raises(ValueError, match="after it"):
        fail_after(agent, "open")
    assert look(agent, "closed", "open", confirm=1) == [
        ("closed", "open"), ("open", "closed"), ("closed", "open"),
    ]  # fmt: skip


def test_the_first_value_is_told_once_however_often_its_run_fails(
    agent: AgentUnderTest,
) -> None:
    """Given `first=True` and a run that fails twice, Then one event tells the value."""

    def failing(handler: Handler) -> None:
        observe(handler, "door", "closed", confirm=1, first=True)
        raise ValueError("after it")

    for _ in range(2):
        agent.clock.advance(60)
        with pytest.raises(ValueError, match="after it"):
            agent.run_job(failing)
    assert len(agent.published("value.changed")) == 1


def test_jobs_have_values_of_their_own(agent: AgentUnderTest) -> None:
    """Given two jobs that look at the same key, or one under a new name, When the value
    changes, Then each tells it.
    """

    def job(handler: Handler, value: str) -> None:
        observe(handler, "door", value, 1)

    for name in ("front", "back"):
        for value in ("closed", "open"):
            agent.run_job(job, name=name, value=value)
            agent.clock.advance(1)
    found = [event.identifier for event in agent.published("value.changed")]
    assert [each.partition("@")[0] for each in found] == ["front/door", "back/door"]


def job_name(agent: AgentUnderTest) -> str:
    """Return the name under which `look` runs its job."""
    return agent.runs()[0].job


def test_the_first_value_can_be_an_event(agent: AgentUnderTest) -> None:
    """Given `first=True`, When the first value is confirmed, Then it is an event."""
    assert look(agent, "closed", confirm=1, first=True) == [(None, "closed")]


def test_the_order_of_keys_is_no_change(agent: AgentUnderTest) -> None:
    """Given the same object in another order, When looked at, Then it is the same."""
    assert look(agent, {"a": 1, "b": 2}, {"b": 2, "a": 1}, confirm=1) == []


def test_keys_are_kept_apart(agent: AgentUnderTest) -> None:
    """Given two keys in one run, When one changes, Then one event names it."""

    def job(handler: Handler, window: str) -> None:
        observe(handler, "door", "closed", 1)
        observe(handler, "window", window, 1)

    for window in ("closed", "open"):
        agent.run_job(job, window=window)
    assert [each.data["key"] for each in agent.published()] == ["window"]


@pytest.mark.parametrize(
    ("options", "error", "problem"),
    [
        ({"confirm": 0}, UsageError, "confirm must be 1 or more"),
        ({"confirm": True}, UsageError, "confirm must be 1 or more"),
        ({"value": float("nan")}, EventError, "NaN|nan"),
        ({"key": ""}, UsageError, "key must be a text"),
        ({"key": "k" * 501}, UsageError, "key must be a text"),
    ],
)
def test_wrong_use_is_told(
    agent: AgentUnderTest,
    options: dict[str, Any],
    error: type[Exception],
    problem: str,
) -> None:
    """Given what cannot be observed, When looked at, Then the error says what is wrong."""

    def job(handler: Handler) -> None:
        observe(handler, **{"key": "k", "value": 1} | options)

    with pytest.raises(error, match=problem):
        agent.run_job(job)


@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(1, 4))
def test_a_change_is_a_run_of_equal_values(values: list[str], confirm: int) -> None:
    """Given any values, When looked at, Then the value known is the last that was seen
    often enough in a row.
    """
    seen: dict[str, Any] = {"value": None, "change": 0, "next": None, "times": 0}
    for number, text in enumerate(values):
        seen = looked(seen, text, confirm, first=False)
        last = values[max(0, number + 1 - confirm) : number + 1]
        if len(last) == confirm and len(set(last)) == 1:
            assert seen["value"] == text
