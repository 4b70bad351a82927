"""Strategies for JSON, filters and events: few small values, so that they meet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from py_agent.events import Event
from py_agent.filters import Match

Values = st.SearchStrategy[Any]

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), FLOATS, st.text())
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)

WORDS = st.sampled_from(["a", "b", "ab", ""])
NAMES = st.sampled_from(["a", "b", "ab"])
NUMBERS = st.sampled_from([0, 1, 2, 0.5, 1.0])
SMALL = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
)
DATA = SMALL | JSON
VALUES = SMALL | SCALARS
MOMENTS = st.integers(0, 3).map(lambda n: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(n))
EVENTS: st.SearchStrategy[Event] = st.builds(
    Event, NAMES, NAMES, st.dictionaries(NAMES, SMALL) | SMALL,
    created=MOMENTS, source=st.none() | NAMES,
)  # fmt: skip


def _terms(field: str) -> Values:
    """Return a strategy for the terms that fit a field."""
    values: Values = SMALL
    ordered: Values = NUMBERS | WORDS
    if field == "created":
        values = ordered = MOMENTS
    elif not field.startswith("data."):
        values = ordered = WORDS
    kinds = [
        st.tuples(st.sampled_from(["==", "!="]), values),
        st.tuples(st.sampled_from(["in", "not in"]), st.lists(values, max_size=3)),
        st.tuples(st.sampled_from(["<", "<=", ">", ">="]), ordered),
        st.tuples(st.just("exists"), st.booleans()),
    ]
    if field != "created":
        patterns = st.sampled_from(["a", "", "*", "a*", "?", "[ab]"])
        texts = st.sampled_from(["startswith", "endswith", "like"])
        kinds += [st.tuples(st.just("contains"), values), st.tuples(texts, patterns)]
    return st.one_of(kinds)


FIELDS = (
    "event_type", "identifier", "source", "created", "data.a", "data.b.a", "data.a.0",
)  # fmt: skip
MATCHES: st.SearchStrategy[Match] = st.fixed_dictionaries(
    {}, optional={field: _terms(field) for field in FIELDS}
)
