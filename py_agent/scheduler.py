"""When jobs run: the fluent API of `schedule`, with timing and running of our own.

`schedule` is subclassed at its public seams, `Scheduler.every` and `Job.do`; its loop is
not used: there a job that raises starves the others, and at the autumn clock change
interval jobs pause for an hour. Here a heap on boot time says what is due, jobs run on
threads of their own, and a job that is still running when it is due is skipped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from datetime import UTC, tzinfo
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import schedule

from .arguments import named
from .clock import Clock, from_micros
from .errors import AgentError, RegistrationError, StoreError
from .failures import Failure
from .registry import Job, Registry, make_job
from .runner import Run, Runner
from .store.runs import Runs
from .store.takeover import CRASH_LIMIT
from .threads import Threads
from .timetable import Entry, Timetable
from .timing import Rule, rule_of

log = logging.getLogger("py_agent.scheduler")

THREADS = 4  # runs at the same time that are younger than FRESH_SECONDS
FRESH_SECONDS = 10.0  # an older run no longer counts, so that hung jobs stop nobody
LOOK_SECONDS = 10.0  # how late a suspend or a wall-clock change is noticed
TRIAL_SECONDS = 60.0  # how long such a job holds everything else at most
SUSPECT_SECONDS = 0.5  # how often a job that ended the agent looks for a quiet moment


class PlannedJob(schedule.Job):
    """A job of the fluent API; see the `schedule` library for its methods."""

    scheduler: Schedule
    zone: tzinfo | None = None
    entry: Entry | None = None

    def at(self, time_str: str, tz: Any = None) -> PlannedJob:
        """Set the time of day, in a zone given by name or as a tzinfo.

        Raises:
            RegistrationError: it is no time of day, or there is no such zone.
        """
        try:
            super().at(time_str)
        except schedule.ScheduleError as error:
            raise RegistrationError(f"at({time_str!r}): {error}") from error
        if isinstance(tz, str):
            try:
                tz = ZoneInfo(tz)
            except (ZoneInfoNotFoundError, ValueError) as error:
                raise RegistrationError(f"there is no time zone {tz!r}") from error
        self.zone = tz
        return self

    def until(self, until_time: Any) -> PlannedJob:
        """Set when the job is cancelled; see `schedule`.

        Raises:
            RegistrationError: it is no moment, or past.
        """
        try:
            super().until(until_time)
        except (schedule.ScheduleError, TypeError) as error:
            raise RegistrationError(f"until({until_time!r}): {error}") from error
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
        rule = rule_of(
            self.unit or "seconds", self.interval, self.latest, self.at_time,
            self.start_day, self.zone,
        )  # fmt: skip
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
        if isinstance(entry.plan, PlannedJob) and entry.plan in self.jobs:
            self.jobs.remove(entry.plan)
        self._registry.remove_job(entry.job.name)

    def clear(self, tag: Hashable | None = None) -> None:
        """Cancel all planned jobs, or those with a tag."""
        for job in self.get_jobs(tag):
            self.cancel_job(job)

    def run_pending(self) -> None:
        """Do nothing: the agent runs what is due by itself."""


class Scheduler:
    """The service that runs what is due.

    Args:
        schedule: what is planned.
        clock: tells the time.
        runner: runs a job.
        threads: where jobs run.
        quiet: whether no delivery is available or running.
        alone: holds all deliveries while it is true.
        runs: what the store remembers of jobs.
        refused: told that the scheduler itself has failed.
    """

    def __init__(
        self,
        schedule: Schedule,
        clock: Clock,
        runner: Runner,
        threads: Threads,
        quiet: Callable[[], bool],
        alone: Callable[[bool], None],
        runs: Runs,
        refused: Callable[[AgentError], None],
    ) -> None:
        self._schedule = schedule
        self._clock = clock
        self._runner = runner
        self._threads = threads
        self._quiet = quiet
        self._alone = alone
        self._runs = runs
        self._refused = refused
        self._trial: Run | None = None  # of a suspect, beside which nothing else runs
        self._changed = threading.Condition()
        self._timetable = Timetable(clock)
        self._queue: deque[Entry] = deque()
        self._suspects: list[Entry] = []
        self._running: set[Run] = set()
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
            names = sorted(run.job.name for run in self._running)
            if names and (left := deadline - time.monotonic()) > 0:
                log.info("Waiting up to %.0f s for %s", left, ", ".join(names))
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
        last = None
        try:
            last = self._runs.last_started(entry.job.name)
        except StoreError as error:
            log.error("when job %s ran last cannot be read: %s", entry.job.name, error)
        with self._changed:
            moment = None if last is None else from_micros(last)
            self._timetable.add(entry, moment)
            self._changed.notify_all()

    def _loop(self) -> None:
        try:
            with self._changed:
                while not self._stopping:
                    self._turn()
                    if (wait := self._seconds_to_wait()) > 0:
                        self._clock.wait(self._changed, wait)
        except Exception as error:
            log.exception("the scheduler failed")
            self._refused(AgentError(f"the scheduler failed: {error!r}"))

    def _turn(self) -> None:
        """Do everything that is due."""
        for entry in self._timetable.due():
            if entry.until is not None and self._clock.now() > entry.until:
                self._schedule.cancel(entry)
            else:
                self._due(entry)
        self._start_queued()

    def _due(self, entry: Entry) -> None:
        """Queue an entry, or record why it does not run."""
        try:
            known = self._runs.job(entry.job.name)
            if known.paused:
                log.warning("job %s is paused: %s; agent resume %s lets it go on",
                            entry.job.name, known.pause_reason, entry.job.name)  # fmt: skip
            if known.paused or entry.queued:
                entry.skip_row = self._runner.skip(entry.job.name, entry.skip_row)
                return
        except StoreError as error:
            log.error("job %s does not run: %s", entry.job.name, error)
            self.failures += 1
            return
        entry.queued = True
        suspect = known.crashes >= CRASH_LIMIT - 1
        (self._suspects if suspect else self._queue).append(entry)

    def _seconds_to_wait(self) -> float:
        boot = self._clock.boot()
        waits = [LOOK_SECONDS, self._timetable.seconds_to_wait()]
        if self._queue:
            ages = (boot - run.started for run in self._running)
            waits += [FRESH_SECONDS - age for age in ages if age < FRESH_SECONDS]
        if self._suspects or self._trial is not None:
            waits.append(SUSPECT_SECONDS)
        return min(waits)

    # Runs

    def _start_queued(self) -> None:
        boot = self._clock.boot()
        if self._trial is not None and boot - self._trial.started >= TRIAL_SECONDS:
            self._end_trial()
        if self._suspects and not self._running:
            self._try_alone()
        if self._trial is not None:
            return
        fresh = sum(boot - run.started < FRESH_SECONDS for run in self._running)
        while self._queue and fresh < THREADS and not self._stopping:
            fresh += self._begin(self._queue.popleft()) is not None

    def _begin(self, entry: Entry) -> Run | None:
        """Start a run; None if the store failed."""
        try:
            run = self._runner.begin(entry.job)
        except StoreError as error:
            log.error("job %s does not run: %s", entry.job.name, error)
            self.failures += 1
            entry.queued = False
            return None
        entry.skip_row = None
        self._running.add(run)
        self._threads.run(partial(self._run, entry, run))
        return run

    def _try_alone(self) -> None:
        """Run a job that ended the agent twice while no delivery can be to blame."""
        self._alone(True)  # before asking, or a delivery could begin in between
        if self._quiet():
            entry = self._suspects.pop(0)
            log.warning("job %s ended the agent before; it is tried alone", entry.job.name)
            self._trial = self._begin(entry)
        if self._trial is None:
            self._alone(False)

    def _end_trial(self) -> None:
        self._trial = None
        self._alone(False)

    def _run(self, entry: Entry, run: Run) -> None:
        value, failure = self._runner.make(run)
        with self._changed:
            entry.queued = False
            if not run.abandoned:
                self._running.discard(run)
                self._runner.end(run, failure)
                self.failures += failure is not None
            if run is self._trial:
                self._end_trial()
            if value is schedule.CancelJob or isinstance(value, schedule.CancelJob):
                self._schedule.cancel(entry)
            self._changed.notify_all()
