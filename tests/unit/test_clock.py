"""Clock: moments as microseconds, and the machine's own clocks."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_agent.clock import EPOCH, SystemClock, from_micros, to_micros
from py_agent.testing import FakeClock

AWARE = st.datetimes(timezones=st.timezones(), allow_imaginary=False)


@given(AWARE)
def test_a_moment_survives_as_microseconds(moment: datetime) -> None:
    """What the store keeps is the same moment, to the microsecond."""
    try:
        there_and_back = from_micros(to_micros(moment))
    except OverflowError:
        there_and_back = moment  # within a day of year 1 or 9999, in UTC outside of them
    assert there_and_back == moment.astimezone(there_and_back.tzinfo)


@given(st.integers(-(10**15), 10**15))
def test_microseconds_survive_as_a_moment(micros: int) -> None:
    """No rounding on the way, before 1970 neither."""
    assert to_micros(from_micros(micros)) == micros


@given(AWARE, AWARE)
def test_microseconds_keep_the_order_of_moments(left: datetime, right: datetime) -> None:
    """Comparing what is stored is comparing moments."""
    assert (to_micros(left) < to_micros(right)) == (left - right < timedelta(0))


def test_the_epoch_is_zero() -> None:
    """Microseconds count from 1970 in UTC."""
    assert to_micros(EPOCH) == 0
    assert from_micros(0).tzinfo is UTC


def test_a_naive_moment_is_refused() -> None:
    """A time without a zone names no moment."""
    with pytest.raises(ValueError, match="has no time zone"):
        to_micros(datetime(2026, 1, 1))  # noqa: DTZ001


def test_the_system_clock_tells_utc() -> None:
    """Every moment that we make is aware."""
    assert SystemClock().now().tzinfo is UTC


def test_boot_time_never_goes_back() -> None:
    """Durations can rely on it."""
    clock = SystemClock()
    told = [clock.boot() for _ in range(100)]
    assert told == sorted(told)


def test_a_wait_ends_when_it_is_notified() -> None:
    """A wait without a limit lasts until there is news."""
    clock, condition, waiting = SystemClock(), threading.Condition(), threading.Event()

    def wait() -> None:
        with condition:
            waiting.set()
            clock.wait(condition, None)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert waiting.wait(30)
    with condition:  # free again only once the thread waits
        condition.notify_all()
    thread.join(30)
    assert not thread.is_alive()


def test_a_wait_ends_after_its_time() -> None:
    """Nobody has to notify it."""
    condition = threading.Condition()
    with condition:
        SystemClock().wait(condition, 0.001)
        assert condition.acquire(blocking=False)
        condition.release()


def test_the_fake_clock_moves_both_clocks_when_it_is_advanced() -> None:
    """Time passes when the test says so, and not before."""
    clock = FakeClock()
    now, boot = clock.now(), clock.boot()
    clock.advance(5, hours=1)
    assert (clock.now() - now, clock.boot() - boot) == (timedelta(seconds=3605), 3605)


def test_a_jump_of_the_fake_wall_clock_leaves_boot_time_alone() -> None:
    """As on a real machine, where someone sets the clock."""
    clock = FakeClock()
    boot = clock.boot()
    clock.set_wall_clock(clock.now() - timedelta(days=1))
    assert clock.boot() == boot
