"""When jobs run: the fluent API of `schedule`, with timing and running of our own.

`schedule` is subclassed at its public seams, `Scheduler.every` and `Job.do`; its loop is
not used: there a job that raises starves the others, and at the autumn clock change
interval jobs pause for an hour. Here a heap on boot time says what is due, jobs run on
threads of their own, and a job that is still running when it is due is skipped.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import schedule

from .arguments import named
from .clock import Clock
from .errors import RegistrationError, StoreError
from .failures import Failure
from .registry import Job, Registry, make_job
from .runner import Run, Runner
from .store.runs import JobRow
from .store.takeover import CRASH_LIMIT
from .threads import Threads
from .timing import UNITS, WEEKDAYS, Daily, Interval, PastTheHour, Rule

log = logging.getLogger("py_agent.scheduler")

THREADS = 4  # runs at the same time that are younger than FRESH_SECONDS
FRESH_SECONDS = 10.0  # an older run no longer counts, so that hung jobs stop nobody
LOOK_SECONDS = 10.0  # how late a suspend or a wall-clock change is noticed
JUMP_SECONDS = 1.0  # a wall clock that moved so far against boot time has jumped
SUSPECT_SECONDS = 0.5  # how often a job that ended the agent looks for a quiet moment


@dataclass(eq=False)
class Entry:
    """A scheduled job.

    Args:
        job: the job.
        rule: when it is due.
        at_start: whether it runs as soon as the agent starts.
        until: the aware moment after which it is cancelled.
        plan: the `schedule.Job` that it was made by, if any.
    """

    job: Job
    rule: Rule
    at_start: bool = False
    until: datetime | None = None
    plan: PlannedJob | None = None
    due: float = 0.0  # boot time
    due_at: datetime | None = None  # the moment, for a wall-clock rule
    last: datetime | None = None  # when a wall-clock rule was due last
    queued: bool = False  # waits for a thread, or runs
    cancelled: bool = False
    skip_row: int | None = None
    order: int = field(default_factory=itertools.count().__next__)


class PlannedJob(schedule.Job):
    """A job of the fluent API; see the `schedule` library for its methods."""

    scheduler: Schedule
    zone: tzinfo | None = None
    entry: Entry | None = None

    def at(self, time_str: str, tz: Any = None) -> PlannedJob:
        """Set the time of day, in a zone given by name or as a tzinfo.

        Raises:
            RegistrationError: there is no such zone.
        """
        super().at(time_str)
        if isinstance(tz, str):
            try:
                tz = ZoneInfo(tz)
            except (ZoneInfoNotFoundError, ValueError) as error:
                raise RegistrationError(f"there is no time zone {tz!r}") from error
        self.zone = tz
        return self

    def do(self, job_func: Callable[..., Any], *args: Any, **kwargs: Any) -> PlannedJob:
        """Register the function as a job.

        Args:
            job_func: the function; it is handed `handler` if it names it.
            args: positional arguments for it.
            kwargs: named arguments for it; `name` is the job's own name, unless the
                function has an argument called so.

        Raises:
            RegistrationError: no usable name, or arguments that do not fit.
        """
        name = None if "name" in named(job_func) else kwargs.pop("name", None)
        if self.interval < 1 or (self.latest or self.interval) < self.interval:
            raise RegistrationError(f"every({self.interval}) is no interval")
        rule = _rule(self)
        job = make_job(job_func, name, args, kwargs, str(rule))
        try:
            super().do(job_func, *args, **kwargs)
        except schedule.ScheduleError as error:
            raise RegistrationError(f"{job.name}: {error}") from error
        until = self.cancel_after
        self.entry = Entry(
            job, rule, until=until.astimezone(UTC) if until else None, plan=self
        )
        try:
            self.scheduler.register(self.entry)
        except RegistrationError:
            super(Schedule, self.scheduler).cancel_job(self)
            raise
        return self


class Schedule(schedule.Scheduler):
    """What an agent has planned, before and while it runs.

    Args:
        registry: where jobs are registered under their names.
    """

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry
        self.entries: list[Entry] = []
        self.added: Callable[[Entry], None] | None = None

    def every(self, interval: int = 1) -> PlannedJob:
        """Begin to plan a job, as in `every(10).minutes.do(job)`."""
        return PlannedJob(interval, self)

    def plan(self, job: Job, rule: Rule, at_start: bool) -> None:
        """Plan a job by a rule.

        Raises:
            RegistrationError: its name is in use.
        """
        self.register(Entry(job, rule, at_start))

    def register(self, entry: Entry) -> None:
        """Plan an entry.

        Raises:
            RegistrationError: its name is in use.
        """
        self._registry.add_job(entry.job)
        self.entries.append(entry)
        if self.added is not None:
            self.added(entry)

    def cancel_job(self, job: schedule.Job) -> None:
        """Cancel a planned job; a run in progress ends by itself."""
        super().cancel_job(job)
        for entry in [each for each in self.entries if each.plan is job]:
            self.cancel(entry)

    def cancel(self, entry: Entry) -> None:
        """Cancel an entry."""
        entry.cancelled = True
        if entry in self.entries:
            self.entries.remove(entry)
        if entry.plan in self.jobs:
            self.jobs.remove(entry.plan)
        self._registry.remove_job(entry.job.name)

    def clear(self, tag: Hashable | None = None) -> None:
        """Cancel all planned jobs, or those with a tag."""
        for job in self.get_jobs(tag):
            self.cancel_job(job)

    def run_pending(self) -> None:
        """Do nothing: the agent runs what is due by itself."""


def _rule(planned: PlannedJob) -> Rule:
    """Return our rule for what the fluent API collected."""
    unit = UNITS[(planned.unit or "seconds").removesuffix("s")]
    at = planned.at_time
    if planned.start_day is not None:
        weekday = WEEKDAYS.index(planned.start_day)
        at = at or datetime.now().astimezone().time().replace(microsecond=0)
        return Daily(at, 7, weekday, planned.zone)
    if at is not None and unit == UNITS["day"]:
        return Daily(at, planned.interval, None, planned.zone)
    if at is not None:
        return PastTheHour(at.minute * 60 + at.second, unit, planned.interval)
    longest = None if planned.latest is None else float(planned.latest * unit)
    return Interval(float(planned.interval * unit), longest)


class Scheduler:
    """The service that runs what is due.

    Args:
        schedule: what is planned.
        clock: tells the time.
        runner: runs a job.
        threads: where jobs run.
        quiet: whether no delivery is available or running.
        recall: what the store remembers of a job, by name.
    """

    def __init__(
        self,
        schedule: Schedule,
        clock: Clock,
        runner: Runner,
        threads: Threads,
        quiet: Callable[[], bool],
        recall: Callable[[str], JobRow],
    ) -> None:
        self._schedule = schedule
        self._clock = clock
        self._runner = runner
        self._threads = threads
        self._quiet = quiet
        self._recall = recall
        self._chance = random.Random()
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Entry]] = []
        self._queue: deque[Entry] = deque()
        self._suspects: list[Entry] = []
        self._running: set[Run] = set()
        self._offset = 0.0  # wall clock minus boot time; a change is a jump
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.failures = 0  # runs that failed since the start

    def start(self) -> None:
        """Plan every entry from now and begin to run what is due."""
        for entry in list(self._schedule.entries):
            self._add(entry)
        self._schedule.added = self._add
        self._thread = threading.Thread(
            target=self._loop, name="py_agent-scheduler", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Begin no more runs."""
        with self._changed:
            self._stopping = True
            self._schedule.added = None
            self._changed.notify_all()

    def join(self, deadline: float) -> None:
        """Wait for running jobs until the deadline; what is left has failed."""
        if self._thread is not None:
            self._thread.join()
        with self._changed:
            while self._running and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            unended = list(self._running)
            self.failures += len(unended)
            for run in unended:
                run.abandoned = True
        for run in unended:
            log.warning("job %s did not end before the stop", run.job.name)
            self._runner.end(run, Failure("NotEnded", "did not end before stop"))

    def run_all(self) -> None:
        """Run every job once now, and wait until all have ended."""
        with self._changed:
            for entry in list(self._schedule.entries):
                self._due(entry)
            while (self._queue or self._suspects or self._running) and not self._stopping:
                self._start_queued()
                self._clock.wait(self._changed, self._seconds_to_wait())

    # Due times

    def _add(self, entry: Entry) -> None:
        with self._changed:
            boot = self._clock.boot()
            self._plan(entry, boot)
            if entry.at_start:
                entry.due = boot
            self._push(entry)
            self._changed.notify_all()

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
        now, boot = self._clock.now(), self._clock.boot()
        offset = now.timestamp() - boot
        jumped = abs(offset - self._offset) > JUMP_SECONDS
        self._offset = offset
        if not jumped:
            return
        for entry in self._schedule.entries:
            if entry.due_at is not None:
                if entry.due_at <= now:
                    entry.due = boot
                else:
                    self._plan(entry, boot)
        self._heap = [(entry.due, number, entry) for _, number, entry in self._heap]
        heapq.heapify(self._heap)

    def _loop(self) -> None:
        with self._changed:
            while not self._stopping:
                self._follow_clock()
                self._find_due()
                self._start_queued()
                if (wait := self._seconds_to_wait()) > 0:
                    self._clock.wait(self._changed, wait)

    def _find_due(self) -> None:
        boot = self._clock.boot()
        while self._heap and self._heap[0][0] <= boot:
            _, _, entry = heapq.heappop(self._heap)
            if entry.cancelled:
                continue
            if entry.until is not None and self._clock.now() > entry.until:
                self._schedule.cancel(entry)
                continue
            self._due(entry)
            entry.last = entry.due_at  # not now: found after midnight, it is yesterday's
            self._plan(entry, entry.due)
            self._push(entry)

    def _due(self, entry: Entry) -> None:
        """Queue an entry, or record why it does not run."""
        try:
            known = self._recall(entry.job.name)
            if known.paused:
                log.warning("job %s is paused: %s", entry.job.name, known.pause_reason)
            if known.paused or entry.queued:
                entry.skip_row = self._runner.skip(entry.job.name, entry.skip_row)
                return
        except StoreError as error:
            log.error("job %s does not run: %s", entry.job.name, error)
            return
        entry.queued = True
        suspect = known.crashes >= CRASH_LIMIT - 1
        (self._suspects if suspect else self._queue).append(entry)

    def _seconds_to_wait(self) -> float:
        boot = self._clock.boot()
        waits = [LOOK_SECONDS]
        if self._heap:
            waits.append(self._heap[0][0] - boot)
        if self._queue:
            ages = (boot - run.started for run in self._running)
            waits += [FRESH_SECONDS - age for age in ages if age < FRESH_SECONDS]
        if self._suspects:
            waits.append(SUSPECT_SECONDS)
        return min(waits)

    # Runs

    def _start_queued(self) -> None:
        if self._suspects and not self._running and self._quiet():
            self._queue.appendleft(self._suspects.pop(0))
        boot = self._clock.boot()
        fresh = sum(boot - run.started < FRESH_SECONDS for run in self._running)
        while self._queue and fresh < THREADS and not self._stopping:
            entry = self._queue.popleft()
            try:
                run = self._runner.begin(entry.job)
            except StoreError as error:
                log.error("job %s does not run: %s", entry.job.name, error)
                entry.queued = False
                continue
            fresh += 1
            entry.skip_row = None
            self._running.add(run)
            self._threads.run(partial(self._run, entry, run))

    def _run(self, entry: Entry, run: Run) -> None:
        value, failure = self._runner.make(run)
        with self._changed:
            entry.queued = False
            if not run.abandoned:
                self._running.discard(run)
                self._runner.end(run, failure)
                self.failures += failure is not None
            if value is schedule.CancelJob or isinstance(value, schedule.CancelJob):
                self._schedule.cancel(entry)
            self._changed.notify_all()
