"""Services: started once, started again whenever they end, and ended by the stop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import schedule

from py_agent import Agent
from py_agent.testing import FakeClock

from .support import PATIENCE, Calls, Gate, MakeAgent, StoreFile, await_runs, ran, until

LONGEST = 300  # seconds between two beginnings of a service that fails for long


def test_a_service_is_started_once_and_ended_by_the_stop(
    make_agent: MakeAgent, clock: FakeClock, store: StoreFile
) -> None:
    """Given a service, When a day passes and the agent stops, Then it was one good run."""
    agent = make_agent()
    began = Calls()

    def service(handler: Any) -> None:
        began.note("began")
        while handler.wait(3_600):
            pass

    agent.add_job(service, keep=True, name="service")
    agent.start()
    began.await_count(1)
    clock.advance(days=1)
    agent.stop()

    assert began.seen == ["began"]
    assert store.outcomes("service") == ["completed"]


@pytest.mark.parametrize("error", [None, ValueError("no"), SystemExit(1)], ids=repr)
def test_a_service_that_ends_is_started_again_for_ever(
    make_agent: MakeAgent, clock: FakeClock, store: StoreFile, error: BaseException | None
) -> None:
    """Given a service that returns or raises, When time passes, Then it begins again."""
    agent = make_agent()
    began = Calls()

    def service() -> None:
        began.note("began")
        if error is not None:
            raise error

    agent.add_job(service, keep=True, name="service")
    agent.start()
    for count in range(1, 15):
        began.await_count(count)
        until(lambda n=count: ran(store, "service") == n, agent)  # type: ignore[misc]
        clock.advance(LONGEST)


def test_a_service_that_fails_at_once_waits_longer_and_longer(
    make_agent: MakeAgent, clock: FakeClock, store: StoreFile
) -> None:
    """Given a service that always fails, When an hour passes, Then it began few times."""
    agent = make_agent()
    agent.add_job(lambda: 1 / 0, keep=True, name="service")
    agent.add_job(lambda: None, every=10, at_start=False, name="beside")
    agent.start()

    for number in range(1, 361):
        clock.advance(10)
        until(lambda n=number: ran(store, "beside") >= n, agent)  # type: ignore[misc]

    assert 8 < ran(store, "service") < 100
    assert "skipped" not in store.outcomes("service")


def test_a_service_that_ran_for_long_begins_again_soon(
    make_agent: MakeAgent, clock: FakeClock, make_gate: Any
) -> None:
    """Given a service that failed often, When it ran for an hour, Then it waits 2 s."""
    agent = make_agent()
    gates: list[Gate] = [make_gate(), make_gate()]
    fails = iter(range(6))
    following = iter(gates)

    def service() -> None:
        if next(fails, None) is None:
            next(following).hold()
        raise ValueError("ended")

    agent.add_job(service, keep=True, name="service")
    agent.start()
    for _ in range(200):
        if not gates[0].untouched:
            break
        clock.advance(LONGEST)
        agent.drain(0.05)
    gates[0].await_entry()
    clock.advance(hours=1)
    gates[0].open()
    until(lambda: agent.drain(0.05) and not agent_runs(agent), agent)
    clock.advance(2)
    gates[1].await_entry()

    until(lambda: agent_runs(agent), agent)


def agent_runs(agent: Any) -> bool:
    """Return whether any job of an agent runs just now."""
    path = agent.store_path()
    return "running" in StoreFile(path).outcomes("service")


def test_a_service_never_runs_twice_at_once(
    make_agent: MakeAgent, clock: FakeClock, gate: Gate, store: StoreFile
) -> None:
    """Given a service that runs, When it is looked after for an hour, Then no skip row."""
    agent = make_agent()
    agent.add_job(gate.hold, keep=True, name="service")
    agent.add_job(lambda: None, every=60, at_start=False, name="beside")
    agent.start()
    gate.await_entry()
    for number in range(1, 61):
        clock.advance(60)
        until(lambda n=number: ran(store, "beside") >= n, agent)  # type: ignore[misc]

    assert gate.most == 1
    assert store.outcomes("service") == ["running"]


def test_services_take_no_place_from_jobs(
    make_agent: MakeAgent, gate: Gate, store: StoreFile
) -> None:
    """Given more services than job threads, When a job is due, Then it runs."""
    agent = make_agent(job_threads=1)
    for number in range(5):
        agent.add_job(gate.hold, keep=True, name=f"service {number}")
    done = threading.Event()
    agent.add_job(done.set, every="1 hour", name="job")
    agent.start()
    for _ in range(5):
        gate.await_entry()

    assert done.wait(PATIENCE)
    assert gate.most == 5


def test_a_service_that_ignores_the_stop_has_failed(
    make_agent: MakeAgent, gate: Gate, store: StoreFile
) -> None:
    """Given a service that hangs, When the grace time is over, Then its run says so."""
    agent = make_agent(grace=0.05)
    agent.add_job(gate.hold, keep=True, name="service")
    agent.start()
    gate.await_entry()
    agent.stop()
    assert store.rows("SELECT outcome, error FROM runs") == [
        ("failed", "NotEnded: did not end before stop")
    ]


def test_a_service_may_end_for_good(
    make_agent: MakeAgent, clock: FakeClock, store: StoreFile
) -> None:
    """Given a service that returns CancelJob, When time passes, Then it stays ended."""
    agent = make_agent()
    agent.add_job(lambda: schedule.CancelJob, keep=True, name="service")
    agent.add_job(lambda: None, every="1 hour", at_start=False, name="beside")
    agent.start()
    await_runs(agent, store, 1)
    clock.advance(hours=1)
    until(lambda: ran(store, "beside") == 1, agent)
    assert ran(store, "service") == 1


def test_a_coroutine_that_serves_is_cancelled_at_the_stop(
    agent: Agent, store: StoreFile
) -> None:
    """Given a service that awaits, When the agent stops, Then it cleans up and is done."""
    began, ended = threading.Event(), []

    async def serve() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    agent.add_job(serve, keep=True, name="serve")
    agent.start()
    assert began.wait(PATIENCE)
    agent.stop()

    assert ended == ["cleaned up"]
    assert store.outcomes("serve") == ["completed"]
