"""Fixtures of the store's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from py_agent.store.event_store import EventStore
from py_agent.testing import FakeClock

from .support import DATABASES, Database

Open = Callable[[], EventStore]


@pytest.fixture(params=DATABASES, ids=str)
def database(request: pytest.FixtureRequest) -> Database:
    """A database that the conformance suite runs on."""
    found: Database = request.param
    return found


@pytest.fixture
def path(database: Database, tmp_path: Path) -> Path:
    """Where a new, empty store is."""
    return database.make(tmp_path)


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def open_store(database: Database, path: Path, clock: FakeClock) -> Iterator[Open]:
    """Opens the store as one more process does; closed at the end."""
    opened: list[EventStore] = []

    def open_one() -> EventStore:
        store = database.open(path, clock)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Open) -> EventStore:
    """An open, empty store."""
    return open_store()


@pytest.fixture
def other(store: EventStore, open_store: Open) -> EventStore:
    """The same store, as another process has it open."""
    return open_store()
