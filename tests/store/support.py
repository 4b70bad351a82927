"""What the tests of the store share: databases, rows, and threads that meet."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from sqlalchemy import select

from py_agent.clock import Clock, SystemClock
from py_agent.filters import Filter, compile_filter
from py_agent.registry import Listener
from py_agent.store import schema
from py_agent.store.event_store import EventStore
from py_agent.store.side_file import Inside
from py_agent.store.tables import attempt_errors, deliveries, jobs, runs
from py_agent.store.takeover import Takeover, take_over

PATIENCE = 60  # seconds after which a test that waits has failed
NOW = 1_000_000_000  # a moment in microseconds; the store takes time as a parameter
EVERY = compile_filter({})

# One store serves all examples of a property, so a property must not need an empty one.
PROPERTY = settings(
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass(frozen=True)
class Database:
    """One database that the conformance suite runs on.

    Args:
        name: what the test's name shows.
        make: makes a new store for a folder and says where it is.
        open: opens the store as one process does.
    """

    name: str
    make: Callable[[Path], Path]
    open: Callable[[Path, Clock], EventStore]

    def __str__(self) -> str:
        return self.name


def _make_sqlite(folder: Path) -> Path:
    path = folder / "agent.sqlite"
    schema.create(path)
    return path


DATABASES = [
    Database("sqlite", _make_sqlite, EventStore.open),
]


def listener(name: str, match: Any = None, ordered_by: tuple[str, ...] = ()) -> Listener:
    """Return a listener that does nothing; it wants every event unless told."""
    return Listener(name, lambda: None, compile_filter(match or {}), ordered_by=ordered_by)


def of_type(event_type: str) -> dict[str, Any]:
    """Return the filter of one event type, as a user writes it."""
    return {"event_type": ("==", event_type)}


def start(
    store: EventStore, *listeners: Listener, inside: Inside | None = None, park: bool = True
) -> Takeover:
    """Take the store over, as the holder of the lock does when it starts."""
    return take_over(store, listeners, inside or Inside(), NOW, park)


def subscription_id(store: EventStore, name: str) -> int:
    """Return the number of a subscription."""
    return next(each.id for each in store.subscriptions.all() if each.name == name)


def _table(store: EventStore, table: Any) -> list[dict[str, Any]]:
    with store.engine.connect() as connection:
        rows = connection.execute(select(table).order_by(*table.primary_key.columns))
        return [dict(row) for row in rows.mappings()]


def delivery_rows(store: EventStore) -> list[dict[str, Any]]:
    """Return all deliveries, by event and subscription."""
    return _table(store, deliveries)


def error_rows(store: EventStore) -> list[dict[str, Any]]:
    """Return the errors of all attempts."""
    return _table(store, attempt_errors)


def run_rows(store: EventStore) -> list[dict[str, Any]]:
    """Return all runs."""
    return _table(store, runs)


def job_rows(store: EventStore) -> list[dict[str, Any]]:
    """Return what is remembered of all jobs."""
    return _table(store, jobs)


def states(store: EventStore) -> list[str]:
    """Return the states of all deliveries, by event and subscription."""
    return [row["state"] for row in delivery_rows(store)]


def identities(store: EventStore, condition: Filter = EVERY) -> list[tuple[str, str]]:
    """Return the identities of stored events, oldest first."""
    return [(each.event_type, each.identifier) for each in store.query(condition)]


def until(reached: Callable[[], bool]) -> None:
    """Let other threads go on until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < end, "the condition was never reached"
        os.sched_yield()


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Run calls in threads of their own, all at once; return values or exceptions."""
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(n: int) -> None:
        barrier.wait(PATIENCE)
        results[n] = outcome(calls[n])

    threads = [
        threading.Thread(target=run, args=[n], daemon=True) for n in range(len(calls))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a thread hangs"
    return results


def outcome(call: Callable[[], Any]) -> Any:
    """Return a call's value, or the exception that it raised."""
    try:
        return call()
    except BaseException as error:
        return error


_barrier: Any = None


def _remember(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def in_processes(count: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """Run a module's function in new processes, all at once; return their values."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count)
    with ProcessPoolExecutor(count, context, _remember, (barrier,)) as pool:
        return [
            each.result(PATIENCE)
            for each in [pool.submit(function, *args) for _ in range(count)]
        ]


def publish_ids(
    database: Database, path: Path, count: int, meet: bool = True
) -> tuple[int, int]:
    """Publish the ids 0 to count - 1; return how many were new, and were known."""
    store = database.open(path, SystemClock())
    try:
        if meet:
            _barrier.wait(PATIENCE)
        new = sum(bool(store.publish("shared", str(n))) for n in range(count))
    finally:
        store.close()
    return new, count - new


def make_at_once(path: Path) -> int:
    """Make a store together with other processes; return how it is stamped."""
    _barrier.wait(PATIENCE)
    schema.ensure(path)
    return schema.verify(path).schema


@contextmanager
def in_child(body: Callable[[], str]) -> Iterator[str]:
    """Run a function in a forked child; hand over what it returned."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, body().encode())
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    said = b""
    while part := os.read(reading, 4096):
        said += part
    os.close(reading)
    os.waitpid(pid, 0)
    yield said.decode()


def fingerprint(folder: Path) -> dict[str, str]:
    """Return a hash of every file in a folder."""
    return {
        str(each.relative_to(folder)): (
            hashlib.sha256(each.read_bytes()).hexdigest() if each.is_file() else "folder"
        )
        for each in sorted(folder.rglob("*"))
    }


def canonical(value: Any) -> str:
    """Return JSON text in which true and 1, or 1 and 1.0, do not look the same."""
    return json.dumps(value, sort_keys=True)
