"""Holds back jobs while listeners have too much left to do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from .errors import StoppedError
from .stopping import Stop, on_event_loop

log = logging.getLogger("py_agent")

SAY_SECONDS = 60.0  # how often the log says at most that jobs wait
LOOK_SECONDS = 0.5  # how often it is looked whether there is room again


class Backpressure:
    """Lets a job publish as long as not too many deliveries are owed.

    Args:
        most: how many deliveries may be owed; None for any number.
        owed: counts them, up to a number at which it may stop.
        per_event: returns how many deliveries one event may add.
        stop: ends the waiting.
    """

    def __init__(
        self,
        most: int | None,
        owed: Callable[[int], int],
        per_event: Callable[[], int],
        stop: Stop,
    ) -> None:
        self._most = most
        self._owed = owed
        self._per_event = per_event
        self._stop = stop
        self._lock = threading.Lock()
        self._quiet_until = 0.0
        self._room = 0  # events that may be published before it is counted again

    def admit(self, job: str) -> None:
        """Return when one event may be published; at once in a coroutine.

        Raises:
            StoppedError: a stop was asked for while there was no room.
        """
        if self._most is None or on_event_loop():
            return  # a wait there would stop the very coroutines that make room
        waiting = False
        while not self._has_room(self._most):
            if not waiting and time.monotonic() >= self._quiet_until:
                self._quiet_until = time.monotonic() + SAY_SECONDS
                log.warning("job %s waits: more than %s deliveries are owed (max_owed)",
                            job, f"{self._most:,}")  # fmt: skip
            waiting = True
            if not self._stop.wait(LOOK_SECONDS):
                raise StoppedError("the agent stops, and too much is owed to publish more")

    def _has_room(self, most: int) -> bool:
        with self._lock:
            if self._room < 1:
                left = most - self._owed(most)
                self._room = -(-left // max(1, self._per_event()))
            self._room -= 1
            return self._room >= 0
