"""Reports on runs of other tools: events that are stored once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_agent import ContractError
from py_agent.observability import Report, safe_key, validate
from py_agent.observability.reporting import MAX_IDENTIFIER, identifier_for
from py_agent.testing import AgentUnderTest

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def report(agent: AgentUnderTest) -> Report:
    """A report on one run."""
    return Report(agent.handler, "MY-TOOL", "etl", "42", pipeline_name="The nightly one")


def test_a_status_is_an_event_that_the_server_takes(
    report: Report, agent: AgentUnderTest
) -> None:
    """Given a run, When its status is told, Then the event's data is the payload."""
    assert report.status("RUNNING", AT)
    (event,) = agent.published("run-status")
    assert event.identifier == "MY-TOOL/etl/42//1/RUNNING"
    assert event.data == {
        "pipeline_key": "etl",
        "pipeline_name": "The nightly one",
        "run_key": "42",
        "component_tool": "MY_TOOL",
        "status": "RUNNING",
        "event_timestamp": "2026-01-05T12:00:00+00:00",
        "metadata": {},
    }
    assert validate("run-status", event.data) == event.data


def test_what_was_told_is_not_told_again(report: Report, agent: AgentUnderTest) -> None:
    """Given a poll that sees the same again, Then nothing is published; a change is."""
    told = [
        report.status("RUNNING", AT),
        report.status("RUNNING", AT),
        report.status("RUNNING", AT, task="load"),
        report.status("RUNNING", AT, task="load", attempt=2),
        report.status("FAILED", AT, task="load", attempt=2),
        report.message("ERROR", "no space", AT, task="load"),
        report.message("ERROR", "no space", AT, task="load"),
        report.message("ERROR", "no inodes", AT, task="load"),
        report.message("ERROR", "", AT),
    ]
    assert told == [True, False, True, True, True, True, False, True, False]
    assert len(agent.published()) == 6


def test_texts_that_are_too_long_are_cut(report: Report, agent: AgentUnderTest) -> None:
    """Given a huge log, When it is told, Then it fits into what the server takes."""
    assert report.message("ERROR", "\U0001f4a3" * 100_000, AT, details="x" * 100_000)
    (event,) = agent.published("message-log")
    assert validate("message-log", event.data)["message"].startswith("\U0001f4a3")


def test_any_other_event_of_a_run_can_be_told(
    report: Report, agent: AgentUnderTest
) -> None:
    """Given a metric, When it is told, Then its event is known by what it is about."""
    for value in (1, 2):
        report.event("metric-log", ("rows",), metric_key="rows", metric_value=value)
    assert [each.data["metric_value"] for each in agent.published("metric-log")] == [1]


def test_what_the_server_would_refuse_is_not_published(
    report: Report, agent: AgentUnderTest
) -> None:
    """Given a status that does not exist, When it is told, Then the field is named."""
    with pytest.raises(ContractError) as caught:
        report.status("PENDING", AT)
    assert caught.value.field == "status"
    assert agent.published() == []


@pytest.mark.parametrize("key", ["r1", "manual__2026-01-05T12:00:00+00:00", "é", "x" * 255])
def test_a_key_that_can_be_kept_is_kept(key: str) -> None:
    """Given a key within the server's limits, Then it is sent as it is."""
    assert safe_key(key) == key


@given(st.text(), st.text())
def test_keys_stay_apart_and_fit(one: str, other: str) -> None:
    """Given any two keys, Then they fit, and only equal ones become equal."""
    for key in (one, other):
        validate("run-status", {"pipeline_key": safe_key(key), "run_key": safe_key(key),
                                "status": "RUNNING"})  # fmt: skip
    assert (safe_key(one) == safe_key(other)) == (one == other)


@given(st.lists(st.text(max_size=400), min_size=1, max_size=5), st.lists(st.text()))
def test_identifiers_stay_apart_and_fit(one: list[str], other: list[str]) -> None:
    """Given any parts, Then the identifier fits, and tells other parts from them."""
    found = identifier_for(*one)
    assert 0 <= len(found) <= MAX_IDENTIFIER
    if len(one) == len(other) and one != other and "�" not in found:
        assert identifier_for(*other) != found
