"""Delivers: hands committed deliveries to listeners, and records what became of them.

A just-committed delivery is handed over in memory; neither a claim nor an
acknowledgement is committed by itself. What is inside a function stands in the side
file; acknowledgements ride in the next publish or are flushed within a few milliseconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial

from .calls import Caller
from .clock import Clock
from .errors import StoreError
from .failures import failure_of, printable
from .lanes import MAX_REPLACED, Call, Lane
from .registry import Listener
from .retry import Pause
from .roster import Roster
from .store.deliveries import Attempt, Owed
from .store.event_store import Committed, EventStore
from .store.subscriptions import NEVER
from .store.takeover import STUCK
from .threads import Threads
from .trials import try_suspects

log = logging.getLogger("py_agent.dispatcher")

FLUSH_SECONDS = 0.005  # an acknowledgement waits at most so long for a ride
LOOK_SECONDS = 10.0  # the slow look at the store, should a wake-up get lost
FAULT_SECONDS = 1.0  # after a storage fault, before the store is tried again


class Dispatcher:
    """The service that calls listeners.

    One lock guards all lanes. It is never held while the store's writer is waited for;
    the writer, in turn, calls `_handed_over` and `recorded`, which take it briefly.

    Args:
        store: the open store, whose lock the agent holds.
        clock: tells the time.
        caller: makes the calls.
        threads: where listeners run.
        stopping: whether the agent has been asked to stop.
    """

    def __init__(
        self,
        store: EventStore,
        clock: Clock,
        caller: Caller,
        threads: Threads,
        stopping: Callable[[], bool],
    ) -> None:
        self._store = store
        self._clock = clock
        self._caller = caller
        self._threads = threads
        self._stop_asked = stopping
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)  # the dispatcher's own thread
        self._quiet = threading.Condition(self._lock)  # those who wait for the end
        self._roster = Roster()
        self._flush_awaited = False
        self._last = 0  # the newest event that has been handed over or looked for
        self._version = 0  # of changes by hand
        self._look = False
        self._turning = False  # whether the own thread is doing what is due
        self._next_look = 0.0
        self._fault_until = 0.0
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._before = store.committed  # what publishing does without an agent
        self.failures = 0  # attempts that failed since the start

    # Lifecycle

    def start(self) -> None:
        """Try the suspects alone, then begin to deliver."""
        self._version = self._store.deliveries.version()
        self._last = self._store.deliveries.newest_event()
        self._next_look = self._clock.boot() + LOOK_SECONDS
        try_suspects(
            self._store, self._roster.lanes, self._caller, self._threads, self._clock,
            self._stop_asked, self._lock, self._end_late,
        )  # fmt: skip
        self._before = self._store.committed
        self._store.committed = self._handed_over
        self._thread = threading.Thread(
            target=self._run, name="py_agent-dispatcher", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Take no more deliveries."""
        with self._lock:
            self._stopping = True
            self._wake.notify_all()
            self._quiet.notify_all()

    def join(self, deadline: float) -> None:
        """Wait for running calls until the deadline; what is left has failed."""
        with self._lock:
            while any(not each.stuck for _, each in self._roster.calls()):
                if (left := deadline - time.monotonic()) <= 0:
                    break
                self._quiet.wait(left)
            unended = [pair for pair in self._roster.calls() if pair[1].slot is not None]
            for _, each in self._roster.calls():
                each.abandoned = True
        for lane, each in unended:
            self.failures += 1
            self._caller.record_unended(lane.listener, each)
        if self._thread is not None:
            self._thread.join()
            self._store.committed = self._before

    def add(self, listeners: Iterable[Listener]) -> None:
        """Open a lane for each listener, whose subscription is in the store."""
        known = {each.name: each for each in self._store.subscriptions.all()}
        with self._lock:
            for listener in listeners:
                subscription = known[listener.name]
                lane = Lane(listener, subscription.id)
                lane.paused_until = lane.next_due = subscription.paused_until
                self._roster.add(lane)
            self._wake.notify()

    def wake(self) -> None:
        """Look at the store: another process may have changed something."""
        with self._lock:
            self._look = True
            self._wake.notify()

    def drain(self, deadline: float | None, later: bool = False) -> bool:
        """Wait until nothing is available or running and all results are committed.

        Args:
            deadline: monotonic time at which to stop waiting; None for never.
            later: whether to wait also for what is due later.

        Returns:
            Whether it came to that; stuck, paused and later deliveries do not count.

        Raises:
            StorageFault: results cannot be committed.
        """
        self.wake()
        while True:
            self._flush()
            with self._lock:
                if self._stopping or self._is_idle(later):
                    return self._is_idle(later)
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                pending = self._store.writer.pending
                self._quiet.wait(FLUSH_SECONDS if pending else left)

    @property
    def idle(self) -> bool:
        """Whether nothing is available or running."""
        with self._lock:
            return self._is_idle()

    # Deliveries that come in

    def _handed_over(self, done: Committed) -> None:
        """Take what was just committed in this process, in the order of commits."""
        with self._lock:
            if done.first != self._last + 1:
                self._look = True  # someone else published in between: load the gap
                self._wake.notify()
                return
            self._last = done.last
            for event, owes in done.owed:
                for subscription, key in owes:
                    if (lane := self._roster.lanes.get(subscription.id)) is not None:
                        lane.offer(
                            Owed(event.id, subscription.id, order_key=key, event=event,
                                 version=self._version)
                        )  # fmt: skip
                        self._start_calls(lane)

    def _look_at_store(self) -> None:
        """Find what other processes published or changed by hand."""
        newest, behind = self._store.deliveries.gap(self._last)
        version = self._store.deliveries.version()
        changed = version != self._version
        known = (
            {each.id: each for each in self._store.subscriptions.all()} if changed else {}
        )
        with self._lock:
            self._last = max(self._last, newest)
            self._version = version
            self._roster.look_again(behind)
            if changed:
                self._roster.changed_by_hand(known)

    def _load(self, lane: Lane, now: int) -> None:
        """Load a window of a lane that is behind."""
        self._flush()  # so that the store knows every result but the very last ones
        with self._lock:
            lane.begin_load()
            skip = frozenset(lane.held)
            left_out = tuple(lane.left_out) if lane.listener.ordered_by else None
            most = lane.window - lane.waiting
        backlog = self._store.deliveries.load(
            lane.subscription_id, most, now, skip, left_out
        )
        with self._lock:
            lane.fill(backlog)
            self._start_calls(lane)
            self._look_after(lane)
            self._quiet.notify_all()

    # Calls

    def _start_calls(self, lane: Lane) -> None:
        now = self._caller.now()
        while not self._stopping and (started := lane.take(now)) is not None:
            self._threads.run(partial(self._work, lane, started))
        if lane.behind:
            self._look_after(lane)

    def _look_after(self, lane: Lane) -> None:
        """Have the dispatcher's own thread look after a lane, or no longer."""
        if self._roster.look_after(lane):
            self._wake.notify()

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
            attempt = self._attempt(lane, started)
        except StoreError as error:
            log.error("%s waits, as the store failed: %s", lane.listener.name, error)
            fault = True
        if not self._end(lane, started, attempt, fault):
            return None
        with self._lock:
            now = self._caller.now()
            following = None if self._stopping else lane.take(now)
            if following is not None and lane.hungry(now):
                self._wake.notify()  # that has made room for more
            return following

    def _end(
        self, lane: Lane, started: Call, attempt: Attempt | None, fault: bool = False
    ) -> bool:
        """Queue the result of a call; false if it comes after the stop."""
        with self._lock:
            if started.abandoned:
                return False
            lane.end(started, attempt)
            if fault:
                self._fault_until = self._clock.boot() + FAULT_SECONDS
                lane.forget()
                lane.look_again()
                self._look_after(lane)
            unstuck = started.stuck and lane.paused_as_stuck
            # Queued before the lock is given back, or a stop could close the store first.
            if attempt is not None:
                recorded = partial(self._recorded, lane, started.owed, attempt)
                self._store.deliveries.record(started.owed, attempt, recorded)
        if unstuck and not lane.too_stuck():
            self._hold(lane, None, None)
        with self._lock:
            self._quiet.notify_all()
            now = self._caller.now()
            # In a long backlog most calls leave nothing to do for the own thread.
            if lane.behind and (not self._roster.looks_after(lane) or lane.hungry(now)):
                self._look_after(lane)
            if not self._flush_awaited:
                self._wake.notify()
        return True

    def _attempt(self, lane: Lane, started: Call) -> Attempt | None:
        """Enter the function and return its result; None if it is not owed any more."""
        event = self._caller.find(started.owed)
        if event is None:
            return None
        with self._lock:
            if started.abandoned:
                return None
            self._caller.enter(lane.listener, started)
            if started.deadline is not None:
                self._look_after(lane)
        attempt, error = self._caller.make(lane.listener, started, event)
        if isinstance(error, Pause):
            until = NEVER
            if error.after is not None:
                until = min(NEVER, self._caller.now() + round(error.after * 1_000_000))
            self._hold(lane, until, failure_of(error).message)
        elif error is not None:
            self.failures += 1
        return attempt

    def _recorded(self, lane: Lane, owed: Owed, attempt: Attempt) -> None:
        with self._lock:
            lane.recorded(owed, attempt)
            self._quiet.notify_all()
            if lane.behind or lane.next_due is not None:
                self._look_after(lane)

    # Pauses and stuck calls

    def _end_late(self, lane: Lane, trial: Call, attempt: Attempt | None) -> None:
        """Take the result of a trial that was stuck when the others began."""
        if self._end(lane, trial, attempt):
            with self._lock:
                self._start_calls(lane)

    def _hold(self, lane: Lane, until: int | None, reason: str | None) -> None:
        """Pause a listener, or let it go on (None)."""
        name = lane.listener.name
        with self._lock:
            lane.hold(until)
            lane.paused_as_stuck = reason == STUCK
            self._look_after(lane)
        if until is None:
            log.info("%s goes on", name)
        else:
            log.warning("%s is paused: %s", name, printable(reason or ""))
        try:
            self._store.subscriptions.pause(name, until, reason)
        except StoreError as error:
            log.error("the pause of %s could not be stored: %s", name, error)

    def _find_stuck(self) -> None:
        """Replace the slots of calls that are past their timeout."""
        boot = self._clock.boot()
        with self._lock:
            found = self._roster.late(boot)
            # Queued before the lock is given back: a call that ends now comes after it.
            for lane, each in found:
                each.stuck = True
                self._caller.record_stuck(lane.listener, each)
            self._quiet.notify_all()
        for lane, _ in found:
            if lane.too_stuck() and not lane.paused(self._caller.now()):
                self._hold(lane, NEVER, STUCK)
                log.error("%d calls of it are stuck", MAX_REPLACED + 1)
            with self._lock:
                self._start_calls(lane)

    # The dispatcher's own thread

    def _run(self) -> None:
        while True:
            with self._lock:
                self._turning = False
                self._quiet.notify_all()
                while not self._stopping and (wait := self._seconds_to_wait()) > 0:
                    self._clock.wait(self._wake, wait)
                if self._stopping:
                    return
                self._turning = True
            try:
                self._turn()
            except StoreError as error:
                log.error("the store failed and is tried again: %s", error)
                with self._lock:
                    self._look = True
                    self._fault_until = self._clock.boot() + FAULT_SECONDS

    def _turn(self) -> None:
        """Do everything that is due."""
        if self._store.writer.waiting >= FLUSH_SECONDS:
            self._flush()
        boot, now = self._clock.boot(), self._caller.now()
        if self._look or boot >= self._next_look:
            self._look = False
            self._next_look = boot + LOOK_SECONDS
            self._look_at_store()
        with self._lock:
            hungry = self._roster.hungry(now)
        for lane in hungry:
            self._load(lane, now)
        self._find_stuck()

    def _seconds_to_wait(self) -> float:
        boot, now = self._clock.boot(), self._caller.now()
        if boot < self._fault_until:
            return self._fault_until - boot
        if self._look:
            return 0.0
        waits = [self._next_look - boot]
        self._flush_awaited = self._store.writer.pending
        if self._flush_awaited:
            waits.append(FLUSH_SECONDS - self._store.writer.waiting)
        return min([*waits, self._roster.seconds_to_wait(now, boot)])

    def _flush(self) -> None:
        if self._store.writer.pending:
            self._store.writer.flush()

    def _is_idle(self, later: bool = False) -> bool:
        if self._look or self._turning or self._store.writer.pending:
            return False
        return self._roster.idle(self._caller.now(), later)

    def flush_soon(self) -> None:
        """Note that something rides, so that it is committed though nobody publishes."""
        with self._lock:
            if not self._flush_awaited:
                self._wake.notify()
