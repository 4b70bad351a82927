"""What a finished try means for its delivery: a pure decision."""

from __future__ import annotations

import random

from .errors import EchoError, HttpError, StoppedError, StorageFault
from .failures import Failure, failure_of
from .retry import Discard, Pause, Retry, RetryPolicy, Snooze, StopAgent
from .store.deliveries import Attempt
from .store.subscriptions import NEVER
from .store.tables import SNOOZED, State

SECOND = 1_000_000  # microseconds

SHORTEST = 1.0  # seconds of a snooze, so that a listener cannot keep itself busy

NOT_WANTED = "not wanted"  # the reason of a delivery that `where` declined


class NotEnded(Exception):
    """A call did not end before the stop."""

    def __init__(self) -> None:
        super().__init__("did not end before stop")


def completed(attempts: int, now: int, wanted: bool = True) -> Attempt:
    """Return the result of a call that returned.

    Args:
        attempts: counted tries before this one.
        now: the present in microseconds.
        wanted: false when `where` declined the event.
    """
    if wanted:
        return Attempt(State.COMPLETED, attempts + 1, now)
    return suppressed(attempts, now, NOT_WANTED)


def suppressed(attempts: int, now: int, reason: str) -> Attempt:
    """Return the result of a delivery that is completed without a call.

    Args:
        attempts: counted tries so far.
        now: the present in microseconds.
        reason: why there is none.
    """
    return Attempt(State.COMPLETED, attempts, now, reason=reason)


def put_off(attempts: int, now: int, due: int) -> Attempt:
    """Return the result of a delivery that waits without a failure.

    Args:
        attempts: counted tries so far.
        now: the present in microseconds.
        due: when it is looked at again, likewise.
    """
    # A due time of 0 would mean "new".
    ahead = min(NEVER - 1, max(now + 1, due))
    return Attempt(State.RETRYABLE, attempts, now, ahead, reason=SNOOZED)


def snoozed(snooze: Snooze, attempts: int, now: int) -> Attempt:
    """Return the result of a call that raised Snooze.

    Args:
        snooze: what it raised.
        attempts: counted tries before this one.
        now: the present in microseconds.
    """
    return put_off(attempts, now, now + round(max(snooze.after, SHORTEST) * SECOND))


def failed(
    error: BaseException,
    policy: RetryPolicy,
    attempts: int,
    now: int,
    chance: random.Random,
) -> Attempt:
    """Return the result of a call that raised.

    Args:
        error: what it raised.
        policy: the listener's retry policy.
        attempts: counted tries before this one.
        now: the present in microseconds.
        chance: draws the jitter.
    """
    failure = failure_of(error)
    if isinstance(error, (Pause, StopAgent)):
        return Attempt(State.AVAILABLE, attempts, now)
    if isinstance(error, (Discard, EchoError)):
        return _dead(attempts + 1, now, failure.message, failure)
    counts = error.count if isinstance(error, Retry) else not _is_ours(error)
    tried = attempts + 1 if counts else attempts
    if counts and policy.gives_up(tried):
        tries = "1 attempt" if tried == 1 else f"{tried} attempts"
        return _dead(tried, now, f"gave up after {tries}", failure)
    asked = error.after if isinstance(error, Retry) else None
    delay = policy.delay(max(1, tried), chance) if asked is None else asked
    if isinstance(error, HttpError) and error.retry_after is not None:
        delay = max(delay, error.retry_after)  # as the server asked
    # At least one microsecond ahead: a due time of 0 means "never failed".
    due = min(NEVER - 1, now + max(1, round(delay * SECOND)))
    return Attempt(State.RETRYABLE, tried, now, due, failure=failure)


def outcome_of(attempt: Attempt) -> str:
    """Return in one word how a call ended, for who counts them."""
    if attempt.failure is not None:
        return "discarded" if attempt.state is State.DISCARDED else "failed"
    if attempt.state is State.COMPLETED:
        return "completed"
    return "snoozed" if attempt.reason == SNOOZED else "paused"


def _is_ours(error: BaseException) -> bool:
    """Whether the store or the stop is to blame, and not the listener."""
    return isinstance(error, (StorageFault, StoppedError))


def _dead(attempts: int, now: int, reason: str, failure: Failure) -> Attempt:
    return Attempt(State.DISCARDED, attempts, now, reason=reason, failure=failure)
