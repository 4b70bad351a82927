"""One call of a listener: noted in the side file, made, and turned into its result."""

from __future__ import annotations

import inspect
import logging
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from .clock import Clock, to_micros
from .context import Handler, depth_of_publications
from .errors import NotFoundError, StoppedError
from .events import Event
from .failures import Failure, printable
from .lanes import Call
from .memory import Memory
from .occasion import Occasion
from .outcomes import NotEnded, completed, failed, outcome_of, snoozed
from .pacing import Pace
from .registry import Listener
from .retry import Snooze
from .store.attempts import Attempt
from .store.deliveries import Owed
from .store.event_store import EventStore
from .store.side_file import SideFile
from .store.states import States
from .store.subscriptions import NEVER
from .store.tables import IN_DOUBT, OWED, State
from .threads import LoopThread, call
from .timeouts import clock_of_call

log = logging.getLogger("py_agent.dispatcher")

SIDE_BY_SIDE = "a listener with concurrency above 1 has no state: its calls would mix"

ASYNC_GRACE = 5.0  # seconds past its timeout after which a coroutine is called stuck


class Caller:
    """Makes calls, on whatever thread it is asked to.

    Args:
        store: the open store.
        clock: tells the time.
        side_file: where a call is noted while it lasts.
        loop: where coroutines run.
        handlers: makes the handler of a listener, by name.
        states: what listeners remember.
        chance: draws the jitter of waits.
        stopping: whether the agent stops.
    """

    def __init__(
        self,
        store: EventStore,
        clock: Clock,
        side_file: SideFile,
        loop: LoopThread,
        handlers: Callable[[str, Occasion], Handler],
        states: States,
        chance: random.Random,
        stopping: Callable[[], bool],
    ) -> None:
        self._store = store
        self._clock = clock
        self._side_file = side_file
        self._loop = loop
        self._handlers = handlers
        self._states = states
        self._chance = chance
        self._stopping = stopping
        self._pace = Pace(store)

    def find(self, owed: Owed) -> Event | None:
        """Return a delivery's event; None if it is not owed any more.

        Raises:
            StoreError: the store cannot be read.
        """
        version = self._store.deliveries.version()
        if version != owed.version and not self._store.deliveries.still_owed(owed):
            return None
        try:
            event = owed.event or self._store.event(owed.event_id)
        except NotFoundError:
            why = "its event is gone"
        else:
            if not event.pruned:
                return event
            # Between the look of a replay and its commit.
            why = "the data of its event was dropped for its age"
        gone = Attempt(State.DISCARDED, owed.attempts, self.now(), reason=why)
        self._store.deliveries.record(owed, gone)
        return None

    def forget_old_calls(self, listener: Listener, subscription: int) -> None:
        """Drop what a throttled listener need not know any more of its calls."""
        self._pace.forget(listener, subscription, self.now())

    def instead(self, listener: Listener, owed: Owed, event: Event) -> Attempt | None:
        """Return what becomes of a delivery without a call; None if it is to be made.

        Raises:
            StoreError: the store cannot be read.
        """
        created = to_micros(event.created)
        return self._pace.instead(listener, owed, created, self.now())

    def enter(self, listener: Listener, started: Call) -> None:
        """Note that the function is entered, and when it will be stuck."""
        owed = started.owed
        started.slot = self._side_file.enter_delivery(owed.event_id, owed.subscription_id)
        if listener.timeout is not None:
            grace = ASYNC_GRACE if is_async(listener) else 0.0
            started.deadline = self._clock.boot() + listener.timeout + grace

    def make(
        self, listener: Listener, started: Call, event: Event
    ) -> tuple[Attempt | None, BaseException | None]:
        """Make an entered call; never raises.

        Returns:
            The result to record, None if it gave up as the agent stops, so that all is
            as before it; and what the listener raised, if anything.
        """
        attempt, error = self._make(listener, started, event)
        if attempt is not None:
            self._store.tally.attempt(listener.name, outcome_of(attempt))
        return attempt, error

    def _make(
        self, listener: Listener, started: Call, event: Event
    ) -> tuple[Attempt | None, BaseException | None]:
        attempts = started.owed.attempts
        error: BaseException | None = None
        memory: Memory | None = None
        try:
            memory = self._memory(listener)
            delivered = event.delivered(started.owed.key, started.owed.in_doubt)
            attempt, wanted = self._ended(listener, started, delivered, memory)
            attempt = self._remembered(listener, memory, attempt)
            if wanted:
                attempt = self._pace.called(listener, started.owed, attempt)
            return attempt, None
        except BaseException as raised:
            error = raised
            if isinstance(error, StoppedError) and self._stopping():
                return None, None
            # A plain function is not ended, so its bare TimeoutError is its own.
            if listener.timeout and is_async(listener) and _is_bare_timeout(error):
                error = TimeoutError(f"did not end within {listener.timeout:g} s")
            attempt = failed(error, listener.retry, attempts, self.now(), self._chance)
            if started.owed.in_doubt and not started.in_effect and attempt.state in OWED:
                attempt = replace(attempt, reason=IN_DOUBT)  # nothing has cleared it up
            _report(listener, started, attempt)
            return attempt, error
        finally:
            self.leave(started)

    def leave(self, started: Call) -> None:
        """Note that a call has ended or was handed back."""
        slot, started.slot = started.slot, None
        if slot is None:
            return
        if started.in_effect:
            self._side_file.leave_doubt(slot)
            started.doubt = slot
        else:
            self._side_file.leave(slot)

    def recorded(self, started: Call) -> None:
        """Note that the result of a call is stored, so that nothing is in doubt."""
        slot, started.doubt = started.doubt, None
        if slot is not None:
            self._side_file.leave(slot)

    def record_stuck(self, listener: Listener, started: Call) -> None:
        """Record that a call is past its timeout and still running."""
        what = "the event loop is blocked, or it" if is_async(listener) else "it"
        limit = f" after {listener.timeout:g} s" if listener.timeout else ""
        message = f"{what} does not end{limit}"
        log.error("%s is stuck on %s: %s", listener.name, started.owed.key, message,
                  extra=_about(listener, started))  # fmt: skip
        attempt = Attempt(
            State.RUNNING, started.owed.attempts + 1, self.now(), NEVER,
            started.owed.crashes, failure=Failure("Stuck", message),
            reason=IN_DOUBT if started.in_effect or started.owed.in_doubt else None,
        )  # fmt: skip
        self._store.deliveries.record(started.owed, attempt)

    def record_unended(self, listener: Listener, started: Call) -> None:
        """Record that a call did not end before the stop: a failed attempt, no crash."""
        self.leave(started)
        attempt = failed(
            NotEnded(), listener.retry, started.owed.attempts, self.now(), self._chance
        )
        _report(listener, started, attempt)
        self._store.tally.attempt(listener.name, outcome_of(attempt))
        if started.in_effect:
            attempt = replace(attempt, reason=IN_DOUBT)
        stored = partial(self.recorded, started)
        self._store.deliveries.record(started.owed, attempt, stored)

    def now(self) -> int:
        """Return the present in microseconds."""
        return to_micros(self._clock.now())

    def _ended(
        self, listener: Listener, started: Call, event: Event, memory: Memory | None
    ) -> tuple[Attempt, bool]:
        """Call the listener; return the result, and whether it has had its say."""
        owed = started.owed
        try:
            wanted = self._call(listener, started, event, memory)
        except Snooze as snooze:
            attempt = snoozed(snooze, owed.attempts, self.now())
            unclear = owed.in_doubt and not started.in_effect
            return replace(attempt, reason=IN_DOUBT) if unclear else attempt, False
        return completed(owed.attempts, self.now(), wanted), wanted

    def _call(
        self, listener: Listener, started: Call, event: Event, memory: Memory | None
    ) -> bool:
        """Call the listener; false if its `where` declined the event."""
        tokens = depth_of_publications.set(event.depth + 1), clock_of_call.set(self._clock)
        effect = partial(self._begin_effect, started)
        occasion = Occasion(memory, SIDE_BY_SIDE, begin_effect=effect)
        handler = self._handlers(listener.name, occasion)
        try:
            if listener.where is not None and not listener.where(event):
                return False
            offered = {"handler": handler, "event": event}
            asked = {name: offered[name] for name in listener.asks_for}
            for name, wanted in listener.settings.items():
                asked[name] = handler.settings(wanted)
            function = partial(listener.function, **{**asked, **listener.arguments})
            call(function, self._loop, listener.timeout)
            return True
        finally:
            handler.close()
            depth_of_publications.reset(tokens[0])
            clock_of_call.reset(tokens[1])

    def _begin_effect(self, started: Call) -> None:
        """Note that a call does what may not simply be repeated.

        Raises:
            StoppedError: the call was given up at the stop.
        """
        if started.slot is None:
            raise StoppedError("the agent has stopped; this call is not to go on")
        started.in_effect = True
        owed = started.owed
        self._side_file.begin_effect(started.slot, owed.event_id, owed.subscription_id)

    def _memory(self, listener: Listener) -> Memory | None:
        if listener.concurrency > 1 or "handler" not in listener.asks_for:
            return None
        return Memory(self._states.of_listener(listener.name))

    def _remembered(
        self, listener: Listener, memory: Memory | None, attempt: Attempt
    ) -> Attempt:
        """Return the attempt, and with it what its listener remembers from now on."""
        changed = None if memory is None else memory.changed()
        if memory is None or changed is None:
            return attempt
        if self._states.of_listener(listener.name) != memory.stored:
            log.warning("%s ended so late that its state has changed since; what this "
                        "call remembers is left out", listener.name)  # fmt: skip
            return attempt
        return replace(attempt, also=self._states.keep_listener(listener.name, changed))


def is_async(listener: Listener) -> bool:
    """Return whether a listener is a coroutine function."""
    return inspect.iscoroutinefunction(listener.function)


def _is_bare_timeout(error: BaseException) -> bool:
    return type(error) is TimeoutError and not error.args


def _about(listener: Listener, started: Call) -> dict[str, object]:
    return {"listener": listener.name, "delivery": started.owed.key}


def _report(listener: Listener, started: Call, attempt: Attempt) -> None:
    if attempt.failure is None:
        return
    sequel = ""
    if attempt.state is State.DISCARDED:
        told = attempt.reason == attempt.failure.message
        sequel = "; a dead letter now" + ("" if told else f" ({attempt.reason})")
    elif attempt.due:
        sequel = f"; next try in {(attempt.due - attempt.at) / 1_000_000:.1f} s"
    log.warning(
        "%s failed on delivery %s, attempt %d: %s%s",
        listener.name, started.owed.key, attempt.attempts,
        printable(str(attempt.failure)), printable(sequel),
        extra=_about(listener, started) | {"failure": attempt.failure},
    )  # fmt: skip
