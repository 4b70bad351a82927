"""What a report draws: sums are kept, quantiles are about right, backlogs add up."""

from __future__ import annotations

import random
from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_agent.cli.report.shapes import (
    LENGTHS,
    Latency,
    added,
    backlogs,
    latencies,
    quantile,
    say_length,
    series,
    strips,
)

BINS = 5
COUNTED = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.integers(-1, BINS),
        st.integers(1, 10**6),
    )
)


def counts_of(lengths: list[int]) -> list[int]:
    """Return how many lengths fall into each bin, as the database counts them."""
    counts = [0] * (len(LENGTHS) - 1)
    for length in lengths:
        counts[min(bisect_right(LENGTHS, length) - 1, len(counts) - 1)] += 1
    return counts


@given(COUNTED)
def test_no_event_is_lost_in_a_series(found: list[tuple[str | None, int, int]]) -> None:
    """Given counted events, When made series, Then all sums are theirs."""
    rows = series(found, ["b", "a"], BINS)
    assert [each.name for each in rows][:2] == ["b", "a"]
    assert added(rows).total == sum(count for _, _, count in found)
    for each in rows:
        assert each.total == sum(count for name, _, count in found if name == each.name)


def test_jobs_with_trouble_come_first() -> None:
    """Given runs, When made strips, Then who fails most is first, and skips are no runs."""
    cells = [("fine", 0, "completed", 9), ("ill", 1, "failed", 2)]
    sums = [("fine", "completed", 9, 4, 5, 0), ("ill", "failed", 2, 0, 0, 0),
            ("ill", "skipped", 1, 0, 0, 7)]  # fmt: skip
    ill, fine = strips(cells, sums, [("fine", 3, None)], BINS)
    assert (ill.job, ill.runs, ill.troubles, ill.skips) == ("ill", 2, 2, 7)
    assert ill.counts(1) == {"failed": 2} and ill.counts(0) == {}
    assert (fine.published, fine.duplicates, fine.spans) == (4, 5, [(3, None)])


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_quantile_is_about_right(share: float) -> None:
    """Given many lengths, When a quantile is read off bins, Then it is right to 12%."""
    chance = random.Random(5)
    lengths = [int(chance.lognormvariate(13, 2)) + 1_000 for _ in range(5_000)]
    exact = sorted(lengths)[int(share * len(lengths)) - 1]
    assert quantile(counts_of(lengths), share) == pytest.approx(exact, rel=0.12)


@given(st.lists(st.integers(0, 2**60), min_size=1))
def test_quantiles_are_in_order(lengths: list[int]) -> None:
    """Given any lengths, When quantiles are read, Then half is not more than most."""
    counts = counts_of(lengths)
    half, most = quantile(counts, 0.5), quantile(counts, 0.95)
    assert half is not None and most is not None and 0 <= half <= most
    assert sum(Latency("a", counts, 0, 0).bars()) == len(lengths)


def test_no_deliveries_have_no_quantile() -> None:
    """Given nothing, When a quantile is asked for, Then there is none."""
    assert quantile(counts_of([]), 0.5) is None


def test_what_ended_before_it_began_is_counted_apart() -> None:
    """Given a clock that was set back, When lengths are read, Then those are left out."""
    (found,) = latencies([(1, -1, 3, -5), (1, 0, 2, 9)], {1: "a"})
    assert (found.total, found.backward, found.longest) == (2, 3, 9)


def test_a_backlog_adds_up() -> None:
    """Given beginnings and ends, When added up, Then each step has what was owed then."""
    found = [(1, -1, 1, 4), (1, 0, 0, 9), (1, 2, None, 5), (2, 1, 1, 3)]
    first, second = backlogs(found, {1: "a", 2: "b"}, 4)
    assert (first.listener, first.owed) == ("a", [4, 0, 5, 5])
    assert (second.listener, second.owed) == ("b", [0, 0, 0, 0])
    assert (first.peak, first.peak_step) == (5, 2)


@given(
    st.lists(
        st.tuples(st.just(1), st.integers(-1, 9), st.integers(0, 9) | st.none(),
                  st.integers(1, 99)).filter(lambda row: row[2] is None or row[1] <= row[2])
    )
)  # fmt: skip
def test_a_backlog_is_never_below_zero(
    found: list[tuple[int, int, int | None, int]],
) -> None:
    """Given any deliveries, When added up, Then none is owed before it began."""
    for each in backlogs(found, {}, 10):
        assert min(each.owed) >= 0
        assert each.owed[-1] == sum(row[3] for row in found if row[2] is None)


@pytest.mark.parametrize(
    ("micros", "told"),
    [(0, "under 1 ms"), (1_000, "1 ms"), (12_345, "12 ms"), (999_900, "1 s"),
     (1_240_000, "1.2 s"), (59_999_999, "1 min"), (3_600_000_000, "1 h"),
     (86_400_000_000 * 3, "3 days"), (None, "")],
)  # fmt: skip
def test_a_length_is_said_in_one_unit(micros: float | None, told: str) -> None:
    """Given a length, When said, Then it has one unit and no false precision."""
    assert say_length(micros) == told
