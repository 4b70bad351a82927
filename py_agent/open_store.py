"""The store of one agent: opened when it is first needed, and once in each process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from .clock import Clock
from .registry import Listener

if TYPE_CHECKING:
    from .store.dialects import Durability
    from .store.event_store import EventStore


class OpenStore:
    """Opens the store, and closes it.

    Args:
        path: returns the store's real path; the store is made if there is none.
        durability: returns what a commit survives.
        max_data: bytes of JSON that one event may hold.
        clock: dates the events.
        listeners: returns the listeners whose subscriptions are added if they lack.
    """

    def __init__(
        self,
        path: Callable[[], Path],
        durability: Callable[[], Durability],
        max_data: int,
        clock: Clock,
        listeners: Callable[[], Iterable[Listener]],
    ) -> None:
        self._path = path
        self._durability = durability
        self._max_data = max_data
        self._clock = clock
        self._listeners = listeners
        self._lock = threading.RLock()
        self._store: EventStore | None = None

    def get(self) -> EventStore:
        """Return the open store; a forked child opens it anew.

        Raises:
            StoreError: it cannot be used.
            ConfigError: agent.toml or the environment is wrong.
        """
        store = self._store
        if store is not None and store.pid == os.getpid():
            return store
        with self._lock:
            if self._store is None or self._store.pid != os.getpid():
                self._store = self._open()
            return self._store

    def subscribe(self, listener: Listener) -> None:
        """Add the subscription of a listener that comes after the store was opened."""
        with self._lock:
            if self._store is not None:
                self._store.subscriptions.ensure([listener])

    def close(self) -> None:
        """Close the store, if it is open."""
        with self._lock:
            store, self._store = self._store, None
        if store is not None:
            store.close()

    def _open(self) -> EventStore:
        from .store import schema
        from .store.event_store import EventStore
        from .store.wakeup import wake

        path = self._path()
        schema.ensure(path)
        store = EventStore.open(path, self._clock, self._durability(), self._max_data)
        store.subscriptions.ensure(self._listeners())
        # Without the lock, some other process may have to be told.
        store.committed = lambda done: wake(path)
        return store
