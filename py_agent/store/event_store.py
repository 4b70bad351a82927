"""The event store: publish, and read back what was published.

The database decides what is new, by its unique constraint; there is no cache of known
identifiers that a prune or a restore in another process could make wrong. An event and
the deliveries it owes are committed together, before any listener is called.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, bindparam, func, select

from ..clock import Clock, from_micros, to_micros
from ..errors import EventError, NotFoundError, StorageFault, StoreRefusedError
from ..events import Event, Publication, Published, check_identity
from ..filters import Filter
from ..json_text import MAX_DATA, encode
from ..tally import Tally
from . import schema
from .deliveries import Deliveries
from .dialects import Durability, Statement, insert, open_engine, storage_errors
from .followers import Followers
from .last_calls import LastCalls
from .owing import Committed, owe, withhold
from .queries import COLUMNS, event_of, query
from .reader import Reader
from .runs import Runs
from .side_file import MAX_KEY
from .subscriptions import Subscriptions
from .tables import events
from .writer import Writer

BATCH = 1_000  # events in one transaction of publish_many

_OF_IDENTITY = Statement(
    select(*COLUMNS).where(
        events.c.event_type == bindparam("event_type"),
        events.c.identifier == bindparam("identifier"),
    )
)
_KNOWN = Statement(
    select(events.c.id).where(
        events.c.event_type == bindparam("event_type"),
        events.c.identifier == bindparam("identifier"),
    )
)
_OF_ID = Statement(select(*COLUMNS).where(events.c.id == bindparam("key")))
_AFTER = Statement(
    select(*COLUMNS).where(events.c.id > bindparam("key")).order_by(events.c.id)
)
_NEW_OF_TYPES = Statement(
    select(events.c.event_type, func.count())
    .where(events.c.id > bindparam("key"))
    .group_by(events.c.event_type)
)
_NEWEST = Statement(select(func.coalesce(func.max(events.c.id), 0)))
_INSERT = Statement(
    insert(events).on_conflict_do_nothing(
        index_elements=[events.c.event_type, events.c.identifier]
    ),
    "event_type", "identifier", "created", "source", "data", "depth",
)  # fmt: skip


class EventStore:
    """One open store; used by all threads of one process.

    Args:
        path: the store's file, which must be a verified store.
        clock: gives each event its moment of creation.
        durability: "full" or "fast".
        max_data: bytes of JSON that one event may hold.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        durability: Durability = "full",
        max_data: int = MAX_DATA,
    ) -> None:
        self.path = path
        self.pid = os.getpid()
        status = os.stat(path)
        self._file = (status.st_dev, status.st_ino)
        self.committed: Callable[[Committed], None] | None = None
        self.tally = Tally()
        self._clock = clock
        self._max_data = max_data
        self.engine: Engine = open_engine(path, durability)
        with storage_errors(path):
            self._connections = [self.engine.raw_connection() for _ in range(4)]
        drivers = (each.driver_connection for each in self._connections)
        held = [each for each in drivers if isinstance(each, sqlite3.Connection)]
        self.writer = Writer(held[0], path)
        self.reader = Reader(held[1], path)
        backlog = Reader(held[2], path)
        # A look before each call, beside those who publish: they must not queue here.
        calls = Reader(held[3], path)
        self.subscriptions = Subscriptions(self.writer, self.reader)
        self.deliveries = Deliveries(self.writer, calls, backlog)
        self.runs = Runs(self.writer, self.reader)
        self.last_calls = LastCalls(self.writer, self.reader)
        self.followers = Followers(self.reader)

    @classmethod
    def open(
        cls,
        path: Path,
        clock: Clock,
        durability: Durability = "full",
        max_data: int = MAX_DATA,
    ) -> EventStore:
        """Open an existing store of the present schema, beside a running agent or not.

        Raises:
            StoreMissingError: there is none.
            StoreRefusedError: it cannot be used.
        """
        schema.verify_current(path)
        return cls(path, clock, durability, max_data)

    def now(self) -> int:
        """Return the present in microseconds, by the clock that dates the events."""
        return to_micros(self._clock.now())

    def close(self) -> None:
        """Commit what rides and close every connection; safe to call twice."""
        if not self._connections:
            return
        try:
            self.writer.close()
        finally:
            self.writer.abandon()
            for connection in self._connections:
                connection.close()
            self._connections = []
            self.engine.dispose()

    def publish(
        self,
        event_type: str,
        identifier: str,
        data: Any = None,
        *,
        deliver: bool = True,
        source: str | None = None,
        depth: int = 0,
        hold: str | None = None,
    ) -> Publication:
        """Store an event if it is new, together with the deliveries it owes.

        Args:
            event_type: its kind.
            identifier: the producer's stable id.
            data: its JSON value.
            deliver: false stores it as seen: no listener gets it.
            source: the job or listener that publishes.
            depth: how many listeners stand before it.
            hold: the reason for which its deliveries are withheld; see `holding`.

        Returns:
            Whether it was new, and the stored event.

        Raises:
            EventError: the event is refused.
            StorageFault: it may or may not be stored; publishing again is safe.
        """
        self._check_process()
        check_identity(event_type, identifier)
        key = {"event_type": event_type, "identifier": identifier}
        if self.reader.row(_KNOWN, **key) is not None:
            self.tally.published(event_type, 0, 1)
            return Publication(False, read=lambda: self.find(event_type, identifier))
        self.check_file()
        draft = self._draft(event_type, identifier, data, source, depth, self._present())
        done = self.writer.run(
            lambda cursor: self._store(cursor, draft, deliver, hold), self.announce
        )
        self.tally.published(event_type, int(done is not None), int(done is None))
        if done is None:
            return Publication(False, read=lambda: self.find(event_type, identifier))
        event = done.owed[0][0] if done.owed else _numbered(draft, done.first)
        return Publication(True, event)

    def publish_many(
        self,
        triples: Iterable[tuple[str, str, Any]],
        *,
        deliver: bool = True,
        source: str | None = None,
        depth: int = 0,
        hold: str | None = None,
    ) -> Published:
        """Store many events, a thousand in a transaction.

        Args:
            triples: (event type, identifier, data); up to 1,000 are taken before each
                transaction begins, and what it raises leaves earlier thousands stored.
            deliver: as in `publish`.
            source: as in `publish`.
            depth: as in `publish`.
            hold: as in `publish`.

        Returns:
            How many were offered, and how many were new.

        Raises:
            EventError: an event is refused, and with it its thousand.
            StorageFault: see `publish`.
        """
        self._check_process()
        result = Published()
        offered = iter(triples)
        self.check_file()
        while taken := list(itertools.islice(offered, BATCH)):
            created = self._present()
            drafts = [self._draft(*_triple(each), source, depth, created) for each in taken]
            fresh: Counter[str] = Counter()
            work = partial(
                self._store_many, drafts=drafts, deliver=deliver, hold=hold, fresh=fresh
            )
            new = self.writer.run(work, self.announce)
            self.tally.published_many((each.event_type for each in drafts), fresh)
            result += Published(len(taken), new.last - new.first + 1 if new else 0)
        return result

    def publish_within(
        self, cursor: sqlite3.Cursor, event_type: str, identifier: str, data: Any,
        source: str,
    ) -> Committed | None:  # fmt: skip
        """Store an event in the caller's transaction, with the deliveries it owes.

        Returns:
            What to announce after the commit; None if the event was known.

        Raises:
            EventError: the event is refused.
        """
        check_identity(event_type, identifier)
        draft = self._draft(event_type, identifier, data, source, 0, self._present())
        return self._store(cursor, draft, deliver=True)

    def find(self, event_type: str, identifier: str) -> Event:
        """Return the stored event of an identity.

        Raises:
            NotFoundError: there is none.
        """
        row = self.reader.row(_OF_IDENTITY, event_type=event_type, identifier=identifier)
        if row is None:
            raise NotFoundError(f"the store has no event {event_type}: {identifier}")
        return event_of(row)

    def event(self, event_id: int) -> Event:
        """Return the event with the store's number.

        Raises:
            NotFoundError: there is none.
        """
        known = abs(event_id) <= MAX_KEY
        row = self.reader.row(_OF_ID, key=event_id) if known else None
        if row is None:
            raise NotFoundError(f"the store has no event with id {event_id}")
        return event_of(row)

    def query(self, condition: Filter) -> Iterator[Event]:
        """Return the stored events that a filter matches, oldest first; see `queries`."""
        return query(self.engine, self.path, condition)

    def _draft(
        self,
        event_type: str,
        identifier: str,
        data: Any,
        source: str | None,
        depth: int,
        created: datetime,
    ) -> Event:
        """Return the event to be, frozen, without its number; its identity is checked."""
        text = encode(data, self._max_data)
        return Event.stored(0, event_type, identifier, created, source, text, depth)

    def _present(self) -> datetime:
        """Return now as the store keeps it, so that an event is the same read back."""
        return from_micros(to_micros(self._clock.now()))

    def _store(
        self, cursor: sqlite3.Cursor, draft: Event, deliver: bool, hold: str | None = None
    ) -> Committed | None:
        """Insert one event and what it owes; None if it was known."""
        self._check_process()
        if _INSERT.run(cursor, **_row(draft)).rowcount == 0:
            return None
        id = cursor.lastrowid or 0
        if not deliver:
            return Committed(id, id)
        index = self.subscriptions.current(cursor)
        if hold is not None:
            withhold(cursor, index, [_numbered(draft, id)], hold)
            return Committed(id, id)
        return Committed(id, id, owe(cursor, index, [_numbered(draft, id)]))

    def _store_many(
        self,
        cursor: sqlite3.Cursor,
        drafts: list[Event],
        deliver: bool,
        hold: str | None,
        fresh: Counter[str],
    ) -> Committed | None:
        """Insert a batch and what it owes; None if all were known.

        Args:
            cursor: in the transaction.
            drafts: the events to be.
            deliver: as in `publish`.
            hold: as in `publish`.
            fresh: is told how many of each type were new.
        """
        self._check_process()
        fresh.clear()
        before = _NEWEST.run(cursor).fetchone()[0]
        _INSERT.run_many(cursor, map(_row, drafts))
        # Numbers are given in sequence under the writer, and none is ever deleted.
        newest = _NEWEST.run(cursor).fetchone()[0]
        if newest == before:
            return None
        index = self.subscriptions.current(cursor)
        types = {draft.event_type for draft in drafts}
        if len(types) == 1:
            fresh.update({drafts[0].event_type: newest - before})
        else:
            fresh.update(dict(_NEW_OF_TYPES.run(cursor, key=before).fetchall()))
        if not deliver or not any(map(index.wants_type, types)):
            return Committed(before + 1, newest)
        stored = [event_of(row) for row in _AFTER.run(cursor, key=before).fetchall()]
        if hold is not None:
            withhold(cursor, index, stored, hold)
            return Committed(before + 1, newest)
        return Committed(before + 1, newest, owe(cursor, index, stored))

    def announce(self, done: Committed | None) -> None:
        """Say what has just been committed; called in the order of commits."""
        if done is not None and self.committed is not None:
            self.committed(done)

    def check_file(self) -> None:
        """Check that what is open is still the file at the path.

        SQLite goes on writing into a file that was removed or replaced, and says that
        all is well.

        Raises:
            StoreRefusedError: it is not, so nothing written from here would be kept.
        """
        try:
            there = os.stat(self.path)
        except OSError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != self._file:
            raise StoreRefusedError(
                f"{self.path} was removed or replaced while it was open; "
                f"put it back, or start again with what is there now"
            )

    def _check_process(self) -> None:
        if os.getpid() != self.pid:
            raise StorageFault(
                f"{self.path} was opened before a fork; open it again in the child"
            )


def _triple(each: Any) -> tuple[str, str, Any]:
    if not isinstance(each, (tuple, list)) or len(each) != 3:
        raise EventError(
            f"publish_many takes (event type, identifier, data) triples, not {each!r:.80}"
        )
    check_identity(each[0], each[1])
    return each[0], each[1], each[2]


def _row(event: Event) -> dict[str, Any]:
    return {
        "event_type": event.event_type,
        "identifier": event.identifier,
        "created": to_micros(event.created),
        "source": event.source,
        "data": event.text,
        "depth": event.depth,
    }


def _numbered(draft: Event, id: int) -> Event:
    return Event.stored(
        id, draft.event_type, draft.identifier, draft.created, draft.source,
        draft.text, draft.depth,
    )  # fmt: skip
