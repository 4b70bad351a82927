"""Coroutines under the kit: asyncio's own waits go by the test's clock."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from py_agent import AgentError, Event, Handler, RetryPolicy, listen_for
from py_agent.testing import AgentUnderTest


def test_a_coroutine_sleeps_on_the_clock_of_the_test(agent: AgentUnderTest) -> None:
    """Given an async job that sleeps for an hour, When it is run,
    Then only its clock moves.
    """

    async def job() -> None:
        await asyncio.sleep(3600)

    run = agent.run_job(job)
    assert run.finished is not None
    assert run.finished - run.started == timedelta(hours=1)


def test_a_coroutine_raises_into_the_test(agent: AgentUnderTest) -> None:
    """Given an async job that fails, When it is run, Then its error arrives."""

    async def job() -> None:
        await asyncio.sleep(1)
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        agent.run_job(job)


def test_an_async_service_ticks(agent: AgentUnderTest) -> None:
    """Given an async service, When an hour passes, Then it woke at each of its minutes."""
    ticks: list[timedelta] = []
    began = agent.clock.now()

    async def service(handler: Handler) -> None:
        while not handler.stop_requested:
            ticks.append(agent.clock.now() - began)
            await asyncio.sleep(60)

    agent.add_job(service, keep=True)
    agent.advance(hours=1)
    assert ticks == [timedelta(minutes=number) for number in range(61)]


def test_many_coroutines_sleep_side_by_side(agent: AgentUnderTest) -> None:
    """Given async services with rhythms of their own, When time passes,
    Then each keeps it.
    """
    ticks: list[int] = []

    def service_of(seconds: int) -> None:
        async def service() -> None:
            while True:
                await asyncio.sleep(seconds)
                ticks.append(seconds)

        agent.add_job(service, keep=True, name=f"every-{seconds}")

    for seconds in (7, 11, 13):
        service_of(seconds)
    agent.advance(1001)
    assert [ticks.count(seconds) for seconds in (7, 11, 13)] == [143, 91, 77]


def test_an_async_listener_is_cancelled_at_its_timeout(agent: AgentUnderTest) -> None:
    """Given an async listener that never ends, When time passes,
    Then it timed out twice.
    """

    @listen_for({}, timeout=5, retry=RetryPolicy(attempts=2))
    async def hangs(event: Event) -> None:
        await asyncio.Event().wait()

    agent.add_listener(hangs)
    agent.handler.publish("t", "1")
    agent.advance(minutes=1)
    (delivery,) = agent.deliveries(hangs)
    assert (delivery.state, delivery.error) == (
        "discarded", "TimeoutError: did not end within 5 s",
    )  # fmt: skip


def test_a_thread_that_a_coroutine_awaits_is_waited_for(agent: AgentUnderTest) -> None:
    """Given work on another thread, When time passes,
    Then the clock waits for that work.
    """
    seen: list[timedelta] = []
    began = agent.clock.now()

    def work() -> int:
        return sum(range(200_000))

    async def service() -> None:
        while True:
            await asyncio.to_thread(work)
            seen.append(agent.clock.now() - began)
            await asyncio.sleep(60)

    agent.add_job(service, keep=True)
    agent.advance(minutes=10)
    assert seen == [timedelta(minutes=number) for number in range(11)]


def test_a_socket_that_a_coroutine_awaits_is_waited_for(agent: AgentUnderTest) -> None:
    """Given a server in the job itself, When it is run,
    Then its answer comes in no time.
    """

    async def job(handler: Handler) -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello\n")
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            handler.publish("said", (await reader.readline()).decode().strip())
            writer.close()
            await writer.wait_closed()

    now = agent.clock.now()
    agent.run_job(job)
    assert agent.published("said", "hello")
    assert agent.clock.now() == now


def test_a_plain_wait_in_a_coroutine_is_refused(agent: AgentUnderTest) -> None:
    """Given handler.wait on the loop's own thread, When the job is run, Then it says what
    to write instead.
    """

    async def job(handler: Handler) -> None:
        handler.wait(60)

    with pytest.raises(AgentError, match=r"await asyncio.sleep"):
        agent.run_job(job)


def test_a_result_from_another_thread_reaches_a_sleeping_loop(
    agent: AgentUnderTest,
) -> None:
    """Given a coroutine that awaits nothing but a thread of its own, When run,
    Then it ends.
    """

    async def job() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(done.set,))
        thread.start()
        await done.wait()
        thread.join()

    assert agent.run_job(job).outcome == "completed"
