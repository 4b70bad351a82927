"""Which deliveries a debounced or throttled listener is called for.

A debounced listener is called for the last of several events, once it has been quiet for
long enough. A throttled one is called for the first, and not again for a while. With
`ordered_by`, each key has a pace of its own. What is suppressed is completed, and its
reason says so.
"""

from __future__ import annotations

from dataclasses import replace

from .outcomes import SECOND, put_off, suppressed
from .registry import Listener
from .store.deliveries import Attempt, Owed
from .store.event_store import EventStore
from .store.tables import State

DEBOUNCED, THROTTLED = "debounced", "throttled"  # reasons of completed deliveries


class Pace:
    """Decides before each call, and remembers when the last one was.

    Args:
        store: the open store.
    """

    def __init__(self, store: EventStore) -> None:
        self._deliveries = store.deliveries
        self._calls = store.last_calls

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
        if owed.by_hand:
            return None
        if listener.debounce is not None:
            if self._deliveries.has_newer(owed):
                return suppressed(owed.attempts, now, DEBOUNCED)
            due = quiet_at(created, now, listener.debounce, owed.retried)
            return None if due <= now else put_off(owed.attempts, now, due)
        if listener.throttle is not None:
            last = self._calls.of(owed.subscription_id, owed.order_key or "")
            if last is not None and is_too_soon(last, now, listener.throttle):
                return suppressed(owed.attempts, now, THROTTLED)
        return None

    def called(self, listener: Listener, owed: Owed, attempt: Attempt) -> Attempt:
        """Return the attempt, and with it when a throttled listener was called."""
        if listener.throttle is None or attempt.state is not State.COMPLETED:
            return attempt
        key = owed.order_key or ""
        note, also = self._calls.note(owed.subscription_id, key, attempt.at), attempt.also
        if also is None:
            return replace(attempt, also=note)
        return replace(attempt, also=lambda cursor: (note(cursor), also(cursor))[1])

    def forget(self, listener: Listener, subscription: int, now: int) -> None:
        """Drop the moments of calls that are too long ago to matter."""
        if listener.throttle is not None:
            self._calls.forget(subscription, now - round(listener.throttle * SECOND))


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
