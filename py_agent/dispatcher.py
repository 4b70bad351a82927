"""Brings deliveries to the lanes: just committed, waiting in the store, or due again.

A just-committed delivery is handed over in memory; neither a claim nor an
acknowledgement is committed by itself. What is inside a function stands in the side
file; acknowledgements ride in the next publish or are flushed within a few milliseconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from .calls import Caller
from .clock import Clock
from .deliverer import FAULT_SECONDS, Deliverer
from .errors import AgentError, StoreError, StoreRefusedError
from .lanes import Lane
from .pulse import Pulse
from .registry import Listener
from .store.deliveries import Owed
from .store.event_store import EventStore
from .store.owing import Committed
from .threads import Threads
from .trials import try_suspects

log = logging.getLogger("py_agent.dispatcher")

LOOP = "dispatcher"  # its name where the loops prove that they go round

FLUSH_SECONDS = 0.005  # an acknowledgement waits at most so long for a ride
LOOK_SECONDS = 10.0  # the slow look at the store, should a wake-up get lost


class Dispatcher:
    """The service that keeps the lanes filled.

    Args:
        store: the open store, whose lock the agent holds.
        clock: tells the time.
        caller: makes the calls.
        threads: where listeners run.
        stopping: whether the agent has been asked to stop.
        check: raises StoreRefusedError if the store or its lock is not ours any more.
        refused: told that the store cannot be used any more.
        pulse: told of each turn of the own thread.
    """

    def __init__(
        self,
        store: EventStore,
        clock: Clock,
        caller: Caller,
        threads: Threads,
        stopping: Callable[[], bool],
        check: Callable[[], None],
        refused: Callable[[AgentError], None],
        pulse: Pulse,
    ) -> None:
        self._store = store
        self._clock = clock
        self._caller = caller
        self._threads = threads
        self._stop_asked = stopping
        self._check = check
        self._refused = refused
        self._pulse = pulse
        self._deliverer = Deliverer(store, clock, caller, threads, refused)
        self._last = 0  # the newest event that has been handed over or looked for
        self._version = 0  # of changes by hand
        self._look = False
        self._turning = False  # whether the own thread is doing what is due
        self._next_look = 0.0
        self._thread: threading.Thread | None = None
        self._before = store.committed  # what publishing does without an agent

    @property
    def failures(self) -> int:
        """How many attempts have failed since the start."""
        return self._deliverer.failures

    # Lifecycle

    def start(self) -> None:
        """Try the suspects alone, then begin to deliver."""
        self._version = self._store.deliveries.version()
        self._last = self._store.deliveries.newest_event()
        self._next_look = self._clock.boot() + LOOK_SECONDS
        try_suspects(
            self._store, self._deliverer, self._caller, self._threads, self._clock,
            self._stop_asked,
        )  # fmt: skip
        self._before = self._store.committed
        self._store.committed = self._handed_over
        self._pulse.begin(LOOP)
        self._thread = threading.Thread(
            target=self._run, name="py_agent-dispatcher", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Take no more deliveries."""
        with self._deliverer.lock:
            self._deliverer.stopping = True
            self._deliverer.wake.notify_all()
            self._deliverer.quiet.notify_all()

    def join(self, deadline: float) -> None:
        """Wait for running calls until the deadline; what is left has failed."""
        self._deliverer.finish(deadline)
        if self._thread is not None:
            self._thread.join()
            self._store.committed = self._before

    def add(self, listeners: Iterable[Listener]) -> None:
        """Open a lane for each listener, whose subscription is in the store."""
        known = {each.name: each for each in self._store.subscriptions.all()}
        with self._deliverer.lock:
            for listener in listeners:
                subscription = known[listener.name]
                lane = Lane(listener, subscription.id)
                lane.paused_until = lane.next_due = subscription.paused_until
                self._deliverer.roster.add(lane)
                self._caller.forget_old_calls(listener, subscription.id)
            self._deliverer.wake.notify()

    def wake(self) -> None:
        """Look at the store: another process may have changed something."""
        with self._deliverer.lock:
            self._look = True
            self._deliverer.wake.notify()

    def look_again(self, subscriptions: Iterable[int]) -> None:
        """Load what the store holds for some subscriptions, as it is available now."""
        with self._deliverer.lock:
            self._deliverer.roster.look_again(subscriptions)
            self._deliverer.wake.notify()

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
            with self._deliverer.lock:
                if self._deliverer.stopping or self._is_idle(later):
                    return self._is_idle(later)
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                pending = self._store.writer.pending
                self._deliverer.quiet.wait(FLUSH_SECONDS if pending else left)

    @property
    def idle(self) -> bool:
        """Whether nothing is available or running."""
        with self._deliverer.lock:
            return self._is_idle()

    def settle(self) -> float | None:
        """Commit results, and say how long there is nothing else to do.

        Returns:
            The seconds until something is due, infinite if nothing will be; None if
            the own thread has something to do, or results are on their way.

        Raises:
            StorageFault: results cannot be committed.
        """
        self._flush()
        with self._deliverer.lock:
            if self._look or self._turning or self._store.writer.pending:
                return None
            if self._seconds_to_wait() <= 0 or self._deliverer.roster.recording:
                return None
            return self._seconds_to_due()

    # Deliveries that come in

    def _handed_over(self, done: Committed) -> None:
        """Take what was just committed in this process, in the order of commits."""
        with self._deliverer.lock:
            if done.first != self._last + 1:
                self._look = True  # someone else published in between: load the gap
                self._deliverer.wake.notify()
                return
            self._last = done.last
            for event, owes in done.owed:
                for subscription, key in owes:
                    if (
                        lane := self._deliverer.roster.lanes.get(subscription.id)
                    ) is not None:
                        lane.offer(
                            Owed(event.id, subscription.id, order_key=key, event=event,
                                 version=self._version)
                        )  # fmt: skip
                        self._deliverer.start_calls(lane)

    def _look_at_store(self) -> None:
        """Find what other processes published or changed by hand."""
        self._check()
        newest, behind = self._store.deliveries.gap(self._last)
        version = self._store.deliveries.version()
        changed = version != self._version
        known = (
            {each.id: each for each in self._store.subscriptions.all()} if changed else {}
        )
        with self._deliverer.lock:
            self._last = max(self._last, newest)
            self._version = version
            self._deliverer.roster.look_again(behind)
            if changed:
                self._deliverer.roster.changed_by_hand(known)

    def _load(self, lane: Lane, now: int) -> None:
        """Load a window of a lane that is behind."""
        self._flush()  # so that the store knows every result but the very last ones
        with self._deliverer.lock:
            lane.begin_load()
            skip = frozenset(lane.held)
            left_out = tuple(lane.left_out) if lane.listener.ordered_by else None
            most = lane.window - lane.waiting
        backlog = self._store.deliveries.load(
            lane.subscription_id, most, now, skip, left_out
        )
        with self._deliverer.lock:
            lane.fill(backlog)
            self._deliverer.start_calls(lane)
            self._deliverer.look_after(lane)
            self._deliverer.quiet.notify_all()

    # The dispatcher's own thread

    def _run(self) -> None:
        while True:
            with self._deliverer.lock:
                self._turning = False
                self._deliverer.quiet.notify_all()
                while (
                    not self._deliverer.stopping and (wait := self._seconds_to_wait()) > 0
                ):
                    self._clock.wait(self._deliverer.wake, wait)
                if self._deliverer.stopping:
                    return
                self._turning = True
            try:
                self._turn()
            except StoreRefusedError as error:
                self._refused(error)
                return
            except StoreError as error:
                log.error("the store failed and is tried again: %s", error)
                with self._deliverer.lock:
                    self._look = True
                    self._deliverer.fault_until = self._clock.boot() + FAULT_SECONDS
            except Exception as error:
                log.exception("the dispatcher failed")
                self._refused(AgentError(f"the dispatcher failed: {error!r}"))
                return

    def _turn(self) -> None:
        """Do everything that is due."""
        if self._store.writer.waiting >= FLUSH_SECONDS:
            self._flush()
        boot, now = self._clock.boot(), self._caller.now()
        if self._look or boot >= self._next_look:
            self._look = False
            self._next_look = boot + LOOK_SECONDS
            self._look_at_store()
        with self._deliverer.lock:
            hungry = self._deliverer.roster.hungry(now)
        for lane in hungry:
            self._load(lane, now)
        self._deliverer.find_stuck()
        self._pulse.turned(LOOP, self._store.deliveries.newest_event)

    def _seconds_to_wait(self) -> float:
        boot = self._clock.boot()
        if boot < self._deliverer.fault_until:
            return self._seconds_to_due()
        if self._look:
            return 0.0
        waits = [self._next_look - boot, self._pulse.seconds_to_wait(LOOP)]
        self._deliverer.flush_awaited = self._store.writer.pending
        if self._deliverer.flush_awaited:
            waits.append(FLUSH_SECONDS - self._store.writer.waiting)
        return min([*waits, self._seconds_to_due()])

    def _seconds_to_due(self) -> float:
        boot, now = self._clock.boot(), self._caller.now()
        if boot < self._deliverer.fault_until:
            return self._deliverer.fault_until - boot
        return self._deliverer.roster.seconds_to_wait(now, boot)

    def _flush(self) -> None:
        if self._store.writer.pending:
            self._store.writer.flush()

    def _is_idle(self, later: bool = False) -> bool:
        if self._look or self._turning or self._store.writer.pending:
            return False
        return self._deliverer.roster.idle(self._caller.now(), later)

    def hold_calls(self, held: bool) -> None:
        """Start no calls while a job is tried alone; go on with them afterwards."""
        with self._deliverer.lock:
            self._deliverer.held = held
            for lane in self._deliverer.roster.lanes.values() if not held else ():
                self._deliverer.start_calls(lane)

    def flush_soon(self) -> None:
        """Note that something rides, so that it is committed though nobody publishes."""
        with self._deliverer.lock:
            if not self._deliverer.flush_awaited:
                self._deliverer.wake.notify()
