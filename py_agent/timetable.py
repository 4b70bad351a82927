"""Which scheduled jobs are due: a heap on boot time, planned anew as time passes.

It decides and runs nothing. An interval keeps its rhythm whatever the wall clock does;
a rule that names local times follows the wall clock, also when that jumps.
"""

from __future__ import annotations

import heapq
import itertools
import random
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .clock import Time
from .registry import SKIP, Job
from .timing import Always, Interval, Rule, WallClock

JUMP_SECONDS = 1.0  # a wall clock that moved so far against boot time has jumped
LATE_SECONDS = 60.0  # a run that starts within so long of its time was not missed
SERVICE_SECONDS = 60.0  # how often it is looked whether a service runs
HAIR = timedelta(milliseconds=50)  # how early a run may begin, by the clocks' steps
RAN = 1_000  # moments before now that are remembered of each wall-clock rule
NEVER = float("inf")

# Returns when a job ran last by a moment, and when after it, as the wall clock showed.
Recall = Callable[[str, datetime], list[datetime]]


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
    due: float = NEVER  # boot time
    due_at: datetime | None = None  # the moment, where a wall-clock rule says it
    ran: list[datetime] = field(default_factory=list)  # by the wall clock, sorted
    noted: datetime | None = None  # which of them was added last
    queued: bool = False  # waits for a thread, or runs
    wanted: bool = False  # somebody asked for a run that has not begun yet
    delayed: bool = False  # whether the start of a service was put off for its crashes
    cancelled: bool = False
    skip_row: int | None = None
    failures: int = 0  # runs in a row that failed
    crashes: int = 0  # times in a row that the process ended inside its job
    order: int = field(default_factory=itertools.count().__next__)


def runs_late(job: Job, late: float) -> bool:
    """Return whether a run that was missed is made up for.

    Args:
        job: the job.
        late: seconds since it was due.
    """
    if job.misfire == SKIP:
        return late <= (LATE_SECONDS if job.grace is None else job.grace)
    return job.grace is None or late <= max(job.grace, LATE_SECONDS)


class Timetable:
    """The due times of all entries; whoever uses it guards it.

    Args:
        clock: tells the time.
        recall: looks up when a job ran. It is asked when an entry is added and when the
            clock was set, as the runs of the days that the clock comes to may be older
            than this process, or lie ahead.
        chance: draws the waits of an interval that has a longest one.
    """

    def __init__(
        self,
        clock: Time,
        recall: Recall = lambda name, now: [],
        chance: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._recall = recall
        self._chance = chance or random.Random()
        self._heap: list[tuple[float, int, Entry]] = []
        self._offset = self._wall_minus_boot()

    def add(self, entry: Entry, last: datetime | None) -> bool:
        """Plan an entry from now.

        Args:
            entry: the entry.
            last: when its job ran last, None if it never did. A run that was missed
                since is made up for by one run at once, if the job wants that.

        Returns:
            Whether a missed run is left out.
        """
        boot, now = self._clock.boot(), self._clock.now()
        entry.due, entry.due_at, entry.failures = NEVER, None, 0
        entry.ran = [] if last is None else [last]
        self._look_up(entry, now)
        self._plan(entry, boot)
        late = _seconds_late(entry, now)
        left_out = late >= 0 and not entry.at_start and not runs_late(entry.job, late)
        if entry.at_start:
            entry.due, entry.due_at = boot, None
        elif late >= 0 and not left_out:
            entry.due = boot
            entry.due_at = None if isinstance(entry.rule, Interval) else now
        elif isinstance(entry.rule, Interval) and last is not None:
            entry.due -= _taken_off(now - last, entry.due - boot)
        self._push(entry)
        return left_out

    def due(self) -> list[tuple[Entry, float]]:
        """Return the entries that are due, each once, and plan them anew.

        Returns:
            Each with the seconds since it was due last.
        """
        self._follow_clock()
        boot, now = self._clock.boot(), self._clock.now()
        found = []
        while self._heap and self._heap[0][0] <= boot:
            due, _, entry = heapq.heappop(self._heap)
            if entry.cancelled or entry.due != due:
                continue  # it was moved, and stands elsewhere in the heap
            if entry.due_at is not None and entry.due_at > now + HAIR:
                # The wall clock was set back, by too little for a jump.
                entry.due = boot + (entry.due_at - now).total_seconds()
            elif _slept_over(entry, now):
                self._plan(entry, due)
            else:
                found.append((entry, self._seconds_since(entry, boot, now)))
                self._note_run(entry, now)
                self._plan(entry, due)
            self._push(entry)
        return found

    def move(self, entry: Entry, delay: float, earlier: bool = False) -> None:
        """Let an entry be due so many seconds from now, and then as its rule says.

        Args:
            entry: the entry.
            delay: seconds.
            earlier: whether that may be before its planned time.
        """
        due = self._clock.boot() + delay
        if due > entry.due or earlier:
            entry.due, entry.due_at = due, None  # whatever the wall clock shows then
            self._push(entry)

    def take_back(self, entry: Entry, delay: float) -> None:
        """Let an entry be due again after so many seconds: its run could not begin."""
        if entry.noted in entry.ran:
            entry.ran.remove(entry.noted)
        self.move(entry, delay, earlier=True)

    def seconds_to_wait(self) -> float:
        """Return the seconds until something is due; infinite if nothing will be."""
        while self._heap and self._heap[0][0] != self._heap[0][2].due:
            heapq.heappop(self._heap)
        return self._heap[0][0] - self._clock.boot() if self._heap else NEVER

    def _push(self, entry: Entry) -> None:
        if entry.due < NEVER:
            heapq.heappush(self._heap, (entry.due, entry.order, entry))

    def _plan(self, entry: Entry, previous: float) -> None:
        """Set when an entry is due next, given the boot time at which it was due."""
        boot = self._clock.boot()
        if isinstance(entry.rule, Always):
            entry.due = boot if entry.due == NEVER else boot + SERVICE_SECONDS
        elif isinstance(entry.rule, Interval):
            wait = entry.rule.wait(self._chance)
            missed = max(0.0, (boot - previous) // wait)  # they all become one run
            entry.due = previous + wait * (1 + missed)
            if entry.due <= boot:
                entry.due += wait  # by rounding
        else:
            now = self._clock.now()
            entry.due_at = _next(entry, entry.rule, now)
            entry.due = boot + (entry.due_at - now).total_seconds()

    def _seconds_since(self, entry: Entry, boot: float, now: datetime) -> float:
        """Return how long ago an entry that is due became so, for the last time."""
        if isinstance(entry.rule, Interval) and entry.rule.longest is None:
            return (boot - entry.due) % entry.rule.seconds
        if entry.due_at is None or isinstance(entry.rule, Interval | Always):
            return boot - entry.due
        last = entry.due_at if entry.due_at > now else entry.rule.before(now)
        return max(0.0, (now - last).total_seconds())

    def _note_run(self, entry: Entry, now: datetime) -> None:
        if not isinstance(entry.rule, Interval | Always):
            ran = max(now, entry.due_at or now)
            insort(entry.ran, ran)
            most = RAN if entry.rule.once else 1
            del entry.ran[: max(0, bisect_right(entry.ran, ran) - most)]
            entry.noted = ran

    def _look_up(self, entry: Entry, now: datetime) -> None:
        """Remember the runs of an entry that the store knows of around the present."""
        if not isinstance(entry.rule, Interval | Always) and entry.rule.once:
            entry.ran = sorted({*entry.ran, *self._recall(entry.job.name, now)})

    def _follow_clock(self) -> None:
        """After a jump of the wall clock, plan anew what names local times."""
        offset = self._wall_minus_boot()
        if abs(offset - self._offset) <= JUMP_SECONDS:
            return  # and many small steps are a jump
        self._offset = offset
        now, boot = self._clock.now(), self._clock.boot()
        entries = {entry for due, _, entry in self._heap if due == entry.due}
        for entry in entries:
            if entry.due_at is None:
                continue
            self._look_up(entry, now)
            # A moment that was planned by a wrong clock says nothing, if it ran since.
            passed = not entry.ran and entry.due_at <= now
            if passed or _seconds_late(entry, now) >= 0:
                entry.due, entry.due_at = boot, min(entry.due_at, now)
            else:
                self._plan(entry, boot)
        self._heap = [(entry.due, entry.order, entry) for entry in entries]
        heapq.heapify(self._heap)

    def _wall_minus_boot(self) -> float:
        return self._clock.now().timestamp() - self._clock.boot()


def _seconds_late(entry: Entry, now: datetime) -> float:
    """Return how long ago a run that was missed was due last; negative if none was."""
    last, rule = _last(entry, now), entry.rule
    if last is None or isinstance(rule, Always):
        return -NEVER
    if isinstance(rule, Interval):
        late = (now - last).total_seconds() - rule.seconds
        return late if late < 0 else late % rule.seconds
    if rule.after(last, last) > now:
        return -NEVER
    due = rule.before(now)
    if rule.once and _is_served(entry, rule, due):
        return -NEVER  # by a run later than now: the clock has been set back since
    return (now - due).total_seconds()


def _taken_off(since: timedelta, wait: float) -> float:
    """Return how much shorter than a whole wait the one after a restart is, in seconds.

    The rhythm survives a restart, or a job could be put off for ever. Nobody knows how
    long ago a run was that lies ahead: a machine without a clock of its own begins each
    time in the past, so such a job is due at once.
    """
    if since < timedelta(seconds=-JUMP_SECONDS):
        return wait
    return max(0.0, since.total_seconds()) % wait


def _last(entry: Entry, now: datetime) -> datetime | None:
    """Return when an entry ran last, as the days go; not when the clock was ahead."""
    place = bisect_right(entry.ran, now + HAIR)
    return entry.ran[place - 1] if place else None


def _next(entry: Entry, rule: WallClock, now: datetime) -> datetime:
    """Return the next due moment that has not been served, as by a clock set back."""
    last = _last(entry, now)
    due = rule.after(now if last is None else max(now, last), last)
    while rule.once and _is_served(entry, rule, due):
        due = rule.after(due, due)
    return due


def _slept_over(entry: Entry, now: datetime) -> bool:
    """Return whether what is due by now has had its run before the clock was set back."""
    rule = entry.rule
    if entry.due_at is None or entry.due_at > now or isinstance(rule, Interval | Always):
        return False
    return rule.once and _is_served(entry, rule, rule.before(now))


def _is_served(entry: Entry, rule: WallClock, due: datetime) -> bool:
    """Return whether a run has begun at a due moment or since, before the next one."""
    place = bisect_left(entry.ran, due - HAIR)
    if place == len(entry.ran):
        return False
    return entry.ran[place] < rule.after(due, due) - HAIR
