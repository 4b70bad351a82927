"""Retry: durations, backoff, and what a listener may ask for by raising."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_agent.errors import AgentError, UsageError
from py_agent.retry import LONGEST, Discard, Pause, Retry, RetryPolicy, seconds

DURATIONS = st.one_of(
    st.integers(0), st.floats(0, allow_infinity=False, allow_nan=False),
    st.timedeltas(timedelta(0)),
)  # fmt: skip
POLICIES = st.builds(
    RetryPolicy,
    attempts=st.none() | st.integers(1, 10**6),
    first=DURATIONS,
    factor=st.floats(1, allow_infinity=False) | st.integers(1, 10**6),
    cap=DURATIONS,
)
FAILURES = st.integers(0, 10**9)


@given(DURATIONS)
def test_a_duration_is_a_number_that_every_timer_takes(value: Any) -> None:
    """Whatever is asked for, a century is the longest."""
    assert 0 <= seconds(value) <= LONGEST


@pytest.mark.parametrize(
    ("value", "result"),
    [(0, 0.0), (1.5, 1.5), (timedelta(minutes=1), 60.0), (timedelta.max, LONGEST)],
)
def test_a_duration_is_seconds_or_a_timedelta(value: Any, result: float) -> None:
    """Both ways to write a duration mean the same."""
    assert seconds(value) == result


@pytest.mark.parametrize(
    "value", [-1, -0.1, timedelta(-1), float("nan"), float("inf"), True, "5", None, [1]]
)
def test_what_is_no_duration_is_refused_by_name(value: Any) -> None:
    """The error names the argument, so that the user finds it."""
    with pytest.raises(UsageError, match="^timeout must"):
        seconds(value, "timeout")


@given(POLICIES, FAILURES, st.randoms(use_true_random=False))
def test_the_wait_is_never_longer_than_its_ceiling(
    policy: RetryPolicy, failures: int, chance: random.Random
) -> None:
    """Jitter only shortens, and the cap holds however often it failed."""
    wait = policy.delay(failures, chance)
    assert 0 <= wait <= policy.ceiling(failures) <= seconds(policy.cap)


@given(POLICIES, FAILURES)
def test_the_ceiling_never_falls(policy: RetryPolicy, failures: int) -> None:
    """Each failure waits at least as long as the one before."""
    assert policy.ceiling(failures) <= policy.ceiling(failures + 1)


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    """The default backoff, as it is documented."""
    policy = RetryPolicy(first=1, factor=2, cap=5)
    assert [policy.ceiling(n) for n in (1, 2, 3, 4, 5)] == [1, 2, 4, 5, 5]


@pytest.mark.parametrize("factor", [1, 2, 2.0])
def test_no_wait_stays_no_wait_however_often_it_failed(factor: float) -> None:
    """`first=0` asks for immediate retries for ever."""
    policy = RetryPolicy(attempts=None, first=0, factor=factor)
    assert policy.ceiling(5_000) == 0


def test_waits_that_begin_together_end_apart(chance: random.Random) -> None:
    """Full jitter keeps deliveries that failed together from coming back together."""
    policy = RetryPolicy(first=100)
    waits = {policy.delay(1, chance) for _ in range(50)}
    assert len(waits) == 50


@given(st.integers(1, 1_000), st.integers(0, 2_000))
def test_a_policy_gives_up_after_its_attempts(attempts: int, tried: int) -> None:
    """`attempts` counts tries in all, the first one included."""
    assert RetryPolicy(attempts=attempts).gives_up(tried) == (tried >= attempts)


def test_a_policy_without_a_limit_never_gives_up() -> None:
    """None means for ever."""
    assert not RetryPolicy(attempts=None).gives_up(10**9)


@pytest.mark.parametrize(
    "values",
    [
        {"attempts": 0}, {"attempts": -1}, {"attempts": 1.5}, {"attempts": True},
        {"attempts": "3"}, {"first": -1}, {"first": None}, {"cap": "1"},
        {"cap": float("nan")}, {"factor": 0.5}, {"factor": float("inf")},
        {"factor": float("nan")}, {"factor": "2"}, {"factor": None},
    ],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused_by_name(values: dict[str, Any]) -> None:
    """The mistake shows when the policy is written, not at the first failure."""
    with pytest.raises(UsageError, match=rf"RetryPolicy\({next(iter(values))}="):
        RetryPolicy(**values)


def test_policies_with_equal_values_are_equal() -> None:
    """A duration may be written either way."""
    assert RetryPolicy(first=60) == RetryPolicy(first=timedelta(minutes=1))


@pytest.mark.parametrize("ask", [Retry, lambda after: Pause("why", after)])
@pytest.mark.parametrize(("after", "wait"), [(None, None), (timedelta(hours=1), 3600.0)])
def test_a_request_says_after_how_long(ask: Any, after: Any, wait: float | None) -> None:
    """Seconds or timedelta, or the policy's own wait."""
    assert ask(after=after).after == wait


@pytest.mark.parametrize("ask", [Retry, lambda after: Pause("why", after)])
def test_a_request_with_a_wrong_wait_is_refused(ask: Any) -> None:
    """The listener's mistake is named as such."""
    with pytest.raises(UsageError, match=r"after=\.\.\.\)"):
        ask(after=-1)


def test_a_retry_counts_unless_told() -> None:
    """A listener that waits for someone else may ask for tries that do not count."""
    assert Retry().count
    assert not Retry(count=False).count


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (Retry(reason="busy"), "busy"),
        (Retry(), "it asked to be tried again later"),
        (Discard("not for us"), "not for us"),
        (Discard(), "the listener discarded it"),
        (Pause("no paper"), "no paper"),
    ],
)
def test_a_request_carries_its_reason(request_: Exception, text: str) -> None:
    """What is recorded is what the listener said."""
    assert str(request_) == text


@pytest.mark.parametrize("request_", [Retry, Discard, Pause])
def test_a_request_is_no_error_of_ours(request_: type[Exception]) -> None:
    """`except AgentError` in a listener does not swallow its own request."""
    assert not issubclass(request_, AgentError)
