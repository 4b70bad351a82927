"""What is far more than usual: a pure decision."""

from __future__ import annotations

import pytest

from py_agent.flood import far_above


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
