"""What fails is tried again, and ends visibly: completed or a dead letter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from py_agent import Agent, Discard, Event, Pause, Retry, RetryPolicy
from py_agent.errors import StorageFault
from py_agent.store import by_hand
from py_agent.store.event_store import EventStore
from py_agent.testing import FakeClock

from .support import PATIENCE, WANTED, Calls, MakeAgent, StoreFile, publish


class Unprintable(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise SystemExit("no text")

    __repr__ = __str__


class UnprintableTimeout(TimeoutError):
    """A timeout of the listener's own whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def raising(*errors: BaseException | None) -> Callable[[Event], None]:
    """Return a listener that raises these, one per call, and then always works."""
    left = list(errors)

    def listener(event: Event) -> None:
        if left and (error := left.pop(0)) is not None:
            raise error

    return listener


def test_a_listener_that_fails_twice_is_tried_until_it_works(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Two failures, then success: three attempts, and both errors are kept."""
    agent.add_listener(
        raising(ValueError("one"), ValueError("two")), WANTED, name="flaky",
        retry=RetryPolicy(first=5),
    )  # fmt: skip
    agent.start()
    agent.handler.publish("t", "1")
    states = []

    for _ in range(3):
        assert agent.drain(PATIENCE)
        states.append(store.delivery("flaky")["state"])
        clock.advance(60)

    assert states == ["retryable", "retryable", "completed"]
    assert store.delivery("flaky")["attempts"] == 3
    assert store.errors("flaky") == ["ValueError: one", "ValueError: two"]


def test_a_retry_waits_until_it_is_due(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Retry(after=...) sets the wait exactly, not earlier and not later."""
    agent.add_listener(raising(Retry(after=timedelta(minutes=5))), WANTED, name="later")
    agent.start()
    agent.handler.publish("t", "1")
    assert agent.drain(PATIENCE)

    clock.advance(299)
    assert agent.drain(PATIENCE)
    early = store.delivery("later")["state"]
    clock.advance(1)
    assert agent.drain(PATIENCE)

    assert early == "retryable"
    assert store.delivery("later")["state"] == "completed"


def test_one_that_always_fails_is_a_dead_letter_and_the_other_completes_all(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Every error of the dead letters is kept; the neighbour notices nothing."""

    def fails(event: Event) -> None:
        raise RuntimeError(f"no {event.identifier}")

    agent.add_listener(fails, WANTED, name="fails", retry=RetryPolicy(attempts=4))
    agent.add_listener(Calls(), WANTED, name="works")
    agent.start()
    publish(agent, 20)

    for _ in range(4):
        assert agent.drain(PATIENCE)
        clock.advance(hours=1)

    assert store.states("fails") == {"discarded": 20}
    assert store.states("works") == {"completed": 20}
    assert store.delivery("fails", "7")["reason"] == "gave up after 4 attempts"
    assert store.errors("fails").count("RuntimeError: no 7") == 4
    assert len(store.errors("fails")) == 80


def test_a_policy_without_end_never_gives_up(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """RetryPolicy(attempts=None) goes on for ever."""
    agent.add_listener(
        raising(*[OSError()] * 30), WANTED, name="l", retry=RetryPolicy(None, cap=1)
    )
    agent.start()
    agent.handler.publish("t", "1")

    for _ in range(31):
        assert agent.drain(PATIENCE)
        clock.advance(2)

    assert store.delivery("l")["state"] == "completed"
    assert len(store.errors("l")) == 30


def test_retries_do_not_delay_what_is_new(agent: Agent, store: StoreFile) -> None:
    """More failed deliveries than fit in memory leave room for the new ones."""

    def listener(event: Event) -> None:
        if event.event_type == "t":
            raise Retry(after=3600)

    agent.add_listener(listener, {}, name="l")
    agent.start()
    publish(agent, 700)
    assert agent.drain(PATIENCE)

    publish(agent, 300, "new")

    assert agent.drain(PATIENCE)
    assert store.states("l") == {"retryable": 700, "completed": 300}


def test_new_deliveries_do_not_starve_the_retries(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """What is due again gets its turn although a long backlog is waiting."""
    order: list[str] = []

    def listener(event: Event) -> None:
        order.append(event.identifier)
        if order == ["first"]:
            raise Retry(after=10)
        if len(order) == 2:
            clock.advance(10)

    agent.add_listener(listener, WANTED, name="l")
    agent.start()
    agent.handler.publish("t", "first")
    assert agent.drain(PATIENCE)

    publish(agent, 2_000)

    assert agent.drain(PATIENCE)
    assert store.states() == {"completed": 2_001}
    assert order.index("first", 1) < 1_000


def test_a_retry_that_does_not_count_goes_on_for_ever(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Retry(count=False) never uses up the attempts; Retry() does."""
    agent.add_listener(
        raising(*[Retry(after=1, count=False, reason="busy")] * 5), WANTED, name="patient",
        retry=RetryPolicy(attempts=1),
    )  # fmt: skip
    agent.add_listener(
        raising(Retry(after=1)), WANTED, name="strict", retry=RetryPolicy(attempts=1)
    )
    agent.start()
    agent.handler.publish("t", "1")

    for _ in range(6):
        assert agent.drain(PATIENCE)
        clock.advance(1)

    assert store.delivery("patient")["state"] == "completed"
    assert store.errors("patient") == ["Retry: busy"] * 5
    assert store.delivery("strict")["state"] == "discarded"


@pytest.mark.parametrize("wait", [timedelta.max, 1e300])
def test_a_wait_longer_than_the_calendar_is_kept_as_very_long(
    agent: Agent, store: StoreFile, wait: Any
) -> None:
    """An absurd Retry(after=...) or Pause(after=...) loses nothing and blocks nobody."""
    agent.add_listener(raising(Retry(after=wait)), WANTED, name="retries")
    agent.add_listener(raising(Pause("long", after=wait)), WANTED, name="pauses")
    agent.start()

    publish(agent, 2)

    assert agent.drain(PATIENCE)
    assert store.states("retries") == {"retryable": 1, "completed": 1}
    assert store.states("pauses") == {"available": 2}
    assert store.paused("pauses")


def test_a_discarded_delivery_is_never_tried_again(
    agent: Agent, clock: FakeClock, store: StoreFile, caplog: pytest.LogCaptureFixture
) -> None:
    """Discard makes a dead letter at once, with the reason given, which is logged once."""
    agent.add_listener(raising(Discard("nobody needs it")), WANTED, name="l")
    agent.start()
    agent.handler.publish("t", "1")
    assert agent.drain(PATIENCE)

    clock.advance(days=1)

    assert agent.drain(PATIENCE)
    row = store.delivery("l")
    assert (row["state"], row["reason"]) == ("discarded", "nobody needs it")
    assert "Discard: nobody needs it; a dead letter now" in caplog.text
    assert caplog.text.count("nobody needs it") == 1
    assert len(store.errors("l")) == 1


def test_a_timed_pause_holds_everything_and_then_goes_on(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Nothing is lost or counted during a pause; the paused one comes first after it."""
    order: list[str] = []
    fails = raising(Pause("server down", after=60))

    def listener(event: Event) -> None:
        order.append(event.identifier)
        fails(event)

    agent.add_listener(listener, WANTED, name="l")
    agent.start()
    publish(agent, 3)
    assert agent.drain(PATIENCE)
    clock.advance(59)
    assert agent.drain(PATIENCE)
    during = list(order)

    clock.advance(1)

    assert agent.drain(PATIENCE)
    assert during == ["1"]
    assert order == ["1", "1", "2", "3"]
    assert store.states("l") == {"completed": 3}
    assert store.delivery("l")["attempts"] == 1


def test_a_pause_without_end_lasts_until_it_is_resumed_by_hand(
    make_agent: MakeAgent, clock: FakeClock, store: StoreFile
) -> None:
    """Such a pause outlives the process, and `resume` beside the agent ends it."""
    fails = raising(Pause("contract ended"))
    for _ in range(2):
        agent = make_agent()
        agent.add_listener(fails, WANTED, name="l")
        agent.start()
        publish(agent, 2)
        clock.advance(days=400)
        assert agent.drain(PATIENCE)
        assert store.states("l") == {"available": 2}
        assert store.paused("l")
        if _ == 0:
            agent.stop()

    other = EventStore.open(store.path, clock)
    by_hand.resume(other, "l")
    other.close()

    assert agent.drain(PATIENCE)
    assert store.states("l") == {"completed": 2}


def test_a_timed_pause_ends_in_time_though_a_retry_came_due_meanwhile(
    make_agent: MakeAgent, store: StoreFile, make_gate: Callable[[], Any]
) -> None:
    """On the real clock: a failure that is due during the pause does not prolong it."""
    from py_agent.clock import SystemClock

    gate = make_gate()
    agent = make_agent(clock=SystemClock())
    calls = Calls()
    errors = {"1": Pause("short", after=0.4), "2": Retry(after=0.1)}

    def listener(event: Event) -> None:
        gate.hold(event.identifier)
        calls.note(event.identifier)
        if error := errors.pop(event.identifier, None):
            raise error

    agent.add_listener(listener, WANTED, name="l", concurrency=2)
    agent.start()
    agent.drain(PATIENCE)  # the first look is over
    publish(agent, 2)
    gate.await_entry()
    gate.await_entry()

    gate.open()

    assert sorted(calls.await_count(4)) == ["1", "1", "2", "2"]
    agent.stop()
    begun = store.rows("SELECT max(finished) - min(finished) FROM deliveries")
    assert begun[0][0] < 5_000_000


def test_a_fault_of_the_store_does_not_count_against_the_listener(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """StorageFault raised through a listener is tried again without being counted."""
    agent.add_listener(
        raising(*[StorageFault("disk full")] * 3), WANTED, name="l",
        retry=RetryPolicy(attempts=1),
    )  # fmt: skip
    agent.start()
    agent.handler.publish("t", "1")

    for _ in range(4):
        assert agent.drain(PATIENCE)
        clock.advance(60)

    row = store.delivery("l")
    assert (row["state"], row["attempts"]) == ("completed", 1)
    assert len(store.errors("l")) == 3


@pytest.mark.parametrize(
    ("error", "recorded"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt: "),
        (GeneratorExit("x"), "GeneratorExit: x"),
        (StopIteration(1), "StopIteration: 1"),
        (Unprintable(), "Unprintable: (its text cannot be shown)"),
        (UnprintableTimeout(), "UnprintableTimeout: (its text cannot be shown)"),
        (ValueError("x" * 10_000_000), "ValueError: " + "x" * 2_000),
        (ValueError("a\0b\ud800"), "ValueError: a\\0b\\ud800"),
        (ExceptionGroup("many", [ValueError(), OSError()]),
         "ExceptionGroup: many (2 sub-exceptions)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
def test_whatever_a_listener_raises_is_a_failed_attempt(
    agent: Agent, clock: FakeClock, store: StoreFile, error: BaseException, recorded: str
) -> None:
    """No exception is too strange to be recorded, shortened, and tried again."""
    agent.add_listener(raising(error), WANTED, name="l", timeout=1)
    agent.start()
    agent.handler.publish("t", "1")
    assert agent.drain(PATIENCE)

    clock.advance(60)

    assert agent.drain(PATIENCE)
    assert store.errors("l") == [recorded]
    assert store.delivery("l")["state"] == "completed"


def test_a_pause_may_say_anything(agent: Agent, clock: FakeClock, store: StoreFile) -> None:
    """A reason of 10 MB, with characters that no database takes, is shortened."""
    agent.add_listener(raising(Pause("\ud800\0" + "x" * 10_000_000, 1)), WANTED, name="l")
    agent.start()
    agent.handler.publish("t", "1")
    assert agent.drain(PATIENCE)
    ((reason,),) = store.rows("SELECT pause_reason FROM subscriptions")

    clock.advance(1)

    assert agent.drain(PATIENCE)
    assert store.delivery("l")["state"] == "completed"
    assert reason.startswith("\\ud800\\0xxx")
    assert len(reason) == 2_000
