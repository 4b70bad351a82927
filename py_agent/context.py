"""What a job or listener is handed as `handler`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .errors import EchoError
from .events import MAX_ECHO, Event, Publication, Published
from .failures import printable
from .filters import Match, compile_filter

if TYPE_CHECKING:
    from .store.event_store import EventStore

log = logging.getLogger("py_agent")

# How many listeners stand before what is published in this context; set by the
# dispatcher around each call, so that agent.handler cannot be used to hide an echo.
depth_of_publications: ContextVar[int] = ContextVar("depth_of_publications", default=0)


class Handler:
    """Publishes events and looks them up, on behalf of one job or listener.

    Args:
        opened: returns the open store, opening it if need be.
        source: the name of the job or listener; None publishes on nobody's behalf.
    """

    def __init__(self, opened: Callable[[], EventStore], source: str | None = None) -> None:
        self.opened = opened
        self._source = source
        self._new = 0
        self._known = 0

    @property
    def source(self) -> str | None:
        """The name under which this handler publishes."""
        return self._source

    @property
    def counts(self) -> tuple[int, int]:
        """How many new events and how many duplicates were published through it."""
        return self._new, self._known

    def publish(
        self, event_type: str, identifier: str, data: Any = None, deliver: bool = True
    ) -> Publication:
        """Store an event if it is new, and owe it to every listener that wants it.

        When this returns, the event is in the store and is never lost.

        Args:
            event_type: its kind, 1 to 255 characters.
            identifier: a stable id from the source, 1 to 1,024 characters; the same
                type and identifier are new once, for ever.
            data: JSON, and the values that `events` knows how to write as JSON.
            deliver: false stores it as seen: no listener ever gets it.

        Returns:
            A publication, true when the event was new; its `event` is the stored one.

        Raises:
            EventError: the event is refused; the message names the bad value.
            StorageFault: the disk failed; it is safe to publish again.
        """
        depth = self._depth(event_type, identifier)
        publication = self.opened().publish(
            event_type, identifier, data,
            deliver=deliver, source=self._source, depth=depth,
        )  # fmt: skip
        if publication.new:
            self._new += 1
            log.info("New event -> %s: %s", printable(event_type), printable(identifier))
        else:
            self._known += 1
        return publication

    def publish_many(
        self, triples: Iterable[tuple[str, str, Any]], deliver: bool = True
    ) -> Published:
        """Publish many events, a thousand in a transaction.

        Args:
            triples: (event type, identifier, data); if the iterable raises, the earlier
                thousands stay stored.
            deliver: as in `publish`.

        Returns:
            How many events were offered, and how many of them were new.

        Raises:
            EventError: an event is refused, and with it its thousand.
            StorageFault: the disk failed; it is safe to publish again.
        """
        depth = self._depth("publish_many", "")
        done = self.opened().publish_many(
            triples, deliver=deliver, source=self._source, depth=depth
        )
        self._new += done.new
        self._known += done.total - done.new
        if done.new:
            log.info("New events -> %s of %s", f"{done.new:,}", f"{done.total:,}")
        return done

    def query_events(self, match: Match, limit: int | None = None) -> list[Event]:
        """Return the stored events that a filter matches, oldest first.

        Args:
            match: a filter as in `listen_for`; `{}` matches every event.
            limit: how many at most; None for all.

        Raises:
            FilterError: the filter is wrong.
            StoreError: the store cannot be read.
        """
        found: list[Event] = []
        for event in self.opened().query(compile_filter(match)):
            if limit is not None and len(found) >= limit:
                break
            found.append(event)
        return found

    def _depth(self, event_type: str, identifier: str) -> int:
        depth = depth_of_publications.get()
        if depth > MAX_ECHO:
            raise EchoError(
                f"{MAX_ECHO} listeners in a row have answered each other; "
                f"{event_type}: {identifier} is not published, as this looks endless"
            )
        return depth
