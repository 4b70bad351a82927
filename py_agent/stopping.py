"""The wish that running work should end, and a wait that ends with it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .clock import Clock


def on_event_loop() -> bool:
    """Return whether this is a coroutine's code, which must not wait plainly."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False  # who has not imported it, which takes long, runs no coroutine
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Stop:
    """Asked for once, seen by all who wait.

    Args:
        clock: tells the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._requested = False
        self._then: list[Callable[[], object]] = []

    @property
    def requested(self) -> bool:
        """Whether running work should end."""
        return self._requested

    def request(self) -> None:
        """Ask running work to end, and end every wait."""
        with self._changed:
            self._requested = True
            self._changed.notify_all()
            then, self._then = self._then, []
        for call in then:
            call()

    @contextmanager
    def calls(self, then: Callable[[], object]) -> Iterator[None]:
        """Call something as soon as the stop is asked for, while the block lasts."""
        with self._changed:
            if not self._requested:
                self._then.append(then)
        if self._requested:
            then()
        try:
            yield
        finally:
            with self._changed:
                if then in self._then:
                    self._then.remove(then)

    def wait(self, seconds: float) -> bool:
        """Wait so many seconds, or until the stop is asked for.

        Returns:
            Whether the time passed; false if a stop is asked for.
        """
        deadline = self._clock.boot() + seconds
        with self._changed:
            while not self._requested and (left := deadline - self._clock.boot()) > 0:
                self._clock.wait(self._changed, left)
        return not self._requested
