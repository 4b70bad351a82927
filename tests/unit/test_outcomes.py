"""Outcomes: what a finished try means for its delivery."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_agent.clock import from_micros
from py_agent.errors import (
    EchoError,
    EventError,
    HttpError,
    StoppedError,
    StorageFault,
)
from py_agent.outcomes import NOT_WANTED, SECOND, NotEnded, completed, failed
from py_agent.retry import Discard, Pause, Retry, RetryPolicy
from py_agent.store.attempts import Attempt
from py_agent.store.subscriptions import NEVER
from py_agent.store.tables import State

NOW = 1_767_614_400 * SECOND
ERRORS = st.sampled_from(
    [
        ValueError("bad"), SystemExit(1), KeyboardInterrupt(), StorageFault("full"),
        StoppedError("stopped"), EchoError("echo"), NotEnded(), Discard("no"),
        Retry(), Retry(after=5), Retry(count=False), Pause("why"), Pause("why", after=5),
    ]
)  # fmt: skip


def tried(
    error: BaseException, attempts: int = 0, policy: RetryPolicy | None = None
) -> Attempt:
    """Return the result of a call that raised."""
    return failed(error, policy or RetryPolicy(), attempts, NOW, random.Random(1))


def test_a_call_that_returned_is_completed_and_counted() -> None:
    """The delivery is done."""
    assert completed(2, NOW) == Attempt(State.COMPLETED, 3, NOW)


def test_a_delivery_that_is_not_wanted_is_completed_without_an_attempt() -> None:
    """`where` said no, so the function was never called."""
    assert completed(2, NOW, wanted=False) == Attempt(
        State.COMPLETED, 2, NOW, reason=NOT_WANTED
    )


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(1), NotEnded()])
def test_an_error_is_retried_with_its_failure_kept(error: BaseException) -> None:
    """Even SystemExit is only a failed attempt."""
    attempt = tried(error)
    assert (attempt.state, attempt.attempts) == (State.RETRYABLE, 1)
    assert attempt.failure is not None
    assert attempt.failure.kind == type(error).__name__


def test_the_last_attempt_makes_a_dead_letter() -> None:
    """It says after how many tries, and keeps the last error."""
    attempt = tried(ValueError("bad"), attempts=2, policy=RetryPolicy(attempts=3))
    assert (attempt.state, attempt.attempts) == (State.DISCARDED, 3)
    assert attempt.reason == "gave up after 3 attempts"
    assert attempt.failure is not None


def test_one_attempt_means_no_retry() -> None:
    """`attempts=1` is tried once."""
    assert tried(ValueError(), policy=RetryPolicy(attempts=1)).state is State.DISCARDED


@pytest.mark.parametrize(
    "error", [StorageFault("full"), StoppedError("stopped"), Retry(count=False)]
)
def test_what_is_not_the_listeners_fault_does_not_count(error: BaseException) -> None:
    """A full disk for a week makes no dead letters."""
    attempt = tried(error, attempts=9)
    assert (attempt.state, attempt.attempts) == (State.RETRYABLE, 9)


def test_a_refused_event_counts() -> None:
    """Publishing nonsense is the listener's own mistake."""
    assert tried(EventError("data is nan")).attempts == 1


@pytest.mark.parametrize("error", [Discard("not for us"), EchoError("too many echoes")])
def test_a_request_to_discard_makes_a_dead_letter_at_once(error: Exception) -> None:
    """Trying again would not help."""
    attempt = tried(error)
    assert (attempt.state, attempt.attempts) == (State.DISCARDED, 1)
    assert attempt.reason == str(error)


def test_a_pause_gives_the_delivery_back_uncounted() -> None:
    """It is tried again first when the listener goes on."""
    assert tried(Pause("why"), attempts=4) == Attempt(State.AVAILABLE, 4, NOW)


def test_a_retry_is_due_when_the_listener_asked() -> None:
    """Its own wait wins over the policy's."""
    assert tried(Retry(after=7)).due == NOW + 7 * SECOND


@given(st.integers(0, 8))
def test_a_retry_is_due_within_the_policys_ceiling(attempts: int) -> None:
    """The wait grows with the counted attempts."""
    attempt = tried(ValueError(), attempts)
    ceiling = RetryPolicy().ceiling(attempts + 1) * SECOND
    assert NOW < attempt.due <= NOW + max(1, ceiling)


@pytest.mark.parametrize("error", [Retry(after=0), ValueError()])
def test_a_retry_is_never_due_at_once(error: Exception) -> None:
    """A due time of now or 0 would read as "never failed"."""
    assert tried(error, policy=RetryPolicy(first=0)).due == NOW + 1


@pytest.mark.parametrize("after", [timedelta.max, 1e300])
def test_a_retry_in_ages_is_a_moment_that_can_be_stored_and_shown(
    after: float | timedelta,
) -> None:
    """A listener that asks for an absurd wait breaks neither the store nor a list."""
    attempt = tried(Retry(after=after))
    assert attempt.due < NEVER
    assert from_micros(attempt.due) > from_micros(NOW)


@given(ERRORS, st.integers(0, 20), st.none() | st.integers(1, 20))
def test_every_error_ends_in_one_of_three_states(
    error: BaseException, attempts: int, most: int | None
) -> None:
    """A failed delivery is retried, dead with a reason, or available; never completed."""
    attempt = tried(error, attempts, RetryPolicy(attempts=most))
    assert attempt.attempts in (attempts, attempts + 1)
    assert attempt.crashes == 0
    if attempt.state is State.RETRYABLE:
        assert NOW < attempt.due < NEVER
    elif attempt.state is State.DISCARDED:
        assert attempt.reason
        assert attempt.failure is not None
    else:
        assert attempt.state is State.AVAILABLE
        assert isinstance(error, Pause)


def test_a_call_that_did_not_end_says_so() -> None:
    """The words that people find in the store after a stop."""
    failure = tried(NotEnded()).failure
    assert str(failure) == "NotEnded: did not end before stop"


def test_a_server_that_asks_to_wait_is_left_alone_for_so_long() -> None:
    """Its own wait is the least, whatever the policy would draw."""
    attempt = tried(HttpError("busy", status=429, retry_after=600), policy=RetryPolicy())
    assert attempt.due >= NOW + 600 * SECOND
