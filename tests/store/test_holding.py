"""Every database: what is withheld is owed, and in nobody's way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from py_agent.errors import NotFoundError
from py_agent.store import by_hand, holding
from py_agent.store.event_store import EventStore
from py_agent.store.listing import reading
from py_agent.store.lock import AgentLock
from py_agent.store.owing import Committed
from py_agent.store.runs import RunResult, published_before
from py_agent.store.side_file import Inside
from py_agent.store.tables import Outcome
from py_agent.store.takeover import take_over

from .support import NOW, delivery_rows, listener, of_type, start, states

MINE = listener("mine", of_type("order"), ("data.key",))
REASON = holding.run_reason(1, "poll")

Change = Callable[[EventStore, str], int]


@pytest.fixture
def withheld(store: EventStore) -> EventStore:
    """A store in which run 1 of `poll` has published two orders, and has not ended."""
    start(store, MINE)
    store.runs.open("poll", NOW)
    for number in ("1", "2"):
        store.publish("order", number, {"key": "a"}, source="poll", hold=REASON)
    return store


def _hold(store: EventStore) -> None:
    store.writer.run(lambda cursor: holding.hold(cursor, REASON, "poll"))


def _end(store: EventStore, run: int = 1, published: int = 2) -> None:
    store.runs.close(run, RunResult(Outcome.COMPLETED, NOW, published))
    store.writer.flush()


def _loaded(store: EventStore) -> list[int]:
    backlog = store.deliveries.load(1, 10, 2**61, left_out=())
    assert backlog.next_due is None and not backlog.more and not backlog.blocked
    return [each.event_id for each in backlog.rows]


def _reasons(store: EventStore) -> list[str | None]:
    return [row["reason"] for row in delivery_rows(store)]


@pytest.mark.parametrize("held", [False, True], ids=["of a run", "held"])
def test_what_is_withheld_is_never_loaded_nor_counted(
    withheld: EventStore, held: bool
) -> None:
    """It is available, and in no window, no backlog, and no account of what is owed."""
    if held:
        _hold(withheld)

    assert states(withheld) == ["available"] * 2
    assert _loaded(withheld) == []
    assert withheld.deliveries.owed(10, NOW) == 0
    with reading(withheld.path) as listing:
        (row,) = listing.listeners(NOW)
    assert (row["owed"], row["held"], row["oldest_owed"]) == (0, 2, None)


def test_other_deliveries_of_the_same_key_go_on(withheld: EventStore) -> None:
    """What is withheld does not block its key."""
    _hold(withheld)
    withheld.publish("order", "3", {"key": "a"})

    assert _loaded(withheld) == [3]
    assert withheld.deliveries.owed(10, NOW) == 1


def test_what_is_withheld_is_not_handed_over(store: EventStore) -> None:
    """Who publishes is told of the event, and of no delivery."""
    start(store, MINE)
    told: list[Committed] = []
    store.committed = told.append

    store.publish("order", "1", hold=REASON)
    store.publish_many([("order", str(n), None) for n in (1, 2, 3)], hold=REASON)

    assert [(each.first, each.last, each.owed) for each in told] == [(1, 1, ()), (2, 3, ())]
    assert _reasons(store) == [REASON] * 3


def test_a_duplicate_stays_as_it_is(withheld: EventStore) -> None:
    """Publishing a known event neither withholds it anew nor delivers it."""
    assert not withheld.publish("order", "1")
    assert not withheld.publish("order", "2", hold="another")
    assert _reasons(withheld) == [REASON] * 2


def test_the_jobs_say_what_is_held(withheld: EventStore) -> None:
    """Programs and people see how many events of which job wait, and for what."""
    withheld.publish("order", "3", hold=holding.run_reason(2, "other"))
    withheld.writer.flush()
    _hold(withheld)

    with reading(withheld.path) as listing:
        rows, jobs = listing.withheld(), {row["name"]: row for row in listing.jobs()}
    assert [(row["job"], row["held"], row["run"], row["events"]) for row in rows] == [
        ("poll", True, None, 2),
        ("other", False, 2, 1),
    ]
    assert jobs["poll"]["held"] == 2


def test_held_deliveries_are_released(withheld: EventStore) -> None:
    """They are owed as if they were new, and the version says to look again."""
    _end(withheld)
    _hold(withheld)
    version = withheld.deliveries.version()

    assert by_hand.release_held(withheld, "poll") == 2

    assert _loaded(withheld) == [1, 2]
    assert _reasons(withheld) == [None, None]
    assert withheld.deliveries.version() > version


def test_held_deliveries_are_dropped(withheld: EventStore) -> None:
    """They are discarded and leave nothing for a person to look at."""
    _end(withheld)
    _hold(withheld)
    version = withheld.deliveries.version()

    assert by_hand.discard_held(withheld, "poll") == 2

    assert states(withheld) == ["discarded"] * 2
    assert _reasons(withheld) == ["dropped by hand"] * 2
    assert all(row["finished"] for row in delivery_rows(withheld))
    assert by_hand.dead_letters(withheld, None) == []
    assert withheld.deliveries.version() > version
    with reading(withheld.path) as listing:
        assert listing.listeners(NOW)[0]["dead"] == 0
        assert listing.withheld() == []


@pytest.mark.parametrize("change", [by_hand.release_held, by_hand.discard_held])
def test_there_is_nothing_to_decide(withheld: EventStore, change: Change) -> None:
    """An unknown job and one of which nothing is held are told in one line each."""
    before = delivery_rows(withheld)
    with pytest.raises(NotFoundError, match="no job named pol$"):
        change(withheld, "pol")
    lock = AgentLock(withheld.path)
    lock.acquire()
    try:
        with pytest.raises(NotFoundError, match="present run publishes waits"):
            change(withheld, "poll")
    finally:
        lock.release()
    assert delivery_rows(withheld) == before
    _end(withheld)
    assert change(withheld, "poll") == 2
    with pytest.raises(NotFoundError, match="nothing of job poll is held$"):
        change(withheld, "poll")


@pytest.mark.parametrize("change", [by_hand.release_held, by_hand.discard_held])
def test_what_a_run_left_is_decided_without_an_agent(
    withheld: EventStore, change: Change
) -> None:
    """Where no agent runs, a run that is open has not ended and never will."""
    assert change(withheld, "poll") == 2
    assert _loaded(withheld) == ([1, 2] if change is by_hand.release_held else [])


def test_one_delivery_is_released_by_its_id(withheld: EventStore) -> None:
    """A person may ask for a single one; the others stay."""
    _hold(withheld)

    by_hand.redeliver(withheld, [(1, 1)])

    assert _loaded(withheld) == [1]
    assert _reasons(withheld) == [None, holding.held_reason("poll")]


def test_one_delivery_is_discarded_by_its_id(withheld: EventStore) -> None:
    """A single one becomes a dead letter, as any other does."""
    _hold(withheld)

    by_hand.discard(withheld, [(1, 1)])

    assert by_hand.dead_letters(withheld, None) == [(1, 1)]
    assert by_hand.release_held(withheld, "poll") == 1


def test_a_replay_leaves_them_alone(withheld: EventStore) -> None:
    """What is withheld is known to be owed."""
    _hold(withheld)

    assert by_hand.replay(withheld, "mine", MINE.filter) == 0
    assert _loaded(withheld) == []


@pytest.mark.parametrize("held", [False, True], ids=["of a run", "held"])
def test_a_takeover_releases_nothing(withheld: EventStore, held: bool) -> None:
    """Neither a crash nor a restart delivers what is withheld."""
    if held:
        _hold(withheld)
    before = delivery_rows(withheld)

    start(withheld, MINE, inside=Inside("last", jobs=("poll",)))

    assert delivery_rows(withheld) == before
    assert _loaded(withheld) == []


def test_a_listener_that_comes_back_is_not_released(withheld: EventStore) -> None:
    """Given a listener that was out of the code while held, Then held it stays."""
    _hold(withheld)

    start(withheld)
    start(withheld, MINE)

    assert _loaded(withheld) == []
    assert by_hand.release_held(withheld, "poll") == 2
    assert _loaded(withheld) == [1, 2]


def test_what_is_released_to_a_parked_listener_is_parked(withheld: EventStore) -> None:
    """It waits for the function, like everything else, and comes when that is back."""
    _hold(withheld)
    start(withheld)
    withheld.publish("order", "3", hold=REASON)

    assert by_hand.release_held(withheld, "poll") == 3

    assert states(withheld) == ["parked"] * 3
    start(withheld, MINE)
    assert _loaded(withheld) == [1, 2, 3]


def test_a_forgotten_listener_takes_them_along(withheld: EventStore) -> None:
    """Given a listener that is forgotten while held, Then nothing is held any more."""
    _end(withheld)
    _hold(withheld)
    start(withheld)

    assert by_hand.forget_listener(withheld, "mine") == 2

    with pytest.raises(NotFoundError, match="nothing of job poll is held"):
        by_hand.release_held(withheld, "poll")


def test_a_job_that_is_not_guarded_any_more_frees_what_its_run_left(
    withheld: EventStore,
) -> None:
    """Nobody would decide on it; what is held for a person stays with the person."""
    _hold(withheld)
    other, third = holding.run_reason(2, "other"), holding.run_reason(3, "guarded")
    withheld.publish("order", "3", hold=other)
    withheld.publish("order", "4", hold=third)

    take_over(withheld, [MINE], Inside(), NOW, unguarded={"poll", "other"})

    held = holding.held_reason("poll")
    assert _reasons(withheld) == [held, held, None, third]
    assert _loaded(withheld) == [3]


def test_the_order_of_a_listener_changes_while_held(withheld: EventStore) -> None:
    """What is released is ordered as its listener is now."""
    _hold(withheld)
    start(withheld, listener("mine", of_type("order"), ("identifier",)))

    by_hand.release_held(withheld, "poll")

    assert [row["order_key"] for row in delivery_rows(withheld)] == ['["1"]', '["2"]']


def test_the_latest_runs_that_published(store: EventStore) -> None:
    """Only completed runs of the job before the present one count, the latest first."""
    for number, (job, outcome, published) in enumerate(
        [
            ("poll", Outcome.COMPLETED, 1), ("other", Outcome.COMPLETED, 9),
            ("poll", Outcome.FAILED, 9), ("poll", Outcome.COMPLETED, 0),
            ("poll", Outcome.COMPLETED, 2), ("poll", Outcome.COMPLETED, 3),
            ("poll", Outcome.COMPLETED, 500),
        ],
        1,
    ):  # fmt: skip
        store.runs.open(job, NOW)
        store.runs.close(number, RunResult(outcome, NOW, published))

    found = store.writer.run(lambda cursor: published_before(cursor, "poll", 7, 2))

    assert found == [3, 2]
