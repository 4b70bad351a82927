"""Time as a parameter: the wall clock for what people read, boot time for durations.

Boot time counts suspend and ignores every change of the wall clock, so an interval job
keeps its rhythm over clock jumps and daylight saving, and catches up after a suspend.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Time(Protocol):
    """What decisions ask of time: what it is, by both clocks."""

    def now(self) -> datetime:
        """Return the wall clock's time as an aware UTC datetime."""
        ...

    def boot(self) -> float:
        """Return seconds since boot, suspend included; never goes back."""
        ...


class Clock(Time, Protocol):
    """What the engine asks of time; `testing.FakeClock` is the other implementation."""

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait on a held condition until notified or `seconds` passed (None: ever)."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def boot(self) -> float:
        return time.clock_gettime(_BOOTTIME)

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        condition.wait(seconds)


def to_micros(moment: datetime) -> int:
    """Return an aware datetime as whole microseconds since 1970, as the store keeps it.

    Raises:
        ValueError: the datetime is naive.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return (moment - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return microseconds since 1970 as an aware UTC datetime."""
    return EPOCH + timedelta(microseconds=micros)
