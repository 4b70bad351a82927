"""What a process has done, counted."""

from __future__ import annotations

from collections import Counter

from py_agent.tally import MOST_TYPES, OTHERS, Tally


def test_a_batch_is_counted_by_type() -> None:
    """New ones and duplicates apart."""
    tally = Tally()
    tally.published_many(["a", "b", "a"], Counter({"a": 1, "b": 1}))
    assert tally.counts("publications") == {
        ("a", "new"): 1, ("a", "duplicate"): 1, ("b", "new"): 1, ("b", "duplicate"): 0,
    }  # fmt: skip


def test_event_types_do_not_grow_for_ever() -> None:
    """A publisher that makes up types fills no memory, and no disk of Prometheus."""
    tally = Tally()
    for number in range(MOST_TYPES + 50):
        tally.published(f"t{number}", 1, 0)
    tally.published("t0", 1, 0)
    counts = tally.counts("publications")
    assert len({event_type for event_type, _ in counts}) == MOST_TYPES + 1
    assert (counts["t0", "new"], counts[OTHERS, "new"]) == (2, 50)
