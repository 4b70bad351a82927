"""Baseline: what the first successful run finds is seen, and fires nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from py_agent import Agent
from py_agent.testing import FakeClock

from .support import WANTED, Calls, MakeAgent, StoreFile, await_runs, pass_time


class Source:
    """A job that publishes what is there; it may fail in the middle."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.fails_after: int | None = None
        self.many = False

    def __call__(self, handler: Any) -> None:
        items = [("t", str(number), None) for number in range(1, self.count + 1)]
        if self.many:
            handler.publish_many(items)
            return
        for position, item in enumerate(items):
            if position == self.fails_after:
                raise ValueError("the source broke off")
            handler.publish(*item)


@pytest.fixture
def source() -> Source:
    """A source with 500 items."""
    return Source(500)


@pytest.fixture
def fired() -> Calls:
    """What the listener was called with."""
    return Calls()


@pytest.fixture
def start(make_agent: MakeAgent, source: Source, fired: Calls) -> Callable[[], Agent]:
    """Start agents that poll the source each hour, with a baseline."""

    def begin() -> Agent:
        agent = make_agent(durability="fast")
        agent.add_job(source, every="1 hour", first="baseline", name="poll")
        agent.add_listener(fired, WANTED, name="l")
        agent.start()
        return agent

    return begin


@pytest.mark.parametrize("many", [False, True], ids=["publish", "publish_many"])
def test_five_hundred_old_items_fire_nothing_and_the_next_fires_once(
    start: Callable[[], Agent], source: Source, fired: Calls, clock: FakeClock,
    store: StoreFile, many: bool,
) -> None:  # fmt: skip
    """Given 500 old items, When one is added, Then that one fires, once."""
    source.many = many
    agent = start()
    await_runs(agent, store, 1)
    assert store.rows("SELECT count(*) FROM events") == [(500,)]
    assert store.rows("SELECT count(*) FROM deliveries") == [(0,)]

    source.count = 501
    pass_time(agent, clock, store, "poll", 3, hours=1)

    assert agent.drain(20)
    assert fired.seen == ["501"]


def test_a_failed_first_run_is_no_baseline(
    start: Callable[[], Agent], source: Source, fired: Calls, clock: FakeClock,
    store: StoreFile,
) -> None:  # fmt: skip
    """Given a first run that broke off, Then the next whole one is the baseline."""
    source.fails_after = 100
    agent = start()
    await_runs(agent, store, 1)
    source.fails_after = None
    pass_time(agent, clock, store, "poll", 1, hours=1)
    assert store.rows("SELECT count(*) FROM deliveries") == [(0,)]

    source.count = 501
    pass_time(agent, clock, store, "poll", 1, hours=1)

    assert agent.drain(20)
    assert fired.seen == ["501"]


def test_a_baseline_is_not_made_again_after_a_restart(
    start: Callable[[], Agent], source: Source, fired: Calls, store: StoreFile
) -> None:
    """Given a baseline, When items came while the agent was down, Then they fire."""
    agent = start()
    await_runs(agent, store, 1)
    agent.stop()

    source.count = 503
    agent = start()
    await_runs(agent, store, 2)

    assert agent.drain(20)
    assert sorted(fired.seen) == ["501", "502", "503"]


def test_an_empty_first_run_is_a_baseline(
    start: Callable[[], Agent], source: Source, fired: Calls, clock: FakeClock,
    store: StoreFile,
) -> None:  # fmt: skip
    """Given a source that was empty at first, When an item comes, Then it fires."""
    source.count = 0
    agent = start()
    await_runs(agent, store, 1)
    source.count = 1
    pass_time(agent, clock, store, "poll", 1, hours=1)

    assert agent.drain(20)
    assert fired.seen == ["1"]


def test_others_fire_during_a_baseline(
    start: Callable[[], Agent], fired: Calls, store: StoreFile
) -> None:
    """Given a baseline of one job, When someone else publishes, Then that fires."""
    agent = start()
    await_runs(agent, store, 1)
    agent.handler.publish("t", "by hand")
    assert fired.await_count(1) == ["by hand"]


def test_a_checkpoint_in_a_failed_first_run_is_no_baseline(
    make_agent: MakeAgent, fired: Calls, clock: FakeClock, store: StoreFile
) -> None:
    """Given a first run that stored its state and failed, Then the next is the baseline."""
    runs = Calls()

    def poll(handler: Any) -> None:
        runs.note("run")
        handler.publish("t", f"old {len(runs.seen)}")
        if len(runs.seen) == 1:
            handler.checkpoint()
            raise ValueError("the source broke off")

    agent = make_agent()
    agent.add_job(poll, every="1 hour", first="baseline", name="poll")
    agent.add_listener(fired, WANTED, name="l")
    agent.start()
    await_runs(agent, store, 1)
    pass_time(agent, clock, store, "poll", 2, hours=1)

    assert agent.drain(20)
    assert fired.seen == ["old 3"]
