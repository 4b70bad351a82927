"""What runs while this process holds a store's agent lock, from taking it to giving it up.

The order is the point. First the store is checked and brought in line, then deliveries
begin, then jobs. At the stop: no more runs, no more deliveries, wait, commit, close, and
only then give up the lock.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from .calls import Caller
from .clock import Clock, to_micros
from .context import Handler
from .dispatcher import Dispatcher
from .errors import AgentError, StoppedError, StoreError, StoreRefusedError
from .registry import Listener, Registry
from .runner import Runner
from .scheduler import Schedule, Scheduler
from .service import Service
from .signals import Doorbell
from .store import schema
from .store.dialects import check_integrity
from .store.event_store import EventStore
from .store.lock import AgentLock
from .store.side_file import SideFile, read
from .store.takeover import CRASH_LIMIT, Takeover, adopt, take_over
from .store.wakeup import WakeListener
from .threads import LoopThread, Threads

log = logging.getLogger("py_agent")


class Engine:
    """The running parts of an agent.

    Args:
        path: the store's real path; the store is made if there is none.
        opened: opens the store, or returns it if it is open.
        clock: tells the time.
        registry: the jobs and listeners.
        schedule: when jobs are due.
        doorbell: rung when the agent is asked to stop.
        park: whether this code speaks for all listeners of the store, so that the
            deliveries of those it lacks are parked.

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
        park: bool = True,
    ) -> None:
        self._path = path
        self._doorbell = doorbell
        self._lock = AgentLock(path)
        self._store: EventStore | None = None
        self.fatal: AgentError | None = None
        self._ended = False
        self._pid = os.getpid()
        listeners = registry.listeners
        made_new = schema.ensure(path)
        schema.verify(path)
        self._lock.acquire()
        try:
            large = schema.prepare(path, thorough=not made_new)
            self._store = store = opened()
            inside = read(path)
            found = take_over(store, listeners, inside, to_micros(clock.now()), park)
            _tell(found)
            self._side_file = SideFile(path)
        except BaseException:
            self._lock.release()
            raise
        self._loop = LoopThread()
        parts = store, clock, self._side_file, self._loop, self._handler
        self.dispatcher = Dispatcher(
            store, clock, Caller(*parts), Threads("py_agent-listener"),
            self._asked_to_stop, self._check_files, self._refused,
        )  # fmt: skip
        self.dispatcher.add(listeners)
        runner = Runner(*parts, self.dispatcher.flush_soon)
        self.scheduler = Scheduler(
            schedule, clock, runner, Threads("py_agent-job"),
            lambda: self.dispatcher.idle, self.dispatcher.hold_calls, store.runs,
            self._refused,
        )  # fmt: skip
        self._wakeup = WakeListener(path, self.dispatcher.wake)
        if large:
            threading.Thread(
                target=self._check, name="py_agent-integrity", daemon=True
            ).start()

    @property
    def failures(self) -> int:
        """How many runs and attempts have failed."""
        return self.dispatcher.failures + self.scheduler.failures

    def start(self, scheduling: bool) -> None:
        """Begin to deliver, and, if asked to, to run jobs."""
        services: tuple[Service, ...] = (
            self._wakeup, self.dispatcher, *([self.scheduler] if scheduling else []),
        )  # fmt: skip
        for service in services:
            service.start()

    def add(self, listener: Listener) -> None:
        """Deliver to a listener that was registered after the start."""
        adopt(self._opened(), listener)
        self.dispatcher.add([listener])

    def stop(self, grace: float, close: Callable[[], None] = lambda: None) -> None:
        """Finish or hand back all work, then give up the lock.

        Args:
            grace: seconds that running work may take to end.
            close: closes the store, before the lock is given up.
        """
        if os.getpid() != self._pid:
            return  # a forked child leaves its parent's things alone
        deadline = time.monotonic() + grace
        ending = (self.scheduler, self.dispatcher)
        for service in ending:
            service.stop()
        for service in ending:
            service.join(deadline)
        self._ended = True
        self._loop.stop()
        self._wakeup.stop()
        assert self._store is not None
        for step in (self._store.writer.flush, close):
            try:
                step()
            except StoreError as error:
                log.error("the last results are not stored; calls may repeat: %s", error)
        self._side_file.close()
        self._lock.release()

    def abort(self) -> None:
        """Note, before the process ends at once, that no call is to blame for it."""
        self._side_file.clear()

    def _handler(self, name: str) -> Handler:
        return Handler(self._opened, name)

    def _opened(self) -> EventStore:
        if self._ended or self._store is None:
            raise StoppedError("the agent has stopped; nothing more is published here")
        return self._store

    def _asked_to_stop(self) -> bool:
        return self._doorbell.rung

    def _check(self) -> None:
        try:
            check_integrity(self._path, lambda: int(self._ended))
        except StoreRefusedError as error:
            self._refused(error)
        except StoreError as error:
            log.error("the store could not be checked: %s", error)

    def _check_files(self) -> None:
        assert self._store is not None
        self._store.check_file()
        self._lock.check()

    def _refused(self, error: AgentError) -> None:
        """Stop: the store, or the engine itself, cannot be used any more."""
        log.critical("%s", error)
        self.fatal = error
        self._doorbell.ring()


def _tell(found: Takeover) -> None:
    for what in found.crashed:
        log.warning("the last process ended inside %s", what)
    for what in found.dead:
        log.error("%s ended the agent %d times in a row and is not tried again; see %s",
                  what, CRASH_LIMIT, "agent dead, agent resume")  # fmt: skip
    for name in found.parked:
        log.warning("listener %s is not in the code; its deliveries are parked", name)
