"""The machine's own figure: plain loops over sqlite3, with nothing that py_agent adds.

No checks, no logging, no threads, no filters: a limit to be compared with, not a rival.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from .measure import Sample

SYNCHRONOUS = {"full": "FULL", "fast": "NORMAL"}

SCHEMA = """
CREATE TABLE events (
    id INTEGER PRIMARY KEY, event_type TEXT NOT NULL, identifier TEXT NOT NULL,
    created INTEGER NOT NULL, data TEXT, UNIQUE (event_type, identifier)
);
CREATE TABLE deliveries (
    event_id INTEGER NOT NULL, subscription_id INTEGER NOT NULL, state TEXT NOT NULL,
    finished INTEGER, PRIMARY KEY (event_id, subscription_id)
) WITHOUT ROWID;
CREATE INDEX owed ON deliveries (subscription_id, event_id) WHERE state = 'available';
"""
INSERT = (
    "INSERT INTO events (event_type, identifier, created, data) VALUES (?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING"
)
OWE = "INSERT INTO deliveries VALUES (?, 1, 'available', NULL)"
READ = (
    "SELECT events.id, data FROM deliveries JOIN events ON events.id = event_id "
    "WHERE subscription_id = 1 AND state = 'available' ORDER BY event_id LIMIT ?"
)
DONE = (
    "UPDATE deliveries SET state = 'completed', finished = ? "
    "WHERE event_id = ? AND subscription_id = 1"
)


@contextmanager
def store(
    folder: Path, durability: str = "full", *, same_pragmas: bool = False
) -> Iterator[sqlite3.Connection]:
    """Open a raw store in autocommit mode; it is made if there is none.

    Args:
        folder: where its file is.
        durability: "full" or "fast", with the same meaning as py_agent's.
        same_pragmas: use py_agent's cache and checkpoints instead of SQLite's own.
    """
    path = folder / "raw.sqlite"
    new = not path.exists()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={SYNCHRONOUS[durability]}")
        if same_pragmas:
            pages = 1_000 if durability == "full" else 10_000
            connection.execute(f"PRAGMA wal_autocheckpoint={pages}")
            connection.execute("PRAGMA cache_size=-65536")
        if new:
            connection.executescript(SCHEMA)
        yield connection


def micros() -> int:
    """Return the present in microseconds."""
    return time.time_ns() // 1_000


def encoded(events: Iterable[Sample]) -> Iterator[tuple[str, str, int, str]]:
    """Return the rows of events, encoded when they are asked for."""
    for event_type, identifier, data in events:
        yield event_type, identifier, micros(), json.dumps(data)


def publish(folder: Path, events: list[Sample], durability: str = "full") -> float:
    """Insert each event in a transaction of its own; return events per second."""
    with store(folder, durability) as connection:
        return insert_each(connection, events)


def insert_each(connection: sqlite3.Connection, events: list[Sample]) -> float:
    """Insert each event in a transaction of its own; return events per second."""
    execute = connection.execute
    start = time.perf_counter()
    for each in encoded(events):
        execute(INSERT, each)
    return len(events) / (time.perf_counter() - start)
