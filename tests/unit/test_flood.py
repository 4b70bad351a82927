"""What is far more than usual: a pure decision."""

from __future__ import annotations

import pytest

from py_agent.flood import far_above
from py_agent.store.holding import held_job, held_reason, run_of, run_reason


@pytest.mark.parametrize(
    ("published", "limit"),
    [
        ([], None),
        ([500] * 4, None),
        ([1] * 5, 20),
        ([2] * 5, 20),
        ([3] * 5, 30),
        ([3, 3, 3, 3, 5_000], 30),
        ([1, 2, 3, 4, 4, 5], 35),
        ([100] * 50, 1_000),
    ],
)
def test_far_more_than_usual(published: list[int], limit: int | None) -> None:
    """It is ten times the median, 20 at least, and unknown with fewer than five runs."""
    assert far_above(published) == limit


@pytest.mark.parametrize("job", ["poll", "shop.poll", "run 7 of x", " of ", "a\nb"])
def test_a_reason_names_its_job(job: str) -> None:
    """Whatever a job is called, what is withheld of it is told from that of others."""
    assert run_of(run_reason(17, job)) == (17, job)
    assert held_job(held_reason(job)) == job
    assert run_of(held_reason(job)) is None
    assert held_job(run_reason(17, job)) is None


@pytest.mark.parametrize("reason", [None, "", "held", "in doubt", "not wanted"])
def test_other_reasons_name_no_job(reason: str | None) -> None:
    """Given a reason of something else, Then it belongs to no job."""
    assert run_of(reason) is None and held_job(reason) is None
