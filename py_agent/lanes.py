"""One listener's deliveries in memory: which may start, and which must wait.

A lane is *caught up* while everything that its listener is owed is in memory; then what
is committed next is handed over directly. It is *behind* when the store holds more: then
new deliveries are left in the store and a window is loaded when there is room. This
module decides and touches neither threads nor the store; the dispatcher's lock guards it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from .registry import Listener
from .store.attempts import Attempt
from .store.deliveries import Backlog, Owed
from .store.subscriptions import NEVER
from .store.tables import State

WINDOW = 200  # deliveries of one listener in memory
MAX_HELD_DATA = 64 * 1024  # characters of JSON kept in memory with a waiting delivery
SAID_SECONDS = 3_600.0  # how long a pause for the same reason need not be said again
MAX_REPLACED = 4  # stuck calls of one listener that get a new slot


@dataclass(eq=False)
class Call:
    """A call that has been started.

    Args:
        owed: its delivery.
        deadline: boot time at which it is stuck; None for never.
        slot: its slot in the side file, once the function is entered.
        stuck: whether it is past its deadline.
        abandoned: whether it was given up at the stop, so that its result is refused.
        in_effect: whether it has begun what may not simply be repeated.
        doubt: its slot after the end of such a call, until its result is stored.
    """

    owed: Owed
    deadline: float | None = None
    slot: int | None = None
    stuck: bool = False
    abandoned: bool = False
    in_effect: bool = False
    doubt: int | None = None


class Lane:
    """The deliveries of one listener.

    Args:
        listener: the listener.
        subscription_id: its subscription.
    """

    def __init__(self, listener: Listener, subscription_id: int) -> None:
        self.listener = listener
        self.subscription_id = subscription_id
        self.window = max(WINDOW, 2 * listener.concurrency)
        # The followers of all keys that can run at once fill half the window at most,
        # so that a slow key never keeps the others out of memory.
        self._most_followers = max(1, self.window // (2 * listener.concurrency))
        self.ready: deque[Owed] = deque()
        self.running: dict[int, Call] = {}
        self.held: set[int] = set()  # event ids in memory or not yet recorded
        self.behind = True  # at first, the store may hold anything
        self.missed = False  # something came while a window was being loaded
        self.blocked = False  # the store holds keys that wait for a retry
        self.seen = 0  # every event up to this one was considered by a load
        self.next_due: int | None = None
        self.paused_until: int | None = None
        self.paused_as_stuck = False  # so that it goes on when a stuck call ends
        self._said: tuple[str | None, float] = None, 0.0  # the last pause that was logged
        self._followers: dict[str, deque[Owed]] = {}
        self._failing: set[str] = set()  # keys whose failure is not recorded yet
        self._failed: set[str] = set()  # those recorded since the last load began
        self._forgot = False  # whether `forget` came since the last load began
        self.left_out: set[str] = set()  # keys with more deliveries in the store

    @property
    def stuck(self) -> int:
        """How many calls are past their timeout."""
        return sum(call.stuck for call in self.running.values())

    @property
    def waiting(self) -> int:
        """How many deliveries are in memory and not started."""
        return len(self.ready) + sum(map(len, self._followers.values()))

    @property
    def recording(self) -> bool:
        """Whether a result waits to be recorded."""
        return len(self.held) > len(self.running) + self.waiting

    def paused(self, now: int) -> bool:
        """Return whether the listener is held at the moment `now` (microseconds)."""
        return self.paused_until is not None and now < self.paused_until

    def hungry(self, now: int) -> bool:
        """Return whether a window should be loaded now."""
        return (
            self.behind
            and not self.paused(now)
            and len(self.ready) <= self.window // 4
            and self.waiting <= self.window // 2
        )

    def idle(self, now: int) -> bool:
        """Return whether nothing is left to do but what is paused, stuck or due later."""
        if any(not call.stuck for call in self.running.values()):
            return False
        if self.recording:
            return False
        stuck = self._free() < 1  # all slots: only a restart brings them back
        return self.paused(now) or stuck or not (self.behind or self.waiting)

    def offer(self, owed: Owed) -> None:
        """Take a delivery that was just committed, or leave it in the store."""
        if owed.event_id <= self.seen or owed.event_id in self.held:
            return
        ordered_and_blocked = owed.order_key is not None and (
            self.blocked or owed.order_key in self._failing
        )
        if self.behind or ordered_and_blocked or len(self.held) >= self.window:
            self.look_again()
            return
        if owed.event is not None and len(owed.event.text) > MAX_HELD_DATA:
            owed.event = None
        self._add(owed)

    def look_again(self) -> None:
        """Note that the store may hold something new."""
        self.behind = self.missed = True

    def begin_load(self) -> None:
        """Note that a window is being loaded: what comes from now on may be missed."""
        self.missed = self._forgot = False
        self._failed.clear()

    def fill(self, backlog: Backlog) -> None:
        """Take a window that was loaded after `begin_load`."""
        if self._forgot:
            self.behind = True  # it was read without what was in memory then
            return
        self.seen = max(self.seen, backlog.newest)
        self.next_due = backlog.next_due
        failed = bool(self._failing or self._failed)  # after the window was read, maybe
        self.blocked = backlog.blocked or failed
        self.behind = backlog.more or self.missed or failed
        for owed in backlog.rows:
            if owed.event_id in self.held:
                continue
            if owed.order_key in self._failing or owed.order_key in self._failed:
                self.behind = True  # blocked, though the window was read before that
                continue
            self._add(owed)

    def take(self, now: int) -> Call | None:
        """Return a call to start if there is a free slot and a delivery for it."""
        if not self.ready or self.paused(now) or self._free() < 1:
            return None
        call = Call(self.ready.popleft())
        self.running[call.owed.event_id] = call
        return call

    def adopt(self, call: Call) -> None:
        """Count a call that was started elsewhere and is stuck."""
        owed = call.owed
        call.stuck = True
        self.held.add(owed.event_id)
        self.running[owed.event_id] = call
        if owed.order_key is not None:
            self._followers.setdefault(owed.order_key, deque())

    def end(self, call: Call, attempt: Attempt | None) -> None:
        """Note that a call has ended; its delivery stays held until it is recorded.

        Args:
            call: the call.
            attempt: its result; None if the delivery turned out not to be owed any more.
        """
        owed = call.owed
        self.running.pop(owed.event_id, None)
        if attempt is not None and attempt.state is State.COMPLETED:
            self._said = None, 0.0  # the trouble is over; the next one is another
        if attempt is None:
            self.held.discard(owed.event_id)
            self.look_again()  # a window that is being loaded leaves it out
        if attempt is not None and attempt.state in (State.AVAILABLE, State.RETRYABLE):
            self._hold_back(owed, attempt)
        elif owed.order_key is not None:
            self._next_of(owed.order_key)

    def recorded(self, owed: Owed, attempt: Attempt) -> None:
        """Note that a result is committed, so that the store tells the truth about it."""
        self.held.discard(owed.event_id)
        if attempt.state is State.AVAILABLE:
            self.look_again()
        if attempt.state is State.RETRYABLE:
            due = self.next_due
            self.next_due = attempt.due if due is None else min(due, attempt.due)
            self.missed = True  # a window that is being loaded may not know of it
            self.blocked = self.blocked or owed.order_key is not None
        if owed.order_key is not None:
            if attempt.state in (State.AVAILABLE, State.RETRYABLE):
                self._failing.discard(owed.order_key)
                self._failed.add(owed.order_key)
            if owed.retried or self.blocked:
                self.look_again()  # followers that were left out may be free now

    def hold(self, until: int | None) -> None:
        """Pause until a moment in microseconds, or go on (None)."""
        self.paused_until = until
        self.paused_as_stuck = False
        if until is not None:
            self.forget()
            self.next_due = None if until >= NEVER else until
        self.look_again()

    def worth_saying(self, reason: str | None, boot: float) -> bool:
        """Return whether a pause is worth a word: the same one is once an hour.

        Args:
            reason: why it is paused.
            boot: seconds since boot.
        """
        said, when = self._said
        if reason == said and boot - when < SAID_SECONDS:
            return False
        self._said = reason, boot
        return True

    def forget(self) -> None:
        """Leave everything that has not started to the store."""
        self._forgot = True
        self._drop([*self.ready, *(o for f in self._followers.values() for o in f)])
        self.ready.clear()
        self.left_out.clear()
        running = {call.owed.order_key for call in self.running.values()}
        self._followers = {key: deque() for key in self._followers if key in running}

    def too_stuck(self) -> bool:
        """Return whether too many calls are stuck to give out another slot."""
        return self.stuck > MAX_REPLACED

    def _free(self) -> int:
        stuck = self.stuck
        replaced = min(stuck, MAX_REPLACED)
        return self.listener.concurrency + replaced - len(self.running)

    def _add(self, owed: Owed) -> None:
        key = owed.order_key
        if key is None:
            self.ready.append(owed)
        elif key not in self._followers:
            self._followers[key] = deque()
            self.ready.append(owed)
        elif key in self.left_out or len(self._followers[key]) >= self._most_followers:
            self.left_out.add(key)
            return
        else:
            self._followers[key].append(owed)
        self.held.add(owed.event_id)

    def _next_of(self, key: str) -> None:
        followers = self._followers.get(key)
        if followers:
            self.ready.append(followers.popleft())
            return
        self._followers.pop(key, None)
        if key in self.left_out:
            self.left_out.discard(key)
            self.look_again()

    def _hold_back(self, owed: Owed, attempt: Attempt) -> None:
        """Leave the followers of a failed delivery to the store."""
        if owed.order_key is None:
            return
        self._drop(self._followers.pop(owed.order_key, ()))
        self.left_out.discard(owed.order_key)
        self._failing.add(owed.order_key)
        self.look_again()
        self.blocked = self.blocked or attempt.state is State.RETRYABLE

    def _drop(self, owed: Iterable[Owed]) -> None:
        dropped = [each.event_id for each in owed]
        self.held.difference_update(dropped)
        if dropped:
            self.look_again()
