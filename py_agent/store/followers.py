"""Which deliveries are followed by a later one of the same listener and key.

Asked for each delivery of a debounced listener. The newest of each key is kept in memory,
so that a backlog of many keys is looked through once and not for each of them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from sqlalchemy import bindparam, func, select, text

from .dialects import Statement
from .reader import Reader
from .subscriptions import NEVER
from .tables import deliveries, events

MOST_KEYS = 50_000  # in memory, of one listener

_NEWEST_EVENT = Statement(select(func.coalesce(func.max(events.c.id), 0)))
_NEWEST = Statement(
    select(deliveries.c.order_key, func.max(deliveries.c.event_id))
    .where(
        deliveries.c.event_id > bindparam("after"),
        deliveries.c.event_id <= bindparam("until"),
        deliveries.c.subscription_id == bindparam("key"),
    )
    .group_by(deliveries.c.order_key)
)
# What was left out itself, was given up by hand before its turn, or is withheld, may never
# be delivered, so it does not count.
_COUNTS = text(
    f"(state = 'running' OR (state IN ('available', 'retryable') AND due < {NEVER})"
    " OR (state = 'completed' AND reason IS NULL)"
    " OR (state = 'discarded' AND attempts > 0))"
)
_THIS = Statement(
    select(deliveries.c.event_id).where(
        deliveries.c.event_id == bindparam("event"),
        deliveries.c.subscription_id == bindparam("key"),
        _COUNTS,
    )
)
_ANY = Statement(
    select(deliveries.c.event_id)
    .where(
        deliveries.c.event_id > bindparam("event"),
        deliveries.c.subscription_id == bindparam("key"),
        deliveries.c.order_key.is_not_distinct_from(bindparam("order_key")),
        _COUNTS,
    )
    .limit(1)
)


@dataclass
class _Known:
    """The newest delivery of each key of a listener, among those of some events.

    Args:
        after: the events after this one.
        until: up to this one.
        newest: the event of the newest delivery, by key.
    """

    after: int
    until: int
    newest: dict[str | None, int] = field(default_factory=dict)


class Followers:
    """Knows the newest deliveries; only the holder of the agent lock asks.

    Args:
        reader: where deliveries are read.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._known: dict[int, _Known] = {}

    def has(self, subscription: int, event: int, key: str | None) -> bool:
        """Return whether a delivery has a later one of its key that counts.

        Args:
            subscription: the listener's.
            event: the delivery's event.
            key: what the listener keeps apart from others.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._lock:
            known = self._known.get(subscription)
            if known is None or len(known.newest) > MOST_KEYS:
                known = self._known[subscription] = _Known(event, event)
            if event < known.after:
                self._add(known, subscription, event, known.after)
                known.after = event
            row = self._reader.row(_NEWEST_EVENT)
            until = int(row[0]) if row else 0
            if until > known.until:
                self._add(known, subscription, known.until, until)
                known.until = until
            newest = known.newest.get(key, 0)
        if newest <= event:
            return False
        if self._reader.row(_THIS, event=newest, key=subscription) is not None:
            return True
        return (
            self._reader.row(_ANY, event=event, key=subscription, order_key=key) is not None
        )

    def _add(self, known: _Known, subscription: int, after: int, until: int) -> None:
        found = self._reader.rows(_NEWEST, after=after, until=until, key=subscription)
        for key, newest in found:
            known.newest[key] = max(newest, known.newest.get(key, 0))
