"""Every database: many events are published, a thousand in a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from py_agent.errors import EventError
from py_agent.events import Published
from py_agent.store.event_store import BATCH, EventStore
from py_agent.store.owing import Committed

from .support import delivery_rows, identities, listener, of_type

Triple = tuple[str, str, Any]


def _triples(first: int, count: int) -> list[Triple]:
    return [("order", str(n), {"n": n}) for n in range(first, first + count)]


def test_counts_say_what_was_offered_and_new(store: EventStore) -> None:
    """Known events, and repeats inside the offer, are counted as offered but not new."""
    store.publish("order", "1")

    answer = store.publish_many(_triples(0, 5) + _triples(3, 2))

    assert answer == Published(total=7, new=4)
    assert len(identities(store)) == 5


def test_nothing_offered_is_nothing_stored(store: EventStore) -> None:
    """An empty iterable is no error."""
    assert store.publish_many([]) == Published(0, 0)


def test_the_first_of_a_repeated_identity_is_kept(store: EventStore) -> None:
    """Of two events with one identity in an offer, the first one is stored."""
    store.publish_many([("order", "1", "first"), ("order", "1", "second")])

    assert store.find("order", "1").data == "first"


def test_events_are_stored_in_the_order_offered(store: EventStore) -> None:
    """The store's numbers follow the order of the iterable, over several thousands."""
    offered = _triples(0, 2 * BATCH + 1)

    store.publish_many(offered)

    assert identities(store) == [(kind, name) for kind, name, _ in offered]


def test_the_iterable_may_publish_itself(store: EventStore) -> None:
    """No transaction is open while events are taken: a generator may publish."""

    def publishing() -> Iterator[Triple]:
        for n in range(BATCH + 5):
            if n % 500 == 0:
                store.publish("inner", str(n))
            yield "outer", str(n), None

    assert store.publish_many(publishing()) == Published(BATCH + 5, BATCH + 5)
    kinds = [kind for kind, _ in identities(store)]
    assert kinds.count("inner") == 3


def test_the_iterable_may_let_another_process_publish(
    store: EventStore, other: EventStore
) -> None:
    """No writer is held while events are taken, as another process finds out."""

    def publishing() -> Iterator[Triple]:
        for n in range(BATCH + 1):
            if n in (0, BATCH):
                other.publish("other", str(n))
            yield "outer", str(n), None

    assert store.publish_many(publishing()).new == BATCH + 1


def test_no_more_than_a_thousand_are_taken_before_a_commit(store: EventStore) -> None:
    """Event 1,001 is asked for when the first thousand are already stored."""
    seen: list[int] = []

    def watching() -> Iterator[Triple]:
        for triple in _triples(0, 2 * BATCH + 1):
            if triple[1] in (str(BATCH - 1), str(BATCH), str(2 * BATCH)):
                seen.append(store.deliveries.newest_event())
            yield triple

    store.publish_many(watching())

    assert seen == [0, BATCH, 2 * BATCH]


def test_earlier_thousands_stay_when_the_iterable_raises(store: EventStore) -> None:
    """An error of the iterable reaches the caller; full thousands are stored."""

    def failing() -> Iterator[Triple]:
        yield from _triples(0, BATCH + 10)
        raise LookupError("the feed broke")

    with pytest.raises(LookupError, match="the feed broke"):
        store.publish_many(failing())

    assert len(identities(store)) == BATCH


def test_a_refused_event_takes_only_its_thousand(store: EventStore) -> None:
    """Of the thousand with a bad event nothing is stored, of those before all."""
    offered: list[Triple] = [*_triples(0, BATCH + 3), ("order", "bad", float("nan"))]

    with pytest.raises(EventError, match="nan"):
        store.publish_many(offered)

    assert len(identities(store)) == BATCH


@pytest.mark.parametrize("bad", ["abc", ("order", "1"), None, {"order": "1"}])
def test_what_is_no_triple_is_refused(store: EventStore, bad: Any) -> None:
    """The refusal says what publish_many takes."""
    with pytest.raises(EventError, match="triples"):
        store.publish_many([bad])

    assert identities(store) == []


def test_new_events_owe_and_known_ones_do_not(store: EventStore) -> None:
    """Each new event of a batch owes its matching listeners, a known one nothing."""
    store.publish("order", "1")
    store.subscriptions.ensure([listener("orders", of_type("order"), ("data.n",))])

    store.publish_many([*_triples(0, 4), ("invoice", "1", None)])

    keys = [row["order_key"] for row in delivery_rows(store)]
    assert keys == ["[0]", "[2]", "[3]"]


def test_a_batch_stored_as_seen_owes_nothing(store: EventStore) -> None:
    """With deliver=False a whole batch is known from now, and nobody gets it."""
    store.subscriptions.ensure([listener("all")])

    assert store.publish_many(_triples(0, 3), deliver=False).new == 3
    assert delivery_rows(store) == []


def test_a_batch_owes_to_a_listener_of_another_process(
    store: EventStore, other: EventStore
) -> None:
    """A subscription added elsewhere is seen by the next batch."""
    store.publish_many(_triples(0, 1))
    other.subscriptions.ensure([listener("elsewhere")])

    store.publish_many(_triples(1, 2))

    assert len(delivery_rows(store)) == 2


def test_a_batch_is_announced_with_its_numbers(store: EventStore) -> None:
    """Who delivers hears the first and last number of each stored thousand."""
    heard: list[Committed] = []
    store.committed = heard.append
    store.publish("order", "0")

    store.publish_many(_triples(0, BATCH + 2))

    assert [(each.first, each.last) for each in heard] == [
        (1, 1), (2, BATCH), (BATCH + 1, BATCH + 2),
    ]  # fmt: skip


def test_source_and_depth_are_stored(store: EventStore) -> None:
    """Each event of a batch says who published it and how deep."""
    store.publish_many(_triples(0, 1), source="shop", depth=2)

    event = store.find("order", "0")
    assert (event.source, event.depth) == ("shop", 2)
