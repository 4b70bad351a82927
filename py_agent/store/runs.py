"""Runs as rows, and what the store remembers of each job."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, func, literal_column, select, update

from ..clock import from_micros
from ..failures import Failure
from .dialects import Statement, insert
from .reader import Reader
from .tables import Outcome, jobs, runs
from .writer import Work, Writer

AHEAD = 1_000  # runs later than now that are looked for: the clock has been set back

DROPPED_AT_ONCE = 10  # old runs, by each that begins; so that none takes long
KEPT = 100  # of each job's latest runs stay, however old: it is rare, or the clock is ahead

_NEWEST = Statement(select(func.coalesce(func.max(runs.c.id), 0)))
_OPEN = Statement(
    insert(runs),
    "id", "job", "started", "outcome", "published", "duplicates", "skips",
)  # fmt: skip
_first = (
    select(runs.c.id, runs.c.started, runs.c.outcome)
    .where(runs.c.job == bindparam("key"))
    .order_by(runs.c.id)
    .limit(literal_column(str(DROPPED_AT_ONCE)))
    .subquery()
)
_earliest_kept = (
    select(runs.c.id)
    .where(runs.c.job == bindparam("key"))
    .order_by(runs.c.id.desc())
    .limit(literal_column("1"))
    .offset(literal_column(str(KEPT - 1)))
    .scalar_subquery()
)
_DROP_OLD = Statement(
    delete(runs).where(
        runs.c.id.in_(
            select(_first.c.id).where(
                _first.c.started < bindparam("oldest"),
                _first.c.outcome != Outcome.RUNNING,
                _first.c.id < _earliest_kept,
            )
        )
    )
)
_CLOSE = Statement(
    update(runs).where(runs.c.id == bindparam("key")),
    "finished", "outcome", "published", "duplicates", "error", "traceback",
)  # fmt: skip
_SKIP = Statement(
    update(runs)
    .where(runs.c.id == bindparam("key"))
    .values(skips=runs.c.skips + literal_column("1"))
)
_JOB = Statement(
    select(jobs.c.crashes, jobs.c.paused, jobs.c.pause_reason, jobs.c.last_success).where(
        jobs.c.name == bindparam("key")
    )
)
_LAST_STARTED = Statement(
    select(runs.c.started)
    .where(runs.c.job == bindparam("key"), runs.c.outcome != Outcome.SKIPPED)
    .order_by(runs.c.id.desc())
    .limit(1)
)
_LATEST = Statement(
    select(runs.c.job, runs.c.started, runs.c.finished, runs.c.outcome, runs.c.error)
    .where(runs.c.outcome != Outcome.SKIPPED)
    .order_by(runs.c.id.desc())
    .limit(bindparam("most"))
)
_PUBLISHED = Statement(
    select(runs.c.published)
    .where(
        runs.c.job == bindparam("key"),
        runs.c.id < bindparam("run"),
        runs.c.outcome == Outcome.COMPLETED,
        runs.c.published > 0,
    )
    .order_by(runs.c.id.desc())
    .limit(bindparam("most"))
)
_STARTED = select(runs.c.started).where(
    runs.c.job == bindparam("key"), runs.c.outcome != Outcome.SKIPPED
)
_STARTED_BY = Statement(
    _STARTED.where(runs.c.started <= bindparam("now"))
    .order_by(runs.c.started.desc())
    .limit(1)
)
_STARTED_AFTER = Statement(
    _STARTED.where(runs.c.started > bindparam("now")).order_by(runs.c.started).limit(AHEAD)
)
_ADD_JOB = Statement(insert(jobs).on_conflict_do_nothing(), "name", "crashes", "paused")
_SET_CRASHES = Statement(update(jobs).where(jobs.c.name == bindparam("key")), "crashes")
_KNOWN_SINCE = Statement(select(jobs.c.known_since).where(jobs.c.name == bindparam("key")))
_SET_KNOWN_SINCE = Statement(
    update(jobs).where(jobs.c.name == bindparam("key")), "known_since"
)
_PAUSE = Statement(
    update(jobs).where(jobs.c.name == bindparam("key")), "paused", "pause_reason"
)


@dataclass(frozen=True)
class JobRow:
    """What the store remembers of a job.

    Args:
        crashes: times in a row that the process ended inside it.
        paused: whether it is held until a person resumes it.
        pause_reason: why.
        since: when its last successful run began; None if none has succeeded.
    """

    crashes: int = 0
    paused: bool = False
    pause_reason: str | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Args:
        outcome: completed or failed.
        finished: when, in microseconds.
        published: new events.
        duplicates: events that were known.
        failure: what went wrong, if anything.
    """

    outcome: Outcome
    finished: int
    published: int = 0
    duplicates: int = 0
    failure: Failure | None = None


class LastRun(NamedTuple):
    """A run as it was left.

    Args:
        job: its job.
        started: when, in microseconds.
        finished: when it ended, likewise; None if it has not.
        outcome: how it stands or ended.
        error: what went wrong, if anything.
    """

    job: str
    started: int
    finished: int | None
    outcome: str
    error: str | None


class Runs:
    """Opens and closes runs; only the holder of the agent lock does.

    Run rows ride along with the next commit, so a run of a job that finds nothing new
    costs no sync of its own.

    Args:
        writer: where rows are committed.
        reader: where they are read.
    """

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._lock = threading.Lock()
        self._last: int | None = None

    def open(self, job: str, started: int, oldest: int | None = None) -> int:
        """Begin a run and return its number.

        Args:
            job: the job's name.
            started: the present, in microseconds.
            oldest: the job's runs that began before this moment are dropped, some at a
                time; its latest ones stay, and tell when it ran last.
        """
        run = self._next()
        self._add(run, job, started, Outcome.RUNNING, 0)
        if oldest is not None:
            self._writer.ride(lambda cursor: _DROP_OLD.run(cursor, key=job, oldest=oldest))
        return run

    def close(
        self,
        run: int,
        result: RunResult,
        also: Work[Any] = lambda cursor: None,
        after: Callable[[Any], None] | None = None,
    ) -> None:
        """End a run; its row rides along with the next commit.

        Args:
            run: its number.
            result: how it ended.
            also: what is to be written in the same transaction.
            after: called with what that returned, once it is committed.
        """
        failure = result.failure

        def work(cursor: sqlite3.Cursor) -> Any:
            _CLOSE.run(
                cursor,
                key=run,
                finished=result.finished,
                outcome=result.outcome,
                published=result.published,
                duplicates=result.duplicates,
                error=None if failure is None else str(failure),
                traceback=None if failure is None else failure.traceback,
            )
            return also(cursor)

        self._writer.ride(work, after)

    def skip(self, job: str, at: int, run: int | None) -> int:
        """Record that a run was due and did not start; consecutive skips are one row.

        Args:
            job: the job's name.
            at: when it was due, in microseconds.
            run: the row of the skip just before, None if there was none.

        Returns:
            The row's number.
        """
        if run is None:
            run = self._next()
            self._add(run, job, at, Outcome.SKIPPED, 1)
        else:
            known = run
            self._writer.ride(lambda cursor: _SKIP.run(cursor, key=known))
        return run

    def job(self, name: str) -> JobRow:
        """Return what the store remembers of a job."""
        row = self._reader.row(_JOB, key=name)
        if row is None:
            return JobRow()
        since = None if row[3] is None else from_micros(row[3])
        return JobRow(row[0], bool(row[1]), row[2], since)

    def last_started(self, name: str) -> int | None:
        """Return when a job's last run began, in microseconds; None if it never ran."""
        row = self._reader.row(_LAST_STARTED, key=name)
        return None if row is None else row[0]

    def latest(self, most: int) -> list[LastRun]:
        """Return the latest runs of all jobs, the newest first."""
        return [LastRun(*row) for row in self._reader.rows(_LATEST, most=most)]

    def newest(self) -> int:
        """Return the number of the newest run, 0 if there is none."""
        row = self._reader.row(_NEWEST)
        return int(row[0]) if row else 0

    def started_around(self, name: str, now: int) -> list[int]:
        """Return when a job ran last by a moment, and when after it, in microseconds.

        Runs after the present are there when the wall clock has been set back since.

        Args:
            name: the job's name.
            now: the moment, in microseconds.
        """
        before = self._reader.rows(_STARTED_BY, key=name, now=now)
        after = self._reader.rows(_STARTED_AFTER, key=name, now=now)
        return [started for (started,) in (*before, *after)]

    def known_since(self, name: str, now: int) -> int:
        """Return when a job was planned first; if that was never, remember the present.

        Args:
            name: the job's name.
            now: the present in microseconds.
        """
        row = self._reader.row(_KNOWN_SINCE, key=name)
        if row is not None and row[0] is not None:
            return int(row[0])

        def work(cursor: sqlite3.Cursor) -> None:
            _ADD_JOB.run(cursor, name=name, crashes=0, paused=False)
            _SET_KNOWN_SINCE.run(cursor, key=name, known_since=now)

        self._writer.ride(work)
        return now

    def set_crashes(self, name: str, crashes: int) -> None:
        """Remember how often in a row the process ended inside a job."""
        self._writer.ride(lambda cursor: set_crashes(cursor, name, crashes))

    def _next(self) -> int:
        # The lock makes this process the only one that numbers runs.
        with self._lock:
            if self._last is None:
                self._last = self.newest()
            self._last += 1
            return self._last

    def _add(self, run: int, job: str, at: int, outcome: Outcome, skips: int) -> None:
        self._writer.ride(
            lambda cursor: _OPEN.run(
                cursor, id=run, job=job, started=at, outcome=outcome,
                published=0, duplicates=0, skips=skips,
            )
        )  # fmt: skip


def published_before(cursor: sqlite3.Cursor, job: str, run: int, most: int) -> list[int]:
    """Return how many events each of a job's runs before one published, the latest first.

    Only runs that were completed and published any count.
    """
    rows = _PUBLISHED.run(cursor, key=job, run=run, most=most).fetchall()
    return [row[0] for row in rows]


def set_crashes(cursor: sqlite3.Cursor, name: str, crashes: int) -> None:
    """Write a job's crash count inside the caller's transaction."""
    _ADD_JOB.run(cursor, name=name, crashes=0, paused=False)
    _SET_CRASHES.run(cursor, key=name, crashes=crashes)


def pause_job(cursor: sqlite3.Cursor, name: str, reason: str | None) -> None:
    """Hold a job with a reason, or let it go on (None), inside a transaction."""
    _ADD_JOB.run(cursor, name=name, crashes=0, paused=False)
    _PAUSE.run(cursor, key=name, paused=reason is not None, pause_reason=reason)
