"""Every database: a query and the compiled filter always agree."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_agent.events import Event
from py_agent.filters import compile_filter
from py_agent.store.event_store import EventStore
from py_agent.store.queries import PAGE
from py_agent.testing import FakeClock

from .support import EVERY, PROPERTY, identities

_START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
_numbers = itertools.count()

_words = st.sampled_from(["a", "A", "b", "ab", "a b", "\u00e9", "e\u0301", "%", "_", "1"])
_scalars = st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-2, 2) | _words
_data = st.none() | st.lists(_scalars, max_size=3) | st.dictionaries(
    st.sampled_from(["x", "y", "0"]), _scalars | st.lists(_scalars, max_size=2), max_size=3
)  # fmt: skip
_moments = st.integers(-3, 3).map(lambda n: _START + timedelta(seconds=n))
_zoned = st.builds(
    lambda moment, hours: moment.astimezone(timezone(timedelta(hours=hours))),
    _moments,
    st.integers(-12, 14),
)
_naive = _moments.map(lambda moment: moment.replace(tzinfo=None).isoformat())
_events = st.lists(
    st.tuples(_words, _words, _data, st.none() | _words, st.integers(0, 3)), max_size=6
)


def _terms(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, Any]]:
    return st.one_of(
        st.tuples(st.sampled_from(["==", "!=", "contains"]), values),
        st.tuples(st.sampled_from(["in", "not in"]), st.lists(values, max_size=3)),
        st.tuples(st.sampled_from(["<", "<=", ">", ">="]), _words),
        st.tuples(st.sampled_from(["startswith", "endswith"]), _words),
        st.tuples(st.just("like"), st.sampled_from(["*", "a*", "?", "[ab]", "%"])),
        st.tuples(st.just("exists"), st.booleans()),
    )


_created = st.one_of(
    st.tuples(
        st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), _moments | _zoned | _naive
    ),
    st.tuples(st.just("exists"), st.booleans()),
)
_filters = st.fixed_dictionaries(
    {},
    optional={
        "event_type": _terms(_words),
        "identifier": _terms(_words),
        "source": _terms(_words),
        "created": _created,
        "data.x": _terms(_scalars),
        "data.0": _terms(_scalars),
    },
)


def _publish(store: EventStore, clock: FakeClock, offered: list[Any]) -> list[Event]:
    """Publish random events, each as if by its own source at its own moment."""
    made = []
    for event_type, identifier, data, source, seconds in offered:
        clock.set_wall_clock(_START + timedelta(seconds=seconds))
        answer = store.publish(event_type, identifier, data, source=source)
        if answer.new:
            made.append(answer.event)
    return made


@PROPERTY
@given(offered=_events, match=_filters)
def test_a_query_agrees_with_the_filter(
    store: EventStore, clock: FakeClock, offered: list[Any], match: Any
) -> None:
    """A query returns just the stored events that the compiled filter matches."""
    _publish(store, clock, offered)
    condition = compile_filter(match)

    found = [event.id for event in store.query(condition)]

    every = list(store.query(EVERY))
    assert found == [event.id for event in every if condition.matches(event)]


@PROPERTY
@given(offered=_events, match=_filters)
def test_a_filter_says_the_same_before_and_after_storing(
    store: EventStore, clock: FakeClock, offered: list[Any], match: Any
) -> None:
    """A listener and a query decide alike: on the event as made, and as read back."""
    condition = compile_filter(match)
    made = _publish(store, clock, [(f"{next(_numbers)}", *rest) for _, *rest in offered])

    for event in made:
        assert condition.matches(event) == condition.matches(store.event(event.id))


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
def test_a_query_reads_over_its_pages(store: EventStore, count: int) -> None:
    """Each event comes once and in order, wherever the last page ends."""
    store.publish_many(("order", str(n), None) for n in range(count))

    found = [int(event.identifier) for event in store.query(EVERY)]

    assert found == list(range(count))


def test_a_query_lets_others_publish(store: EventStore) -> None:
    """Publishing between two results of a query neither blocks nor ends it."""
    store.publish_many(("order", str(n), None) for n in range(3))

    for event in store.query(EVERY):
        if len(event.identifier) == 1:
            store.publish("answer", f"to {event.identifier}")

    assert ("answer", "to 2") in identities(store)


@pytest.mark.parametrize("field", ["event_type", "identifier", "source"])
@pytest.mark.parametrize("value", ["\ud800", "a\0b", "a\0", ""])
def test_a_text_that_no_event_can_have_finds_nothing(
    store: EventStore, field: str, value: str
) -> None:
    """A filter on a text that cannot be stored finds nothing, as no event matches it."""
    store.publish("a", "a", source="a")

    assert identities(store, compile_filter({field: ("==", value)})) == []
    assert identities(store, compile_filter({field: ("!=", value)})) == [("a", "a")]


def test_a_very_long_choice_is_answered(store: EventStore) -> None:
    """`in` with more values than a statement can bind still agrees with the filter."""
    store.publish_many([("order", "7", None), ("order", "x", None)])
    choice = [str(n) for n in range(300_000)]

    assert identities(store, compile_filter({"identifier": ("in", choice)})) == [
        ("order", "7")
    ]
