"""What tests of agents need: time that passes when the test says so."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

# A waiting thread looks again so often, in real seconds, should nobody advance the clock.
_LOOK_SECONDS = 0.02


class FakeClock:
    """A clock that stands still until it is advanced.

    Args:
        start: the moment at which it begins; aware.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)) -> None:
        self._lock = threading.Lock()
        self._now = start
        self._boot = 1_000.0
        self._waiting: set[threading.Condition] = set()

    def now(self) -> datetime:
        """Return the fake moment."""
        with self._lock:
            return self._now

    def boot(self) -> float:
        """Return the fake seconds since boot."""
        with self._lock:
            return self._boot

    def advance(self, seconds: float = 0, **units: float) -> None:
        """Let time pass, and wake everything that waits for it.

        Args:
            seconds: seconds to pass.
            units: further time in the words of timedelta, as in `hours=3`.
        """
        passed = timedelta(seconds=seconds, **units)
        with self._lock:
            self._now += passed
            self._boot += passed.total_seconds()
            waiting = list(self._waiting)
        for condition in waiting:
            with condition:
                condition.notify_all()

    def set_wall_clock(self, moment: datetime) -> None:
        """Make the wall clock jump to an aware moment; boot time does not move."""
        with self._lock:
            self._now = moment

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait on a held condition until notified, or look again a little later."""
        with self._lock:
            self._waiting.add(condition)
        condition.wait(_LOOK_SECONDS)
