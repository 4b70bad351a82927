"""Stopping: one wish to end, and waits that end with it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from py_agent.clock import SystemClock
from py_agent.stopping import Stop
from py_agent.testing import FakeClock

PATIENCE = 30  # seconds after which a test that waits has failed


@pytest.fixture
def clock() -> FakeClock:
    """Time that stands still."""
    return FakeClock()


@pytest.fixture
def stop(clock: FakeClock) -> Stop:
    """A stop that nobody has asked for."""
    return Stop(clock)


def beside(*waits: Callable[[], bool]) -> Callable[[], list[bool]]:
    """Run waits on threads of their own; return what awaits their answers."""
    answers: dict[int, bool] = {}

    def run(number: int) -> None:
        answers[number] = waits[number]()

    threads = [
        threading.Thread(target=run, args=[number], daemon=True)
        for number in range(len(waits))
    ]
    for thread in threads:
        thread.start()

    def join() -> list[bool]:
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a wait did not end"
        return [answers[number] for number in range(len(waits))]

    return join


def test_nobody_has_asked_at_first(stop: Stop) -> None:
    """Given a new stop, Then work goes on."""
    assert stop.requested is False


def test_a_wish_is_seen_by_all_and_may_be_repeated(stop: Stop) -> None:
    """Given a wish, When it is repeated, Then it stays."""
    stop.request()
    stop.request()
    assert stop.requested is True


@pytest.mark.parametrize("seconds", [0, -1, -1e9])
def test_no_time_passes_at_once(stop: Stop, seconds: float) -> None:
    """Given nothing to wait for, When it waits, Then the time has passed."""
    assert stop.wait(seconds) is True


def test_a_wait_ends_when_its_time_has_passed(stop: Stop, clock: FakeClock) -> None:
    """Given a wait of an hour, When an hour passes, Then it says so."""
    join = beside(lambda: stop.wait(3_600))
    clock.advance(hours=1)
    assert join() == [True]


def test_a_wish_ends_every_wait(stop: Stop) -> None:
    """Given waits of an hour, When the stop is asked for, Then all end with false."""
    join = beside(*[lambda: stop.wait(3_600)] * 5)
    stop.request()
    assert join() == [False] * 5


@pytest.mark.parametrize("seconds", [0, 3_600])
def test_after_the_wish_nothing_is_waited_for(stop: Stop, seconds: float) -> None:
    """Given a wish, When somebody waits, Then the answer is false at once."""
    stop.request()
    assert stop.wait(seconds) is False


def test_a_wait_does_not_see_the_wall_clock(stop: Stop, clock: FakeClock) -> None:
    """Given a wait, When the wall clock jumps ahead, Then only boot time counts."""
    join = beside(lambda: stop.wait(60))
    clock.set_wall_clock(clock.now().replace(year=2050))
    stop.request()
    assert join() == [False]


def test_it_waits_on_the_machines_clock_too() -> None:
    """Given the real clock, When a little time passes, Then a wait ends by itself."""
    assert Stop(SystemClock()).wait(0.01) is True
