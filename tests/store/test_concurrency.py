"""Every database: who publishes at the same time agrees on what is new."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from py_agent.events import Published
from py_agent.store.event_store import EventStore

from .support import (
    Database,
    delivery_rows,
    identities,
    in_processes,
    listener,
    publish_ids,
    together,
)


def test_threads_publish_each_event_once(store: EventStore) -> None:
    """Of 8 threads that publish the same ids exactly one finds each of them new."""
    store.subscriptions.ensure([listener("all")])
    ids = [str(n) for n in range(150)]

    def publish_all() -> list[str]:
        return [each for each in ids if store.publish("shared", each).new]

    found_new = together(*[publish_all] * 8)

    assert sorted(sum(found_new, [])) == sorted(ids)
    assert len(identities(store)) == len(ids)
    assert len(delivery_rows(store)) == len(ids)


def test_threads_publish_each_batch_once(store: EventStore) -> None:
    """Of 8 threads that publish the same batches each event is new to exactly one."""
    triples = [("shared", str(n), None) for n in range(2_500)]

    answers = together(*[partial(store.publish_many, triples)] * 8)

    assert sum(answers, Published()) == Published(8 * 2_500, 2_500)
    assert len(identities(store)) == 2_500


def test_single_events_and_batches_mix(store: EventStore) -> None:
    """Batches and single events that overlap count each event new once in total."""
    store.subscriptions.ensure([listener("all")])
    triples = [("shared", str(n), None) for n in range(300)]

    def one_by_one() -> int:
        return sum(store.publish(*each).new for each in reversed(triples))

    counts = together(
        one_by_one,
        one_by_one,
        lambda: store.publish_many(triples).new,
        lambda: store.publish_many(triples[100:]).new,
    )

    assert sum(counts) == 300
    assert len(delivery_rows(store)) == 300


def test_commits_are_announced_in_sequence(store: EventStore) -> None:
    """However many threads publish, who delivers hears of numbers without a gap."""
    heard: list[int] = []
    store.committed = lambda done: heard.extend(range(done.first, done.last + 1))

    def publish_own(thread: int) -> None:
        for n in range(40):
            store.publish("own", f"{thread}-{n}")

    together(*[partial(publish_own, thread) for thread in range(8)])

    assert heard == list(range(1, 321))


def test_processes_publish_each_event_once(
    store: EventStore, database: Database, path: Path
) -> None:
    """Of 4 processes that publish the same ids exactly one finds each of them new."""
    store.subscriptions.ensure([listener("all")])

    counts = in_processes(4, publish_ids, database, path, 200)

    assert sum(new for new, _ in counts) == 200
    assert sum(known for _, known in counts) == 600
    assert sorted(int(each) for _, each in identities(store)) == list(range(200))
    assert len(delivery_rows(store)) == 200


def test_two_processes_add_a_subscription_once(
    store: EventStore, other: EventStore
) -> None:
    """Two processes that bring the same listener at once make one subscription."""
    results = together(
        lambda: store.subscriptions.ensure([listener("mine"), listener("one")]),
        lambda: other.subscriptions.ensure([listener("mine"), listener("two")]),
    )

    assert results == [None, None]
    names = [each.name for each in store.subscriptions.all()]
    assert sorted(names) == ["mine", "one", "two"]
