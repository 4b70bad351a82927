"""Which deliveries a debounced or throttled listener is called for.

A debounced listener is called for the last of several events, once it has been quiet for
long enough. A throttled one is called for the first, and not again for a while. With
`ordered_by`, each key has a pace of its own. What is left out is completed, and its reason
says so. What was let in once, or a person wants, is never left out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from .outcomes import SECOND, put_off, suppressed
from .registry import Listener
from .store.deliveries import Attempt, Owed
from .store.event_store import EventStore
from .store.writer import both

DEBOUNCED, THROTTLED = "debounced", "throttled"  # reasons of completed deliveries

LONGEST_BURST = 10  # times the debounce; then the listener is called in its midst
MOST_BURSTS = 10_000  # in memory
TIDY_AFTER = 1_000  # calls of a throttled listener, between two looks for old moments

Key = tuple[int, str]  # a subscription, and what it keeps apart from others


class Pace:
    """Decides before each call, and remembers when the last one was.

    Args:
        store: the open store.
    """

    def __init__(self, store: EventStore) -> None:
        self._followers = store.followers
        self._calls = store.last_calls
        self._bursts: dict[Key, int] = {}  # since when each one is left out
        self._noted: Counter[int] = Counter()

    def instead(
        self, listener: Listener, owed: Owed, created: int, now: int
    ) -> Attempt | None:
        """Return what becomes of a delivery without a call; None if it is to be made.

        Args:
            listener: its listener.
            owed: the delivery.
            created: when its event was stored, in microseconds.
            now: the present, likewise.

        Raises:
            StoreError: the store cannot be read.
        """
        if not _has_pace(listener, owed) or owed.admitted or owed.in_doubt:
            return None
        if listener.debounce is not None:
            attempt = self._debounced(listener.debounce, owed, created, now)
        else:
            attempt = self._throttled(listener.throttle or 0, owed, now)
        return attempt and replace(attempt, crashes=owed.crashes, admitted=False)

    def called(self, listener: Listener, owed: Owed, attempt: Attempt) -> Attempt:
        """Return an attempt that was completed, and with it when it was."""
        if listener.throttle is None or not _has_pace(listener, owed):
            return attempt
        key = owed.subscription_id
        also = both(self._calls.note(*_key(owed), attempt.at), attempt.also)
        self._noted[key] += 1
        if self._noted[key] % TIDY_AFTER == 0:
            self.forget(listener, key, attempt.at)
        return replace(attempt, also=also)

    def forget(self, listener: Listener, subscription: int, now: int) -> None:
        """Drop the moments of calls that are too long ago to matter."""
        if listener.throttle is not None:
            self._calls.forget(subscription, now - round(listener.throttle * SECOND))

    def _debounced(
        self, debounce: float, owed: Owed, created: int, now: int
    ) -> Attempt | None:
        key = _key(owed)
        if self._followers.has(owed.subscription_id, owed.event_id, owed.order_key):
            if len(self._bursts) >= MOST_BURSTS:
                del self._bursts[next(iter(self._bursts))]
            began = self._bursts.setdefault(key, now)
            if now - began < LONGEST_BURST * debounce * SECOND:
                return suppressed(owed.attempts, now, DEBOUNCED)
        elif (due := quiet_at(created, now, debounce, owed.retried)) > now:
            return put_off(owed.attempts, now, due)
        self._bursts.pop(key, None)
        return None

    def _throttled(self, throttle: float, owed: Owed, now: int) -> Attempt | None:
        last = self._calls.of(*_key(owed))
        if last is None or not is_too_soon(last, now, throttle):
            return None
        return suppressed(owed.attempts, now, THROTTLED)


def _has_pace(listener: Listener, owed: Owed) -> bool:
    """Return whether a delivery keeps one; an event without its key belongs to none."""
    paced = listener.debounce is not None or listener.throttle is not None
    return paced and not (listener.ordered_by and owed.order_key is None)


def _key(owed: Owed) -> Key:
    return owed.subscription_id, owed.order_key or ""


def quiet_at(created: int, now: int, debounce: float, looked_before: bool) -> int:
    """Return when it has been quiet for long enough after an event, in microseconds.

    Args:
        created: when the event was stored, in microseconds.
        now: the present, likewise.
        debounce: seconds without another event.
        looked_before: whether the wait is over already. The wall clock may have been
            set back since, and must not begin the wait anew.
    """
    if looked_before:
        return now
    return min(created, now) + round(debounce * SECOND)


def is_too_soon(last: int, now: int, throttle: float) -> bool:
    """Return whether a call at `now` follows too soon on the last one.

    Args:
        last: when that was, in microseconds. If it is ahead, the clock was set back, and
            nobody knows.
        now: the present, likewise.
        throttle: seconds between two calls.
    """
    return last <= now < last + round(throttle * SECOND)
