"""Every database: one event is published, and found again."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_agent.errors import EventError, NotFoundError, StorageFault
from py_agent.store.event_store import EventStore
from py_agent.store.owing import Committed
from py_agent.testing import FakeClock

from .support import PROPERTY, canonical, delivery_rows, identities, listener, of_type

_texts = st.text(st.characters(), max_size=20)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | _texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
_identity_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


class Kind(StrEnum):
    """Event types as a user may name them."""

    ORDER = "order"


def test_a_first_publication_is_new(store: EventStore) -> None:
    """An event that the store does not know is new, and is stored."""
    publication = store.publish("order", "1", {"sum": 3})

    assert publication.new
    assert identities(store) == [("order", "1")]


def test_a_second_publication_is_a_duplicate(store: EventStore) -> None:
    """The same identity again is an answer, not an error, and stores nothing."""
    store.publish("order", "1")

    assert not store.publish("order", "1").new
    assert identities(store) == [("order", "1")]


def test_a_duplicate_returns_the_stored_event(store: EventStore, clock: FakeClock) -> None:
    """The event of a duplicate is the first one with its data and its moment."""
    first = store.publish("order", "1", {"sum": 3}, source="shop").event
    clock.advance(hours=1)

    known = store.publish("order", "1", {"sum": 999}, source="other").event

    assert known.data == {"sum": 3}
    assert (known.id, known.source, known.created) == (first.id, "shop", first.created)


def test_the_returned_event_is_as_stored(store: EventStore) -> None:
    """What a new publication returns equals what is found later, in every field."""
    made = store.publish("order", "1", (1, 2), source="shop", depth=3).event

    found = store.event(made.id)

    for name in ("id", "event_type", "identifier", "created", "source", "depth", "data"):
        assert getattr(made, name) == getattr(found, name), name


def test_an_event_is_known_to_another_process(store: EventStore, other: EventStore) -> None:
    """What one process published is a duplicate in another one."""
    store.publish("order", "1")

    assert not other.publish("order", "1").new


def test_an_event_outlives_the_process(
    store: EventStore, open_store: Callable[[], EventStore]
) -> None:
    """A store that was closed and opened again still knows its events."""
    store.publish("order", "1", "data")
    store.close()

    again = open_store()

    assert again.find("order", "1").data == "data"
    assert not again.publish("order", "1")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("a", "A"),
        ("\u00e9", "e\u0301"),
        ("\ufb01", "fi"),
        ("\u00df", "ss"),
        ("\u0130", "i"),
        ("x", "x "),
        ("x", " x"),
        ("x", "x\n"),
        ("1", "1.0"),
        ("1", "01"),
        ("1", "\uff11"),
        ("%", "_"),
        ("\u200b", "\u200c"),
        ("\U0001f600", "\U0001f601"),
        ("null", "None"),
    ],
)
def test_identity_is_exact_text(store: EventStore, left: str, right: str) -> None:
    """Texts that differ in any character are different identifiers and types."""
    assert store.publish("type", left).new
    assert store.publish("type", right).new
    assert store.publish("of " + left, "1").new
    assert store.publish("of " + right, "1").new
    assert store.find("type", left).identifier == left
    assert store.find("of " + right, "1").event_type == "of " + right


def test_two_types_may_own_the_same_identifier(store: EventStore) -> None:
    """The identity is the pair, not the identifier alone."""
    assert store.publish("order", "1", "of order").new
    assert store.publish("invoice", "1", "of invoice").new
    assert store.find("invoice", "1").data == "of invoice"


def test_the_pair_is_not_one_joined_text(store: EventStore) -> None:
    """Moving a character from the type to the identifier is another identity."""
    assert store.publish("ab", "c").new
    assert store.publish("a", "bc").new


def test_an_enum_is_the_text_that_it_is(store: EventStore) -> None:
    """A type from a StrEnum is the same type as its text."""
    assert store.publish(Kind.ORDER, "1").new
    assert not store.publish("order", "1").new
    assert identities(store) == [("order", "1")]


@pytest.mark.parametrize("identifier", [1, True, None, 1.0, b"1", "", "a\0b", "\ud800"])
def test_what_is_no_identifier_is_refused(store: EventStore, identifier: Any) -> None:
    """Only a text of whole characters names an event; nothing is stored otherwise."""
    store.publish("order", "1")

    with pytest.raises(EventError, match="identifier"):
        store.publish("order", identifier)

    assert identities(store) == [("order", "1")]


def test_the_longest_identity_is_stored(store: EventStore) -> None:
    """255 characters of type and 1,024 of identifier fit, one more is refused."""
    wide = "\U0001f600"

    assert store.publish(wide * 255, wide * 1024).new
    assert store.find(wide * 255, wide * 1024).identifier == wide * 1024
    with pytest.raises(EventError, match="255"):
        store.publish(wide * 256, "1")
    with pytest.raises(EventError, match="1,024"):
        store.publish("order", wide * 1025)


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"a": [1, math.nan]}, "data.a[1]"),
        ({"a": {"b": {1, 2}}}, "data.a.b"),
        ([b"bytes"], "data[0]"),
        ({"deep": object()}, "data.deep"),
    ],
)
def test_data_without_a_json_form_is_refused(
    store: EventStore, data: Any, place: str
) -> None:
    """The refusal gives the path of the bad value, and nothing is stored."""
    with pytest.raises(EventError) as refused:
        store.publish("order", "1", data)

    assert place in str(refused.value)
    assert identities(store) == []


def test_an_unknown_event_is_not_found(store: EventStore) -> None:
    """Asking for what was never published says so."""
    with pytest.raises(NotFoundError, match="order: 1"):
        store.find("order", "1")


@pytest.mark.parametrize("number", [0, 1, -1, 2**63 - 1, 2**63, 10**30])
def test_an_unknown_number_is_not_found(store: EventStore, number: int) -> None:
    """A number that no event has is not found, however large it is."""
    with pytest.raises(NotFoundError):
        store.event(number)


@PROPERTY
@given(data=_json, identifier=_identity_texts)
def test_data_comes_back_as_it_went_in(
    store: EventStore, data: Any, identifier: str
) -> None:
    """Any JSON value is the same in the answer, by identity, and in a query."""
    if len(identifier) > 1024:
        return
    event_type = f"type {hash((identifier, canonical(data)))}"

    made = store.publish(event_type, identifier, data).event

    assert canonical(made.data) == canonical(data)
    found = store.find(event_type, identifier)
    assert canonical(found.data) == canonical(data)
    assert (found.event_type, found.identifier) == (event_type, identifier)
    assert canonical(store.event(made.id).data) == canonical(data)


def test_a_new_event_owes_each_matching_listener(store: EventStore) -> None:
    """One delivery is owed to each subscription whose filter matches, in its order."""
    store.subscriptions.ensure(
        [
            listener("orders", of_type("order")),
            listener("keyed", of_type("order"), ("data.customer",)),
            listener("invoices", of_type("invoice")),
        ]
    )

    store.publish("order", "1", {"customer": "c"})

    rows = delivery_rows(store)
    assert [row["subscription_id"] for row in rows] == [1, 2]
    assert [row["order_key"] for row in rows] == [None, '["c"]']
    assert {(row["state"], row["attempts"], row["due"]) for row in rows} == {
        ("available", 0, 0)
    }


def test_a_duplicate_owes_nothing(store: EventStore) -> None:
    """A listener that came after the event is not owed it by a duplicate."""
    store.publish("order", "1")
    store.subscriptions.ensure([listener("late")])

    store.publish("order", "1")

    assert delivery_rows(store) == []


def test_an_event_stored_as_seen_owes_nothing(store: EventStore) -> None:
    """With deliver=False the event is known from now, and no listener gets it."""
    store.subscriptions.ensure([listener("all")])

    assert store.publish("order", "1", deliver=False).new
    assert not store.publish("order", "1").new
    assert delivery_rows(store) == []


def test_a_subscription_of_another_process_is_owed(
    store: EventStore, other: EventStore
) -> None:
    """Who only publishes owes deliveries to a listener that was added elsewhere."""
    store.publish("order", "1")
    other.subscriptions.ensure([listener("elsewhere")])

    event = store.publish("order", "2").event

    assert [row["event_id"] for row in delivery_rows(store)] == [event.id]


def test_a_subscription_removed_elsewhere_is_not_owed(
    store: EventStore, other: EventStore
) -> None:
    """Who only publishes sees that another process forgot a listener."""
    store.subscriptions.ensure([listener("gone")])
    store.publish("order", "1")
    other.subscriptions.remove(["gone"])

    store.publish("order", "2")

    assert delivery_rows(store) == []


def test_ensure_changes_no_known_subscription(store: EventStore, other: EventStore) -> None:
    """A process without the lock may add subscriptions but not change a filter."""
    store.subscriptions.ensure([listener("mine", of_type("order"))])

    other.subscriptions.ensure([listener("mine", of_type("invoice"))])

    (found,) = store.subscriptions.all()
    assert found.filter.to_json() == listener("mine", of_type("order")).filter.to_json()


def test_who_delivers_hears_of_each_commit(store: EventStore) -> None:
    """A new event is announced with what it owes after it is stored, a known one not."""
    store.subscriptions.ensure([listener("all", ordered_by=("data.key",))])
    heard: list[tuple[Committed, bool]] = []
    store.committed = lambda done: heard.append((done, bool(identities(store))))

    event = store.publish("order", "1", {"key": 7}).event
    store.publish("order", "1")

    ((done, stored),) = heard
    assert stored
    assert (done.first, done.last) == (event.id, event.id)
    ((announced, ((owed, key),)),) = done.owed
    assert announced.id == event.id
    assert (owed.name, key) == ("all", "[7]")


def test_a_closed_store_refuses_to_publish(store: EventStore) -> None:
    """Publishing into a store that was closed is a fault and no hang."""
    store.close()

    with pytest.raises(StorageFault):
        store.publish("order", "1")


def test_a_store_may_be_closed_twice(store: EventStore) -> None:
    """Closing what is closed does nothing."""
    store.publish("order", "1")
    store.close()
    store.close()

    with pytest.raises(StorageFault):
        store.find("order", "1")
