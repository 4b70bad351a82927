"""The pulse: a ping means that every loop has turned and read the store."""

from __future__ import annotations

import logging
import math

import pytest

from py_agent.errors import StorageFault
from py_agent.pulse import Pulse
from py_agent.testing import FakeClock


class Counted:
    """A ping that is counted."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def readable() -> int:
    """A read that works."""
    return 1


def unreadable() -> int:
    """A read that fails."""
    raise StorageFault("the disk is gone")


@pytest.fixture
def clock() -> FakeClock:
    """Time that stands still."""
    return FakeClock()


@pytest.fixture
def ping() -> Counted:
    """The pings of the test's pulse."""
    return Counted()


@pytest.fixture
def pulse(clock: FakeClock, ping: Counted) -> Pulse:
    """A pulse of two loops and ten seconds."""
    made = Pulse(clock, 10, ping)
    made.begin("a")
    made.begin("b")
    return made


def test_all_loops_make_a_ping(clock: FakeClock, ping: Counted, pulse: Pulse) -> None:
    """One that goes round does not speak for one that hangs."""
    for _ in range(3):
        clock.advance(10)
        pulse.turned("a", readable)
    assert ping.count == 0
    pulse.turned("b", readable)
    assert ping.count == 1


def test_turns_between_do_not_count(clock: FakeClock, ping: Counted, pulse: Pulse) -> None:
    """A busy loop neither reads nor pings at each turn."""
    reads = Counted()
    for _ in range(100):
        clock.advance(1)
        pulse.turned("a", reads)
        pulse.turned("b", reads)
    assert (reads.count, ping.count) == (20, 10)


def test_a_loop_is_to_turn_in_time(clock: FakeClock, pulse: Pulse) -> None:
    """It is told how long it may sleep."""
    assert pulse.seconds_to_wait("a") == 10
    clock.advance(4)
    assert pulse.seconds_to_wait("a") == 6
    clock.advance(6)
    pulse.turned("a", readable)
    assert pulse.seconds_to_wait("a") == 10


def test_a_store_that_cannot_be_read_makes_no_ping(
    clock: FakeClock, ping: Counted, pulse: Pulse, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and tried again soon; when it can be read, the pings go on."""
    clock.advance(10)
    for _ in range(30):
        pulse.turned("a", unreadable)
        pulse.turned("b", readable)
        clock.advance(1)
    assert ping.count == 0
    assert [each.levelno for each in caplog.records] == [logging.ERROR]
    pulse.turned("a", readable)
    pulse.turned("b", readable)
    assert ping.count == 1


def test_nobody_asks(clock: FakeClock) -> None:
    """Without a period nothing is read, and no loop is woken."""
    pulse = Pulse(clock)
    pulse.begin("a")
    clock.advance(1_000)
    pulse.turned("a", unreadable)
    assert pulse.seconds_to_wait("a") == math.inf
