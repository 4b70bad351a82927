"""What runs while this process holds a store's agent lock, from taking it to giving it up.

The order is the point. First the store is checked and brought in line, then deliveries
begin, then jobs. At the stop: no more runs, no more deliveries, wait, commit, close, and
only then give up the lock.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .backpressure import Backpressure
from .calls import Caller
from .clock import Clock, to_micros
from .context import Handler
from .dispatcher import Dispatcher
from .errors import AgentError, StoppedError, StoreError, StoreRefusedError
from .failures import printable
from .flood import FloodGuard
from .fluent import Schedule
from .occasion import Occasion, Surroundings
from .possession import take
from .pulse import Pulse
from .registry import Listener, Registry
from .runner import Runner
from .scheduler import Scheduler
from .service import Service
from .signals import Doorbell
from .silence import Silence
from .stopping import Stop
from .store.dialects import check_integrity
from .store.event_store import EventStore
from .store.states import States
from .store.takeover import adopt
from .store.wakeup import WakeListener
from .tally import Tally
from .threads import LoopThread, NewLoop, Threads

if TYPE_CHECKING:
    from .observability.run_reports import RunReports

log = logging.getLogger("py_agent")


JOB_THREADS = 4
KEEP_RUNS = 90 * 86_400.0  # seconds


@dataclass(frozen=True)
class Limits:
    """How much goes on at the same time, and how much is kept.

    Args:
        job_threads: short runs of jobs at once.
        max_owed: deliveries that may be owed while jobs publish; None for any number.
        keep_runs: seconds for which the rows of runs are kept.
    """

    job_threads: int = JOB_THREADS
    max_owed: int | None = None
    keep_runs: float = KEEP_RUNS


class Engine:
    """The running parts of an agent.

    Args:
        path: the store's real path; the store is made if there is none.
        opened: opens the store, or returns it if it is open.
        clock: tells the time.
        registry: the jobs and listeners.
        schedule: when jobs are due.
        doorbell: rung when the agent is asked to stop.
        settings: returns the checked settings of a class.
        limits: how much goes on at the same time, and how much is kept.
        reports: makes what reports the runs of jobs; None where they are not reported.
        park: whether this code speaks for all listeners of the store, so that the
            deliveries of those it lacks are parked.
        handler: makes what a job or listener is handed.
        chance: draws the jitter of waits.
        new_loop: makes the event loop on which coroutines run.
        pulse: told of each turn of the loops; None where nobody asks.

    Raises:
        StoreLockedError: another agent runs on the store.
        StoreError: the store cannot be used; nothing was changed.
    """

    def __init__(
        self,
        path: Path,
        opened: Callable[[], EventStore],
        clock: Clock,
        registry: Registry,
        schedule: Schedule,
        doorbell: Doorbell,
        settings: Callable[[type[Any]], Any],
        limits: Limits = Limits(),
        reports: Callable[[EventStore, Clock], RunReports] | None = None,
        park: bool = True,
        handler: Callable[[Surroundings, str, Occasion], Handler] = Handler,
        chance: random.Random | None = None,
        new_loop: NewLoop = asyncio.new_event_loop,
        pulse: Pulse | None = None,
    ) -> None:
        chance = chance or random.Random()
        pulse = pulse or Pulse(clock)
        self._clock, self._registry, self._doorbell = clock, registry, doorbell
        self.fatal: AgentError | None = None
        self._ended = False
        self._pid = os.getpid()
        self._own = own = take(path, opened, to_micros(clock.now()), registry, park)
        store = own.store
        self.loop = LoopThread(new_loop)
        self.stop_asked = Stop(clock)
        around = Surroundings(
            self._opened, settings, clock, self.stop_asked, self._run_soon
        )
        around.shared.put(Tally, store.tally)
        parts = (
            store, clock, own.side_file, self.loop, partial(handler, around),
            States(store.reader),
        )  # fmt: skip
        self.listener_threads = Threads("py_agent-listener")
        self.dispatcher = Dispatcher(
            store, clock, Caller(*parts, chance, self._is_stopping), self.listener_threads,
            self._asked_to_stop, own.check_files, self._refused, pulse,
        )  # fmt: skip
        pressure = Backpressure(
            limits.max_owed, lambda most: store.deliveries.owed(most, store.now()),
            lambda: len(registry.listeners), self.stop_asked,
        )  # fmt: skip
        self.job_threads = Threads("py_agent-job")
        runner = Runner(
            *parts, self.stop_asked, pressure.admit, self.dispatcher.flush_soon,
            FloodGuard(store, self.dispatcher.look_again, self.job_threads.run),
            limits.keep_runs,
        )  # fmt: skip
        self._silence = Silence(store, clock, self.job_threads.run)
        self.scheduler = Scheduler(
            schedule, clock, runner, self.job_threads, limits.job_threads,
            lambda: self.dispatcher.idle, self.dispatcher.hold_calls, store.runs,
            self._silence,
            None if reports is None else reports(store, clock), self._refused, chance,
            pulse,
        )  # fmt: skip
        self._wakeup = WakeListener(path, self.dispatcher.wake)

    @property
    def failures(self) -> int:
        """How many runs and attempts have failed."""
        return self.dispatcher.failures + self.scheduler.failures

    def held_up(self) -> list[tuple[str, str]]:
        """Return the listeners that are paused while something is owed, and why."""
        store, now = self._opened(), to_micros(self._clock.now())
        ours = {each.name for each in self._registry.listeners}
        return [
            (each.name, each.pause_reason or "")
            for each in store.subscriptions.all()
            if each.name in ours
            and (each.paused_until or 0) > now
            and store.deliveries.is_owed_any(each.id)
        ]

    def start(self, scheduling: bool) -> None:
        """Begin to deliver, and, if asked to, to run jobs."""
        if self._own.unchecked:
            threading.Thread(
                target=self._check, name="py_agent-integrity", daemon=True
            ).start()
        self.dispatcher.add(self._registry.listeners)
        for name, reason in self.held_up():
            log.warning("%s is paused (agent resume %s lets it go on): %s",
                        name, name, printable(reason))  # fmt: skip
        services: tuple[Service, ...] = (
            self._wakeup, self.dispatcher, *([self.scheduler] if scheduling else []),
        )  # fmt: skip
        for service in services:
            service.start()

    def metrics(self) -> Callable[[], tuple[bytes, str]]:
        """Return what tells the metrics of this agent, as text and its content type."""
        from .metrics import Metrics

        tally = self._opened().tally
        found = Metrics(self._own.path, self._clock, self._registry, tally, self._silence)
        return found.render

    def add(self, listener: Listener) -> None:
        """Deliver to a listener that was registered after the start."""
        adopt(self._opened(), listener)
        self.dispatcher.add([listener])

    def ask_to_stop(self) -> None:
        """Begin nothing more, and ask what runs to end."""
        self.stop_asked.request()
        for service in (self.scheduler, self.dispatcher):
            service.stop()

    def stop(self, grace: float, close: Callable[[], None] = lambda: None) -> None:
        """Finish or hand back all work, then give up the lock.

        Args:
            grace: seconds that running work may take to end.
            close: closes the store, before the lock is given up.
        """
        if os.getpid() != self._pid:
            return  # a forked child leaves its parent's things alone
        deadline = time.monotonic() + grace
        self.ask_to_stop()
        for service in (self.scheduler, self.dispatcher):
            service.join(deadline)
        self._ended = True
        self.loop.stop()
        self._wakeup.stop()
        for step in (self._own.store.writer.flush, close):
            try:
                step()
            except StoreError as error:
                log.error("the last results are not stored; calls may repeat: %s", error)
        self._own.give_up()
        for threads in (self.job_threads, self.listener_threads):
            threads.end()

    def abort(self) -> None:
        """Note, before the process ends at once, that no call is to blame for it."""
        self._own.side_file.clear()

    def _run_soon(self, job: str) -> None:
        self.scheduler.run_soon(job)

    def _opened(self) -> EventStore:
        if self._ended:
            raise StoppedError("the agent has stopped; nothing more is published here")
        return self._own.store

    def _is_stopping(self) -> bool:
        return self.stop_asked.requested

    def _asked_to_stop(self) -> bool:
        return self._doorbell.rung

    def _check(self) -> None:
        try:
            check_integrity(self._own.path, lambda: int(self._ended))
        except StoreRefusedError as error:
            self._refused(error)
        except StoreError as error:
            log.error("the store could not be checked: %s", error)

    def _refused(self, error: AgentError) -> None:
        """Stop: the store, or the engine itself, cannot be used any more."""
        log.critical("%s", error)
        self.fatal = error
        self._doorbell.ring()
