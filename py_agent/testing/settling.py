"""Finds out when a running engine has done all that it can do at a moment of a fake clock.

Settled means: what is due has begun, and what has begun has ended, or waits on the clock.
Nobody sleeps for that. Each thread that ends its work or begins to wait tells the clock's
news, and after each such piece of news the engine is looked at again. When a look finds
nothing to do, every thread at rest, and no news since it began, nothing was going on
meanwhile, so nothing can happen until the clock moves or somebody publishes.
"""

from __future__ import annotations

import math
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from ..engine import Engine
from ..errors import AgentError
from .fake_clock import FakeClock

_MICROSECOND = 1e-6  # the least that the clock moves, so that rounding never stops it
_LIBRARY = (sysconfig.get_path("stdlib"), str(Path(__file__).parents[1]))


class StillRunningError(AgentError):
    """Something did not come to its end while a test waited for it."""


class Settling:
    """Lets an engine settle, and says what is due next.

    Args:
        engine: the engine.
        clock: the clock that it runs on.
    """

    def __init__(self, engine: Engine, clock: FakeClock) -> None:
        self._engine = engine
        self._clock = clock
        self._pools = (engine.job_threads, engine.listener_threads)
        for pool in self._pools:
            pool.ended = clock.news.tell

    def settle(self, deadline: float, done: Callable[[], bool] = lambda: False) -> None:
        """Wait until the engine has settled, or something else has come true.

        Args:
            deadline: monotonic time at which to give up.
            done: looked at after each piece of news; ends the waiting.

        Raises:
            StillRunningError: the engine did not settle until the deadline.
            AgentError: the engine has failed.
        """
        while True:
            seen = self._clock.news.count
            if self._engine.fatal is not None:
                raise self._engine.fatal
            if done():
                return
            if self._is_settled() and self._clock.news.count == seen:
                return
            if not self._clock.news.await_more(seen, deadline):
                raise StillRunningError(self.what_runs())

    def await_rest(self, deadline: float) -> None:
        """Wait until all that runs, if anything does, waits on the clock.

        Args:
            deadline: monotonic time at which to give up.
        """
        seen = self._clock.news.count
        while not self._only_waits() and self._clock.news.await_more(seen, deadline):
            seen = self._clock.news.count

    def next_due(self) -> float:
        """Return when something happens next, in seconds since boot; infinite if never.

        Only of use once it has settled.
        """
        boot = self._clock.boot()
        rest = self._engine.dispatcher.settle()
        waits = [self._engine.scheduler.settle(), 0.0 if rest is None else rest]
        due = min(boot + min(waits), min(self._at_work().values(), default=math.inf))
        return max(due, boot + _MICROSECOND)

    def what_runs(self) -> str:
        """Return what runs without waiting on the clock, and where, for people."""
        found = []
        frames = sys._current_frames()
        for pool in self._pools:
            at_work, queued = pool.at_work()
            found += [
                f"{what or 'the engine'} {_place(frames.get(thread))}".strip()
                for thread, what in at_work.items()
                if thread not in self._waiting()
            ]
            found += ["what waits for a thread"] * (queued > 0)
        return ", ".join(found) or "nothing, but more and more becomes due"

    def _is_settled(self) -> bool:
        self._engine.scheduler.settle()
        return self._engine.dispatcher.settle() is not None and self._only_waits()

    def _only_waits(self) -> bool:
        return not any(map(math.isnan, self._at_work().values()))

    def _at_work(self) -> dict[int, float]:
        """Return until when each thread at work waits; no number for one that works."""
        waiting = self._waiting()
        found: dict[int, float] = {}
        for pool in self._pools:
            at_work, queued = pool.at_work()
            found.update({each: waiting.get(each, math.nan) for each in at_work})
            if queued:
                found[0] = math.nan
        return found

    def _waiting(self) -> dict[int, float]:
        """Return until when threads wait; who awaits a coroutine waits as its loop does."""
        loop, callers = self._engine.loop.callers()
        found = self._clock.waiting()
        if loop in found:
            found.update(dict.fromkeys(callers, found[loop]))
        return found


def _place(frame: FrameType | None) -> str:
    """Return where a thread is: the innermost line that is the user's own."""
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARY):
        frame = frame.f_back
    if frame is None:
        return ""
    return f"at {frame.f_code.co_filename}:{frame.f_lineno}"
