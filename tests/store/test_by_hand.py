"""Every database: what a person changes by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from py_agent.errors import NotFoundError, UsageError
from py_agent.failures import Failure
from py_agent.filters import compile_filter
from py_agent.store import by_hand
from py_agent.store.attempts import Attempt
from py_agent.store.deliveries import Owed
from py_agent.store.event_store import EventStore
from py_agent.store.lock import AgentLock
from py_agent.store.runs import JobRow
from py_agent.store.side_file import Inside
from py_agent.store.tables import State

from .support import (
    EVERY,
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

MINE = listener("mine", of_type("order"))
KEYED = listener("mine", of_type("order"), ("data.key",))


@pytest.fixture
def owing(store: EventStore) -> EventStore:
    """A store whose listener `mine` is owed three events; the second is dead."""
    start(store, MINE)
    store.publish_many(("order", str(n), {"key": n}) for n in (1, 2, 3))
    _end(store, 2, State.DISCARDED)
    return store


def _end(store: EventStore, event_id: int, state: State) -> None:
    failure = Failure("ValueError", "boom") if state is State.DISCARDED else None
    attempt = Attempt(state, 5, NOW, crashes=1, reason="why", failure=failure)
    store.deliveries.record(Owed(event_id, 1), attempt)
    store.writer.flush()


@pytest.mark.parametrize(("text", "id"), [("12.3", (12, 3)), ("0.0", (0, 0))])
def test_a_delivery_id_is_two_numbers(text: str, id: tuple[int, int]) -> None:
    """The id is the delivery key: event and subscription."""
    assert by_hand.parse_id(text) == id


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.", ".1", "a.b", "1.2.3", "-1.2", "1.2 ", "\u00b2.1", "1" * 5000 + ".1"],
)
def test_what_is_no_delivery_id_is_refused(text: str) -> None:
    """The refusal says how an id is written."""
    with pytest.raises(UsageError):
        by_hand.parse_id(text)


def test_dead_letters_are_listed_until_dealt_with(owing: EventStore) -> None:
    """A dead letter is listed by its listener, until it is redelivered or dropped."""
    start(owing, MINE, listener("other"))

    assert by_hand.dead_letters(owing, None) == [(2, 1)]
    assert by_hand.dead_letters(owing, "mine") == [(2, 1)]
    assert by_hand.dead_letters(owing, "other") == []
    by_hand.discard(owing, [(2, 1)])
    assert by_hand.dead_letters(owing, None) == []


def test_dead_letters_of_an_unknown_listener(owing: EventStore) -> None:
    """Asking for a listener that the store does not know says so."""
    with pytest.raises(NotFoundError, match="nobody"):
        by_hand.dead_letters(owing, "nobody")


def test_a_redelivered_dead_letter_is_available(owing: EventStore) -> None:
    """It starts with fresh counts, and the errors of earlier attempts are kept."""
    assert by_hand.redeliver(owing, [(2, 1)]) == 1

    row = delivery_rows(owing)[1]
    assert (row["state"], row["due"], row["reason"]) == ("available", 0, None)
    assert (row["attempts"], row["crashes"]) == (0, 0)
    assert row["finished"] is None
    assert len(error_rows(owing)) == 1


def test_a_completed_delivery_can_be_redelivered(owing: EventStore) -> None:
    """A person may ask for a side effect once more."""
    _end(owing, 1, State.COMPLETED)

    by_hand.redeliver(owing, [(1, 1)])

    assert states(owing)[0] == "available"


def test_a_redelivery_to_a_parked_listener_is_parked(owing: EventStore) -> None:
    """It waits for the listener's function like everything else."""
    start(owing)

    by_hand.redeliver(owing, [(2, 1)])

    assert states(owing) == ["parked"] * 3


def test_a_redelivery_is_ordered_as_its_listener_is_now(owing: EventStore) -> None:
    """A dead letter from before a change of the order gets the key of the new one."""
    start(owing, KEYED)

    by_hand.redeliver(owing, [(2, 1)])

    assert [row["order_key"] for row in delivery_rows(owing)] == ["[1]", "[2]", "[3]"]


def test_discarding_what_is_owed_makes_a_dead_letter(owing: EventStore) -> None:
    """An owed delivery that is discarded is dead, with the reason."""
    assert by_hand.discard(owing, [(1, 1)]) == 1

    row = delivery_rows(owing)[0]
    assert (row["state"], row["reason"]) == ("discarded", "discarded by hand")
    assert by_hand.dead_letters(owing, None) == [(1, 1), (2, 1)]


def test_discarding_a_parked_delivery_makes_a_dead_letter(owing: EventStore) -> None:
    """What waits for a listener that will not come back can be discarded."""
    start(owing)

    by_hand.discard(owing, [(1, 1)])

    assert states(owing) == ["discarded", "discarded", "parked"]


def test_discarding_a_dead_letter_drops_it(owing: EventStore) -> None:
    """It is off the list, its row and its errors stay."""
    by_hand.discard(owing, [(2, 1)])

    assert delivery_rows(owing)[1]["reason"] == "dropped by hand"
    assert states(owing)[1] == "discarded"
    assert len(error_rows(owing)) == 1


def test_a_dropped_dead_letter_can_be_redelivered(owing: EventStore) -> None:
    """Dropping is not for ever: by its id it can still be asked for."""
    by_hand.discard(owing, [(2, 1)])

    by_hand.redeliver(owing, [(2, 1)])

    assert states(owing)[1] == "available"


def test_a_completed_delivery_is_not_discarded(owing: EventStore) -> None:
    """There is nothing to discard, and the others of the command stay too."""
    _end(owing, 3, State.COMPLETED)
    before = delivery_rows(owing)

    with pytest.raises(NotFoundError, match=r"3\.1"):
        by_hand.discard(owing, [(1, 1), (3, 1)])

    assert delivery_rows(owing) == before


@pytest.mark.parametrize("change", [by_hand.redeliver, by_hand.discard])
@pytest.mark.parametrize("id", [(99, 1), (1, 99), (0, 0), (2**63, 1), (1, 10**18 * 99)])
def test_an_unknown_id_changes_nothing(
    owing: EventStore,
    change: Callable[[EventStore, list[tuple[int, int]]], int],
    id: tuple[int, int],
) -> None:
    """One id that does not exist leaves every other of the command as it is."""
    before, version = delivery_rows(owing), owing.deliveries.version()

    with pytest.raises(NotFoundError):
        change(owing, [(1, 1), (2, 1), id])

    assert delivery_rows(owing) == before
    assert owing.deliveries.version() == version


def test_every_change_raises_the_version(owing: EventStore) -> None:
    """The running agent looks again after each change by hand."""
    versions = [owing.deliveries.version()]
    owing.subscriptions.pause("mine", NOW, "wait")
    for change in (
        lambda: by_hand.redeliver(owing, [(2, 1)]),
        lambda: by_hand.discard(owing, [(1, 1)]),
        lambda: by_hand.replay(owing, "mine", EVERY),
        lambda: by_hand.resume(owing, "mine"),
        lambda: by_hand.forget_listener(owing, "mine"),
    ):
        change()
        versions.append(owing.deliveries.version())

    assert versions == sorted(set(versions))


def test_replay_owes_older_events(owing: EventStore) -> None:
    """A new listener is owed what both its own filter and the asked one match."""
    owing.publish("invoice", "1")
    start(owing, MINE, listener("late", of_type("order"), ("data.key",)))

    asked = compile_filter({"identifier": ("in", ["1", "3"])})
    count = by_hand.replay(owing, "late", asked)

    assert count == 2
    late = [row for row in delivery_rows(owing) if row["subscription_id"] == 2]
    assert [(row["event_id"], row["order_key"]) for row in late] == [(1, "[1]"), (3, "[3]")]
    assert {row["state"] for row in late} == {"available"}


def test_replay_leaves_known_deliveries_alone(owing: EventStore) -> None:
    """What was owed before, completed and dead letters included, is not owed again."""
    _end(owing, 1, State.COMPLETED)
    before = delivery_rows(owing)

    assert by_hand.replay(owing, "mine", EVERY) == 0
    assert delivery_rows(owing) == before


def test_replay_reads_over_its_batches(store: EventStore) -> None:
    """More events than one transaction takes are all owed, and counted."""
    store.publish_many(("order", str(n), None) for n in range(2_100))
    start(store, MINE)

    assert by_hand.replay(store, "mine", EVERY) == 2_100
    assert len(delivery_rows(store)) == 2_100


def test_replay_to_a_parked_listener_is_parked(owing: EventStore) -> None:
    """Older events wait for the function like new ones."""
    owing.publish("order", "seen", deliver=False)
    start(owing)

    assert by_hand.replay(owing, "mine", EVERY) == 1
    assert states(owing)[3] == "parked"


def test_forgetting_a_listener_removes_what_it_is_owed(owing: EventStore) -> None:
    """The subscription and its deliveries go; the unfinished ones are counted."""
    start(owing)

    assert by_hand.forget_listener(owing, "mine") == 2

    assert owing.subscriptions.all() == []
    assert delivery_rows(owing) == []
    owing.publish("order", "4")
    assert delivery_rows(owing) == []


def test_a_forgotten_listener_comes_back_under_a_new_number(owing: EventStore) -> None:
    """No delivery key is ever given twice."""
    start(owing)
    by_hand.forget_listener(owing, "mine")

    start(owing, MINE)

    assert subscription_id(owing, "mine") == 2


def test_forgetting_leaves_other_listeners_alone(owing: EventStore) -> None:
    """Only the named listener goes."""
    start(owing, MINE, listener("other"))
    owing.publish("order", "4")

    by_hand.forget_listener(owing, "mine")

    assert [each.name for each in owing.subscriptions.all()] == ["other"]
    assert [row["subscription_id"] for row in delivery_rows(owing)] == [2]


def test_a_paused_listener_is_resumed(owing: EventStore) -> None:
    """It goes on, and its reason is gone."""
    owing.subscriptions.pause("mine", NOW, "wait")

    assert by_hand.resume(owing, "mine") == "listener"

    (found,) = owing.subscriptions.all()
    assert (found.paused_until, found.pause_reason) == (None, None)


def test_a_paused_job_is_resumed_with_a_fresh_count(store: EventStore) -> None:
    """A job that crashed too often may crash three times again."""
    for n in range(3):
        start(store, inside=Inside(f"life {n}", jobs=("poll",)))

    assert by_hand.resume(store, "poll") == "job"

    assert store.runs.job("poll") == JobRow()


@pytest.mark.parametrize("name", ["mine", "nobody", "poll"])
def test_what_is_not_paused_is_not_resumed(owing: EventStore, name: str) -> None:
    """An unknown name, or one that is not held, is refused and changes nothing."""
    owing.runs.set_crashes("poll", 1)
    owing.writer.flush()
    version = owing.deliveries.version()

    with pytest.raises(NotFoundError, match=name):
        by_hand.resume(owing, name)

    assert owing.deliveries.version() == version
    assert owing.runs.job("poll") == JobRow(crashes=1)


@pytest.mark.parametrize(
    "change",
    [
        lambda store: by_hand.replay(store, "nobody", EVERY),
        lambda store: by_hand.forget_listener(store, "nobody"),
    ],
)
def test_an_unknown_listener_changes_nothing(
    owing: EventStore, change: Callable[[EventStore], int]
) -> None:
    """A name that the store does not know is refused."""
    before = delivery_rows(owing)

    with pytest.raises(NotFoundError, match="nobody"):
        change(owing)

    assert delivery_rows(owing) == before


def test_a_listener_of_the_running_agent_is_not_forgotten(owing: EventStore) -> None:
    """The agent that holds the lock has its function, and would add it again."""
    lock = AgentLock(owing.path)
    lock.acquire()
    before = delivery_rows(owing)

    try:
        with pytest.raises(UsageError, match="mine"):
            by_hand.forget_listener(owing, "mine")
    finally:
        lock.release()

    assert delivery_rows(owing) == before


def test_a_job_whose_events_are_held_is_not_forgotten(store: EventStore) -> None:
    """Given a flood that is held, When its job is to go, Then that comes first."""
    start(store, MINE)
    run = store.runs.open("poll", NOW)
    store.publish("order", "1", hold=run)
    store.writer.flush()
    with pytest.raises(UsageError, match="are held"):
        by_hand.forget_job(store, "poll")


def test_a_forgotten_job_takes_nothing_of_others(store: EventStore) -> None:
    """Given two jobs, When one is forgotten, Then the other has its runs and its row."""
    for job in ("poll", "other"):
        store.runs.open(job, NOW)
        store.runs.set_crashes(job, 1)
    store.writer.flush()
    assert by_hand.forget_job(store, "poll") == 1
    assert [row["job"] for row in run_rows(store)] == ["other"]
    assert store.runs.job("poll") == JobRow()
    assert store.runs.job("other") == JobRow(crashes=1)
