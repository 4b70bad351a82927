"""Every database: what jobs and listeners remember, written with the end of their work."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from py_agent.errors import StorageFault
from py_agent.memory import Remembered
from py_agent.store.event_store import EventStore
from py_agent.store.runs import RunResult
from py_agent.store.states import States
from py_agent.store.tables import Outcome

from .support import NOW, job_rows, listener, outcome, run_rows, start, together

FOUND = Remembered('{"page":7}', '{"http://x/":{"etag":"1"}}', NOW)
LATER = Remembered('{"page":8}', "{}", NOW + 1)

Open = Callable[[], EventStore]


@pytest.fixture
def states(store: EventStore) -> States:
    """What is remembered in an open store."""
    return States(store.reader)


def test_who_is_not_known_remembers_nothing(states: States) -> None:
    """Given an empty store, Then a job and a listener begin with an empty state."""
    assert states.of_job("poll") == Remembered("{}", "{}", None)
    assert states.of_listener("mail") == Remembered("{}", "{}", None)


def test_a_job_remembers_after_a_restart(
    store: EventStore, states: States, open_store: Open
) -> None:
    """Given a state that was written, When the store is opened anew, Then it is there."""
    store.writer.run(states.keep_job("poll", FOUND, NOW))
    store.close()

    assert States(open_store().reader).of_job("poll") == FOUND


def test_a_listener_remembers_after_a_restart(
    store: EventStore, states: States, open_store: Open
) -> None:
    """Given a listener's state, When the store is opened anew, Then it is there."""
    start(store, listener("mail"))
    store.writer.run(states.keep_listener("mail", Remembered('{"n":1}', '{"u":{}}')))
    store.close()

    assert States(open_store().reader).of_listener("mail") == Remembered(
        '{"n":1}', '{"u":{}}'
    )


def test_the_next_run_sees_it_before_it_is_written(states: States) -> None:
    """Given a state whose transaction is still to come, When asked, Then it is known."""
    states.keep_job("poll", FOUND, NOW)
    assert states.of_job("poll") == FOUND


def test_a_state_is_written_together_with_the_end_of_its_run(
    store: EventStore, states: States
) -> None:
    """Given a run that ended, When its row rides, Then both or neither are there."""
    run = store.runs.open("poll", NOW)
    store.writer.flush()
    keep = states.keep_job("poll", FOUND, NOW)
    store.runs.close(run, RunResult(Outcome.COMPLETED, NOW), keep)
    assert (run_rows(store)[0]["outcome"], job_rows(store)) == ("running", [])

    store.publish("order", "1")

    assert run_rows(store)[0]["outcome"] == "completed"
    (row,) = job_rows(store)
    assert (row["state"], row["succeeded_until"]) == (FOUND.state, NOW)


def test_the_last_of_several_states_is_kept(store: EventStore, states: States) -> None:
    """Given two runs that end before a commit, When it comes, Then the later one stands."""
    store.writer.ride(states.keep_job("poll", FOUND, NOW))
    store.writer.ride(states.keep_job("poll", LATER, NOW))
    store.writer.flush()
    assert States(store.reader).of_job("poll") == LATER


def test_a_state_changes_nothing_else_of_the_job(store: EventStore, states: States) -> None:
    """Given a job with crashes, When its state is written, Then they stay."""
    store.runs.set_crashes("poll", 2)
    store.writer.run(states.keep_job("poll", FOUND, NOW))
    store.writer.run(states.keep_job("poll", LATER, NOW))
    assert store.runs.job("poll").crashes == 2
    (row,) = job_rows(store)
    assert (row["state"], row["validators"]) == (LATER.state, LATER.validators)


def test_jobs_and_listeners_of_one_name_are_two(store: EventStore, states: States) -> None:
    """Given a job and a listener of the same name, Then their states do not mix."""
    start(store, listener("same"))
    store.writer.run(states.keep_job("same", FOUND, NOW))
    store.writer.run(states.keep_listener("same", LATER))
    again = States(store.reader)
    assert (again.of_job("same").state, again.of_listener("same").state) == (
        FOUND.state, LATER.state,
    )  # fmt: skip


def test_a_window_belongs_to_jobs_only(store: EventStore, states: States) -> None:
    """Given a listener's state, When it is read again, Then it has no `since`."""
    start(store, listener("mail"))
    store.writer.run(states.keep_listener("mail", FOUND))
    assert States(store.reader).of_listener("mail").since is None


def test_each_is_read_once(store: EventStore, states: States) -> None:
    """Given a state that is known, When the store is closed, Then it is still known."""
    states.of_job("poll")
    store.close()
    assert states.of_job("poll") == Remembered()
    assert isinstance(outcome(lambda: states.of_job("other")), StorageFault)


def test_many_may_ask_at_once(store: EventStore, states: States) -> None:
    """Given eight threads, When each keeps a state of its own, Then all are written."""

    def keep(name: str) -> None:
        states.of_job(name)
        store.writer.run(states.keep_job(name, FOUND, NOW))

    assert together(*[lambda n=n: keep(f"job {n}") for n in range(8)]) == [None] * 8
    assert [row["state"] for row in job_rows(store)] == [FOUND.state] * 8


def test_a_checkpoint_that_is_not_written_is_not_remembered(
    states: States, open_store: Open
) -> None:
    """Given a writer that refuses, When a checkpoint is stored, Then all is as before."""
    closed = open_store()
    closed.close()
    with pytest.raises(StorageFault):
        states.store_job(closed.writer, "poll", FOUND)
    assert states.of_job("poll") == Remembered()
