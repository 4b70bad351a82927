"""Every database: windows of what a listener is owed, and the results of attempts."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from py_agent.failures import Failure
from py_agent.store.deliveries import Attempt, Owed
from py_agent.store.event_store import EventStore
from py_agent.store.subscriptions import NEVER
from py_agent.store.tables import State

from .support import NOW, delivery_rows, error_rows, listener, of_type

SUBSCRIPTION = 1
BOOM = Failure("ValueError", "boom", "where it came from")


@pytest.fixture
def owing(store: EventStore) -> EventStore:
    """A store whose one listener, ordered by `data.key`, is owed six events: abcabc."""
    store.subscriptions.ensure([listener("mine", of_type("order"), ("data.key",))])
    store.publish_many(
        ("order", str(n), {"key": key}) for n, key in enumerate("abcabc", start=1)
    )
    return store


def _ids(store: EventStore, most: int = 100, **options: Any) -> list[int]:
    options.setdefault("now", NOW)
    backlog = store.deliveries.load(SUBSCRIPTION, most, **options)
    return [each.event_id for each in backlog.rows]


def _record(store: EventStore, event_id: int, attempt: Attempt) -> None:
    store.deliveries.record(Owed(event_id, SUBSCRIPTION), attempt)
    store.writer.flush()


def _fail(store: EventStore, event_id: int, due: int) -> None:
    attempt = Attempt(State.RETRYABLE, 1, NOW - 1, due, failure=BOOM)
    _record(store, event_id, attempt)


def test_a_window_is_in_the_order_of_events(owing: EventStore) -> None:
    """What is owed comes oldest first, with its key and its counts."""
    backlog = owing.deliveries.load(SUBSCRIPTION, 100, NOW)

    assert [each.event_id for each in backlog.rows] == [1, 2, 3, 4, 5, 6]
    assert backlog.rows[1] == Owed(2, SUBSCRIPTION, order_key='["b"]')
    assert backlog.rows[1].key == f"2.{SUBSCRIPTION}"
    assert (backlog.more, backlog.next_due, backlog.newest) == (False, None, 6)


def test_a_window_has_no_more_than_was_asked_for(owing: EventStore) -> None:
    """The oldest are loaded, and the backlog says that there is more."""
    backlog = owing.deliveries.load(SUBSCRIPTION, 4, NOW)

    assert [each.event_id for each in backlog.rows] == [1, 2, 3, 4]
    assert backlog.more


def test_what_is_in_memory_is_skipped(owing: EventStore) -> None:
    """Events that are held already do not take places in the window."""
    assert _ids(owing, most=2, skip={1, 2, 4}) == [3, 5]


def test_windows_that_skip_reach_everything(owing: EventStore) -> None:
    """Loading until there is no more reaches each delivery once, by any step."""
    for step in (2, 3, 5):
        held: list[int] = []
        more = True
        while more:
            backlog = owing.deliveries.load(SUBSCRIPTION, step, NOW, held)
            held += [each.event_id for each in backlog.rows]
            more = backlog.more and bool(backlog.rows)
        assert held == [1, 2, 3, 4, 5, 6]


def test_other_listeners_are_not_in_the_window(owing: EventStore) -> None:
    """A window holds the deliveries of its own subscription only."""
    owing.subscriptions.ensure([listener("other")])
    owing.publish("order", "7", {"key": "a"})

    backlog = owing.deliveries.load(SUBSCRIPTION + 1, 100, NOW)

    assert [each.event_id for each in backlog.rows] == [7]


@pytest.mark.parametrize("state", [State.COMPLETED, State.DISCARDED, State.PARKED])
def test_what_is_not_owed_is_not_loaded(owing: EventStore, state: State) -> None:
    """Completed, dead and parked deliveries are in no window."""
    _record(owing, 3, Attempt(state, 1, NOW))

    assert _ids(owing) == [1, 2, 4, 5, 6]


def test_a_failed_delivery_waits_until_it_is_due(owing: EventStore) -> None:
    """Before its moment it is not loaded but announced; from then on it is loaded."""
    _fail(owing, 2, due=NOW + 10)

    waiting = owing.deliveries.load(SUBSCRIPTION, 100, NOW)
    assert [each.event_id for each in waiting.rows] == [1, 3, 4, 5, 6]
    assert waiting.next_due == NOW + 10

    due = owing.deliveries.load(SUBSCRIPTION, 100, NOW + 10)
    assert due.rows[0] == Owed(2, SUBSCRIPTION, 1, 0, '["b"]', retried=True, admitted=True)
    assert due.next_due is None


def test_retries_come_by_their_moment(owing: EventStore) -> None:
    """Of several due retries the one that waits longest comes first."""
    _fail(owing, 2, due=NOW - 1)
    _fail(owing, 3, due=NOW - 5)
    _fail(owing, 5, due=NOW - 3)

    assert _ids(owing)[:3] == [3, 5, 2]


def test_retries_take_half_of_a_window(owing: EventStore) -> None:
    """Many due retries leave half of the places to new deliveries."""
    for event_id in (1, 2, 3, 4):
        _fail(owing, event_id, due=NOW - 1)

    assert _ids(owing, most=4) == [1, 2, 5, 6]


def test_a_call_that_hangs_is_not_loaded_again(owing: EventStore) -> None:
    """A running delivery is due never, so no window holds it or waits for it."""
    _record(owing, 2, Attempt(State.RUNNING, 1, NOW, NEVER))

    backlog = owing.deliveries.load(SUBSCRIPTION, 100, NOW)

    assert 2 not in [each.event_id for each in backlog.rows]
    assert backlog.next_due is None


def test_blocked_keys_are_left_out(owing: EventStore) -> None:
    """Deliveries whose key has a failed one wait; other keys go on."""
    _fail(owing, 1, due=NOW + 10)

    backlog = owing.deliveries.load(SUBSCRIPTION, 100, NOW, left_out=())

    assert [each.event_id for each in backlog.rows] == [2, 3, 5, 6]
    assert backlog.blocked


def test_a_blocked_key_does_not_fill_the_window(owing: EventStore) -> None:
    """However many deliveries a blocked key has, other keys are reached."""
    _fail(owing, 1, due=NOW + 10)
    owing.publish_many(("order", f"more {n}", {"key": "a"}) for n in range(50))
    last = owing.publish("order", "last", {"key": "z"}).event

    assert _ids(owing, most=5, left_out=()) == [2, 3, 5, 6, last.id]


def test_a_due_retry_comes_alone_of_its_key(owing: EventStore) -> None:
    """When the failed one is due it is loaded; its followers still wait for it."""
    _fail(owing, 1, due=NOW)

    assert _ids(owing, left_out=()) == [1, 2, 3, 5, 6]


def test_a_key_is_free_after_its_retry(owing: EventStore) -> None:
    """Followers are loaded once the failed delivery of their key has ended."""
    _fail(owing, 1, due=NOW)
    _record(owing, 1, Attempt(State.COMPLETED, 2, NOW))

    backlog = owing.deliveries.load(SUBSCRIPTION, 100, NOW, left_out=())

    assert [each.event_id for each in backlog.rows] == [2, 3, 4, 5, 6]
    assert not backlog.blocked


def test_a_failure_blocks_no_listener_without_an_order(owing: EventStore) -> None:
    """A listener that keeps no order is handed all that is owed."""
    _fail(owing, 1, due=NOW + 10)

    backlog = owing.deliveries.load(SUBSCRIPTION, 100, NOW, left_out=None)

    assert [each.event_id for each in backlog.rows] == [2, 3, 4, 5, 6]
    assert not backlog.blocked


def test_keys_left_out_by_name_are_not_loaded(owing: EventStore) -> None:
    """Keys of which enough is in memory make place for others."""
    assert _ids(owing, left_out=('["a"]', '["c"]')) == [2, 5]


def test_deliveries_without_a_key_are_never_left_out(owing: EventStore) -> None:
    """An event without a value to order by is loaded whatever is blocked."""
    free = owing.publish("order", "free", {}).event
    _fail(owing, 1, due=NOW + 10)
    _fail(owing, free.id, due=NOW + 10)
    also = owing.publish("order", "also free", {"key": None}).event

    assert also.id in _ids(owing, left_out=('["b"]',))


def test_a_gap_names_who_is_owed_after_an_event(owing: EventStore) -> None:
    """After a known event: the newest one, and the subscriptions owed one since."""
    owing.subscriptions.ensure([listener("other", of_type("invoice"))])
    owing.publish("invoice", "1")
    owing.publish("order", "7", deliver=False)

    assert owing.deliveries.gap(5) == (8, [1, 2])
    assert owing.deliveries.gap(6) == (8, [2])
    assert owing.deliveries.gap(8) == (8, [])


@pytest.mark.parametrize(
    ("state", "finished"),
    [
        (State.COMPLETED, NOW),
        (State.DISCARDED, NOW),
        (State.RETRYABLE, None),
        (State.AVAILABLE, None),
        (State.RUNNING, None),
    ],
)
def test_a_result_is_recorded(
    owing: EventStore, state: State, finished: int | None
) -> None:
    """Every field of a result is in the row; what goes on has not finished."""
    _record(owing, 2, Attempt(state, 4, NOW, 5, 1, "a reason"))

    row = delivery_rows(owing)[1]
    recorded = {key: row[key] for key in ("state", "attempts", "due", "crashes", "reason")}
    assert recorded == {
        "state": state, "attempts": 4, "due": 5, "crashes": 1, "reason": "a reason",
    }  # fmt: skip
    assert row["finished"] == finished


def test_every_error_is_kept(owing: EventStore) -> None:
    """Each failed attempt leaves its error, and success removes none of them."""
    for attempt in (1, 2):
        _record(owing, 2, Attempt(State.RETRYABLE, attempt, NOW, 1, failure=BOOM))
    _record(owing, 2, Attempt(State.COMPLETED, 3, NOW))

    kept = [(row["attempt"], row["kind"], row["message"]) for row in error_rows(owing)]
    assert kept == [(1, "ValueError", "boom"), (2, "ValueError", "boom")]


def test_a_result_goes_along_with_the_next_event(
    owing: EventStore, other: EventStore
) -> None:
    """A result is not committed by itself, but with the next event that is."""
    order: list[str] = []
    owing.deliveries.record(
        Owed(2, SUBSCRIPTION),
        Attempt(State.COMPLETED, 1, NOW),
        lambda: order.append("recorded"),
    )
    assert delivery_rows(other)[1]["state"] == State.AVAILABLE
    assert not order

    owing.publish("invoice", "1")

    assert delivery_rows(other)[1]["state"] == State.COMPLETED
    assert order == ["recorded"]


def test_closing_commits_the_last_results(owing: EventStore, other: EventStore) -> None:
    """A result that still rides when the store is closed is not lost."""
    owing.deliveries.record(Owed(2, SUBSCRIPTION), Attempt(State.COMPLETED, 1, NOW))

    owing.close()

    assert delivery_rows(other)[1]["state"] == State.COMPLETED


def test_still_owed_tells_the_present(owing: EventStore) -> None:
    """A second look says whether a delivery is owed, dead, or gone."""
    look = partial(owing.deliveries.still_owed)
    assert look(Owed(2, SUBSCRIPTION))

    _record(owing, 2, Attempt(State.DISCARDED, 1, NOW))

    assert not look(Owed(2, SUBSCRIPTION))
    assert not look(Owed(99, SUBSCRIPTION))


def test_suspects_are_owed_and_crashed_often(owing: EventStore) -> None:
    """Only what is owed and ended the process so often in a row is a suspect."""
    _record(owing, 2, Attempt(State.AVAILABLE, 2, NOW, crashes=2))
    _record(owing, 3, Attempt(State.AVAILABLE, 1, NOW, crashes=1))
    _record(owing, 4, Attempt(State.DISCARDED, 3, NOW, crashes=3))

    suspects = owing.deliveries.suspects(2)

    assert [(each.event_id, each.crashes) for each in suspects] == [(2, 2)]
    assert suspects[0].order_key == '["b"]'
