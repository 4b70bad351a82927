"""When a failed delivery is tried again, and what a listener may ask for by raising.

The delay is exponential with full jitter, after Marc Brooker's "Exponential Backoff And
Jitter" (AWS Architecture Blog, 2015): many deliveries that failed together do not come
back together.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

from .errors import UsageError

Seconds = float | timedelta

LONGEST = 100 * 365.25 * 86_400  # seconds; no moment or timer is asked to go further


def seconds(value: Seconds, what: str = "a duration") -> float:
    """Return a duration given as a number of seconds or a timedelta in seconds.

    Args:
        value: a number of seconds (int or float) or a timedelta; not negative. A
            century and more is taken for a century.
        what: the name of the argument, for the error.

    Raises:
        UsageError: the value is no duration, negative or not finite.
    """
    if isinstance(value, timedelta):
        return seconds(value.total_seconds(), what)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(
            f"{what} must be a number of seconds or a timedelta, not {value!r}"
        )
    if not 0 <= value < float("inf"):
        raise UsageError(f"{what} must not be negative or endless, but is {value!r}")
    return float(min(value, LONGEST))


@dataclass(frozen=True)
class RetryPolicy:
    """How often and after which waits a failing delivery is tried again.

    Args:
        attempts: tries in all before the delivery becomes a dead letter; None never
            gives up.
        first: upper bound of the wait after the first failure, in seconds.
        factor: how much that bound grows with each failure, at least 1.
        cap: the bound never exceeds this many seconds.

    Raises:
        UsageError: a value is out of range.
    """

    attempts: int | None = 10
    first: Seconds = 1
    factor: float = 2
    cap: Seconds = 3600

    def __post_init__(self) -> None:
        if self.attempts is not None and (
            isinstance(self.attempts, bool)
            or not isinstance(self.attempts, int)
            or self.attempts < 1
        ):
            raise UsageError(
                f"RetryPolicy(attempts=...) must be 1 or more, or None for ever; "
                f"not {self.attempts!r}"
            )
        if (
            isinstance(self.factor, bool)
            or not isinstance(self.factor, (int, float))
            or not 1 <= self.factor < float("inf")
        ):
            raise UsageError(
                f"RetryPolicy(factor=...) must be at least 1, not {self.factor!r}"
            )
        object.__setattr__(self, "first", seconds(self.first, "RetryPolicy(first=...)"))
        object.__setattr__(self, "cap", seconds(self.cap, "RetryPolicy(cap=...)"))

    def ceiling(self, failures: int) -> float:
        """Return the longest wait, in seconds, after the given number of failures."""
        first, cap = seconds(self.first), seconds(self.cap)
        if first == 0:
            return 0.0
        try:
            return min(cap, first * float(self.factor) ** max(0, failures - 1))
        except OverflowError:
            return cap

    def delay(self, failures: int, chance: random.Random) -> float:
        """Return the wait in seconds after so many failures, drawn below the ceiling."""
        return chance.uniform(0, self.ceiling(failures))

    def gives_up(self, attempts: int) -> bool:
        """Return whether a delivery with so many counted attempts is dead."""
        return self.attempts is not None and attempts >= self.attempts


class Retry(Exception):
    """Raised by a listener: try this delivery again later; by a job: run again then.

    Args:
        after: seconds or timedelta to wait; None takes the policy's own wait.
        count: whether this try counts towards the policy's attempts.
        reason: why, for the record.
    """

    def __init__(
        self, after: Seconds | None = None, count: bool = True, reason: str = ""
    ) -> None:
        self.after = None if after is None else seconds(after, "Retry(after=...)")
        when = "later" if self.after is None else f"in {self.after:g} s"
        super().__init__(reason or f"it asked to be tried again {when}")
        self.count = count


class Snooze(Exception):
    """Raised by a listener: not now; hand me this delivery again after a while.

    It is no failure: no attempt is counted and no error kept, and what the listener has
    left in `handler.state` is stored.

    Args:
        after: seconds or timedelta to wait; a second at least.
    """

    def __init__(self, after: Seconds) -> None:
        self.after = seconds(after, "Snooze(after=...)")
        super().__init__(f"it asked to be called again in {self.after:g} s")


class Discard(Exception):
    """Raised by a listener: never try this delivery again; it becomes a dead letter."""

    def __init__(self, reason: str = "the listener discarded it") -> None:
        super().__init__(reason)


class StopAgent(Exception):
    """Raised by a job or listener: the agent ends, with the reason and exit code 1.

    What runs meanwhile ends within the grace time; a delivery stays owed.

    Args:
        reason: why, for the log.
    """


class Pause(Exception):
    """Raised by a listener: hold all its deliveries; this one is tried again first.

    Args:
        reason: why, shown by `agent listeners`.
        after: seconds or timedelta until it goes on by itself; None waits for
            `agent resume`.
    """

    def __init__(self, reason: str, after: Seconds | None = None) -> None:
        super().__init__(reason)
        self.after = None if after is None else seconds(after, "Pause(after=...)")
