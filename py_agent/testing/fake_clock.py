"""Time that passes when a test says so, and the news of who waits for it."""

from __future__ import annotations

import math
import threading
import time
import weakref
from datetime import UTC, datetime, timedelta

from .fake_loop import FakeLoop

# A waiting thread looks again so often, in real seconds, should nobody advance the clock.
_LOOK_SECONDS = 0.02
_MICROSECOND = 1e-6


class News:
    """Counts what happens, so that a test can wait for the next thing that does."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        """How much has happened."""
        return self._count

    def tell(self) -> None:
        """Count that something happened, and wake who waits for that."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def await_more(self, than: int, deadline: float) -> bool:
        """Wait until more has happened than some count.

        Args:
            than: a count that was read before.
            deadline: monotonic time at which to give up.

        Returns:
            Whether it came to that.
        """
        with self._changed:
            while self._count == than:
                if (left := deadline - time.monotonic()) <= 0:
                    return False
                self._changed.wait(left)
            return True


class FakeClock:
    """A clock that stands still until it is advanced.

    Args:
        start: the moment at which it begins; aware.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)) -> None:
        self._lock = threading.Lock()
        self._boot = 1_000.0
        # The wall clock is told from boot time, so that no step is rounded twice.
        self._set_at, self._set_to = self._boot, start.astimezone(UTC)
        self._conditions: set[threading.Condition] = set()
        self._waiting: dict[int, float] = {}
        self._loops: weakref.WeakSet[FakeLoop] = weakref.WeakSet()
        self.news = News()

    def now(self) -> datetime:
        """Return the fake moment."""
        with self._lock:
            return self._set_to + timedelta(seconds=self._boot - self._set_at)

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
        self._pass(timedelta(seconds=seconds, **units).total_seconds())

    def advance_to(self, boot: float) -> None:
        """Let time pass until so many seconds since boot, unless that is past."""
        self._pass(max(0.0, boot - self.boot()), boot)

    def wake(self) -> None:
        """Let everything that waits look again; until it has done so, it does not wait."""
        with self._lock:
            self._waiting.clear()
        self._pass(0)

    def _pass(self, seconds: float, boot: float = -math.inf) -> None:
        with self._lock:
            self._boot = max(self._boot + seconds, boot)
            conditions, loops = list(self._conditions), list(self._loops)
        for condition in conditions:
            with condition:
                condition.notify_all()
        for loop in loops:
            loop.look()

    def set_wall_clock(self, moment: datetime) -> None:
        """Make the wall clock jump to an aware moment; boot time does not move."""
        with self._lock:
            self._set_at, self._set_to = self._boot, moment.astimezone(UTC)

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait on a held condition until notified, or look again a little later."""
        with self._lock:
            self._conditions.add(condition)
        self.begin_wait(math.inf if seconds is None else seconds)
        try:
            condition.wait(_LOOK_SECONDS)
        finally:
            self.end_wait()

    def event_loop(self) -> FakeLoop:
        """Return a new event loop whose timers are due when the clock says so."""
        loop = FakeLoop(self)
        with self._lock:
            self._loops.add(loop)
        return loop

    def begin_wait(self, seconds: float) -> None:
        """Note that this thread waits for so many seconds to pass, and tell the news."""
        with self._lock:
            due = self._boot + max(seconds, _MICROSECOND)  # rounding never makes it past
            self._waiting[threading.get_ident()] = due
        self.news.tell()

    def end_wait(self, thread: int | None = None) -> None:
        """Note that a thread, this one if not given, does not wait any more."""
        with self._lock:
            self._waiting.pop(thread or threading.get_ident(), None)

    def waiting(self) -> dict[int, float]:
        """Return until when, in seconds since boot, each thread waits; by its ident.

        A thread whose time has come, but which has not gone on yet, does not wait.
        """
        with self._lock:
            return {me: due for me, due in self._waiting.items() if due > self._boot}
