"""The clock that tests hold, and how it is known who waits on it."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from py_agent.testing.fake_clock import FakeClock, News

PATIENCE = 30.0


def test_news_that_came_before_are_not_waited_for() -> None:
    """Given news since a count, When they are awaited, Then they are there."""
    news = News()
    seen = news.count
    news.tell()
    assert news.await_more(seen, time.monotonic() + PATIENCE)


def test_no_news_end_the_waiting_at_the_deadline() -> None:
    """Given a deadline that is past, When nothing happens, Then that is the answer."""
    news = News()
    assert not news.await_more(news.count, time.monotonic())


def test_a_wait_is_known_until_its_time_has_come() -> None:
    """Given a thread that waits, When its time comes, Then it counts as going on."""
    clock, condition, stop = FakeClock(), threading.Condition(), threading.Event()

    def wait() -> None:
        with condition:
            while not stop.is_set():
                clock.wait(condition, 60)

    seen = clock.news.count
    thread = threading.Thread(target=wait)
    with condition:  # so that it waits for us before it looks again
        thread.start()
        assert clock.waiting() == {}
    assert clock.news.await_more(seen, time.monotonic() + PATIENCE)
    stop.set()
    clock.advance(60)
    assert clock.waiting() == {}
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_the_way_to_a_moment_is_exact() -> None:
    """Given a boot time that is no sum of steps, When advanced to, Then it is reached."""
    clock = FakeClock()
    target = clock.boot() + 0.1 + 0.2
    clock.advance_to(target)
    assert clock.boot() == target
    clock.advance_to(target - 1)
    assert clock.boot() == target


@given(st.lists(st.floats(0, 1e5, allow_nan=False), max_size=50))
def test_both_clocks_stay_together(steps: list[float]) -> None:
    """Given any steps, When they have passed, Then both clocks agree to the microsecond."""
    clock = FakeClock()
    now, boot = clock.now(), clock.boot()
    for step in steps:
        clock.advance_to(clock.boot() + step)
    told = (clock.now() - now).total_seconds()
    assert abs(told - (clock.boot() - boot)) < 1e-6


def test_a_clock_that_is_set_goes_on_from_there() -> None:
    """Given a wall clock set to a moment, When time passes, Then it is that much later."""
    clock = FakeClock()
    clock.advance(hours=1)
    clock.set_wall_clock(datetime(2030, 1, 1, tzinfo=UTC))
    clock.advance(hours=1)
    assert clock.now() == datetime(2030, 1, 1, 1, tzinfo=UTC)


def test_a_moment_in_another_zone_is_told_in_utc() -> None:
    """Given a start in a zone, When the clock is asked,
    Then it is the same moment in UTC.
    """
    from zoneinfo import ZoneInfo

    clock = FakeClock(datetime(2026, 3, 29, 1, 30, tzinfo=ZoneInfo("Europe/Berlin")))
    clock.advance(hours=1)
    assert clock.now() == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert clock.now().utcoffset() == timedelta(0)
