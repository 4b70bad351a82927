"""Filters: checked when written, and the same answer for the same JSON value."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_agent.errors import FilterError
from py_agent.events import Event
from py_agent.filters import OPERATORS, Match, compile_filter, parse_filter

from .strategies import DATA, EVENTS, MATCHES, VALUES

MOMENT = datetime(2026, 1, 2, 12, tzinfo=UTC)


def event(data: Any = None, source: str | None = None) -> Event:
    """Return an event."""
    return Event("order", "42", data, created=MOMENT, source=source)


def matches(field: str, operator: str, value: Any, data: Any = None) -> bool:
    """Return whether one clause holds for an event with the data."""
    return compile_filter({field: (operator, value)}).matches(event(data, "here"))


@given(DATA, VALUES)
def test_not_equal_is_the_opposite_of_equal(data: Any, value: Any) -> None:
    """One of the two holds, whatever the values are, missing ones included."""
    equal = matches("data.a", "==", value, {"a": data})
    assert matches("data.a", "!=", value, {"a": data}) is not equal
    assert matches("data.b", "!=", value, {"a": data})


@given(DATA, st.lists(VALUES, max_size=4))
def test_not_in_is_the_opposite_of_in(data: Any, values: list[Any]) -> None:
    """One of the two holds, whatever the values are, missing ones included."""
    among = matches("data.a", "in", values, {"a": data})
    assert matches("data.a", "not in", values, {"a": data}) is not among
    assert matches("data.b", "not in", values, {"a": data})


@given(DATA, st.lists(VALUES, max_size=4))
def test_in_is_equal_to_one_of_them(data: Any, values: list[Any]) -> None:
    """`in` and `==` agree on what is equal."""
    single = any(matches("data.a", "==", value, {"a": data}) for value in values)
    assert matches("data.a", "in", values, {"a": data}) is single


@given(DATA)
def test_a_value_is_equal_to_itself(value: Any) -> None:
    """And so it is in a list with itself."""
    assert matches("data.a", "==", value, {"a": value})
    assert matches("data.a", "in", [value], {"a": value})
    assert matches("data.a", "contains", value, {"a": [value]})


@given(MATCHES, EVENTS)
def test_a_filter_survives_the_store(match: Match, event: Event) -> None:
    """What is read back is the same filter and gives the same answer."""
    written = compile_filter(match)
    read = parse_filter(written.to_json())
    assert read.matches(event) == written.matches(event)
    assert read.to_json() == written.to_json()


@given(MATCHES, EVENTS)
def test_all_clauses_must_hold(match: Match, event: Event) -> None:
    """A filter is the same as its clauses one by one."""
    single = [compile_filter({field: term}).matches(event) for field, term in match.items()]
    assert compile_filter(match).matches(event) == all(single)


@given(MATCHES, st.randoms(use_true_random=False))
def test_equal_filters_have_equal_texts(match: Match, chance: random.Random) -> None:
    """The order of writing does not make another filter."""
    items = list(match.items())
    chance.shuffle(items)
    assert compile_filter(dict(items)).to_json() == compile_filter(match).to_json()


@given(st.sets(st.text(max_size=5), min_size=2, max_size=6))
def test_a_set_of_values_has_one_text(values: set[str]) -> None:
    """Python orders a set of texts anew in each process; a filter must not change by it."""
    text = compile_filter({"event_type": ("in", values)}).to_json()
    assert json.loads(text)["event_type"][1] == sorted(values, key=repr)


@given(st.text(), st.text())
def test_like_takes_any_pattern(pattern: str, text: str) -> None:
    """A pattern never breaks a filter, and a text without wildcards is like itself."""
    found = matches("data.a", "like", pattern, {"a": text})
    if not set(pattern) & set("*?["):
        assert found == (pattern == text)
    else:
        assert found in (True, False)


@pytest.mark.parametrize(
    ("operator", "value", "data", "holds"),
    [
        ("==", 1, 1.0, True),
        ("==", 1, True, False),
        ("==", 0, False, False),
        ("==", True, True, True),
        ("==", [1, {"x": True}], [1.0, {"x": True}], True),
        ("==", [1], [True], False),
        ("==", {"x": 1}, {"x": True}, False),
        ("==", None, None, True),
        ("==", None, 0, False),
        ("==", "1", 1, False),
        ("==", (1, 2), [1, 2], True),
        ("in", [1, "a"], 1.0, True),
        ("in", [1], True, False),
        ("in", [True], 1, False),
        ("in", [[1]], [1], True),
        ("in", [], None, False),
        ("<", 5, 4.5, True),
        ("<", 5, 5, False),
        ("<=", 5, 5, True),
        (">", "a", "b", True),
        (">=", 5, "6", False),
        (">=", "5", 6, False),
        ("<", 5, True, False),
        ("<", 5, None, False),
        ("contains", "ell", "hello", True),
        ("contains", 1, "1", False),
        ("contains", 1, [1.0], True),
        ("contains", 1, [True], False),
        ("contains", "k", {"k": 0}, True),
        ("contains", "k", 5, False),
        ("startswith", "he", "hello", True),
        ("startswith", "1", 1, False),
        ("endswith", "lo", "hello", True),
        ("like", "h*o", "hello", True),
        ("like", "h?o", "hello", False),
        ("like", "H*", "hello", False),
        ("like", "*", "a\nb", True),
        ("exists", True, None, True),
        ("exists", False, None, False),
    ],
)
def test_an_operator_compares_json_values(
    operator: str, value: Any, data: Any, holds: bool
) -> None:
    """The documented meaning, case by case."""
    assert matches("data.a", operator, value, {"a": data}) is holds


ABSENT: dict[str, Any] = {
    "==": None, "!=": "x", "<": 1, "<=": 1, ">": 1, ">=": 1, "in": [None], "not in": ["x"],
    "contains": None, "startswith": "", "endswith": "", "like": "*", "exists": False,
}  # fmt: skip


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("data", [None, {}, [], "a", 5])
def test_a_missing_field_satisfies_only_the_opposites(operator: str, data: Any) -> None:
    """And `exists` false; null is there, and not missing."""
    wanted = operator in ("!=", "not in", "exists")
    assert matches("data.a", operator, ABSENT[operator], data) is wanted


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("data.a.0.b", True), ("data.a.1", True), ("data.a.2", False),
        ("data.a.-1", False), ("data.7", True), ("data.a.b", False), ("data.a.²", False),
    ],
)  # fmt: skip
def test_a_path_leads_into_objects_and_lists(path: str, found: bool) -> None:
    """A number is a position in a list, or the key of an object."""
    assert matches(path, "exists", True, {"a": [{"b": 1}, 2], "7": 0}) is found


@pytest.mark.parametrize(
    ("field", "value"), [("event_type", "order"), ("identifier", "42"), ("source", "here")]
)
def test_the_fields_of_an_event_are_texts(field: str, value: str) -> None:
    """They are compared as exact text."""
    assert matches(field, "==", value)
    assert not matches(field, "==", value.upper() + "x")


def test_an_event_without_a_source_has_none() -> None:
    """It was published on nobody's behalf."""
    assert compile_filter({"source": ("exists", False)}).matches(event())


@pytest.mark.parametrize(
    "value",
    [
        MOMENT, MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30))),
        "2026-01-02T12:00:00Z", "2026-01-02T13:00:00+01:00", "2026-01-02T12:00",
        datetime(2026, 1, 2, 12),  # noqa: DTZ001
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("operator", "holds"),
    [("==", True), ("!=", False), ("<", False), ("<=", True), (">", False), (">=", True)],
)
def test_created_is_compared_as_a_moment(value: Any, operator: str, holds: bool) -> None:
    """However it is written; without a zone it is UTC."""
    assert matches("created", operator, value) is holds
    text = compile_filter({"created": (operator, value)}).to_json()
    assert parse_filter(text).matches(event()) is holds


@pytest.mark.parametrize(
    ("operator", "value", "holds"),
    [
        (">", date(2026, 1, 2), True),
        ("<", date(2026, 1, 3), True),
        ("<", "2026-01-02", False),
        ("in", [date(2026, 1, 2), MOMENT], True),
        ("not in", ["2026-01-02"], True),
        ("exists", True, True),
    ],
)
def test_a_date_is_the_beginning_of_its_day(operator: str, value: Any, holds: bool) -> None:
    """A day stands for its midnight in UTC."""
    assert matches("created", operator, value) is holds


def deep(levels: int) -> Any:
    """Return lists inside one another."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "match",
    [
        None, "x", 5, [("event_type", ("==", "x"))], print,
        {"type": ("==", "x")}, {"data": ("==", "x")}, {"data.": ("==", 1)},
        {"data..a": ("==", 1)}, {"": ("==", 1)}, {5: ("==", 1)}, {"data.a.": ("==", 1)},
        {"event_type": "x"}, {"event_type": "=="}, {"event_type": ("==",)},
        {"event_type": ("==", "x", "y")}, {"event_type": None}, {"event_type": {"==": "x"}},
        {"event_type": ("=", "x")}, {"event_type": ("equals", "x")},
        {"event_type": (["=="], "x")}, {"event_type": ("==", 5)},
        {"event_type": ("in", "abc")}, {"event_type": ("in", [5])},
        {"source": ("==", None)},
        {"identifier": ("<", 5)}, {"identifier": ("contains", 5)},
        {"data.a": ("in", 5)}, {"data.a": ("in", {"x": 1})}, {"data.a": ("in", b"x")},
        {"data.a": ("exists", 1)}, {"data.a": ("exists", None)},
        {"data.a": ("like", 5)}, {"data.a": ("startswith", ["a"])},
        {"data.a": ("<", None)}, {"data.a": ("<", True)}, {"data.a": (">", [1])},
        {"data.a": ("==", b"x")}, {"data.a": ("==", {1, 2})},
        {"data.a": ("==", float("nan"))}, {"data.a": ("<", float("inf"))},
        {"data.a": ("==", 10**5000)}, {"data.a": ("==", deep(5_000))},
        {"created": ("==", "yesterday")}, {"created": ("<", 5)},
        {"created": ("like", "2*")},
        {"created": ("contains", "2")}, {"created": ("in", ["soon"])},
        {"created": ("==", None)},
    ],
    ids=lambda match: repr(match)[:40] if not isinstance(match, dict) else None,
)  # fmt: skip
def test_a_wrong_filter_is_refused_when_it_is_written(match: Any) -> None:
    """Not when the first event arrives."""
    with pytest.raises(FilterError):
        compile_filter(match)


@pytest.mark.parametrize(
    ("match", "words"),
    [
        ({"typ": ("==", "x")}, "event_type, identifier, created, source or data.path"),
        ({"source": ("~", "x")}, "== != < <= > >= in not in contains"),
        ({"source": "x"}, "source: write"),
    ],
)
def test_the_refusal_says_what_may_be_written(match: Any, words: str) -> None:
    """The user need not look it up."""
    with pytest.raises(FilterError) as caught:
        compile_filter(match)
    assert words in str(caught.value)


def test_an_empty_filter_matches_every_event() -> None:
    """No condition, no exception."""
    assert compile_filter({}).matches(event())
    assert str(compile_filter({})) == "every event"


def test_a_filter_reads_as_a_sentence() -> None:
    """As `agent listeners` shows it."""
    match: Match = {"event_type": ("==", "x"), "data.n": [">", 5]}
    assert str(compile_filter(match)) == 'event_type == "x" and data.n > 5'


def test_a_filter_does_not_follow_later_changes_of_its_values() -> None:
    """It is compiled once, when it is written."""
    values = ["order"]
    written = compile_filter({"event_type": ("in", values)})
    values.clear()
    assert written.matches(event())
