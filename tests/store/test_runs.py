"""Every database: runs, skips, and what is remembered of a job."""

from __future__ import annotations

from collections.abc import Callable

from py_agent.failures import Failure
from py_agent.store.event_store import EventStore
from py_agent.store.listing import reading
from py_agent.store.runs import DROPPED_AT_ONCE, KEPT, JobRow, RunResult
from py_agent.store.tables import Outcome

from .support import NOW, run_rows


def test_a_run_is_opened_and_closed(store: EventStore) -> None:
    """A run is running first, and then has its outcome and its counts."""
    run = store.runs.open("poll", NOW)
    store.writer.flush()
    assert run_rows(store)[0]["outcome"] == Outcome.RUNNING

    store.runs.close(run, RunResult(Outcome.COMPLETED, NOW + 1, 2, 3))
    store.writer.flush()

    (row,) = run_rows(store)
    assert (row["job"], row["started"], row["finished"]) == ("poll", NOW, NOW + 1)
    assert (row["outcome"], row["published"], row["duplicates"]) == ("completed", 2, 3)
    assert (row["error"], row["traceback"]) == (None, None)


def test_a_failed_run_keeps_its_error(store: EventStore) -> None:
    """The error and where it came from are in the row."""
    run = store.runs.open("poll", NOW)
    failure = Failure("ValueError", "boom", "a traceback")
    store.runs.close(run, RunResult(Outcome.FAILED, NOW, failure=failure))
    store.writer.flush()

    (row,) = run_rows(store)
    assert (row["error"], row["traceback"]) == ("ValueError: boom", "a traceback")


def test_consecutive_skips_are_one_row(store: EventStore) -> None:
    """Each skip is counted, in the row of the first."""
    run = store.runs.skip("poll", NOW, None)
    assert store.runs.skip("poll", NOW + 1, run) == run
    store.writer.flush()

    (row,) = run_rows(store)
    assert (row["outcome"], row["skips"], row["started"]) == ("skipped", 2, NOW)


def test_runs_are_numbered_on_after_a_restart(
    store: EventStore, open_store: Callable[[], EventStore]
) -> None:
    """The next process goes on where the last one ended."""
    last = [store.runs.open("poll", NOW) for _ in range(3)][-1]
    store.close()

    assert open_store().runs.open("poll", NOW) == last + 1


def test_the_end_of_a_run_goes_along_with_the_next_commit(store: EventStore) -> None:
    """So that a run that finds nothing new costs no sync of its own."""
    run = store.runs.open("poll", NOW)
    store.writer.flush()
    store.runs.close(run, RunResult(Outcome.COMPLETED, NOW))
    assert [row["outcome"] for row in run_rows(store)] == ["running"]

    store.publish("order", "1")

    assert [row["outcome"] for row in run_rows(store)] == ["completed"]


def test_old_runs_are_dropped_some_at_a_time(store: EventStore) -> None:
    """Given many old runs, When one begins, Then some are dropped, the oldest first."""
    other = store.runs.open("other", NOW - 500)
    goes_on = store.runs.open("poll", NOW - 500)
    old = [store.runs.open("poll", NOW - 300 + number) for number in range(KEPT + 24)]
    for run in (*old, other):
        store.runs.close(run, RunResult(Outcome.COMPLETED, NOW))
    left = []
    for _ in range(4):
        store.runs.open("poll", NOW, oldest=NOW - 278)  # 22 of them are older
        store.writer.flush()
        left.append([row["id"] for row in run_rows(store) if row["id"] <= old[-1]])

    dropped = DROPPED_AT_ONCE - 1  # and the one that goes on
    assert left[0] == [other, goes_on, *old[dropped:]]
    assert left[1] == [other, goes_on, *old[2 * dropped :]]
    assert left[2] == left[3] == [other, goes_on, *old[22:]]


def test_the_latest_runs_stay_however_old(store: EventStore) -> None:
    """Given a clock that is set ahead, When runs begin, Then the latest of all stay."""
    for number in range(2 * KEPT):
        run = store.runs.open("poll", NOW + number, oldest=NOW + 10 * KEPT)
        store.runs.close(run, RunResult(Outcome.COMPLETED, NOW))
    store.writer.flush()

    kept = [row["started"] for row in run_rows(store)]
    assert kept == [*range(NOW + KEPT, NOW + 2 * KEPT)]


def test_a_job_without_a_row_has_no_crashes(store: EventStore) -> None:
    """A job that the store does not know is neither paused nor suspect."""
    assert store.runs.job("poll") == JobRow()


def test_the_crash_count_of_a_job_is_kept(store: EventStore) -> None:
    """Setting it changes nothing else of the job."""
    store.runs.set_crashes("poll", 2)
    store.runs.set_crashes("poll", 0)
    store.writer.flush()

    assert store.runs.job("poll") == JobRow()


def test_runs_around_a_moment_are_the_last_and_those_ahead(store: EventStore) -> None:
    """Given runs of a clock that went back, When asked, Then the last and the later."""
    for moment in (NOW + 50, NOW - 20, NOW - 10, NOW + 30):
        store.runs.open("poll", moment)
    store.runs.open("other", NOW)
    store.runs.skip("poll", NOW, None)
    store.writer.flush()

    assert store.runs.started_around("poll", NOW) == [NOW - 10, NOW + 30, NOW + 50]
    assert store.runs.started_around("poll", NOW - 10) == [NOW - 10, NOW + 30, NOW + 50]
    assert store.runs.started_around("unknown", NOW) == []


def test_the_last_run_of_a_job_is_no_skip(store: EventStore) -> None:
    """A run that failed, or goes on, is not hidden by one that did not begin after it."""
    ends = {"bad": Outcome.FAILED, "long": None, "only late": None}
    for job, outcome in ends.items():
        if job != "only late":
            run = store.runs.open(job, NOW)
            if outcome is not None:
                store.runs.close(run, RunResult(outcome, NOW))
        store.runs.skip(job, NOW, None)
    store.writer.flush()

    with reading(store.path) as listing:
        found = {row["name"]: row["outcome"] for row in listing.jobs()}

    assert found == {"bad": "failed", "long": "running", "only late": "skipped"}
