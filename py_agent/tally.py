"""What this process has done since it opened its store, counted for whoever asks.

Counts and nothing else: the store knows what is owed, and these say how it came to that.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

HEARTBEAT_JOB = "observability.heartbeat"  # the job whose beats arrive
MOST_TYPES = 100  # event types that are counted apart; publishers may make up any number
OTHERS = "(other)"  # what the rest of them is counted as


class Tally:
    """Counters, each by what it is about; any thread may add to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[tuple[str, ...]]] = {
            name: Counter() for name in ("runs", "skips", "publications", "attempts")
        }
        self._types: set[str] = set()
        self.beat: float | None = None  # boot time at which the last heartbeat arrived

    def run(self, job: str, outcome: str) -> None:
        """Count a run that has ended."""
        self._add("runs", job, outcome)

    def skip(self, job: str, reason: str) -> None:
        """Count a run that was due and did not begin."""
        self._add("skips", job, reason)

    def attempt(self, listener: str, outcome: str) -> None:
        """Count a call of a listener."""
        self._add("attempts", listener, outcome)

    def published(self, event_type: str, new: int, known: int) -> None:
        """Count events that were offered."""
        with self._lock:
            if event_type not in self._types:
                if len(self._types) < MOST_TYPES:
                    self._types.add(event_type)
                else:
                    event_type = OTHERS
            counts = self._counts["publications"]
            counts[event_type, "new"] += new
            counts[event_type, "duplicate"] += known

    def published_many(self, offered: Iterable[str], new: Counter[str]) -> None:
        """Count a batch.

        Args:
            offered: the type of each event.
            new: how many of each type were new.
        """
        for event_type, count in Counter(offered).items():
            self.published(event_type, new[event_type], count - new[event_type])

    def counts(self, name: str) -> dict[tuple[str, ...], int]:
        """Return the counts of runs, skips, publications or attempts."""
        with self._lock:
            return dict(self._counts[name])

    def _add(self, name: str, *about: str) -> None:
        with self._lock:
            self._counts[name][about] += 1
