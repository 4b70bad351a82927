"""Events: identity, limits, JSON form and immutability."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel

from py_agent.errors import EventError, StoreRefusedError
from py_agent.events import (
    MAX_IDENTIFIER,
    MAX_TYPE,
    Event,
    Publication,
    Published,
    check_identity,
)
from py_agent.json_text import MAX_DATA, MAX_DEPTH, encode

from .strategies import JSON, SCALARS


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    YES = "yes"


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = None


class Model(BaseModel):
    when: datetime
    tags: set[str] = set()


MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NUMBER = UUID(int=7)


def json_form(value: Any) -> Any:
    """Return the JSON form that the documentation promises for a value."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    if isinstance(value, Enum):
        return json_form(value.value)
    if isinstance(value, Point):
        return {"x": json_form(value.x), "y": json_form(value.y)}
    if isinstance(value, dict):
        return {whole(key): json_form(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_form(item) for item in value]
    return whole(value) if isinstance(value, str) else value


def whole(text: str) -> str:
    """Return a text whose pairs of half characters are the character that they mean."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


HALVES = st.text(st.characters(codec=None, categories=["Lu", "Cs"]), max_size=4)
KNOWN = st.one_of(
    SCALARS, HALVES, st.datetimes(), st.dates(), st.times(), st.uuids(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.sampled_from([Color.RED, Level.HIGH, Word.YES]),
)  # fmt: skip
UNKNOWN = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("sNaN")]),
    st.sampled_from([b"x", bytearray(b"x"), {1}, object(), print, Point, Color, 1j]),
    st.sampled_from([timedelta(1), range(3)]),
    st.just(5_000).map(lambda digits: 10**digits),  # more than Python writes
)  # fmt: skip


def inside(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for values that hold others."""
    return st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(HALVES, inner, max_size=3),
        st.builds(Point, inner, inner),
    )


@given(st.recursive(KNOWN, inside, max_leaves=10))
def test_a_value_with_a_json_form_decodes_to_it(value: Any) -> None:
    """A listener sees the documented JSON form of what was published."""
    assert json.loads(encode(value)) == json_form(value)


@given(JSON)
def test_json_decodes_to_itself(value: Any) -> None:
    """What is JSON already is not touched."""
    decoded = json.loads(encode(value))
    assert decoded == value
    assert encode(decoded) == encode(value)


@given(st.recursive(UNKNOWN, inside, max_leaves=3))
def test_a_value_without_a_json_form_is_refused(value: Any) -> None:
    """Nothing is stored half, and the refusal says where the bad value is."""
    assume(holds_something(value))
    with pytest.raises(EventError, match="^data"):
        encode(value)


def holds_something(value: Any) -> bool:
    """Whether a value holds anything but empty containers."""
    if isinstance(value, Point):
        value = [value.x, value.y]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return any(map(holds_something, value))
    return True


@given(st.text(st.characters(codec=None)))
def test_text_data_is_always_storable(text: str) -> None:
    """Every database takes the text, half characters and NUL included."""
    encoded = encode(text)
    assert encoded.encode().decode() == encoded
    assert "\0" not in encoded


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (math.nan, "data is nan"),
        ({"a": [1, {"b": b"x"}]}, "data.a[1].b is not JSON"),
        ([0, math.inf], "data[1] is inf"),
        ({"p": Point(1, {2})}, "data.p.y is not JSON"),
        ({(1, 2): 3}, "data has a key that is no text"),
        ({"a": {math.nan: 1}}, "data.a has a key that is not JSON"),
        ({10**5000: 1}, "data has a key that is not JSON"),
        ({"n": 10**5000}, "data.n is not JSON"),
        ([Decimal("Infinity")], "data[0] is not JSON"),
        ({"m": Model}, "data.m is not JSON"),
    ],
)
def test_the_refusal_names_the_path_of_the_bad_value(value: Any, path: str) -> None:
    """In a large document, the one bad value is found at once."""
    with pytest.raises(EventError) as caught:
        encode(value)
    assert str(caught.value).startswith(path)


def test_a_value_that_contains_itself_is_refused() -> None:
    """A circle has no end and so no JSON form."""
    circle: dict[str, Any] = {}
    circle["again"] = [circle]
    with pytest.raises(EventError, match=r"data\.again\[0\] contains itself"):
        encode(circle)


def test_the_same_value_twice_is_no_circle() -> None:
    """Sharing is not containing."""
    shared = [1]
    assert encode([shared, shared]) == "[[1],[1]]"


def test_a_pydantic_model_is_written_in_its_own_json_form() -> None:
    """The model knows best."""
    assert json.loads(encode(Model(when=MOMENT, tags={"a"}))) == {
        "when": "2026-01-02T03:04:05Z",
        "tags": ["a"],
    }


def nested(depth: int, kind: type) -> Any:
    """Return lists or objects inside one another."""
    value: Any = kind()
    for _ in range(depth - 1):
        value = [value] if kind is list else {"a": value}
    return value


@pytest.mark.parametrize("kind", [list, dict])
def test_data_may_be_nested_up_to_the_limit(kind: type) -> None:
    """The limit is far above any sane document."""
    value = nested(MAX_DEPTH, kind)
    assert json.loads(encode(value)) == value


@pytest.mark.parametrize("kind", [list, dict])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 5_000, 100_000])
def test_data_nested_too_deep_is_refused(kind: type, depth: int) -> None:
    """What cannot be decoded again everywhere is not stored."""
    value = nested(depth, kind)
    try:
        with pytest.raises(EventError, match="nested more than 200 levels"):
            encode(value)
    finally:
        while value:  # taken apart, as freeing it at once would nest as deep
            value = value.pop() if kind is list else value.popitem()[1]


def test_many_lists_side_by_side_are_not_deep() -> None:
    """Only nesting counts, not the number of brackets."""
    assert encode([[]] * 1_000 + ["[{" * 500])


@pytest.mark.parametrize(("letter", "size"), [("x", 1), ("é", 2), ("\ud800", 6)])
def test_the_limit_of_data_counts_bytes_of_json(letter: str, size: int) -> None:
    """The limit is what the store holds, so characters are not counted."""
    text = letter * 10
    assert encode(text, limit=10 * size + 2)
    with pytest.raises(EventError, match=rf"{10 * size + 2} bytes .* at most"):
        encode(text, limit=10 * size + 1)


def test_a_mebibyte_is_the_limit_unless_told() -> None:
    """The documented limit holds to the byte."""
    assert encode("x" * (MAX_DATA - 2))
    with pytest.raises(EventError, match="1,048,577 bytes"):
        encode("x" * (MAX_DATA - 1))


def accepted(event_type: str, identifier: str) -> bool:
    """Return whether an identity is not refused."""
    try:
        check_identity(event_type, identifier)
    except EventError:
        return False
    return True


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=50)
)
def test_whole_text_is_a_good_identity(text: str) -> None:
    """Any printable or unprintable whole character will do."""
    assert accepted(text, text)


@pytest.mark.parametrize("limit", [(MAX_TYPE, 1), (1, MAX_IDENTIFIER)])
def test_an_identity_may_be_as_long_as_the_limits(limit: tuple[int, int]) -> None:
    """Characters count, not bytes."""
    assert accepted("é" * limit[0], "é" * limit[1])


BAD = ["", "a\0b", "\ud800", None, 5, b"x", ["x"]]


@pytest.mark.parametrize("bad", [*BAD, "x" * (MAX_TYPE + 1)])
def test_a_bad_event_type_is_refused_by_name(bad: Any) -> None:
    """One clear error says which of the two is wrong."""
    with pytest.raises(EventError, match="event type"):
        check_identity(bad, "1")


@pytest.mark.parametrize("bad", [*BAD, "x" * (MAX_IDENTIFIER + 1)])
def test_a_bad_identifier_is_refused_by_name(bad: Any) -> None:
    """One clear error says which of the two is wrong."""
    with pytest.raises(EventError, match="identifier"):
        check_identity("t", bad)


def stored(data: Any, **values: Any) -> Event:
    """Return an event as it comes from the store."""
    return Event.stored(3, "t", "1", MOMENT, "here", json.dumps(data), **values)


@pytest.mark.parametrize("name", ["event_type", "data", "delivery_key", "other"])
def test_an_event_cannot_be_changed(name: str) -> None:
    """A fact stays as it is."""
    event = Event("t", "1", {"a": 1})
    with pytest.raises(AttributeError, match="immutable"):
        setattr(event, name, "new")
    with pytest.raises(AttributeError, match="immutable"):
        delattr(event, name)


def test_each_delivery_has_its_own_copy_of_the_data() -> None:
    """What one listener does to the data is not seen by the next."""
    event = stored({"list": []})
    first, second = event.delivered("3.1"), event.delivered("3.2")
    first.data["list"].append(1)
    assert second.data == event.data == {"list": []}


def test_a_delivered_event_keeps_everything_and_has_its_key() -> None:
    """The key is what tells two deliveries of one event apart."""
    event = stored(None, depth=2).delivered("3.1")
    assert (event.id, event.created, event.source, event.depth, event.delivery_key) == (
        3, MOMENT, "here", 2, "3.1",
    )  # fmt: skip


@pytest.mark.parametrize("data", [None, 0, False, "", [], {"a": None}])
def test_stored_data_is_what_was_stored(data: Any) -> None:
    """Empty values are values too."""
    assert stored(data).data == data
    assert Event("t", "1", data).text == encode(data)


def test_damaged_data_is_a_refusal_of_the_store() -> None:
    """A broken row is named, instead of a decoder's words."""
    event = Event.stored(3, "t", "1", MOMENT, None, "{oops")
    with pytest.raises(StoreRefusedError, match="event 3 is damaged"):
        assert event.data


def test_events_are_equal_by_identity_and_data() -> None:
    """A test can compare what it got with what it wants."""
    assert Event("t", "1", {"a": 1}) == stored({"a": 1})
    assert hash(Event("t", "1", {"a": 1})) == hash(stored({"a": 1}))
    assert Event("t", "1") != Event("t", "2")
    assert Event("t", "1", 1) != Event("t", "1", 2)
    assert Event("t", "1") != "t"


def test_an_event_shows_its_identity_and_data() -> None:
    """Useful in an assertion's message."""
    assert repr(Event("t", "1", [2])) == "Event('t', '1', [2])"


def test_an_event_made_now_is_aware() -> None:
    """Every moment that we make has a zone."""
    assert Event("t", "1").created.tzinfo is UTC


@pytest.mark.parametrize("new", [True, False])
def test_a_publication_is_true_when_the_event_was_new(new: bool) -> None:
    """So that `if handler.publish(...)` reads as it should."""
    assert bool(Publication(new, Event("t", "1"))) is new


def test_the_event_of_a_duplicate_is_read_once_on_first_access() -> None:
    """A duplicate costs no read unless someone looks."""
    reads: list[Event] = []

    def read() -> Event:
        reads.append(Event("t", "1"))
        return reads[0]

    publication = Publication(False, read=read)
    assert reads == []
    assert publication.event is publication.event
    assert len(reads) == 1


def test_counts_of_publications_add_up() -> None:
    """Thousands are counted one after the other."""
    assert Published(3, 1) + Published(2, 2) == Published(5, 3)
