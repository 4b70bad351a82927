"""Every database: what the new holder of the lock does first."""

from __future__ import annotations

import pytest

from py_agent.clock import to_micros
from py_agent.store.attempts import Attempt
from py_agent.store.deliveries import Owed
from py_agent.store.event_store import EventStore
from py_agent.store.runs import JobRow
from py_agent.store.side_file import Inside
from py_agent.store.subscriptions import NEVER
from py_agent.store.tables import Outcome, State
from py_agent.store.takeover import STUCK, take_over

from .support import (
    NOW,
    delivery_rows,
    error_rows,
    listener,
    of_type,
    run_rows,
    start,
    states,
    subscription_id,
)

MINE = listener("mine")


@pytest.fixture
def owing(store: EventStore) -> EventStore:
    """A store whose listener `mine` is owed two events."""
    start(store, MINE)
    store.publish("order", "1", {"key": "a", "n": 1})
    store.publish("order", "2", {"key": "b", "n": 2})
    return store


def _set(store: EventStore, event_id: int, state: State, due: int = 0) -> None:
    store.deliveries.record(Owed(event_id, 1), Attempt(state, 1, NOW, due))
    store.writer.flush()


def _crash(life: str, *deliveries: tuple[int, int]) -> Inside:
    return Inside(life, deliveries or ((1, 1),))


def test_the_holder_adds_its_listeners(store: EventStore) -> None:
    """Listeners that the store lacks are subscribed, and owed from then on."""
    store.publish("order", "before")

    start(store, MINE, listener("other", of_type("invoice")))
    store.publish("order", "after")

    assert [each.name for each in store.subscriptions.all()] == ["mine", "other"]
    assert [row["event_id"] for row in delivery_rows(store)] == [2]


def test_running_deliveries_become_available(owing: EventStore) -> None:
    """What was running when the last holder ended may be tried at once."""
    _set(owing, 1, State.RUNNING, due=NOW + 99)

    start(owing, MINE)

    assert [(row["state"], row["due"]) for row in delivery_rows(owing)] == [
        ("available", 0), ("available", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("state", [State.COMPLETED, State.DISCARDED, State.RETRYABLE])
def test_what_was_not_running_is_left_alone(owing: EventStore, state: State) -> None:
    """A start changes no delivery that has ended, or that waits for its retry."""
    _set(owing, 1, state, due=NOW + 99)
    before = delivery_rows(owing)

    start(owing, MINE)

    assert delivery_rows(owing) == before


def test_a_crash_charges_only_what_was_inside(owing: EventStore) -> None:
    """The delivery inside a function has one more attempt and an error, others none."""
    found = start(owing, MINE, inside=_crash("life 1"))

    first, second = delivery_rows(owing)
    assert (first["state"], first["attempts"], first["crashes"]) == ("available", 1, 1)
    assert (second["attempts"], second["crashes"]) == (0, 0)
    assert [row["kind"] for row in error_rows(owing)] == ["Crash"]
    assert found.crashed == ["delivery 1.1"]


def test_a_crash_is_charged_once_per_life(owing: EventStore) -> None:
    """The same side file read again, after a start that failed, charges nothing."""
    start(owing, MINE, inside=_crash("life 1"))

    found = start(owing, MINE, inside=_crash("life 1"))

    assert delivery_rows(owing)[0]["crashes"] == 1
    assert found.crashed == []


def test_no_side_file_charges_nothing(owing: EventStore) -> None:
    """Without a life there is nothing to charge."""
    start(owing, MINE, inside=Inside("", ((1, 1),), ("job",)))

    assert delivery_rows(owing)[0]["crashes"] == 0
    assert owing.runs.job("job") == JobRow()


def test_the_third_crash_is_a_dead_letter(owing: EventStore) -> None:
    """Three crashes in a row make a dead letter with every error kept."""
    for n in (1, 2):
        start(owing, MINE, inside=_crash(f"life {n}"))
    assert states(owing) == ["available", "available"]

    found = start(owing, MINE, inside=_crash("life 3"))

    dead = delivery_rows(owing)[0]
    assert (dead["state"], dead["attempts"], dead["finished"]) == ("discarded", 3, NOW)
    assert "3 times" in dead["reason"]
    assert len(error_rows(owing)) == 3
    assert found.dead == ["delivery 1.1"]


def test_a_finished_attempt_ends_the_row_of_crashes(owing: EventStore) -> None:
    """Two crashes, a failure and one more crash are not three crashes in a row."""
    for n in (1, 2):
        start(owing, MINE, inside=_crash(f"life {n}"))
    _set(owing, 1, State.RETRYABLE)

    start(owing, MINE, inside=_crash("life 3"))

    row = delivery_rows(owing)[0]
    assert (row["state"], row["crashes"]) == ("available", 1)


def test_a_restart_without_a_crash_keeps_the_count(owing: EventStore) -> None:
    """Only a finished attempt resets the count, a clean start does not."""
    start(owing, MINE, inside=_crash("life 1"))

    start(owing, MINE, inside=Inside("life 2"))

    assert delivery_rows(owing)[0]["crashes"] == 1


@pytest.mark.parametrize("state", [State.COMPLETED, State.DISCARDED])
def test_an_ended_delivery_is_not_charged(owing: EventStore, state: State) -> None:
    """A result that was recorded before the crash stands."""
    _set(owing, 1, state)

    start(owing, MINE, inside=_crash("life 1"))

    assert states(owing)[0] == state
    assert error_rows(owing) == []


def test_unknown_and_huge_numbers_are_not_charged(owing: EventStore) -> None:
    """A delivery that was forgotten meanwhile, or never was, stops no start."""
    found = start(owing, MINE, inside=_crash("life 1", (99, 1), (1, 99), (2, 1)))

    assert found.crashed == ["delivery 2.1"]


def test_a_job_that_crashes_is_counted_and_paused(store: EventStore) -> None:
    """Each crash inside a job counts; the third pauses it with its reason."""
    for n in (1, 2):
        start(store, inside=Inside(f"life {n}", jobs=("poll",)))
        assert store.runs.job("poll") == JobRow(crashes=n)

    found = start(store, inside=Inside("life 3", jobs=("poll",)))

    row = store.runs.job("poll")
    assert (row.crashes, row.paused) == (3, True)
    assert "3 times" in str(row.pause_reason)
    assert found.dead == ["job poll"]


def test_a_service_is_paused_after_many_crashes_only(store: EventStore) -> None:
    """It is inside its function at every crash, whoever is to blame."""
    for n in range(1, 10):
        inside = Inside(f"life {n}", jobs=("serve",))
        assert take_over(store, (), inside, NOW, services={"serve"}).dead == []
    assert store.runs.job("serve") == JobRow(crashes=9)

    found = take_over(store, (), Inside("last", jobs=("serve",)), NOW, services={"serve"})

    assert found.dead == ["job serve"]
    assert store.runs.job("serve").paused


def test_open_runs_are_closed_as_crashed(store: EventStore) -> None:
    """A run that the last process did not end is crashed, not running for ever."""
    store.runs.open("poll", NOW - 5)
    store.writer.flush()

    start(store)

    (run,) = run_rows(store)
    assert (run["outcome"], run["finished"]) == (Outcome.CRASHED, NOW)
    assert run["error"]


def test_deliveries_of_a_missing_listener_are_parked(owing: EventStore) -> None:
    """What is owed to a listener that the code lacks is parked and named."""
    _set(owing, 2, State.RETRYABLE, due=NOW)

    found = start(owing)

    assert states(owing) == ["parked", "parked"]
    assert found.parked == ["mine"]
    assert owing.subscriptions.all()[0].parked


def test_parked_listeners_keep_collecting(owing: EventStore, other: EventStore) -> None:
    """New events are owed to a parked listener, by every process, but not available."""
    other.publish("order", "before")
    start(owing)

    owing.publish("order", "here")
    other.publish("order", "elsewhere")

    assert states(owing) == ["parked"] * 5


def test_ended_deliveries_are_not_parked(owing: EventStore) -> None:
    """A dead letter stays a dead letter when its listener goes away."""
    _set(owing, 1, State.DISCARDED)
    _set(owing, 2, State.COMPLETED)

    start(owing)

    assert states(owing) == ["discarded", "completed"]


def test_a_listener_that_comes_back_is_unparked(owing: EventStore) -> None:
    """All that it collected is available at once."""
    start(owing)
    owing.publish("order", "3")

    found = start(owing, MINE)

    assert states(owing) == ["available"] * 3
    assert found.parked == []
    assert not owing.subscriptions.all()[0].parked
    owing.publish("order", "4")
    assert states(owing) == ["available"] * 4


def test_a_listener_that_comes_back_retries_when_it_is_due(owing: EventStore) -> None:
    """What had failed, or was put off, waits as long as it would have waited."""
    _set(owing, 1, State.RETRYABLE, due=NOW + 99)
    before = delivery_rows(owing)

    start(owing)
    assert states(owing) == ["parked", "parked"]
    start(owing, MINE)

    assert delivery_rows(owing) == before
    found = owing.deliveries.load(1, 10, NOW)
    assert ([each.event_id for each in found.rows], found.next_due) == ([2], NOW + 99)


def test_a_call_that_was_stuck_comes_back_at_once(owing: EventStore) -> None:
    """Given a call that never ended, When its listener was away, Then it is available."""
    _set(owing, 1, State.RUNNING, due=NEVER)

    start(owing)
    start(owing, MINE)

    row = delivery_rows(owing)[0]
    assert (row["state"], row["due"]) == ("available", 0)


def test_who_does_not_speak_for_all_parks_nothing(owing: EventStore) -> None:
    """A run of one listener leaves the others of the store as they are."""
    found = start(owing, listener("another"), park=False)

    assert states(owing) == ["available", "available"]
    assert found.parked == []


def test_a_crash_inside_a_missing_listener_is_charged_and_parked(owing: EventStore) -> None:
    """Code that lost a listener still counts the crash, and parks the delivery."""
    start(owing, inside=_crash("life 1"))

    row = delivery_rows(owing)[0]
    assert (row["state"], row["crashes"]) == ("parked", 1)


def test_a_changed_filter_holds_from_now(owing: EventStore, other: EventStore) -> None:
    """What was owed stays owed; new events are asked by the new filter, everywhere."""
    other.publish("order", "3")

    start(owing, listener("mine", of_type("invoice")))

    owing.publish("order", "4")
    other.publish("order", "5")
    other.publish("invoice", "1")
    owed = [owing.event(row["event_id"]) for row in delivery_rows(owing)]
    assert [(e.event_type, e.identifier) for e in owed] == [
        ("order", "1"), ("order", "2"), ("order", "3"), ("invoice", "1"),
    ]  # fmt: skip


def test_the_same_code_changes_no_version(owing: EventStore) -> None:
    """A restart with the same listeners makes no other process read them again."""
    with owing.reader.snapshot() as cursor:
        before = cursor.execute("SELECT subscriptions_version FROM store").fetchall()

    start(owing, MINE)

    with owing.reader.snapshot() as cursor:
        after = cursor.execute("SELECT subscriptions_version FROM store").fetchall()
    assert after == before


def test_a_changed_order_gives_new_keys(owing: EventStore) -> None:
    """What is owed, parked or waits for its retry is ordered by the new paths."""
    _set(owing, 2, State.RETRYABLE, due=NOW + 1)

    start(owing, listener("mine", ordered_by=("data.key", "data.n")))

    assert [row["order_key"] for row in delivery_rows(owing)] == ['["a", 1]', '["b", 2]']
    owing.publish("order", "3", {"key": "c", "n": 3})
    assert delivery_rows(owing)[2]["order_key"] == '["c", 3]'


def test_an_order_that_is_gone_leaves_no_keys(owing: EventStore) -> None:
    """A listener that keeps no order any more has deliveries without keys."""
    start(owing, listener("mine", ordered_by=("data.key",)))

    start(owing, MINE)

    assert [row["order_key"] for row in delivery_rows(owing)] == [None, None]


@pytest.mark.parametrize(
    "field", ["event_type", "identifier", "created", "source", "data.key"]
)
def test_new_keys_equal_those_given_at_publication(store: EventStore, field: str) -> None:
    """An event gets the same key when the order changes as when it was published."""
    start(store, listener("early", ordered_by=(field,)), listener("late"))
    store.publish("order", "1", {"key": "a"}, source="shop")

    start(
        store,
        listener("early", ordered_by=(field,)),
        listener("late", ordered_by=(field,)),
    )

    early, late = [row["order_key"] for row in delivery_rows(store)]
    assert early is not None
    assert late == early


def test_a_key_by_created_is_the_moment_stored(store: EventStore) -> None:
    """Ordering by `created` uses the stored moment, not that of the restart."""
    start(store, MINE)
    event = store.publish("order", "1").event

    start(store, listener("mine", ordered_by=("created",)))

    assert delivery_rows(store)[0]["order_key"] == f"[{to_micros(event.created)}]"


def test_a_pause_of_a_stuck_listener_ends(owing: EventStore) -> None:
    """Stuck calls ended with their process, and so does the pause for them."""
    owing.subscriptions.pause("mine", NOW * 2, STUCK)

    start(owing, MINE)

    assert owing.subscriptions.all()[0].paused_until is None


def test_a_pause_for_another_reason_stays(owing: EventStore) -> None:
    """A restart does not end a pause that a listener asked for."""
    owing.subscriptions.pause("mine", NOW * 2, "the server asked to wait")

    start(owing, MINE)

    (found,) = owing.subscriptions.all()
    assert (found.paused_until, found.pause_reason) == (
        NOW * 2, "the server asked to wait",
    )  # fmt: skip


def test_a_pause_survives_a_changed_filter(owing: EventStore) -> None:
    """Changing the filter of a paused listener does not let it go on."""
    owing.subscriptions.pause("mine", NOW * 2, "wait")

    start(owing, listener("mine", of_type("order")))

    assert owing.subscriptions.all()[0].paused_until == NOW * 2
    assert subscription_id(owing, "mine") == 1
