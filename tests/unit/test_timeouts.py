"""Timeouts: limits around some lines, for plain and for async code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from py_agent.errors import UsageError
from py_agent.testing import FakeClock
from py_agent.timeouts import check_time, clock_of_call, time_left, timeout


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """Time that stands still, also for the limits."""
    fake = FakeClock()
    token = clock_of_call.set(fake)
    yield fake
    clock_of_call.reset(token)


def test_without_a_limit_nothing_is_left_or_checked() -> None:
    """Given no limit, Then there is no time left to speak of."""
    assert time_left() is None
    check_time()


def test_lines_within_the_limit_go_through(clock: FakeClock) -> None:
    """Given ten seconds, When nine pass, Then one is left and nothing is raised."""
    with timeout(10) as limit:
        clock.advance(9)
        assert (time_left(), limit.left()) == (1, 1)
        check_time()
    assert time_left() is None


@pytest.mark.parametrize("passed", [10, 11, 1e9])
def test_the_limit_is_checked_when_the_lines_are_left(
    clock: FakeClock, passed: float
) -> None:
    """Given ten seconds, When more pass, Then the error names what was limited."""
    with pytest.raises(TimeoutError, match="^fetch did not end within 10 s$"):
        with timeout(10, "fetch"):
            clock.advance(passed)
    assert time_left() is None


def test_the_limit_is_checked_when_asked(clock: FakeClock) -> None:
    """Given an ended limit, When it is checked inside, Then it raises there."""
    with pytest.raises(TimeoutError, match="this step did not end within 0.5 s"):
        with timeout(0.5):
            clock.advance(1)
            check_time()
            pytest.fail("the check let it go on")


def test_an_error_of_the_lines_stays_what_it_is(clock: FakeClock) -> None:
    """Given an ended limit, When the lines raise, Then their own error comes out."""
    with pytest.raises(KeyError):
        with timeout(1):
            clock.advance(5)
            raise KeyError("mine")
    assert time_left() is None


def test_the_nearest_of_several_limits_counts(clock: FakeClock) -> None:
    """Given limits in each other, Then the shortest is what is left, on any level."""
    with timeout(10, "outer"):
        with timeout(60, "inner"):
            assert time_left() == 10
        with timeout(3, "short"):
            assert time_left() == 3
        assert time_left() == 10


def test_an_outer_limit_is_found_inside(clock: FakeClock) -> None:
    """Given an outer limit that has ended, When checked inside, Then it is named."""
    with pytest.raises(TimeoutError, match="outer did not end within 10 s"):
        with timeout(10, "outer"), timeout(60, "inner"):
            clock.advance(11)
            check_time()


def test_a_limit_may_be_caught_and_the_work_goes_on(clock: FakeClock) -> None:
    """Given an ended inner limit, When it is caught, Then the outer one still counts."""
    with timeout(10, "outer"):
        with pytest.raises(TimeoutError, match="inner"):
            with timeout(1, "inner"):
                clock.advance(2)
        assert time_left() == 8


def test_a_timedelta_is_a_limit(clock: FakeClock) -> None:
    """Given a timedelta, Then it counts in seconds."""
    with timeout(timedelta(minutes=1)):
        assert time_left() == 60


@pytest.mark.parametrize("limit", [-1, float("nan"), "10", None, True])
def test_what_is_no_duration_is_refused(limit: float) -> None:
    """Given nonsense, When a limit is made, Then it is refused before the lines."""
    with pytest.raises(UsageError):
        timeout(limit)


def test_threads_have_limits_of_their_own(clock: FakeClock) -> None:
    """Given a limit here, When another thread asks, Then it has none."""
    found: list[float | None] = []
    with timeout(10):
        thread = threading.Thread(target=lambda: found.append(time_left()))
        thread.start()
        thread.join(30)
    assert found == [None]


# Async code


def test_async_code_is_cancelled_at_its_next_await() -> None:
    """Given an await that never ends, When the time is up, Then it is cancelled."""
    ended: list[str] = []

    async def work() -> None:
        async with timeout(0.01, "fetch"):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

    with pytest.raises(TimeoutError, match="^fetch did not end within 0.01 s$"):
        asyncio.run(work())
    assert ended == ["cancelled"]


def test_async_code_in_time_goes_through() -> None:
    """Given enough time, When the lines end, Then nothing is raised."""

    async def work() -> float | None:
        async with timeout(30):
            await asyncio.sleep(0)
            return time_left()

    left = asyncio.run(work())
    assert left is not None
    assert 0 < left <= 30


def test_async_code_that_never_awaits_is_found_when_it_leaves(clock: FakeClock) -> None:
    """Given async lines that block past the limit, When left, Then it raises."""

    async def work() -> None:
        async with timeout(10, "crunch"):
            clock.advance(11)

    with pytest.raises(TimeoutError, match="crunch did not end within 10 s"):
        asyncio.run(work())
    assert time_left() is None


def test_an_error_in_async_code_stays_what_it_is() -> None:
    """Given async lines that raise, Then their own error comes out."""

    async def work() -> None:
        async with timeout(30):
            raise KeyError("mine")

    with pytest.raises(KeyError):
        asyncio.run(work())


def test_a_timeout_error_of_the_lines_is_not_taken_for_the_limit() -> None:
    """Given lines that raise TimeoutError themselves, Then it is theirs."""

    async def work() -> None:
        async with timeout(30, "outer"):
            raise TimeoutError("the socket")

    with pytest.raises(TimeoutError, match="^the socket$"):
        asyncio.run(work())


def test_an_async_limit_that_is_caught_leaves_no_trace() -> None:
    """Given an ended limit, When caught, Then later awaits are not cancelled."""

    async def work() -> str:
        with pytest.raises(TimeoutError):
            async with timeout(0.01):
                await asyncio.Event().wait()
        await asyncio.sleep(0)
        assert time_left() is None
        return "went on"

    assert asyncio.run(work()) == "went on"


def test_the_nearest_async_limit_ends_first() -> None:
    """Given a short limit around a long one, When time is up, Then the short is named."""

    async def work() -> None:
        async with timeout(0.01, "outer"):
            async with timeout(30, "inner"):
                await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match="outer did not end within 0.01 s"):
        asyncio.run(work())
