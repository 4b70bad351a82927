"""Whether an effect that was cut off may have happened is known to the next attempt."""

from __future__ import annotations

import pytest

from py_agent import Agent, AgentError, Event, Handler, StoppedError

from .support import WANTED, Gate, MakeAgent, StoreFile, publish, run_script


def lives(store: StoreFile, *wheres: str) -> list[str]:
    """Let one life of the script after the other end; return what all printed."""
    found: list[str] = []
    for where in wheres:
        found += run_script("effect.py", store.path, where, check=False).stdout.split()
    return found


@pytest.mark.parametrize("where", ["inside", "hang"])
def test_an_effect_that_was_cut_off_is_in_doubt(store: StoreFile, where: str) -> None:
    """Given a crash or a stop inside an effect, When tried again, Then it is in doubt."""
    assert lives(store, where, "live") == ["False", "True"]
    assert store.delivery("l")["state"] == "completed"


def test_a_crash_before_the_effect_leaves_no_doubt(store: StoreFile) -> None:
    """Given a crash before the effect began, When tried again, Then nothing is in doubt."""
    assert lives(store, "before", "live") == ["False", "False"]


def test_an_effect_whose_end_was_seen_leaves_no_doubt(store: StoreFile) -> None:
    """Given a listener that raised inside, When tried again, Then nothing is in doubt."""
    told = lives(store, "fail", "live")
    assert set(told) == {"False"}
    assert len(told) >= 2


def test_a_doubt_outlives_what_does_not_clear_it_up(store: StoreFile) -> None:
    """Given an effect in doubt and an attempt that fails before it looks, or crashes
    there, When tried again, Then it is still in doubt.
    """
    told = lives(store, "inside", "look", "before", "live")
    assert told[0] == "False"
    assert set(told[1:]) == {"True"}


def test_a_doubt_is_shown(store: StoreFile) -> None:
    """Given a stop inside an effect, When the store is read, Then the delivery says so."""
    lives(store, "hang")
    row = store.delivery("l")
    assert (row["state"], row["reason"]) == ("retryable", "in doubt")


def test_a_crash_inside_an_effect_is_charged_as_any_other(store: StoreFile) -> None:
    """Given three crashes inside an effect, When started again, Then it is dead."""
    assert lives(store, "inside", "inside", "inside", "dead") == ["False", "True", "True"]
    row = store.delivery("l")
    assert row["reason"] == "it ended the agent 3 times in a row"


def test_a_call_that_was_given_up_begins_no_effect(agent: Agent, gate: Gate) -> None:
    """Given a call that outlives the stop, When it goes on, Then its effect is refused."""
    refused: list[BaseException] = []

    def listener(handler: Handler, event: Event) -> None:
        gate.hold()
        try:
            handler.begin_effect()
        except StoppedError as error:
            refused.append(error)
        gate.hold("after")

    agent.add_listener(listener, WANTED, name="l")
    agent.start()
    publish(agent, 1)
    gate.await_entry()
    agent._grace = 0.0
    agent.stop()
    gate.open()
    assert gate.await_entry() == "after"
    assert len(refused) == 1


def test_outside_a_call_an_effect_needs_no_word(agent: Agent) -> None:
    """Given agent.handler, When an effect begins, Then nothing happens."""
    agent.handler.begin_effect()
    agent.handler.publish("t", "1")
    assert agent.handler.query_events({})[0].in_doubt is False


def test_what_is_shared_is_made_once(make_agent: MakeAgent) -> None:
    """Given two listeners that share a thing, When called, Then it is one and the same."""
    agent, found = make_agent(), list[object]()

    class Thing:
        pass

    def first(handler: Handler, event: Event) -> None:
        found.append(handler.shared(Thing))

    def second(handler: Handler, event: Event) -> None:
        found.append(handler.shared(Thing))

    agent.add_listener(first, WANTED, name="first")
    agent.add_listener(second, WANTED, name="second", concurrency=2)
    publish(agent, 10)
    assert agent.drain(30)
    assert len(found) == 20
    assert len(set(map(id, found))) == 1


def test_only_a_job_runs_again(agent: Agent) -> None:
    """Given agent.handler, When it asks to run again, Then it is told so."""
    with pytest.raises(AgentError, match="only the run of a job"):
        agent.handler.run_again(5)
