"""What the tests of the running agent share: a look at the store, and calls that wait."""

from __future__ import annotations

import queue
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from py_agent import Agent
from py_agent.testing import FakeClock

PATIENCE = 30  # seconds after which a wait has failed; never waited for in a good run
SCRIPTS = Path(__file__).parent / "scripts"

WANTED = {"event_type": ("==", "t")}

MakeAgent = Callable[..., Agent]
MakeGate = Callable[[], "Gate"]


class Gate:
    """Holds every call that comes to it until it is opened.

    Calls that entered can be awaited one by one, and the most that were inside at the
    same time is remembered.
    """

    def __init__(self) -> None:
        self._open = threading.Event()
        self._entered: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0

    def hold(self, what: Any = None) -> None:
        """Enter, and wait inside until the gate is open."""
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        self._entered.put(what)
        try:
            assert self._open.wait(PATIENCE), "the gate was never opened"
        finally:
            with self._lock:
                self._inside -= 1

    def await_entry(self) -> Any:
        """Wait until the next call has entered; return what it said."""
        return self._entered.get(timeout=PATIENCE)

    @property
    def untouched(self) -> bool:
        """Whether no further call has entered."""
        return self._entered.empty()

    def open(self) -> None:
        """Let all go on."""
        self._open.set()


class Calls:
    """A listener that notes what it was called with, and counts."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.seen: list[str] = []

    def __call__(self, event: Any) -> None:
        self.note(event.identifier)

    def note(self, what: str) -> None:
        """Note one call."""
        with self._condition:
            self.seen.append(what)
            self._condition.notify_all()

    def await_count(self, count: int) -> list[str]:
        """Wait until there are so many; return them in order."""
        with self._condition:
            assert self._condition.wait_for(lambda: len(self.seen) >= count, PATIENCE), (
                f"only {len(self.seen)} of {count}"
            )
            return list(self.seen)


class StoreFile:
    """The store as any SQLite tool sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as opened:
            return opened.execute(sql, values).fetchall()

    def change(self, sql: str, *values: Any) -> None:
        """Change a store that no agent uses."""
        with closing(sqlite3.connect(self.path)) as opened, opened:
            opened.execute(sql, values)

    def states(self, listener: str | None = None) -> dict[str, int]:
        """Return how many deliveries are in each state."""
        found = self.rows(
            "SELECT d.state FROM deliveries d JOIN subscriptions s "
            "ON s.id = d.subscription_id WHERE ? IN (s.name, '')",
            listener or "",
        )
        return dict(Counter(state for (state,) in found))

    def delivery(self, listener: str, identifier: str = "1") -> dict[str, Any]:
        """Return one delivery's row."""
        columns = "state", "attempts", "crashes", "reason", "due"
        (row,) = self.rows(
            f"SELECT {', '.join('d.' + each for each in columns)} FROM deliveries d "
            "JOIN subscriptions s ON s.id = d.subscription_id "
            "JOIN events e ON e.id = d.event_id WHERE s.name = ? AND e.identifier = ?",
            listener, identifier,
        )  # fmt: skip
        return dict(zip(columns, row, strict=True))

    def errors(self, listener: str) -> list[str]:
        """Return what was recorded of a listener's failed attempts, oldest first."""
        found = self.rows(
            "SELECT a.kind, a.message FROM attempt_errors a JOIN subscriptions s "
            "ON s.id = a.subscription_id WHERE s.name = ? ORDER BY a.id",
            listener,
        )
        return [f"{kind}: {message}" for kind, message in found]

    def outcomes(self, job: str) -> list[str]:
        """Return how the runs of a job ended, oldest first."""
        found = self.rows("SELECT outcome FROM runs WHERE job = ? ORDER BY id", job)
        return [outcome for (outcome,) in found]

    def paused(self, listener: str) -> bool:
        """Return whether the store says that a listener is paused."""
        ((until,),) = self.rows(
            "SELECT paused_until FROM subscriptions WHERE name = ?", listener
        )
        return until is not None


def publish(agent: Agent, count: int, event_type: str = "t", data: Any = None) -> None:
    """Publish events with the identifiers "1" to "count" in one batch."""
    agent.handler.publish_many(
        [(event_type, str(number), data) for number in range(1, count + 1)]
    )


def until(condition: Callable[[], bool], agent: Agent) -> None:
    """Let an agent work until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        agent.drain(0.01)


def await_runs(agent: Agent, store: StoreFile, count: int) -> None:
    """Wait until so many runs of jobs, skipped ones not counted, have ended."""
    sql = "SELECT count(*) FROM runs WHERE outcome IN ('completed', 'failed')"
    until(lambda: store.rows(sql) >= [(count,)], agent)


def ran(store: StoreFile, job: str) -> int:
    """Return how many runs of a job have ended."""
    return len([each for each in store.outcomes(job) if each in ("completed", "failed")])


def pass_time(
    agent: Agent, clock: FakeClock, store: StoreFile, job: str, steps: int, **step: float
) -> list[int]:
    """Advance step by step; return how many runs of a job had ended after each.

    A second job, due at each step, shows that the scheduler has looked.
    """
    found = []
    beat = f"beat {step}"
    if beat not in {each.name for each in agent.registry.jobs}:
        agent.schedule.every(int(timedelta(**step).total_seconds())).seconds.do(
            lambda: None, name=beat
        )
    before = ran(store, beat)
    for number in range(1, steps + 1):
        clock.advance(**step)
        until(lambda wanted=before + number: ran(store, beat) >= wanted, agent)  # type: ignore[misc]
        until(lambda: "running" not in store.outcomes(job), agent)
        found.append(ran(store, job))
    return found


def run_script(
    name: str, *arguments: str | Path, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a script of this folder to its end."""
    return subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPTS / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        check=check,
    )
