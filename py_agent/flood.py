"""Holds what a run has published, when that is far more than it should be.

A source that numbers its items anew, or a filter that was lost, makes everything new at
once. What a guarded run publishes is stored as always, but delivered only when the run
has ended and was no flood; else one question takes the place of all those deliveries.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from shlex import quote
from statistics import median

from .clock import from_micros
from .errors import EventError
from .failures import printable
from .occasion import Hold
from .registry import USUAL, Job
from .store import holding
from .store.event_store import EventStore
from .store.owing import Committed
from .store.runs import published_before
from .store.writer import Work

log = logging.getLogger("py_agent.runner")

HELD = "job.held"  # the event that asks a person

LATEST = 50  # completed runs that published anything, by which the usual is measured
ENOUGH = 5  # of these; with fewer, nobody knows what is usual
FACTOR = 10  # times the usual is far more
LEAST = 20  # new events are never far more
EXAMPLES = 5  # events that the question names


def far_above(published: Sequence[int]) -> int | None:
    """Return the number of new events that a run has to exceed to be far above the usual.

    Args:
        published: how many events each of the latest runs published.

    Returns:
        The number; None while too few runs are known.
    """
    if len(published) < ENOUGH:
        return None
    return max(LEAST, int(FACTOR * median(published)))


@dataclass(frozen=True)
class Verdict:
    """What became of the events of a run.

    Args:
        free: the subscriptions whose deliveries are not withheld any more.
        held: what is held, in words; None if nothing is.
        told: the event that asks a person, as it was committed.
    """

    free: frozenset[int] = frozenset()
    held: str | None = None
    told: Committed | None = None


NOTHING = Verdict()  # was withheld


class FloodGuard:
    """Decides at the end of each guarded run.

    Args:
        store: the open store.
        look_again: told the subscriptions for which the store holds something new.
        aside: runs what must not keep others from committing.
    """

    def __init__(
        self,
        store: EventStore,
        look_again: Callable[[Iterable[int]], None],
        aside: Callable[[Callable[[], None]], None],
    ) -> None:
        self._store = store
        self._look_again = look_again
        self._aside = aside

    def hold_of(self, job: Job, run: int) -> Hold | None:
        """Return what withholds the events of a run; None for a job without a guard."""
        if job.hold_above is None:
            return None
        return Hold(holding.run_reason(run, job.name))

    def decide(self, job: Job, run: int, began: int, hold: Hold) -> Work[Verdict]:
        """Return what decides, in the transaction that ends the run.

        Args:
            job: its job.
            run: its number.
            began: when it began, in microseconds.
            hold: what has withheld its events.
        """

        def work(cursor: sqlite3.Cursor) -> Verdict:
            mine = {
                reason: owed_to
                for reason, owed_to in holding.waiting(cursor).items()
                if holding.is_of(reason, job.name)
            }
            if not mine:
                return NOTHING
            new = self._new(cursor, hold, mine)
            limit = self._limit(cursor, job, run, new)
            if limit is not None and new > limit:
                return self._held(cursor, job, began, hold, new, limit)
            holding.release(cursor, holding.OF_RUN, hold.reason)
            return Verdict(free=frozenset().union(*mine.values()))

        return work

    def decided(self, verdict: Verdict) -> None:
        """Follow a verdict that has just been committed; called in the order of commits."""
        self._store.announce(verdict.told)
        if verdict.free:
            self._look_again(verdict.free)
        if verdict.held is not None:
            # Aside: a log handler may do anything, and the writer waits for us.
            self._aside(partial(log.warning, "%s", verdict.held))

    def _new(self, cursor: sqlite3.Cursor, hold: Hold, mine: Iterable[str]) -> int:
        """Count the new events; what earlier runs have left shares this run's fate."""
        left = [reason for reason in mine if reason != hold.reason]
        before = sum(holding.count_events(cursor, reason) for reason in left)
        for reason in left:
            holding.join(cursor, reason, hold.reason)
        # Events that nobody is owed are only counted; those of a broken-off publish_many
        # are only in the store.
        return max(hold.new + before, holding.count_events(cursor, hold.reason))

    def _limit(self, cursor: sqlite3.Cursor, job: Job, run: int, new: int) -> int | None:
        if job.hold_above != USUAL:
            return int(job.hold_above or 0)
        if new <= LEAST:
            return None  # whatever the runs before were like
        return far_above(published_before(cursor, job.name, run, LATEST))

    def _held(
        self, cursor: sqlite3.Cursor, job: Job, began: int, hold: Hold, new: int, limit: int
    ) -> Verdict:
        first = holding.first(cursor, hold.reason, EXAMPLES)
        count = holding.hold(cursor, hold.reason, job.name)
        data = {
            "job": job.name,
            "new": new,
            "limit": limit,
            "examples": [f"{event_type}/{identifier}" for event_type, identifier in first],
        }
        identifier = f"{job.name}@{from_micros(began).isoformat()}"
        told, trouble = None, ""
        try:
            told = self._store.publish_within(cursor, HELD, identifier, data, job.name)
        except EventError as error:
            trouble = f" (no event {HELD} says so: {error})"
        name = quote(printable(job.name))
        words = (
            f"job {printable(job.name)}: {new:,} new events in one run are more than "
            f"{limit:,}, so {count:,} deliveries are held; agent release {name} delivers "
            f"them, agent discard --held {name} drops them{trouble}"
        )
        return Verdict(held=words, told=told)
