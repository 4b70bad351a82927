"""`keep_data`: the data of old events goes, day by day, and no event is new again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from py_agent import Event
from py_agent.retention import NAME
from py_agent.testing import AgentUnderTest

from .support import PATIENCE, WANTED, Calls, MakeAgent, StoreFile


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentUnderTest]:
    """An agent that keeps data for thirty days."""
    config = tmp_path / "agent.toml"
    config.write_text('[agent]\nkeep_data = "30 days"\n')
    made = AgentUnderTest(tmp_path / "agent.sqlite", config=config)
    yield made
    made.stop()


def whole(agent: AgentUnderTest) -> list[Event]:
    """Return the events that have their data."""
    return [event for event in agent.published() if not event.pruned]


def test_data_is_kept_for_as_long_as_is_said(agent: AgentUnderTest) -> None:
    """Given an event a day, When half a year has passed, Then a month has its data."""
    agent.add_job(
        lambda handler: handler.publish("day", f"{handler.clock.now():%F}", {"n": 1}),
        every="1 day", name="daily",
    )  # fmt: skip
    agent.advance(days=180)

    assert len(agent.published()) == 181
    kept = whole(agent)
    assert 30 <= len(kept) <= 32
    assert agent.clock.now() - kept[0].created <= timedelta(days=31)


def test_data_is_kept_for_ever_if_nothing_is_said(tmp_path: Path) -> None:
    """Given no `keep_data`, When years pass, Then no job drops any."""
    config = tmp_path / "agent.toml"
    config.write_text("[agent]\n")
    agent = AgentUnderTest(tmp_path / "agent.sqlite", config=config)
    agent.handler.publish("old", "1", {"n": 1})
    agent.advance(days=1_000)
    try:
        assert len(whole(agent)) == 1
        assert agent.runs(NAME) == []
    finally:
        agent.stop()


def test_what_a_listener_never_took_keeps_its_data(agent: AgentUnderTest) -> None:
    """Given a dead letter, When its time has passed, Then it can be tried again."""

    def fails(event: Event) -> None:
        raise ValueError("no")

    agent.add_listener(fails, {"event_type": ("==", "order")}, name="fails")
    agent.handler.publish("order", "1", {"n": 1})
    agent.handler.publish("other", "1", {"n": 1})
    agent.advance(days=60)
    assert [event.event_type for event in whole(agent)] == ["order"]


def test_a_clock_that_is_ahead_for_a_while_drops_nothing(agent: AgentUnderTest) -> None:
    """Given a clock set ten years ahead before a run, When corrected, Then all is there."""
    agent.handler.publish("order", "1", {"n": 1})
    agent.advance(days=3)
    right = agent.clock.now()
    agent.clock.set_wall_clock(right + timedelta(days=3_650))
    agent.advance(hours=25)
    assert agent.runs(NAME)[-1].started > right + timedelta(days=3_000)
    agent.clock.set_wall_clock(right + timedelta(hours=25))
    agent.advance(days=3)
    assert len(whole(agent)) == 1


def test_nobody_is_called_without_the_data(make_agent: MakeAgent, store: StoreFile) -> None:
    """Given an event that lost its data while it was owed anew, Then nobody is called, and
    the delivery says why.
    """
    agent, calls = make_agent(), Calls()
    agent.add_listener(calls, WANTED, name="l")
    agent.handler.publish("t", "1", {"n": 1})
    agent.stop()
    store.change("UPDATE events SET data = NULL")

    agent.start()
    assert agent.drain(PATIENCE)

    assert calls.seen == []
    found = store.delivery("l")
    assert (found["state"], "was dropped" in found["reason"]) == ("discarded", True)
