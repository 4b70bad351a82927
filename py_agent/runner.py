"""Runs one job: opens a run row, calls the function, records the outcome."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any

from .arguments import bound
from .clock import Clock, from_micros, to_micros
from .context import Handler
from .failures import Failure, failure_of, printable
from .flood import NOTHING, FloodGuard, Verdict
from .memory import Memory, Remembered, Window
from .occasion import Hold, Occasion
from .registry import BASELINE, Job
from .stopping import Stop
from .store.event_store import EventStore
from .store.runs import RunResult
from .store.side_file import SideFile
from .store.states import States
from .store.tables import Outcome
from .store.writer import Work
from .threads import LoopThread, call
from .timeouts import clock_of_call

log = logging.getLogger("py_agent.runner")


@dataclass(eq=False)
class Run:
    """A run in progress.

    Args:
        job: the job.
        number: its row.
        slot: its slot in the side file.
        handler: what the function was handed.
        memory: what it remembers.
        started: boot time at which it began.
        began: the moment at which it began, in microseconds.
        hold: withholds what it publishes; None if nothing does.
        left: what is to be remembered of it, once it has succeeded.
        error: what it raised, once it has failed.
        abandoned: whether it was given up at the stop.
        suspected: whether the process ended inside its job before.
        wishes: seconds after which it wants to run again; the last one counts.
    """

    job: Job
    number: int
    slot: int
    handler: Handler
    memory: Memory
    started: float
    began: int
    hold: Hold | None = None
    left: Remembered | None = None
    error: BaseException | None = None
    abandoned: bool = False
    suspected: bool = False
    wishes: list[float] = field(default_factory=list)


class Runner:
    """Runs jobs on whatever thread it is asked to; a run never raises.

    Args:
        store: the open store, whose lock the agent holds.
        clock: tells the time.
        side_file: where a run is noted while it lasts.
        loop: where coroutines run.
        handlers: makes the handler of a job, by name.
        states: what jobs remember.
        stop: ends services that are coroutines.
        admit: waits until a job, by name, may publish an event.
        flush_soon: called when a row rides, as perhaps nobody publishes.
        guard: decides whether what a run has published is delivered.
        keep_runs: seconds for which the rows of runs are kept.
    """

    def __init__(
        self,
        store: EventStore,
        clock: Clock,
        side_file: SideFile,
        loop: LoopThread,
        handlers: Callable[[str, Occasion], Handler],
        states: States,
        stop: Stop,
        admit: Callable[[str], None],
        flush_soon: Callable[[], None],
        guard: FloodGuard,
        keep_runs: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._side_file = side_file
        self._loop = loop
        self._handlers = handlers
        self._states = states
        self._stop = stop
        self._admit = admit
        self._flush_soon = flush_soon
        self._guard = guard
        self._kept = round(keep_runs * 1_000_000)

    def begin(self, job: Job, suspected: bool = False) -> Run:
        """Open a run row and note that the job is entered.

        Raises:
            StoreError: the store cannot be read.
        """
        now = self.now()
        memory = Memory(self._states.of_job(job.name))
        number = self._store.runs.open(job.name, now, oldest=now - self._kept)
        slot = self._side_file.enter_job(job.name)
        self._flush_soon()
        wishes: list[float] = []
        hold = self._guard.hold_of(job, number)
        occasion = self._occasion(job, memory, now, wishes.append, hold)
        handler = self._handlers(job.name, occasion)
        boot = self._clock.boot()
        return Run(
            job, number, slot, handler, memory, boot, now, hold, suspected=suspected,
            wishes=wishes,
        )  # fmt: skip

    def _occasion(
        self,
        job: Job,
        memory: Memory,
        now: int,
        wish: Callable[[float], None],
        hold: Hold | None,
    ) -> Occasion:
        seen_before = job.first != BASELINE or memory.since is not None

        def checkpoint() -> None:
            # Only a whole run is a baseline, and moves the window, but a service has
            # no whole runs.
            found = memory.reach(self.now() if job.keep else None)
            self._states.store_job(self._store.writer, job.name, found)

        return Occasion(
            memory=memory,
            window=Window(memory.since, from_micros(now)),
            deliver=seen_before,
            admit=lambda: self._admit(job.name),
            checkpoint=checkpoint,
            run_again=wish,
            hold=hold,
        )

    def make(self, run: Run) -> tuple[Any, Failure | None]:
        """Call the function.

        Returns:
            What it returned, and what went wrong, if anything.
        """
        token = clock_of_call.set(self._clock)
        try:
            # A service that awaits sees no stop by itself, so it is cancelled for it.
            stop = self._stop if run.job.keep else None
            value = call(self._bound(run), self._loop, None, stop)
            run.left = run.memory.left(run.began)
            return value, None
        except BaseException as error:
            if run.job.keep and self._stop.requested and isinstance(error, CancelledError):
                return None, None  # in the middle, so what it remembers is not stored
            failure = failure_of(error)
            log.warning("job %s failed: %s", run.job.name, printable(str(failure)),
                        extra={"failure": failure})  # fmt: skip
            log.debug("its traceback:\n%s", failure.traceback)
            run.error = error
            return None, failure
        finally:
            clock_of_call.reset(token)
            run.handler.close()

    def _bound(self, run: Run) -> Callable[[], Any]:
        job = run.job
        args = tuple(own_handler(value, run.handler) for value in job.args)
        named = {
            key: own_handler(value, run.handler) for key, value in job.arguments.items()
        }
        offered: dict[str, Any] = {"handler": run.handler}
        for name, wanted in job.settings.items():
            offered[name] = run.handler.settings(wanted)
        return bound(job.function, args, named, offered)

    def end(self, run: Run, failure: Failure | None) -> None:
        """Record a run's outcome, what it remembers, and whether its events are held.

        It goes along with the next commit.
        """
        self._side_file.leave(run.slot)
        new, known = run.handler.counts
        outcome = Outcome.COMPLETED if failure is None else Outcome.FAILED
        self._store.tally.run(run.job.name, outcome)
        result = RunResult(outcome, self.now(), new, known, failure)
        keep: Work[None] | None = None
        decide: Work[Verdict] | None = None
        if run.left is not None:
            keep = self._states.keep_job(run.job.name, run.left, run.began)
        if run.hold is not None:
            decide = self._guard.decide(run.job, run.number, run.began, run.hold)

        def also(cursor: sqlite3.Cursor) -> Verdict:
            if keep is not None:
                keep(cursor)
            return NOTHING if decide is None else decide(cursor)

        self._store.runs.close(run.number, result, also, self._guard.decided)
        if run.suspected:
            self.clear(run)
        self._flush_soon()

    def clear(self, run: Run) -> None:
        """Forget the crashes of a job: it has ended, or has been well for long."""
        run.suspected = False
        self._store.runs.set_crashes(run.job.name, 0)
        self._flush_soon()

    def skip(self, job: str, row: int | None, reason: str) -> int:
        """Record that a job was due and did not start; see `Runs.skip`."""
        self._store.tally.skip(job, reason)
        number = self._store.runs.skip(job, self.now(), row)
        self._flush_soon()
        return number

    def now(self) -> int:
        """Return the present in microseconds."""
        return to_micros(self._clock.now())


def own_handler(value: Any, handler: Handler) -> Any:
    """Replace agent.handler, given as a job's argument, by the run's own handler."""
    return handler if isinstance(value, Handler) else value
