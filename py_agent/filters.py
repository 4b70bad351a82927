"""Filters: `{field: (operator, value)}`, checked when written, compiled to one call.

All clauses must hold. Fields are `event_type`, `identifier`, `created`, `source` and
`data.path.to.value` (a number in the path is a position in a list). Two values are equal
when they are the same JSON value: 1 equals 1.0, but not true. Ordering holds between two
numbers or two strings only. A missing field satisfies nothing but `exists` false and the
two exact opposites `!=` and `not in`.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from .clock import to_micros
from .errors import FilterError
from .events import Event
from .identity import MISSING as MISSING
from .identity import walk
from .json_text import refuse_deep

FIELDS = ("event_type", "identifier", "created", "source")
OPERATORS = (
    "==", "!=", "<", "<=", ">", ">=", "in", "not in",
    "contains", "startswith", "endswith", "like", "exists",
)  # fmt: skip

Match = Mapping[str, tuple[str, Any] | list[Any]]
Test = Callable[[Any], bool]
Extract = Callable[[Event], Any]


@dataclass(frozen=True)
class Clause:
    """One condition of a filter, checked.

    `value` is in JSON form; a moment is an ISO 8601 string.
    """

    field: str
    operator: str
    value: Any
    extract: Extract
    test: Test

    @property
    def micros(self) -> int:
        """The moment that a `created` clause compares with, in microseconds."""
        return _moment(self.value)

    def holds(self, event: Event) -> bool:
        """Return whether the event satisfies this clause."""
        return self.test(self.extract(event))

    @property
    def chosen(self) -> list[Any] | None:
        """The values that `==` or `in` choose from; None where there is no such choice."""
        if self.field == "created":
            return None  # compared as a moment, not as its text
        if self.operator == "==":
            return [self.value]
        return list(self.value) if self.operator == "in" else None


@dataclass(frozen=True)
class Filter:
    """A checked filter; `matches` decides, `to_json` is what the store keeps."""

    clauses: tuple[Clause, ...]

    def matches(self, event: Event) -> bool:
        """Return whether all clauses hold for the event."""
        return all(clause.holds(event) for clause in self.clauses)

    def to_json(self) -> str:
        """Return the canonical JSON text; equal filters have equal texts."""
        return json.dumps(
            {c.field: [c.operator, c.value] for c in self.clauses}, sort_keys=True
        )

    def __str__(self) -> str:
        terms = (f"{c.field} {c.operator} {json.dumps(c.value)}" for c in self.clauses)
        return " and ".join(terms) or "every event"


def compile_filter(match: Match) -> Filter:
    """Check a filter and compile it.

    Args:
        match: `{field: (operator, value)}`; an empty mapping matches every event.

    Raises:
        FilterError: the first thing that is wrong with it.
    """
    if not isinstance(match, Mapping):
        raise FilterError(
            f"a filter is a dictionary like {{'event_type': ('==', 'x')}}, not {match!r}"
        )
    return Filter(tuple(_clause(field, term) for field, term in match.items()))


def parse_filter(text: str) -> Filter:
    """Return the filter that `Filter.to_json` wrote."""
    return compile_filter(json.loads(text))


def extractor(field: str) -> Extract:
    """Return the function that takes a field's value, or MISSING, from an event.

    Raises:
        FilterError: there is no such field.
    """
    if field == "created":
        return lambda event: to_micros(event.created)
    if field == "source":
        return lambda event: MISSING if event.source is None else event.source
    if field in FIELDS:
        return lambda event: getattr(event, field)
    if isinstance(field, str) and field.startswith("data."):
        path = field.split(".")[1:]
        if all(path):
            return lambda event: walk(event.data, path)
    raise FilterError(
        f"there is no field {field!r} to filter on; "
        f"use {', '.join(FIELDS)} or data.path.to.value"
    )


def same_key(value: Any) -> tuple[str, Any] | None:
    """Return a hashable key, equal for equal JSON scalars; None for lists and objects."""
    if value is MISSING or isinstance(value, (list, dict)):
        return None
    return ("bool" if isinstance(value, bool) else "value", value)


def _clause(field: str, term: Any) -> Clause:
    extract = extractor(field)
    if not isinstance(term, (tuple, list)) or len(term) != 2:
        raise FilterError(
            f"{field}: write (operator, value), for example ('==', 'x'), not {term!r}"
        )
    operator, value = term
    if operator not in OPERATORS:
        raise FilterError(
            f"{field}: there is no operator {operator!r}; use one of {' '.join(OPERATORS)}"
        )
    value = _checked(field, operator, value)
    wanted = value
    if field == "created" and operator != "exists":
        wanted = [_moment(v) for v in value] if operator in LISTS else _moment(value)
        value = _isoformat(value)
    return Clause(field, operator, value, extract, _TESTS[operator](wanted))


LISTS = ("in", "not in")
TEXTS = ("startswith", "endswith", "like")
ORDERS = ("<", "<=", ">", ">=")


def _checked(field: str, operator: str, value: Any) -> Any:
    """Return the value to compare with in JSON form, or say why it cannot be compared."""
    if operator in LISTS:
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            raise FilterError(f"{field}: {operator!r} needs a list, not {value!r}")
        if isinstance(value, (set, frozenset)):
            value = sorted(value, key=repr)  # its own order differs between processes
        return [_checked(field, "==", item) for item in value]
    if operator == "exists" and not isinstance(value, bool):
        raise FilterError(f"{field}: 'exists' needs True or False, not {value!r}")
    if operator in TEXTS and not isinstance(value, str):
        raise FilterError(f"{field}: {operator!r} needs a text, not {value!r}")
    if field == "created" and operator != "exists":
        return _checked_moment(operator, value)
    if operator in ORDERS and (
        isinstance(value, bool) or not isinstance(value, (int, float, str))
    ):
        raise FilterError(f"{field}: {operator!r} needs a number or a text, not {value!r}")
    if field in FIELDS and operator != "exists" and not isinstance(value, str):
        raise FilterError(f"{field} is a text; it cannot be compared with {value!r}")
    try:
        plain = json.loads(json.dumps(value, allow_nan=False))
        refuse_deep(plain)
        return plain
    except (TypeError, ValueError, RecursionError) as error:
        raise FilterError(f"{field}: the value is not JSON: {error}") from error


def _checked_moment(operator: str, value: Any) -> Any:
    if operator not in (*ORDERS, "==", "!="):
        raise FilterError(f"created: {operator!r} does not apply to a moment")
    try:
        _moment(value)
    except (TypeError, ValueError) as error:
        raise FilterError(
            f"created: {value!r} is not a moment; write a datetime or ISO 8601"
        ) from error
    return value


def _moment(value: Any) -> int:
    """Return a moment as microseconds; without a zone it is UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        raise TypeError("not a moment")
    return to_micros(value if value.tzinfo else value.replace(tzinfo=UTC))


def _isoformat(value: Any) -> Any:
    if isinstance(value, list):
        return [_isoformat(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value


def _same(left: Any, right: Any) -> bool:
    """JSON equality: Python's, but true and false are no numbers."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            _same(left[key], right[key]) for key in left
        )
    return bool(left == right)


def _one_of(wanted: list[Any]) -> Test:
    keys = {key for item in wanted if (key := same_key(item)) is not None}
    deep = [item for item in wanted if same_key(item) is None]

    def test(value: Any) -> bool:
        key = same_key(value)
        if key is not None:
            return key in keys
        return any(_same(value, item) for item in deep)

    return test


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any], Test]:
    def build(wanted: Any) -> Test:
        kind = str if isinstance(wanted, str) else (int, float)

        def test(value: Any) -> bool:
            return (
                isinstance(value, kind)
                and not isinstance(value, bool)
                and compare(value, wanted)
            )

        return test

    return build


def _contains(wanted: Any) -> Test:
    def test(value: Any) -> bool:
        if isinstance(value, str):
            return isinstance(wanted, str) and wanted in value
        if isinstance(value, (list, dict)):
            return any(_same(item, wanted) for item in value)
        return False

    return test


def _text(decide: Callable[[str], bool]) -> Test:
    return lambda value: isinstance(value, str) and decide(value)


def _like(pattern: str) -> Test:
    matches = re.compile(fnmatch.translate(pattern)).match
    return _text(lambda value: matches(value) is not None)


def _negated(build: Callable[[Any], Test]) -> Callable[[Any], Test]:
    def negate(wanted: Any) -> Test:
        test = build(wanted)
        return lambda value: not test(value)

    return negate


def _equal(wanted: Any) -> Test:
    return lambda value: _same(value, wanted)


_TESTS: dict[str, Callable[[Any], Test]] = {
    "==": _equal,
    "!=": _negated(_equal),
    "<": _ordered(lambda a, b: a < b),
    "<=": _ordered(lambda a, b: a <= b),
    ">": _ordered(lambda a, b: a > b),
    ">=": _ordered(lambda a, b: a >= b),
    "in": _one_of,
    "not in": _negated(_one_of),
    "contains": _contains,
    "startswith": lambda wanted: _text(lambda value: value.startswith(wanted)),
    "endswith": lambda wanted: _text(lambda value: value.endswith(wanted)),
    "like": _like,
    "exists": lambda wanted: lambda value: (value is not MISSING) is wanted,
}
