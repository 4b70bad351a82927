"""How things stand between this agent and its Observability server.

One for all calls in a process: it gives out turns, so that the server is not asked
faster than it can answer, and knows whether the server is away, so that a thousand
waiting reports do not each find that out for themselves.
"""

from __future__ import annotations

import random
import threading
from datetime import datetime

from ..retry import RetryPolicy

AWAY = RetryPolicy(attempts=None, first=1, factor=2, cap=60)
SEVERAL = 3  # reports that fail one after the other: it is the server, and none of them


class Link:
    """Turns, troubles and the newest report that arrived; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chance = random.Random()
        self._next_turn = 0.0  # boot time
        self._failures = 0  # times in a row that the server was found to be away
        self._until = 0.0  # boot time before which it need not be tried
        self._failed: set[str] = set()  # reports that failed since one arrived
        self._latest: datetime | None = None
        self.reason = ""  # why the server counts as away

    @property
    def latest(self) -> datetime | None:
        """The latest moment that a report was about which has arrived, None for none."""
        return self._latest

    def turn(self, boot: float, rate: float) -> float:
        """Take the next turn to send.

        Args:
            boot: seconds since boot.
            rate: turns in a second.

        Returns:
            The seconds until then.
        """
        with self._lock:
            start = max(boot, self._next_turn)
            self._next_turn = start + 1 / rate
            return start - boot

    def away(self, boot: float, reason: str, least: float = 0.0) -> float:
        """Note that the server is away; return the seconds until it is worth a try.

        Calls that find it away while it is known to be share one wait.

        Args:
            boot: seconds since boot.
            reason: what was found.
            least: seconds that the server asks to wait.
        """
        with self._lock:
            if boot >= self._until:
                self._failures += 1
                longest = AWAY.ceiling(self._failures)
                self._until = boot + self._chance.uniform(longest / 2, longest)
                self.reason = reason
            self._until = max(self._until, boot + least)
            return self._until - boot

    def closed(self, boot: float) -> float:
        """Return the seconds before which nothing should be sent; 0 for at once."""
        with self._lock:
            return max(0.0, self._until - boot)

    @property
    def doubtful(self) -> bool:
        """Whether the server was away when it was tried last."""
        return self._failures > 0

    def failed(self, report: str) -> bool:
        """Note that a report failed; return whether the server may be to blame.

        It may be when several reports fail and none arrives in between; else it is this
        one that the server cannot take.
        """
        with self._lock:
            self._failed.add(report)
            return len(self._failed) >= SEVERAL

    def arrived(self, moment: datetime | None = None) -> bool:
        """Note that a report arrived; return whether the server had been away.

        Args:
            moment: what the report was about, aware.
        """
        with self._lock:
            was_away = self._failures > 0
            self._failures, self._until = 0, 0.0
            self._failed.clear()
            if moment is not None and (self._latest is None or moment > self._latest):
                self._latest = moment
            return was_away
