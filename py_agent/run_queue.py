"""Runs that wait for a thread, and runs in progress: who may begin now.

A few runs at a time, so that ten thousand jobs that are due at once take turns; services
and runs that go on for long do not count, so that they stop nobody. A job in which the
process ended twice in a row is tried alone.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from .clock import Clock
from .errors import StoreError
from .failures import Failure
from .own_log import during
from .runner import Run, Runner
from .store.takeover import CRASH_LIMIT
from .threads import Threads
from .timetable import Entry

log = logging.getLogger("py_agent.scheduler")

FRESH_SECONDS = 10.0  # an older run no longer counts, so that hung jobs stop nobody
TRIAL_SECONDS = 60.0  # how long such a job holds everything else at most
HEALTHY_SECONDS = 60.0  # a service that runs so long is well: its troubles are forgotten
SUSPECT_SECONDS = 0.5  # how often a job that ended the agent looks for a quiet moment

Ended = Callable[[Entry, Run, Any, Failure | None], None]


class RunQueue:
    """Begins runs; the lock of whoever uses it guards it.

    Args:
        clock: tells the time.
        runner: runs a job.
        threads: where jobs run.
        most: runs at the same time that are younger than FRESH_SECONDS.
        quiet: whether no delivery is available or running.
        alone: holds all deliveries while it is true.
        begun: told, on the run's thread and without the lock, that a run has begun.
        ended: told, on the run's thread and without the lock, that a run has ended.
        put_off: told that a run could not begin, as the store failed.
    """

    def __init__(
        self,
        clock: Clock,
        runner: Runner,
        threads: Threads,
        most: int,
        quiet: Callable[[], bool],
        alone: Callable[[bool], None],
        begun: Callable[[Run], None],
        ended: Ended,
        put_off: Callable[[Entry], None],
    ) -> None:
        self._clock = clock
        self._runner = runner
        self._threads = threads
        self._most = most
        self._quiet = quiet
        self._alone = alone
        self._begun = begun
        self._ended = ended
        self._put_off = put_off
        self._services: deque[Entry] = deque()
        self._waiting: deque[Entry] = deque()
        self._suspects: deque[Entry] = deque()
        self._trial: Run | None = None  # of a suspect, beside which nothing else runs
        self.running: set[Run] = set()
        self.failures = 0  # runs that could not begin

    @property
    def busy(self) -> bool:
        """Whether anything waits or runs."""
        return bool(self._services or self._waiting or self._suspects or self.running)

    def add(self, entry: Entry, crashes: int) -> None:
        """Let an entry run as soon as it may.

        Args:
            entry: the entry.
            crashes: times in a row that the process ended inside its job.
        """
        entry.queued, entry.crashes = True, crashes
        if entry.job.keep:
            self._services.append(entry)
        else:
            suspect = crashes >= CRASH_LIMIT - 1
            (self._suspects if suspect else self._waiting).append(entry)

    def begin_due(self) -> None:
        """Begin what may begin now."""
        boot = self._clock.boot()
        if self._trial is not None and boot - self._trial.started >= TRIAL_SECONDS:
            self._end_trial()
        for run in self._above_suspicion(boot):
            self._runner.clear(run)
        if self._suspects and self._trial is None and self._counting(boot) == 0:
            self._try_alone()
        if self._trial is not None:
            return
        while self._services:
            self._begin(self._services.popleft())
        free = self._most - self._counting(boot)
        while self._waiting and free > 0:
            free -= self._begin(self._waiting.popleft()) is not None

    def begin(self, entry: Entry) -> Run:
        """Start a run without waiting for its turn.

        Raises:
            StoreError: the store cannot be read.
        """
        run = self._runner.begin(entry.job, entry.crashes > 0)
        entry.skip_row = None
        self.running.add(run)
        self._threads.run(partial(self._run, entry, run), f"job {entry.job.name}")
        return run

    def seconds_to_wait(self) -> float:
        """Return the seconds until `begin_due` has something to do, infinite if never."""
        boot = self._clock.boot()
        waits = [float("inf")]
        if self._waiting:
            ages = (boot - run.started for run in self.running if not run.job.keep)
            waits += [FRESH_SECONDS - age for age in ages if age < FRESH_SECONDS]
        if self._suspects or self._trial is not None:
            waits.append(SUSPECT_SECONDS)
        waits += [
            HEALTHY_SECONDS - boot + run.started
            for run in self.running if run.suspected and run.job.keep
        ]  # fmt: skip
        return min(waits)

    def leave(self, entry: Entry, run: Run) -> None:
        """Note that a run has ended."""
        entry.queued = False
        self.running.discard(run)
        if run is self._trial:
            self._end_trial()

    def _counting(self, boot: float) -> int:
        """Return how many runs keep others from beginning."""
        return sum(
            not run.job.keep and boot - run.started < FRESH_SECONDS for run in self.running
        )

    def _above_suspicion(self, boot: float) -> list[Run]:
        """Return the services that have run for long in spite of their crashes."""
        return [
            run for run in self.running
            if run.suspected and run.job.keep and boot - run.started >= HEALTHY_SECONDS
        ]  # fmt: skip

    def _begin(self, entry: Entry) -> Run | None:
        """Start a run; None if the store failed."""
        try:
            return self.begin(entry)
        except StoreError as error:
            log.error("job %s does not run: %s", entry.job.name, error,
                      extra={"job": entry.job.name})  # fmt: skip
            self.failures += 1
            entry.queued = False
            self._put_off(entry)
            return None

    def _run(self, entry: Entry, run: Run) -> None:
        with during(job=run.job.name, run=run.number):
            self._begun(run)
            self._ended(entry, run, *self._runner.make(run))

    def _try_alone(self) -> None:
        """Run a job that ended the agent twice while no delivery can be to blame."""
        self._alone(True)  # before asking, or a delivery could begin in between
        if self._quiet():
            entry = self._suspects.popleft()
            log.warning("job %s ended the agent before; it is tried alone", entry.job.name,
                        extra={"job": entry.job.name})  # fmt: skip
            self._trial = self._begin(entry)
        if self._trial is None:
            self._alone(False)

    def _end_trial(self) -> None:
        self._trial = None
        self._alone(False)
