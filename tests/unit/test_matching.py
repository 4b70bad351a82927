"""Matching: the index says what asking every filter would say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_agent.errors import FilterError
from py_agent.events import Event
from py_agent.filters import Match, compile_filter
from py_agent.matching import Index, check_ordering, order_key

from .strategies import EVENTS, MATCHES


def index(*matches: Match) -> Index[int]:
    """Return an index of filters under their positions."""
    return Index([(compile_filter(match), n) for n, match in enumerate(matches)])


@given(st.lists(MATCHES, max_size=8), EVENTS)
def test_the_index_agrees_with_asking_every_filter(
    matches: list[Match], event: Event
) -> None:
    """Faster, and nothing else: the same answers in the same order, each once."""
    one_by_one = [
        n for n, match in enumerate(matches) if compile_filter(match).matches(event)
    ]
    assert index(*matches).matching(event) == one_by_one


@given(st.lists(MATCHES, max_size=8), EVENTS)
def test_a_type_that_is_not_wanted_matches_nothing(
    matches: list[Match], event: Event
) -> None:
    """The quick answer never hides a listener."""
    found = index(*matches)
    assert found.wants_type(event.event_type) or not found.matching(event)


def test_a_type_that_no_filter_names_is_not_wanted() -> None:
    """Publishing it costs no further look."""
    assert not index({"event_type": ("==", "a")}).wants_type("b")


def test_a_filter_without_a_type_wants_every_type() -> None:
    """It has to be asked."""
    assert index({"data.a": ("==", 1)}).wants_type("anything")


@pytest.mark.parametrize(
    ("wanted", "data", "found"),
    [
        (1, 1.0, True),
        (1, True, False),
        (True, True, True),
        (True, 1, False),
        (None, None, True),
    ],
)
def test_the_index_knows_that_true_is_no_number(
    wanted: Any, data: Any, found: bool
) -> None:
    """Its keys are equal where the JSON values are."""
    lookup = index({"event_type": ("==", "t"), "data.a": ("==", wanted)})
    assert bool(lookup.matching(Event("t", "1", {"a": data}))) is found


def test_a_value_named_twice_matches_once() -> None:
    """A listener is owed an event once, however its filter is written."""
    lookup = index({"event_type": ("in", ["t", "t"]), "data.a": ("in", [1, 1.0, 1])})
    assert lookup.matching(Event("t", "1", {"a": 1})) == [0]


EVENT = Event("t", "1", {"run": {"id": 7, "parts": ["x"]}, "nothing": None})


@pytest.mark.parametrize(
    ("ordered_by", "paths"),
    [
        (None, ()),
        ("data.run.id", ("data.run.id",)),
        (["identifier", "source"], ("identifier", "source")),
        ((), ()),
    ],
)
def test_an_ordering_is_one_path_or_several(
    ordered_by: Any, paths: tuple[str, ...]
) -> None:
    """A single path needs no tuple."""
    assert check_ordering(ordered_by) == paths


@pytest.mark.parametrize(
    "ordered_by",
    ["", "run", "data", "data.", ["data.a", "b"], 5, [5], "~", "~run", "~~data.a"],
)
def test_an_ordering_that_names_no_field_is_refused(ordered_by: Any) -> None:
    """The mistake shows when it is written."""
    with pytest.raises(FilterError):
        check_ordering(ordered_by)


def test_the_order_key_is_the_list_of_values() -> None:
    """Values of several paths cannot run into each other."""
    assert json.loads(order_key(("data.run.id", "event_type"), EVENT) or "") == [7, "t"]


@pytest.mark.parametrize(
    "ordering", [(), ("data.other",), ("data.nothing",), ("event_type", "source")]
)
def test_an_event_without_the_value_is_unordered(ordering: tuple[str, ...]) -> None:
    """There is nothing to keep it in order with."""
    assert order_key(ordering, EVENT) is None


@given(EVENTS, EVENTS, st.sampled_from(["event_type", "identifier", "created", "data.a"]))
def test_events_with_different_values_have_different_keys(
    left: Event, right: Event, path: str
) -> None:
    """A key never holds back an event that has nothing to do with it."""
    keys = order_key((path,), left), order_key((path,), right)
    if None not in keys and keys[0] == keys[1]:
        value = compile_filter({path: ("exists", True)}).clauses[0].extract
        assert value(left) == value(right)
    else:
        assert keys[0] is None or keys[0] != keys[1]


@pytest.mark.parametrize(
    ("left", "right"),
    [("r1", "R1"), ("rune", "run\u00e9"), ("r1", " r1 "), ("stra\u00dfe", "STRASSE")],
)
def test_a_folded_path_takes_like_texts_for_equal(left: str, right: str) -> None:
    """Given texts that a database takes for one key, Then their order is kept, too."""
    one, other = Event("t", "1", {"k": left}), Event("t", "2", {"k": right})
    assert order_key(("~data.k",), one) == order_key(("~data.k",), other)
    assert order_key(("data.k",), one) != order_key(("data.k",), other)


@pytest.mark.parametrize(("left", "right"), [("r1", "r2"), ("1", 1), ("a b", "ab")])
def test_a_folded_path_keeps_others_apart(left: object, right: object) -> None:
    """Given texts that are different keys anywhere, Then neither waits for the other."""
    one, other = Event("t", "1", {"k": left}), Event("t", "2", {"k": right})
    assert order_key(("~data.k",), one) != order_key(("~data.k",), other)


def test_objects_with_the_same_members_have_one_key() -> None:
    """The order of an object's members means nothing in JSON."""
    one = Event("t", "1", {"k": {"a": 1, "b": 2}})
    other = Event("t", "2", {"k": {"b": 2, "a": 1}})
    assert order_key(("data.k",), one) == order_key(("data.k",), other)
