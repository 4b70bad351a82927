"""Runs one job: opens a run row, calls the function, records the outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .arguments import bound
from .clock import Clock, to_micros
from .context import Handler
from .errors import StoreError
from .failures import Failure, failure_of, printable
from .registry import Job
from .store.event_store import EventStore
from .store.runs import RunResult
from .store.side_file import SideFile
from .store.tables import Outcome
from .threads import LoopThread, call

log = logging.getLogger("py_agent.runner")


@dataclass(eq=False)
class Run:
    """A run in progress.

    Args:
        job: the job.
        number: its row.
        slot: its slot in the side file.
        handler: what the function was handed.
        started: boot time at which it began.
        abandoned: whether it was given up at the stop.
    """

    job: Job
    number: int
    slot: int
    handler: Handler
    started: float
    abandoned: bool = False


class Runner:
    """Runs jobs on whatever thread it is asked to; a run never raises.

    Args:
        store: the open store, whose lock the agent holds.
        clock: tells the time.
        side_file: where a run is noted while it lasts.
        loop: where coroutines run.
        handlers: makes the handler of a job, by name.
        flush_soon: called when a row rides, as perhaps nobody publishes.
    """

    def __init__(
        self,
        store: EventStore,
        clock: Clock,
        side_file: SideFile,
        loop: LoopThread,
        handlers: Callable[[str], Handler],
        flush_soon: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._side_file = side_file
        self._loop = loop
        self._handlers = handlers
        self._flush_soon = flush_soon

    def begin(self, job: Job) -> Run:
        """Open a run row and note that the job is entered."""
        number = self._store.runs.open(job.name, self.now())
        slot = self._side_file.enter_job(job.name)
        self._flush_soon()
        return Run(job, number, slot, self._handlers(job.name), self._clock.boot())

    def make(self, run: Run) -> tuple[Any, Failure | None]:
        """Call the function.

        Returns:
            What it returned, and what it raised, if anything.
        """
        args = tuple(own_handler(value, run.handler) for value in run.job.args)
        named = {
            key: own_handler(value, run.handler) for key, value in run.job.arguments.items()
        }
        offered = {"handler": run.handler}
        try:
            function = bound(run.job.function, args, named, offered)
            return call(function, self._loop, None), None
        except BaseException as error:
            failure = failure_of(error)
            log.warning("job %s failed: %s", run.job.name, printable(str(failure)))
            log.debug("its traceback:\n%s", failure.traceback)
            return None, failure

    def end(self, run: Run, failure: Failure | None) -> None:
        """Record a run's outcome; it goes along with the next commit."""
        self._side_file.leave(run.slot)
        new, known = run.handler.counts
        outcome = Outcome.COMPLETED if failure is None else Outcome.FAILED
        self._store.runs.close(
            run.number, RunResult(outcome, self.now(), new, known, failure)
        )
        try:
            if self._store.runs.job(run.job.name).crashes:
                self._store.runs.set_crashes(run.job.name, 0)
        except StoreError as error:
            log.error("the crashes of job %s still count: %s", run.job.name, error)
        self._flush_soon()

    def skip(self, job: str, row: int | None) -> int:
        """Record that a job was due and did not start; see `Runs.skip`."""
        number = self._store.runs.skip(job, self.now(), row)
        self._flush_soon()
        return number

    def now(self) -> int:
        """Return the present in microseconds."""
        return to_micros(self._clock.now())


def own_handler(value: Any, handler: Handler) -> Any:
    """Replace agent.handler, given as a job's argument, by the run's own handler."""
    return handler if isinstance(value, Handler) else value
