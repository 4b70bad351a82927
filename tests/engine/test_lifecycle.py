"""Draining, stopping, starting again, and what other processes do beside an agent."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from py_agent import Agent, Discard, Event, Handler, Pause, Retry, Snooze
from py_agent.calls import Caller
from py_agent.clock import SystemClock
from py_agent.errors import AgentError, StoppedError, StorageFault, StoreLockedError
from py_agent.registry import Listener
from py_agent.store import by_hand
from py_agent.store.event_store import EventStore
from py_agent.testing import AgentUnderTest, FakeClock

from .support import (
    PATIENCE,
    WANTED,
    Calls,
    Gate,
    MakeAgent,
    MakeGate,
    StoreFile,
    publish,
    run_script,
    until,
)

# Drain


def test_drain_does_not_wait_for_what_is_due_later(agent: Agent, store: StoreFile) -> None:
    """Retries in the future, paused and parked deliveries leave drain done."""

    def listener(event: Event) -> None:
        raise {"1": Retry(after=3600), "2": Pause("closed")}[event.identifier]

    agent.add_listener(listener, WANTED, name="l")
    agent.start()

    publish(agent, 2)

    assert agent.drain(PATIENCE)
    assert store.states("l") == {"retryable": 1, "available": 1}


def test_drain_gives_up_at_its_timeout(agent: Agent, gate: Gate) -> None:
    """A call that is not over makes drain return False, and True once it ended."""
    agent.add_listener(lambda event: gate.hold(), WANTED, name="l")
    agent.start()
    publish(agent, 1)
    gate.await_entry()

    first = agent.drain(0.05)
    gate.open()

    assert first is False
    assert agent.drain(PATIENCE) is True


def test_drain_before_the_start_borrows_the_lock_and_runs_no_job(
    agent: Agent, store: StoreFile
) -> None:
    """An agent that was not started delivers, runs nothing, and gives the lock back."""
    ran = Calls()
    agent.add_job(lambda: ran.note("ran"), every="1 second", name="job")
    agent.add_listener(Calls(), WANTED, name="l")
    publish(agent, 5)

    assert agent.drain(PATIENCE)

    assert store.states("l") == {"completed": 5}
    assert ran.seen == []
    assert not agent.running
    assert not Path(f"{store.path}.lock").exists()


def test_drain_sees_what_another_process_just_published(
    make_agent: MakeAgent, store: StoreFile
) -> None:
    """Each drain looks at the store first, so nothing published before it is missed."""
    agent, other = make_agent(), make_agent()
    for each in (agent, other):
        each.add_listener(Calls(), WANTED, name="l")
    agent.start()

    for number in range(1, 201):
        other.handler.publish("t", str(number))
        assert agent.drain(PATIENCE)
        assert store.states("l") == {"completed": number}


# Stop


def test_a_call_that_hangs_at_the_stop_has_failed_and_is_no_crash(
    make_agent: MakeAgent, make_gate: MakeGate, clock: FakeClock, store: StoreFile
) -> None:
    """It is recorded as not ended, and a second start delivers it again."""
    gate = make_gate()
    agent = make_agent(grace=0.05)
    agent.add_listener(lambda event: gate.hold(), WANTED, name="l")
    agent.start()
    publish(agent, 1)
    gate.await_entry()
    agent.stop()
    row = store.delivery("l")
    gate.open()

    again = make_agent()
    again.add_listener(Calls(), WANTED, name="l")
    again.start()
    clock.advance(60)

    assert again.drain(PATIENCE)
    assert (row["state"], row["attempts"], row["crashes"]) == ("retryable", 1, 0)
    assert store.errors("l") == ["NotEnded: did not end before stop"]
    assert store.delivery("l")["state"] == "completed"


def test_a_stop_waits_for_calls_that_end_within_the_grace_time(
    agent: Agent, gate: Gate, store: StoreFile
) -> None:
    """Running calls finish and are recorded; waiting ones are left for the next start."""
    agent.add_listener(lambda event: gate.hold(), WANTED, name="l")
    agent.start()
    publish(agent, 3)
    gate.await_entry()
    stopping = threading.Thread(target=agent.stop)
    stopping.start()

    gate.open()
    stopping.join(PATIENCE)

    assert store.states("l") == {"completed": 1, "available": 2}


def test_a_call_that_ends_as_the_agent_stops_is_recorded(
    make_agent: MakeAgent, store: StoreFile
) -> None:
    """A stop never closes the store between the end of a call and its record."""
    for number in range(1, 61):
        agent = make_agent()
        entered = threading.Event()
        agent.add_listener(lambda event, e=entered: e.set(), WANTED, name="l")
        agent.start()
        agent.handler.publish("t", str(number))
        assert entered.wait(PATIENCE)

        agent.stop()

        assert store.states("l") == {"completed": number}


def test_a_clean_stop_leaves_one_file(agent: Agent, store: StoreFile) -> None:
    """Neither lock, side file nor WAL stays behind."""
    agent.add_listener(Calls(), WANTED, name="l")
    agent.start()
    publish(agent, 3)
    assert agent.drain(PATIENCE)

    agent.stop()

    assert [each.name for each in store.path.parent.iterdir()] == ["agent.sqlite"]


def test_many_lives_leave_no_descriptors_open(make_agent: MakeAgent) -> None:
    """Starting and stopping again and again leaks nothing."""
    counts = []
    for _ in range(6):
        agent = make_agent()
        agent.start()
        agent.stop()
        counts.append(len(os.listdir("/proc/self/fd")))

    assert counts[-1] == counts[0]


def test_an_agent_can_be_started_again(agent: Agent, store: StoreFile) -> None:
    """Stop and start on one agent deliver what came in between."""
    calls = Calls()
    agent.add_listener(calls, WANTED, name="l")
    agent.start()
    agent.handler.publish("t", "1")
    assert agent.drain(PATIENCE)
    agent.stop()
    agent.stop()

    agent.handler.publish("t", "2")
    agent.start()

    assert calls.await_count(2) == ["1", "2"]
    with pytest.raises(AgentError, match="already"):
        agent.start()


def test_a_handler_left_over_from_a_run_is_refused_after_the_stop(
    agent: Agent, store: StoreFile
) -> None:
    """Job and listener handlers raise StoppedError; agent.handler still publishes."""
    kept: list[Handler] = []
    agent.add_listener(lambda handler, event: kept.append(handler), WANTED, name="l")
    agent.add_job(lambda handler: kept.append(handler), every=1, name="job")
    publish(agent, 1)
    agent.run_once()

    for handler in kept:
        with pytest.raises(StoppedError):
            handler.publish("t", "late")

    assert len(kept) == 2
    assert agent.handler.publish("t", "later")


# Two agents, other processes, changes by hand


def test_a_second_agent_on_the_store_is_refused(make_agent: MakeAgent) -> None:
    """The error names the process that holds the lock, and the first one goes on."""
    first, second = make_agent(), make_agent()
    calls = Calls()
    first.add_listener(calls, WANTED, name="l")
    first.start()

    with pytest.raises(StoreLockedError, match=str(os.getpid())) as refused:
        second.start()

    assert refused.value.pid == os.getpid()
    assert not second.running
    first.handler.publish("t", "1")
    assert calls.await_count(1) == ["1"]


def test_an_agent_refused_can_start_once_the_other_has_stopped(
    make_agent: MakeAgent,
) -> None:
    """A refused start leaves nothing behind that would hinder the next one."""
    first, second = make_agent(), make_agent()
    first.start()
    with pytest.raises(StoreLockedError):
        second.start()
    first.stop()

    second.start()

    assert second.running


def test_an_agent_whose_start_fails_gives_up_the_lock(
    make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a store that fails while listeners are added, When that has passed, Then
    the next start is not refused.
    """
    agent = make_agent()
    agent.add_listener(lambda event: None, WANTED, name="listener")

    def fail(caller: Caller, listener: Listener, subscription: int) -> None:
        raise StorageFault("the disk is away")

    with monkeypatch.context() as broken:
        broken.setattr(Caller, "forget_old_calls", fail)
        with pytest.raises(StorageFault):
            agent.start()
    agent.start()
    assert agent.running


def test_what_another_agent_publishes_is_delivered_at_once(make_agent: MakeAgent) -> None:
    """A publish elsewhere in the process wakes the agent; no slow look is waited for."""
    agent = make_agent()  # its fake clock stands still, so it never looks by itself
    calls = Calls()
    agent.add_listener(calls, WANTED, name="l")
    agent.start()
    assert agent.drain(PATIENCE)

    make_agent().handler.publish("t", "1")

    assert calls.await_count(1) == ["1"]


def test_what_another_process_publishes_is_delivered_at_once(
    make_agent: MakeAgent, store: StoreFile
) -> None:
    """A publishing script wakes the agent and never needs its lock."""
    agent = make_agent()
    calls = Calls()
    agent.add_listener(calls, WANTED, name="l")
    agent.start()
    assert agent.drain(PATIENCE)

    run_script("publish.py", store.path, "7")

    assert len(calls.await_count(7)) == 7
    assert agent.drain(PATIENCE)
    assert store.states("l") == {"completed": 7}


def test_a_forked_child_publishes_through_a_connection_of_its_own(
    tmp_path: Path,
) -> None:
    """The child's events reach the parent's listener, and the parent is unharmed."""
    done = run_script("fork.py", tmp_path / "agent.sqlite")

    assert done.stdout.split() == ["parent-1", "child", "parent-2", "ok", "True"]


def test_a_waiting_delivery_that_is_discarded_by_hand_is_never_entered(
    agent: Agent, gate: Gate, clock: FakeClock, store: StoreFile
) -> None:
    """A change by hand holds although the delivery was in the agent's memory."""
    seen = Calls()

    def listener(event: Event) -> None:
        seen(event)
        gate.hold()

    agent.add_listener(listener, WANTED, name="l")
    agent.start()
    publish(agent, 3)
    gate.await_entry()

    other = EventStore.open(store.path, clock)
    by_hand.discard(other, [(2, 1)])
    other.close()
    gate.open()

    assert agent.drain(PATIENCE)
    assert seen.seen == ["1", "3"]
    assert store.delivery("l", "2")["reason"] == "discarded by hand"


def test_a_delivery_discarded_during_its_call_does_not_come_back(
    agent: Agent, gate: Gate, clock: FakeClock, store: StoreFile
) -> None:
    """A failing call does not undo what a person decided while it ran."""
    seen = Calls()

    def listener(event: Event) -> None:
        seen(event)
        gate.hold()
        raise RuntimeError("failed")

    agent.add_listener(listener, WANTED, name="l")
    agent.start()
    publish(agent, 1)
    gate.await_entry()
    other = EventStore.open(store.path, clock)
    by_hand.discard(other, [(1, 1)])
    other.close()

    gate.open()
    assert agent.drain(PATIENCE)
    clock.advance(hours=1)

    assert agent.drain(PATIENCE)
    assert seen.seen == ["1"]
    assert store.delivery("l")["state"] == "discarded"


def test_a_dead_letter_redelivered_by_hand_is_tried_with_a_fresh_count(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Redelivery beside the running agent makes it try again."""
    errors = [Discard("bad")]

    def listener(event: Event) -> None:
        if errors:
            raise errors.pop()

    agent.add_listener(listener, WANTED, name="l")
    agent.start()
    publish(agent, 1)
    assert agent.drain(PATIENCE)
    other = EventStore.open(store.path, clock)
    by_hand.redeliver(other, by_hand.dead_letters(other, None))
    other.close()

    assert agent.drain(PATIENCE)
    row = store.delivery("l")
    assert (row["state"], row["attempts"]) == ("completed", 1)


def test_a_listener_that_is_not_in_the_code_keeps_collecting(
    make_agent: MakeAgent, store: StoreFile
) -> None:
    """Its deliveries are parked, and delivered when its function is back."""
    first = make_agent()
    first.add_listener(Calls(), WANTED, name="l")
    publish(first, 2)
    first.stop()
    without = make_agent()
    without.start()
    without.handler.publish("t", "3")
    assert without.drain(PATIENCE)
    parked = store.states("l")
    without.stop()

    calls = Calls()
    back = make_agent()
    back.add_listener(calls, WANTED, name="l")

    assert back.drain(PATIENCE)
    assert parked == {"parked": 3}
    assert calls.seen == ["1", "2", "3"]


def test_a_snooze_outlives_a_life_without_the_listener(store: StoreFile) -> None:
    """Given a delivery that is put off for a week, When its listener was out of the code
    meanwhile, Then it is delivered when the week is over.
    """
    clock, seen = FakeClock(), list[str]()

    def in_a_week(event: Event) -> None:
        seen.append(event.identifier)
        if len(seen) == 1:
            raise Snooze(timedelta(days=7))

    def life(listens: bool) -> AgentUnderTest:
        agent = AgentUnderTest(store.path, clock=clock)
        if listens:
            agent.add_listener(in_a_week, WANTED, name="l")
        agent.handler.publish("t", "1")
        agent.drain()
        return agent

    life(listens=True).stop()
    life(listens=False).stop()
    assert store.states("l") == {"parked": 1}
    agent = life(listens=True)
    agent.advance(days=6)
    assert seen == ["1"] and store.states("l") == {"retryable": 1}

    agent.advance(days=1)
    agent.stop()

    assert seen == ["1", "1"]


def test_an_idle_agent_on_the_real_clock_is_woken_and_stopped_at_once(
    make_agent: MakeAgent, store: StoreFile
) -> None:
    """Publishing, draining and stopping never wait for the slow look at the store."""
    agent = make_agent(clock=SystemClock())
    agent.add_listener(Calls(), WANTED, name="l")
    agent.start()
    assert agent.drain(1)

    publish(agent, 100)

    assert agent.drain(5)
    until(lambda: store.states("l") == {"completed": 100}, agent)


def test_go_off_the_main_thread_is_ended_by_stop(
    agent: Agent, store: StoreFile, caplog: pytest.LogCaptureFixture
) -> None:
    """Both return when all is stored and closed, and neither disturbs the other."""
    agent.add_listener(Calls(), WANTED, name="l")
    going = threading.Thread(target=agent.go)
    going.start()
    while not agent.running:  # a drain would start the agent itself
        os.sched_yield()
    publish(agent, 50)

    agent.stop()
    going.join(PATIENCE)

    assert not going.is_alive()
    assert [each.name for each in store.path.parent.glob(f"{store.path.name}*")] == [
        store.path.name
    ]
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


def test_a_change_of_folder_does_not_change_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is resolved once, or the lock would guard another file."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    monkeypatch.chdir(first)
    agent = Agent("agent.sqlite")
    agent.handler.publish("a", "1")

    monkeypatch.chdir(second)
    agent.start()
    agent.stop()

    assert list(second.iterdir()) == []
    assert [each.name for each in first.iterdir()] == ["agent.sqlite"]


def test_what_waits_for_a_paused_listener_is_no_success(
    make_agent: MakeAgent, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a listener that pauses, When all is run once, and once more, Then neither is a
    success, and both say why and how it goes on.
    """

    def listener(event: Event) -> None:
        raise Pause("the token is wrong", after=3600)

    for _ in range(2):
        caplog.clear()
        agent = make_agent()
        agent.add_listener(listener, WANTED, name="l")
        agent.handler.publish("t", "1")
        assert agent.run_once() is False
        assert (
            "l is paused (agent resume l lets it go on): the token is wrong" in caplog.text
        )
        assert "l is paused, so that what it is owed waits" in caplog.text


def test_a_paused_listener_that_is_owed_nothing_is_no_failure(
    make_agent: MakeAgent,
) -> None:
    """Given a pause and nothing that waits, When all is run once, Then that is well."""
    agent = make_agent()
    agent.add_listener(lambda event: None, WANTED, name="l")
    agent.handler.publish("t", "1")
    assert agent.run_once() is True
