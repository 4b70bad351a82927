"""Which scheduled jobs are due: a heap on boot time, planned anew as time passes.

It decides and runs nothing. An interval keeps its rhythm whatever the wall clock does;
a rule that names local times follows the wall clock, also when that jumps.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field
from datetime import datetime

from .clock import Clock
from .registry import Job
from .timing import Interval, Rule

JUMP_SECONDS = 1.0  # a wall clock that moved so far against boot time has jumped


@dataclass(eq=False)
class Entry:
    """A scheduled job.

    Args:
        job: the job.
        rule: when it is due.
        at_start: whether it runs as soon as the agent starts.
        until: the aware moment after which it is cancelled.
        plan: what it was made by in the fluent API, if it was.
    """

    job: Job
    rule: Rule
    at_start: bool = False
    until: datetime | None = None
    plan: object = None
    due: float = 0.0  # boot time
    due_at: datetime | None = None  # the moment, for a wall-clock rule
    last: datetime | None = None  # when a wall-clock rule was due last
    queued: bool = False  # waits for a thread, or runs
    cancelled: bool = False
    skip_row: int | None = None
    order: int = field(default_factory=itertools.count().__next__)


class Timetable:
    """The due times of all entries; whoever uses it guards it.

    Args:
        clock: tells the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._chance = random.Random()
        self._heap: list[tuple[float, int, Entry]] = []
        self._offset = self._wall_minus_boot()

    def add(self, entry: Entry, last: datetime | None) -> None:
        """Plan an entry from now.

        Args:
            entry: the entry.
            last: when its job ran last, None if it never did; a wall-clock time that was
                missed since then is made up for by one run at once.
        """
        boot = self._clock.boot()
        entry.due_at, entry.last = None, last
        missed = (
            last is not None
            and not isinstance(entry.rule, Interval)
            and entry.rule.after(last, last) <= self._clock.now()
        )
        self._plan(entry, boot)
        if entry.at_start or missed:
            entry.due = boot
        self._push(entry)

    def due(self) -> list[Entry]:
        """Return the entries that are due, each once, and plan them anew."""
        self._follow_clock()
        boot = self._clock.boot()
        found = []
        while self._heap and self._heap[0][0] <= boot:
            _, _, entry = heapq.heappop(self._heap)
            if entry.cancelled:
                continue
            found.append(entry)
            now = self._clock.now()
            if entry.due_at is not None:
                # The time that was due, and not now: found after midnight, it is
                # yesterday's. A missed one was due some time before now.
                entry.last = entry.due_at if entry.due_at <= now else now
            self._plan(entry, entry.due)
            self._push(entry)
        return found

    def seconds_to_wait(self) -> float:
        """Return the seconds until something is due; infinite if nothing will be."""
        return self._heap[0][0] - self._clock.boot() if self._heap else float("inf")

    def _push(self, entry: Entry) -> None:
        heapq.heappush(self._heap, (entry.due, entry.order, entry))

    def _plan(self, entry: Entry, previous: float) -> None:
        """Set when an entry is due next, given the boot time at which it was due."""
        boot = self._clock.boot()
        if isinstance(entry.rule, Interval):
            wait = entry.rule.wait(self._chance)
            missed = max(0.0, (boot - previous) // wait)  # they all become one run
            entry.due = previous + wait * (1 + missed)
        else:
            now = self._clock.now()
            entry.due_at = entry.rule.after(now, entry.last)
            entry.due = boot + (entry.due_at - now).total_seconds()

    def _follow_clock(self) -> None:
        """After a jump of the wall clock, plan anew what names local times."""
        offset = self._wall_minus_boot()
        jumped = abs(offset - self._offset) > JUMP_SECONDS
        self._offset = offset
        if not jumped:
            return
        now, boot = self._clock.now(), self._clock.boot()
        for _, _, entry in self._heap:
            if entry.due_at is not None and entry.due_at <= now:
                entry.due = boot
            elif entry.due_at is not None:
                self._plan(entry, boot)
        self._heap = [(entry.due, number, entry) for _, number, entry in self._heap]
        heapq.heapify(self._heap)

    def _wall_minus_boot(self) -> float:
        return self._clock.now().timestamp() - self._clock.boot()
