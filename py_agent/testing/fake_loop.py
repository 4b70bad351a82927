"""An event loop on a fake clock: `asyncio.sleep(3600)` ends when the test lets it.

The seams are asyncio's own: a loop is made with a selector, and tells its own time. A
loop that waits for a socket or for a thread does not count as one that waits on the
clock, as the next thing may come at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import selectors
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from .fake_clock import FakeClock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_OWN_FILES = 1  # the pipe by which other threads wake the loop


class _Selector(selectors.DefaultSelector):
    """Waits for the clock instead of a time, and tells the clock that it does."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self._guard = threading.Lock()
        self._poked = False
        self.aside = 0  # calls on other threads whose result the loop awaits

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        with self._guard:
            poked, self._poked = self._poked, False
            if not poked and not self.aside and len(self.get_map()) == _OWN_FILES:
                self._clock.begin_wait(math.inf if timeout is None else timeout)
        try:
            # After a poke the loop looks once more at what it has to do.
            return super().select(0 if poked else None)
        finally:
            self._clock.end_wait()

    def poke(self, loop_thread: int, give: Callable[[], asyncio.Handle]) -> asyncio.Handle:
        """Give the loop something to do, so that it does not wait on the clock.

        In one step: it must not begin to wait between the note and the gift.
        """
        with self._guard:
            self._poked = True
            self._clock.end_wait(loop_thread)
            return give()


class FakeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a fake clock's.

    Args:
        clock: the clock.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._clock_selector = _Selector(clock)
        self._own_thread = 0
        super().__init__(self._clock_selector)

    def time(self) -> float:
        """Return the clock's seconds since boot."""
        return self._clock.boot()

    def run_forever(self) -> None:
        """Run until stopped."""
        self._own_thread = threading.get_ident()
        super().run_forever()

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Call something soon; the loop does not wait on the clock any more."""
        give = partial(super().call_soon_threadsafe, callback, *args, context=context)
        return self._clock_selector.poke(self._own_thread, give)

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[Unpack[Ts]], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Call something on another thread; meanwhile the loop waits for that."""
        future = super().run_in_executor(executor, func, *args)
        self._clock_selector.aside += 1
        future.add_done_callback(self._back)
        return future

    def _back(self, future: object) -> None:
        self._clock_selector.aside -= 1

    def look(self) -> None:
        """Look at the time again."""
        with contextlib.suppress(RuntimeError):  # it has been closed
            self.call_soon_threadsafe(_nothing)


def _nothing() -> None:
    pass
