"""Proof that the engine's loops go round and can read the store.

A loop that hangs, or that cannot read the store, gives none; whoever watches the process
then knows what no check from outside can see.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable

from .clock import Clock
from .errors import StoreError

log = logging.getLogger("py_agent")

AGAIN_SECONDS = 1.0  # after a failed read the store is tried again so soon


class Pulse:
    """Calls `ping` each time that every loop has turned and read the store once more.

    Args:
        clock: tells the time.
        period: seconds from one turn that counts to the next; None for no pulse.
        ping: told of it, on the thread of the loop that was the last to turn.
    """

    def __init__(
        self,
        clock: Clock,
        period: float | None = None,
        ping: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._period = period
        self._ping = ping
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}  # boot time of each loop's next turn that counts
        self._turned: set[str] = set()  # the loops that have turned since the last ping
        self._failing = False

    def begin(self, loop: str) -> None:
        """Wait for a loop from now on; there is no ping without it."""
        if self._period is not None:
            with self._lock:
                self._due[loop] = self._clock.boot() + self._period

    def seconds_to_wait(self, loop: str) -> float:
        """Return after how many seconds a loop has to turn; infinite without a pulse."""
        due = self._due.get(loop)
        return math.inf if due is None else due - self._clock.boot()

    def turned(self, loop: str, read: Callable[[], object]) -> None:
        """Count a turn of a loop, if one is due and the store can be read.

        Args:
            loop: the loop, which has just done all that was due.
            read: reads the store as the loop does.
        """
        if self._period is None or self.seconds_to_wait(loop) > 0:
            return
        try:
            read()
        except StoreError as error:
            self._due[loop] = self._clock.boot() + min(AGAIN_SECONDS, self._period)
            if not self._failing:
                log.error("the watchdog is not told that all is well: %s", error)
            self._failing = True
            return
        if self._count(loop, self._clock.boot() + self._period):
            self._failing = False
            self._ping()

    def _count(self, loop: str, due: float) -> bool:
        """Note that a loop has turned; return whether all have."""
        with self._lock:
            self._due[loop] = due
            self._turned.add(loop)
            if self._turned < self._due.keys():
                return False
            self._turned.clear()
            return True
