"""The service that runs jobs when they are due.

The timetable says what is due, on boot time; the queue begins runs on threads of their
own; a job that is still running when it is due is skipped.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .clock import Clock, from_micros, to_micros
from .errors import AgentError, HttpError, NotFoundError, StoreError
from .failures import Failure
from .fluent import Schedule, asks_to_cancel
from .pulse import Pulse
from .registry import Job
from .retry import Retry, RetryPolicy, StopAgent
from .run_queue import HEALTHY_SECONDS, RunQueue
from .runner import Run, Runner
from .silence import Silence
from .store.runs import Runs
from .store.takeover import CRASH_LIMIT
from .threads import Threads
from .timetable import Entry, Timetable, runs_late
from .timing import Always, Interval

if TYPE_CHECKING:
    from .observability.run_reports import RunReports

log = logging.getLogger("py_agent.scheduler")

# Why a run that is due does not begin.
LATE, PAUSED, BUSY = "late", "paused", "busy"

LOOP = "scheduler"  # its name where the loops prove that they go round

LOOK_SECONDS = 10.0  # how late a suspend or a wall-clock change is noticed

# How long a job that fails waits at least; a slower rhythm stays as it is.
BACKOFF = RetryPolicy(attempts=None, first=2, factor=2, cap=300)


class Scheduler:
    """The service that runs what is due.

    Args:
        schedule: what is planned.
        clock: tells the time.
        runner: runs a job.
        threads: where jobs run.
        most: how many short runs go on at the same time.
        quiet: whether no delivery is available or running.
        alone: holds all deliveries while it is true.
        runs: what the store remembers of jobs.
        silence: watches the jobs that should succeed every so often.
        reports: told of each run; None where runs are not reported.
        refused: told that the scheduler itself has failed.
        chance: draws the jitter of waits.
        pulse: told of each turn of the loop.
    """

    def __init__(
        self,
        schedule: Schedule,
        clock: Clock,
        runner: Runner,
        threads: Threads,
        most: int,
        quiet: Callable[[], bool],
        alone: Callable[[bool], None],
        runs: Runs,
        silence: Silence,
        reports: RunReports | None,
        refused: Callable[[AgentError], None],
        chance: random.Random,
        pulse: Pulse,
    ) -> None:
        self._schedule = schedule
        self._clock = clock
        self._runner = runner
        self._runs = runs
        self._silence = silence
        self._reports = reports
        self._refused = refused
        self._changed = threading.Condition()
        self._timetable = Timetable(clock, self._recall, chance)
        self._queue = RunQueue(
            clock,
            runner,
            threads,
            most,
            quiet,
            alone,
            self._begun,
            self._ended,
            self._put_off,
        )
        self._chance = chance
        self._pulse = pulse
        self._planned: set[Entry] = set()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many runs have failed since the start."""
        return self._failures + self._queue.failures

    def start(self) -> None:
        """Plan every entry from now and begin to run what is due."""
        if self._reports is not None:
            self._reports.catch_up()
        self._schedule.added = self._add
        for entry in list(self._schedule.entries):
            self._add(entry)
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
        running = self._queue.running
        with self._changed:
            names = sorted(run.job.name for run in running)
            if names and (left := deadline - time.monotonic()) > 0:
                log.info("Waiting up to %.0f s for %s", left, ", ".join(names))
            while running and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            unended = list(running)
            self._failures += len(unended)
            for run in unended:
                run.abandoned = True
        for run in unended:
            log.warning("job %s did not end before the stop", run.job.name,
                        extra={"job": run.job.name, "run": run.number})  # fmt: skip
            failure = Failure("NotEnded", "did not end before stop")
            if self._reports is not None:
                self._reports.ended(run, failure)
            self._runner.end(run, failure)

    def run_all(self, services: bool = False) -> None:
        """Run every job once now, and wait until all have ended.

        Args:
            services: whether services run, too, until they end.
        """
        with self._changed:
            for entry in list(self._schedule.entries):
                if services or not entry.job.keep:
                    self._due(entry)
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        """Wait until nothing is queued or running, or the stop."""
        with self._changed:
            while self._queue.busy and not self._stopping:
                self._queue.begin_due()
                self._clock.wait(self._changed, self._seconds_to_wait())

    def run_soon(self, job: str) -> None:
        """Let a job run as soon as possible; once more, if it runs just now.

        Raises:
            NotFoundError: there is no such job.
        """
        with self._changed:
            for entry in self._schedule.entries:
                if entry.job.name == job:
                    entry.wanted = True
                    if not entry.queued:
                        self._timetable.move(entry, 0, earlier=True)
                    self._changed.notify_all()
                    return
        raise NotFoundError(f"the agent has no job named {job!r} that could run")

    def begin(self, job: Job) -> Run:
        """Begin a run of a job, planned or not, without waiting for its turn.

        Raises:
            AgentError: the job runs just now.
            StoreError: the store cannot be read.
        """
        with self._changed:
            planned = [each for each in self._schedule.entries if each.job is job]
            entry = planned[0] if planned else Entry(job, Always(), cancelled=True)
            if job.name in {run.job.name for run in self._queue.running}:
                raise AgentError(f"job {job.name} runs just now, so it cannot run again")
            run = self._queue.begin(entry)
            entry.queued = True
            return run

    def has_ended(self, run: Run) -> bool:
        """Return whether a run has ended and its result is on its way to the store."""
        with self._changed:
            return run not in self._queue.running

    def settle(self) -> float:
        """Do everything that is due; return the seconds until something else is."""
        with self._changed:
            if not self._stopping:
                self._turn()
            return self._seconds_to_due()

    # Due times

    def _add(self, entry: Entry) -> None:
        last = None
        with self._changed:
            if entry in self._planned:
                return  # added by another thread during the start
            self._planned.add(entry)
            try:
                last = self._last_run(entry)
                self._watch(entry.job)
            except StoreError as error:
                log.error("when job %s ran last cannot be read: %s", entry.job.name, error)
            if self._timetable.add(entry, None if last is None else from_micros(last)):
                self._skip(entry, LATE)
            self._changed.notify_all()

    def _watch(self, job: Job) -> None:
        if job.expect_every is not None:
            known = from_micros(self._runs.known_since(job.name, self._runner.now()))
            self._silence.watch(job, self._runs.job(job.name).since, known)

    def _last_run(self, entry: Entry) -> int | None:
        """Return from when on an entry waits, in microseconds; None if from now on."""
        last = self._runs.last_started(entry.job.name)
        if last is None and isinstance(entry.rule, Interval) and not entry.at_start:
            last = self._runs.known_since(entry.job.name, self._runner.now())
        return last

    def _recall(self, job: str, now: datetime) -> list[datetime]:
        """Return when a job ran, around a moment; see `Timetable`."""
        try:
            return [from_micros(x) for x in self._runs.started_around(job, to_micros(now))]
        except StoreError as error:
            log.error("when job %s ran cannot be read: %s", job, error)
            return []

    def _loop(self) -> None:
        try:
            with self._changed:
                self._pulse.begin(LOOP)
                while not self._stopping:
                    self._turn()
                    self._pulse.turned(LOOP, self._runs.newest)
                    if (wait := self._seconds_to_wait()) > 0:
                        self._clock.wait(self._changed, wait)
        except Exception as error:
            log.exception("the scheduler failed")
            self._refused(AgentError(f"the scheduler failed: {error!r}"))

    def _turn(self) -> None:
        """Do everything that is due."""
        for entry, late in self._timetable.due():
            if entry.until is not None and self._clock.now() > entry.until:
                self._cancel(entry)
            elif runs_late(entry.job, late):
                self._due(entry)
            else:
                self._skip(entry, LATE)
        self._silence.tell_due()
        self._queue.begin_due()

    def _due(self, entry: Entry) -> None:
        """Queue an entry, or record why it does not run."""
        if entry.job.keep and entry.queued:
            return  # that a service still runs is as it should be
        try:
            known = self._runs.job(entry.job.name)
        except StoreError as error:
            log.error("job %s does not run: %s", entry.job.name, error,
                      extra={"job": entry.job.name})  # fmt: skip
            self._failures += 1
            self._put_off(entry)
            return
        if known.paused and entry.skip_row is None:  # once, and not at each due time
            log.warning("job %s is paused: %s; agent resume %s lets it go on",
                        entry.job.name, known.pause_reason, entry.job.name,
                        extra={"job": entry.job.name})  # fmt: skip
        if entry.job.keep and known.crashes >= CRASH_LIMIT - 1 and not entry.delayed:
            # It was inside its function at each crash, guilty or not: a while later, so
            # that a guilty one leaves the others time to work, and to be acquitted.
            entry.delayed = True
            longest = BACKOFF.ceiling(known.crashes)
            self._timetable.move(entry, self._chance.uniform(longest / 2, longest), True)
        elif known.paused or entry.queued:
            self._skip(entry, PAUSED if known.paused else BUSY)
        else:
            entry.wanted = False
            self._queue.add(entry, known.crashes)

    def _put_off(self, entry: Entry) -> None:
        """Try again soon, as the run that was due has not begun."""
        self._timetable.take_back(entry, BACKOFF.delay(1, self._chance))

    def _skip(self, entry: Entry, reason: str) -> None:
        entry.skip_row = self._runner.skip(entry.job.name, entry.skip_row, reason)

    def _cancel(self, entry: Entry) -> None:
        self._schedule.cancel(entry)
        self._planned.discard(entry)
        self._silence.forget(entry.job)

    def _seconds_to_wait(self) -> float:
        until_pulse = self._pulse.seconds_to_wait(LOOP)
        return min(LOOK_SECONDS, until_pulse, self._seconds_to_due())

    def _seconds_to_due(self) -> float:
        return min(
            self._timetable.seconds_to_wait(), self._queue.seconds_to_wait(),
            self._silence.seconds_to_wait(),
        )  # fmt: skip

    # What becomes of runs

    def _begun(self, run: Run) -> None:
        if self._reports is not None:
            self._reports.begun(run)

    def _ended(self, entry: Entry, run: Run, value: Any, failure: Failure | None) -> None:
        """Record a run that has ended, on its own thread."""
        if failure is None:
            self._silence.tell_recovered(entry.job)
        if self._reports is not None and not run.abandoned:
            self._reports.ended(run, failure)
        with self._changed:
            if run.abandoned:
                entry.queued = False
            else:
                self._failures += failure is not None
                self._queue.leave(entry, run)
                self._plan_after(entry, run, failure)
                self._runner.end(run, failure)  # last: who sees its row finds all done
            if asks_to_cancel(value):
                self._cancel(entry)
            self._changed.notify_all()
        if isinstance(run.error, StopAgent):
            self._refused(AgentError(failure.message if failure else str(run.error)))

    def _plan_after(self, entry: Entry, run: Run, failure: Failure | None) -> None:
        """Let a job that fails again and again run less often, and restart a service."""
        lasted = self._clock.boot() - run.started
        if failure is None:
            self._silence.succeeded(entry.job, from_micros(run.began))
        if entry.job.keep:
            entry.failures = 1 if lasted >= HEALTHY_SECONDS else entry.failures + 1
        else:
            entry.failures = 0 if failure is None else entry.failures + 1
        if entry.wanted:
            self._timetable.move(entry, 0, earlier=True)
            return
        asked = run.error.after if isinstance(run.error, Retry) else None
        if failure is None and run.wishes and not entry.job.keep:
            asked = run.wishes[-1]
        if asked is not None:
            self._timetable.move(entry, asked, earlier=True)
        elif entry.failures:
            delay = BACKOFF.delay(entry.failures, self._chance)
            if isinstance(run.error, HttpError) and run.error.retry_after is not None:
                delay = max(delay, run.error.retry_after)  # as the server asked
            self._timetable.move(entry, delay, earlier=entry.job.keep)
