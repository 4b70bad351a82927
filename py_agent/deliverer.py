"""Calls listeners on threads, and queues what became of each call.

One lock guards all lanes. It is never held while the store's writer is waited for; the
writer, in turn, calls `_recorded`, which takes it briefly.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from .calls import Caller
from .clock import Clock
from .errors import AgentError, StoreError, StoreRefusedError
from .failures import failure_of, printable
from .lanes import MAX_REPLACED, Call, Lane
from .own_log import during
from .retry import Pause, StopAgent
from .roster import Roster
from .store.deliveries import Attempt
from .store.event_store import EventStore
from .store.subscriptions import NEVER
from .store.takeover import STUCK
from .threads import Threads

log = logging.getLogger("py_agent.dispatcher")

FAULT_SECONDS = 1.0  # after a storage fault, before the store is tried again


class Deliverer:
    """The lanes, and the calls that they make.

    Args:
        store: the open store.
        clock: tells the time.
        caller: makes one call.
        threads: where listeners run.
        refused: told that the store cannot be used any more.
    """

    def __init__(
        self,
        store: EventStore,
        clock: Clock,
        caller: Caller,
        threads: Threads,
        refused: Callable[[AgentError], None],
    ) -> None:
        self._refused = refused
        self._store = store
        self._clock = clock
        self._caller = caller
        self._threads = threads
        self.roster = Roster()
        self.lock = threading.Lock()
        self.wake = threading.Condition(self.lock)  # the dispatcher's own thread
        self.quiet = threading.Condition(self.lock)  # those who wait for the end
        self.stopping = False
        self.held = False  # while a job that ended the agent twice is tried alone
        self.fault_until = 0.0  # boot time before which the store is left alone
        self.flush_awaited = False  # whether the own thread waits to flush anyway
        self.failures = 0  # attempts that failed since the start

    def start_calls(self, lane: Lane) -> None:
        """Start what a lane has slots and deliveries for; under the lock."""
        now = self._caller.now()
        while not (self.stopping or self.held) and (started := lane.take(now)) is not None:
            self._threads.run(partial(self._work, lane, started), lane.listener.name)
        if lane.behind:
            self.look_after(lane)

    def look_after(self, lane: Lane) -> None:
        """Have the dispatcher's own thread look after a lane, or no longer."""
        if self.roster.look_after(lane):
            self.wake.notify()

    def finish(self, deadline: float) -> None:
        """Wait for running calls until the deadline; what is left has failed.

        Args:
            deadline: monotonic time.
        """
        with self.lock:
            names = sorted({lane.listener.name for lane, _ in self.roster.calls()})
            if names and (left := deadline - time.monotonic()) > 0:
                log.info("Waiting up to %.0f s for %s", left, ", ".join(names))
            while any(not each.stuck for _, each in self.roster.calls()):
                if (left := deadline - time.monotonic()) <= 0:
                    break
                self.quiet.wait(left)
            unended = [pair for pair in self.roster.calls() if pair[1].slot is not None]
            for _, each in self.roster.calls():
                each.abandoned = True
        for lane, each in unended:
            self.failures += 1
            self._caller.record_unended(lane.listener, each)

    def _work(self, lane: Lane, started: Call) -> None:
        """Make calls of one lane on this thread as long as it has a slot and work."""
        following: Call | None = started
        while following is not None:
            following = self._deliver(lane, following)

    def _deliver(self, lane: Lane, started: Call) -> Call | None:
        """Make one call, queue its result, and return the lane's next call."""
        attempt: Attempt | None = None
        fault = False
        try:
            with during(listener=lane.listener.name, delivery=started.owed.key):
                attempt = self._attempt(lane, started)
        except StoreError as error:
            log.error("%s waits, as the store failed: %s", lane.listener.name, error,
                      extra={"listener": lane.listener.name})  # fmt: skip
            fault = True
            if isinstance(error, StoreRefusedError):
                self._refused(error)
        with self.lock:
            if started.abandoned:
                return None
            unstuck = self._end(lane, started, attempt, fault)
            now = self._caller.now()
            following = None if self.stopping or self.held else lane.take(now)
            if following is not None and lane.hungry(now):
                self.wake.notify()  # that has made room for more
        if unstuck:
            self.hold(lane, None, None)
        return following

    def _end(
        self, lane: Lane, started: Call, attempt: Attempt | None, fault: bool = False
    ) -> bool:
        """Queue the result of a call, under the lock.

        Queued before the lock is given back, or a stop could close the store first.

        Returns:
            Whether the listener was paused for its stuck calls and may go on now.
        """
        lane.end(started, attempt)
        if fault:
            self.fault_until = self._clock.boot() + FAULT_SECONDS
            lane.forget()
            lane.look_again()
            self.look_after(lane)
        if attempt is not None:
            recorded = partial(self._recorded, lane, started, attempt)
            self._store.deliveries.record(started.owed, attempt, recorded)
        self.quiet.notify_all()
        # In a long backlog most calls leave nothing to do for the own thread.
        if lane.behind and (
            not self.roster.looks_after(lane) or lane.hungry(self._caller.now())
        ):
            self.look_after(lane)
        if not self.flush_awaited:
            self.wake.notify()
        return started.stuck and lane.paused_as_stuck and not lane.too_stuck()

    def _attempt(self, lane: Lane, started: Call) -> Attempt | None:
        """Enter the function and return its result; None if it is not owed any more."""
        event = self._caller.find(started.owed)
        if event is None:
            return None
        if instead := self._caller.instead(lane.listener, started.owed, event):
            return instead
        with self.lock:
            if started.abandoned:
                return None
            self._caller.enter(lane.listener, started)
            if started.deadline is not None:
                self.look_after(lane)
        attempt, error = self._caller.make(lane.listener, started, event)
        if isinstance(error, Pause):
            until = NEVER
            if error.after is not None:
                until = min(NEVER, self._caller.now() + round(error.after * 1_000_000))
            self.hold(lane, until, failure_of(error).message)
        elif error is not None:
            self.failures += 1
        if isinstance(error, StopAgent):
            self._refused(AgentError(failure_of(error).message))
        return attempt

    def _recorded(self, lane: Lane, started: Call, attempt: Attempt) -> None:
        self._caller.recorded(started)
        with self.lock:
            lane.recorded(started.owed, attempt)
            self.quiet.notify_all()
            if lane.behind or lane.next_due is not None:
                self.look_after(lane)

    def end_late(self, lane: Lane, trial: Call, attempt: Attempt | None) -> None:
        """Take the result of a trial that was stuck when the others began."""
        with self.lock:
            if trial.abandoned:
                return
            unstuck = self._end(lane, trial, attempt)
            self.start_calls(lane)
        if unstuck:
            self.hold(lane, None, None)

    def hold(
        self,
        lane: Lane,
        until: int | None,
        reason: str | None,
        still: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Pause a listener, or let it go on (None).

        Args:
            lane: its lane.
            until: the moment in microseconds; None lets it go on.
            reason: why it is paused.
            still: whether there is cause for it, asked under the lock.

        Returns:
            Whether there was.
        """
        name = lane.listener.name
        with self.lock:
            if not still():
                return False
            lane.hold(until)
            lane.paused_as_stuck = reason == STUCK
            self.look_after(lane)
            loud = until is not None and lane.worth_saying(reason, self._clock.boot())
        if until is None:
            log.info("%s goes on", name, extra={"listener": name})
        else:
            level = logging.WARNING if loud else logging.DEBUG
            log.log(level, "%s is paused (agent resume %s lets it go on): %s",
                    name, name, printable(reason or ""),
                    extra={"listener": name})  # fmt: skip
        try:
            self._store.subscriptions.pause(name, until, reason)
            with self.lock:
                overtaken = reason == STUCK and not lane.paused_as_stuck
            if overtaken:  # the last stuck call has ended meanwhile
                self._store.subscriptions.pause(name, None, None)
        except StoreError as error:
            log.error("the pause of %s could not be stored: %s", name, error)
        return True

    def find_stuck(self) -> None:
        """Replace the slots of calls that are past their timeout."""
        boot = self._clock.boot()
        with self.lock:
            found = self.roster.late(boot)
            # Queued before the lock is given back: a call that ends now comes after it.
            for lane, each in found:
                each.stuck = True
                self._caller.record_stuck(lane.listener, each)
            self.quiet.notify_all()
        for lane, _ in found:
            too_stuck = partial(self._is_too_stuck, lane)
            if too_stuck() and self.hold(lane, NEVER, STUCK, too_stuck):
                log.error("%d calls of %s are stuck, so it is paused",
                          MAX_REPLACED + 1, lane.listener.name,
                          extra={"listener": lane.listener.name})  # fmt: skip
            with self.lock:
                self.start_calls(lane)

    def _is_too_stuck(self, lane: Lane) -> bool:
        return lane.too_stuck() and not lane.paused(self._caller.now())
