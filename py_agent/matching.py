"""Which subscriptions want an event, at a cost that does not grow with their number.

An index by event type, then by one `==` or `in` on another field, leaves only the few
subscriptions whose remaining clauses have to be asked one by one.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from .errors import FilterError
from .events import Event
from .filters import MISSING, Clause, Extract, Filter, extractor, same_key

T = TypeVar("T")
Ordering = tuple[str, ...]

FOLDS = "~"  # before a path: its texts are compared as `folded` says


class Index(Generic[T]):
    """An index over (filter, value) pairs.

    Args:
        entries: the pairs; `matching` returns values in this order.
    """

    def __init__(self, entries: Iterable[tuple[Filter, T]]) -> None:
        self._types: dict[str, _Bucket[T]] = {}
        self._any: _Bucket[T] = _Bucket()
        for rank, (condition, value) in enumerate(entries):
            self._add(rank, list(condition.clauses), value)

    def _add(self, rank: int, clauses: list[Clause], value: T) -> None:
        for clause in clauses:
            if clause.field == "event_type" and clause.chosen is not None:
                rest = [other for other in clauses if other is not clause]
                for event_type in set(clause.chosen):
                    bucket = self._types.setdefault(event_type, _Bucket())
                    bucket.add(rank, rest, value)
                return
        self._any.add(rank, clauses, value)

    def matching(self, event: Event) -> list[T]:
        """Return the values whose filter matches the event."""
        bucket = self._types.get(event.event_type)
        found = list(bucket.matching(event)) if bucket else []
        if self._any:
            found += self._any.matching(event)
        if len(found) > 1:
            found.sort(key=lambda hit: hit[0])
        return [value for _, value in found]

    def wants_type(self, event_type: str) -> bool:
        """Return whether any filter could match an event of this type."""
        return bool(self._any) or event_type in self._types


class _Bucket(Generic[T]):
    """The entries of one event type, by the value of one more field where they name it."""

    def __init__(self) -> None:
        self._fields: dict[str, tuple[Extract, dict[Any, list[_Entry[T]]]]] = {}
        self._rest: list[_Entry[T]] = []

    def __bool__(self) -> bool:
        return bool(self._fields or self._rest)

    def add(self, rank: int, clauses: list[Clause], value: T) -> None:
        for clause in clauses:
            keys = [same_key(chosen) for chosen in clause.chosen or ()]
            if keys and None not in keys:
                rest = tuple(other for other in clauses if other is not clause)
                _, table = self._fields.setdefault(clause.field, (clause.extract, {}))
                for key in set(keys):
                    table.setdefault(key, []).append((rank, rest, value))
                return
        self._rest.append((rank, tuple(clauses), value))

    def matching(self, event: Event) -> Iterator[tuple[int, T]]:
        for extract, table in self._fields.values():
            key = same_key(extract(event))
            if key is not None and key in table:
                yield from _holding(table[key], event)
        yield from _holding(self._rest, event)


_Entry = tuple[int, tuple[Clause, ...], T]


def _holding(entries: Iterable[_Entry[T]], event: Event) -> Iterator[tuple[int, T]]:
    for rank, clauses, value in entries:
        if all(clause.holds(event) for clause in clauses):
            yield rank, value


def check_ordering(ordered_by: str | Iterable[str] | None) -> Ordering:
    """Return `ordered_by` as a tuple of paths.

    A path that begins with `~` compares texts without case, accents and outer blanks.

    Raises:
        FilterError: a path names no field of an event.
    """
    if ordered_by is None:
        return ()
    if not isinstance(ordered_by, Iterable):
        raise FilterError(f"ordered_by must be a path or paths, not {ordered_by!r}")
    paths = (ordered_by,) if isinstance(ordered_by, str) else tuple(ordered_by)
    for path in paths:
        if not isinstance(path, str):
            raise FilterError(f"ordered_by holds {path!r}, which is no path")
        extractor(path.removeprefix(FOLDS))
    return paths


def order_key(ordering: Ordering, event: Event) -> str | None:
    """Return the text by which deliveries of an event are kept in order.

    Returns:
        The JSON list of the values at the paths; None, which means unordered, without
        paths or when a value is missing or null.
    """
    if not ordering:
        return None
    values = [_ordering_value(path, event) for path in ordering]
    if any(value is MISSING or value is None for value in values):
        return None
    # 1 and 1.0 are the same JSON value, and so the same key.
    whole = [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]
    return json.dumps(whole, sort_keys=True)


def folded(text: str) -> str:
    """Return a text without case, accents and outer blanks.

    So compare the usual collations of databases, as MySQL's `utf8mb4_0900_ai_ci`; two
    texts with the same folded form may be one key there.
    """
    parts = unicodedata.normalize("NFKD", text)
    plain = "".join(each for each in parts if not unicodedata.combining(each))
    return unicodedata.normalize("NFKD", plain.casefold()).strip()


def _ordering_value(path: str, event: Event) -> Any:
    value = extractor(path.removeprefix(FOLDS))(event)
    return folded(value) if path.startswith(FOLDS) and isinstance(value, str) else value
