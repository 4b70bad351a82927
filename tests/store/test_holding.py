"""Every database: what is withheld is owed, and in nobody's way."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from py_agent.errors import NotFoundError
from py_agent.store import by_hand, holding
from py_agent.store.attempts import Attempt
from py_agent.store.deliveries import Owed
from py_agent.store.event_store import EventStore
from py_agent.store.listing import reading
from py_agent.store.lock import AgentLock
from py_agent.store.measures import measure
from py_agent.store.owing import Committed
from py_agent.store.runs import RunResult, published_before
from py_agent.store.side_file import Inside
from py_agent.store.subscriptions import NEVER
from py_agent.store.tables import Outcome, State
from py_agent.store.takeover import take_over

from .support import (
    NOW,
    PATIENCE,
    delivery_rows,
    listener,
    of_type,
    run_rows,
    start,
    states,
    until,
)

MINE = listener("mine", of_type("order"), ("data.key",))
RUN = 1  # of `poll`
WAITS = "waits for the end of its run"

Change = Callable[[EventStore, str], int]


@pytest.fixture
def withheld(store: EventStore) -> EventStore:
    """A store in which run 1 of `poll` has published two orders, and has not ended."""
    start(store, MINE)
    store.runs.open("poll", NOW)
    for number in ("1", "2"):
        store.publish("order", number, {"key": "a"}, source="poll", hold=RUN)
    return store


def _hold(store: EventStore) -> None:
    store.writer.run(lambda cursor: holding.hold(cursor, RUN, "poll"))


def _change(store: EventStore, *statements: str) -> None:
    store.writer.run(lambda cursor: [cursor.execute(each) for each in statements])


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
    measured = measure(withheld.path, NOW).listeners["mine"]
    assert +Counter(measured.deliveries) == {"held" if held else "waiting": 2}
    assert measured.oldest is None


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
    store.runs.open("poll", NOW)

    store.publish("order", "1", hold=RUN)
    store.publish_many([("order", str(n), None) for n in (1, 2, 3)], hold=RUN)

    assert [(each.first, each.last, each.owed) for each in told] == [(1, 1, ()), (2, 3, ())]
    assert _reasons(store) == [WAITS] * 3


@pytest.mark.parametrize("many", [False, True], ids=["publish", "publish_many"])
def test_what_comes_after_the_run_is_owed_at_once(withheld: EventStore, many: bool) -> None:
    """The transaction that ends a run is the border, wherever what is published waited."""
    told: list[Committed] = []
    withheld.committed = told.append
    withheld.runs.close(RUN, RunResult(Outcome.COMPLETED, NOW, 2))  # rides along

    if many:
        withheld.publish_many([("order", "3", {"key": "b"})], hold=RUN)
    else:
        withheld.publish("order", "3", {"key": "b"}, hold=RUN)

    assert [len(each.owed) for each in told] == [1]
    assert _reasons(withheld) == [WAITS, WAITS, None]
    assert _loaded(withheld) == [3]


def test_a_commit_that_is_repeated_moves_no_border(withheld: EventStore) -> None:
    """Given an event and the end of its run in one transaction that is undone, When both
    are done again, Then the event is withheld.
    """
    late = threading.Thread(
        target=withheld.publish, args=["order", "3"], kwargs={"hold": 1}
    )

    def lead(cursor: sqlite3.Cursor) -> None:
        late.start()
        until(lambda: withheld.writer.pending)
        withheld.runs.close(RUN, RunResult(Outcome.COMPLETED, NOW, 3))
        withheld.writer.ride(fail)

    def fail(cursor: sqlite3.Cursor) -> None:
        raise ValueError("this undoes all of them")

    withheld.writer.run(lead)
    late.join(PATIENCE)

    assert _reasons(withheld) == [WAITS] * 3
    assert run_rows(withheld)[0]["outcome"] == "completed"


def test_a_duplicate_stays_as_it_is(withheld: EventStore) -> None:
    """Publishing a known event neither withholds it anew nor delivers it."""
    assert not withheld.publish("order", "1")
    assert not withheld.publish("order", "2", hold=2)
    assert _reasons(withheld) == [WAITS] * 2


def test_the_jobs_say_what_is_held(withheld: EventStore) -> None:
    """Programs and people see how many events of which job wait, and for what."""
    withheld.publish("order", "3", hold=withheld.runs.open("other", NOW))
    withheld.writer.flush()
    _hold(withheld)

    with reading(withheld.path) as listing:
        rows, jobs = listing.withheld(), {row["name"]: row for row in listing.jobs()}
    assert [(row["job"], row["held"], row["run"], row["events"]) for row in rows] == [
        ("poll", True, None, 2),
        ("other", False, 2, 1),
    ]
    assert jobs["poll"]["held"] == 2


def test_floods_of_a_job_are_told_as_one(withheld: EventStore) -> None:
    """Whichever run they are of, a person decides on all that is held of a job."""
    _hold(withheld)
    second = withheld.runs.open("poll", NOW)
    withheld.publish("order", "3", hold=second)
    withheld.writer.run(lambda cursor: holding.hold(cursor, second, "poll"))

    with reading(withheld.path) as listing:
        (row,) = listing.withheld()
    assert row == {"job": "poll", "held": True, "run": None, "events": 3, "deliveries": 3}
    assert by_hand.release_held(withheld, "poll") == 3


@pytest.mark.parametrize("held", [False, True], ids=["of a run", "held"])
@pytest.mark.parametrize("name", ["run 7 of x", "a\nb", "poll 'x' %"])
def test_a_reason_is_never_read(store: EventStore, name: str, held: bool) -> None:
    """Whatever a job is called, and whatever the reasons say, the run tells whose it is."""
    start(store, MINE)
    run = store.runs.open(name, NOW)
    store.publish("order", "1", source=name, hold=run)
    if held:
        store.writer.run(lambda cursor: holding.hold(cursor, run, name))
    _change(store, "UPDATE deliveries SET reason = 'waits for the end of run 9 of poll'")

    with reading(store.path) as listing:
        assert [row["job"] for row in listing.withheld()] == [name]
    assert by_hand.release_held(store, name) == 1
    assert _loaded(store) == [1] and _reasons(store) == [None]


@pytest.mark.parametrize("held", [False, True], ids=["of a run", "held"])
def test_a_run_that_is_gone(withheld: EventStore, held: bool) -> None:
    """Given runs that were removed, Then the events say of which job they are."""
    if held:
        _hold(withheld)
    _change(withheld, "DELETE FROM runs")

    with reading(withheld.path) as listing:
        assert [(row["job"], row["held"]) for row in listing.withheld()] == [("poll", held)]
    take_over(withheld, [MINE], Inside(), NOW, guarded={"poll"})
    assert _loaded(withheld) == []
    assert by_hand.release_held(withheld, "poll") == 2
    assert _loaded(withheld) == [1, 2]


def test_held_deliveries_are_released(withheld: EventStore) -> None:
    """They are owed as if they were new, and the version says to look again."""
    _end(withheld)
    _hold(withheld)
    version = withheld.deliveries.version()

    assert by_hand.release_held(withheld, "poll") == 2

    assert _loaded(withheld) == [1, 2]
    assert _reasons(withheld) == [None, None]
    assert [row["held_run"] for row in delivery_rows(withheld)] == [None, None]
    assert [row["admitted"] for row in delivery_rows(withheld)] == [False, False]
    assert withheld.deliveries.version() > version


def test_held_deliveries_are_dropped(withheld: EventStore) -> None:
    """They are discarded and leave nothing for a person to look at."""
    _end(withheld)
    _hold(withheld)
    version = withheld.deliveries.version()

    assert by_hand.discard_held(withheld, "poll") == 2

    assert states(withheld) == ["discarded"] * 2
    assert _reasons(withheld) == ["dropped by hand"] * 2
    assert [row["held_run"] for row in delivery_rows(withheld)] == [None, None]
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
    assert [row["held_run"] for row in delivery_rows(withheld)] == [None, RUN]
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


@pytest.mark.parametrize("held", [False, True], ids=["of a run", "held"])
def test_the_release_before_parks_what_is_withheld(
    withheld: EventStore, held: bool
) -> None:
    """Given a roll-back without the listener, When the listener is back, Then what was
    withheld is so again, as the release before knows nothing of it.
    """
    if held:
        _hold(withheld)
    before = delivery_rows(withheld)
    _change(
        withheld,
        "UPDATE deliveries SET state = 'parked' WHERE subscription_id = 1 "
        "AND state IN ('available', 'retryable', 'running')",
        "UPDATE subscriptions SET parked = 1",
    )

    take_over(withheld, [MINE], Inside(), NOW, guarded={"poll"})

    assert delivery_rows(withheld) == before
    assert _loaded(withheld) == []
    assert by_hand.release_held(withheld, "poll") == 2
    assert _loaded(withheld) == [1, 2]


def test_what_was_released_while_parked_stays_so(withheld: EventStore) -> None:
    """Given what a person redelivers to a parked listener, Then it comes with that."""
    _hold(withheld)
    start(withheld)
    by_hand.redeliver(withheld, [(1, 1)])

    start(withheld, MINE)

    assert _loaded(withheld) == [1]


def test_what_is_released_to_a_parked_listener_is_parked(withheld: EventStore) -> None:
    """It waits for the function, like everything else, and comes when that is back."""
    _hold(withheld)
    start(withheld)
    withheld.publish("order", "3", hold=withheld.runs.open("poll", NOW))

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


def test_a_job_that_is_guarded_no_more_frees_what_its_run_left(
    withheld: EventStore,
) -> None:
    """Nobody would decide on it; what is held for a person stays with the person."""
    _hold(withheld)
    for number, job in (("3", "other"), ("4", "guarded"), ("5", "other")):
        withheld.publish("order", number, hold=withheld.runs.open(job, NOW))

    found = take_over(withheld, [MINE], Inside(), NOW, guarded={"guarded"})

    held = holding.held_reason("poll")
    assert _reasons(withheld) == [held, held, None, WAITS, None]
    assert _loaded(withheld) == [3, 5]
    assert found.freed == {"other": 2}


def test_a_job_that_is_not_in_the_code_any_more(withheld: EventStore) -> None:
    """Given a run cut off and a flood of a job that is renamed then, Then what waited for
    the run is delivered, and the flood is there to be decided on by the old name.
    """
    _hold(withheld)
    withheld.publish("order", "3", hold=withheld.runs.open("poll", NOW))

    found = take_over(withheld, [MINE], Inside(), NOW, guarded={"renamed"})

    assert found.freed == {"poll": 1}
    assert _loaded(withheld) == [3]
    assert by_hand.release_held(withheld, "poll") == 2
    assert take_over(withheld, [MINE], Inside(), NOW, guarded={"renamed"}).freed == {}


@pytest.mark.parametrize("held", [False, True], ids=["of a run", "held"])
def test_metrics_tell_what_is_withheld_apart(withheld: EventStore, held: bool) -> None:
    """It is counted for itself, and makes no event the oldest that is owed."""
    if held:
        _hold(withheld)
    own = {"held": 2} if held else {"waiting": 2}
    found = measure(withheld.path, NOW).listeners["mine"]
    assert (+Counter(found.deliveries), found.oldest) == (own, None)

    withheld.publish("order", "3")
    stuck = Attempt(State.RUNNING, 1, NOW, NEVER)
    withheld.deliveries.record(Owed(3, 1), stuck)
    withheld.writer.flush()

    found = measure(withheld.path, NOW).listeners["mine"]
    assert +Counter(found.deliveries) == {"running": 1, **own}
    assert found.oldest is not None


@pytest.mark.parametrize(
    "name",
    ["_WAITING", "_OWED_TO", "_COUNT", "_FIRST", "_JOIN", "_HOLD", "_RELEASE", "_DROP"],
)
def test_what_is_withheld_is_found_by_an_index(store: EventStore, name: str) -> None:
    """No statement at the end of a run reads the deliveries of a store to their end."""
    sql, names, fixed = getattr(holding, name).compiled
    values = [fixed.get(each, "[1]" if each == "runs" else 1) for each in names]
    with store.reader.snapshot() as cursor:
        plan = cursor.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    found = [row[3] for row in plan if "deliveries" in row[3]]
    assert found and all("owed_deliveries (subscription_id=? AND due=?" in x for x in found)


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
