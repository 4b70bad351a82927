"""SQLite: the one writer groups work into transactions, and survives what fails."""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest

from py_agent.errors import AgentError, StorageFault, StoreError
from py_agent.store.dialects import transaction
from py_agent.store.event_store import EventStore
from py_agent.store.subscriptions import add
from py_agent.store.writer import Writer

from .support import PATIENCE, delivery_rows, listener, of_type, outcome, until


class Table:
    """A table with one writer, that counts transactions.

    Args:
        path: the file of the database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=0
        )
        self.connection.execute("CREATE TABLE rows (value UNIQUE)")
        self.connection.set_trace_callback(self._trace)
        self.begun = 0
        self.writer = Writer(self.connection, path)

    def _trace(self, sql: str) -> None:
        self.begun += sql.startswith("BEGIN")

    @property
    def values(self) -> list[Any]:
        """What another connection sees, in the order of insertion."""
        other = sqlite3.connect(self.path)
        try:
            return [row[0] for row in other.execute("SELECT value FROM rows")]
        finally:
            other.close()

    @contextmanager
    def led(self) -> Iterator[None]:
        """Keep another thread inside a transaction until the block ends."""
        entered, leave = threading.Event(), threading.Event()

        def work(cursor: sqlite3.Cursor) -> None:
            entered.set()
            assert leave.wait(PATIENCE)

        thread = threading.Thread(target=self.writer.run, args=[work], daemon=True)
        thread.start()
        assert entered.wait(PATIENCE)
        try:
            yield
        finally:
            leave.set()
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the leader hangs"

    def queue(self, calls: list[Callable[[], Any]]) -> list[Call]:
        """Start calls in threads of their own, in order, each once the last waits."""
        started = []
        for n, call in enumerate(calls, start=1):
            started.append(Call(call))
            until(lambda n=n: len(self.writer._queue) >= n)  # type: ignore[misc]
        return started


class Call(threading.Thread):
    """A call in a thread of its own.

    Args:
        call: what is called.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._result: Any = None
        self.start()

    def run(self) -> None:
        self._result = outcome(self._call)

    @property
    def result(self) -> Any:
        """The value or the exception."""
        self.join(PATIENCE)
        assert not self.is_alive(), "a call hangs"
        return self._result


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    """An empty table with a writer."""
    made = Table(tmp_path / "rows.sqlite")
    yield made
    made.connection.close()


def insert(value: Any) -> Callable[[sqlite3.Cursor], Any]:
    """Return work that inserts a value and returns it."""

    def work(cursor: sqlite3.Cursor) -> Any:
        cursor.execute("INSERT INTO rows VALUES (?)", [value])
        return value

    return work


def failing(error: BaseException) -> Callable[[sqlite3.Cursor], Any]:
    """Return work that inserts a value and then raises."""

    def work(cursor: sqlite3.Cursor) -> Any:
        cursor.execute("INSERT INTO rows VALUES ('of the failing work')")
        raise error

    return work


def _interrupt_main_once(reached: Callable[[], bool]) -> None:
    """Send Ctrl-C to the main thread when a condition holds."""
    until(reached)
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises, also where the shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_value_of_work_is_returned(table: Table) -> None:
    """Once run returns, the work is committed and others see it."""
    assert table.writer.run(insert(1)) == 1
    assert table.values == [1]


def test_concurrent_work_shares_a_transaction(table: Table) -> None:
    """All that comes while a transaction runs goes into the next one, in order."""
    with table.led():
        calls = table.queue([partial(table.writer.run, insert(n)) for n in range(6)])

    assert [call.result for call in calls] == list(range(6))
    assert table.values == list(range(6))
    assert table.begun == 2


def test_refused_work_does_not_fail_the_others(table: Table) -> None:
    """One that raises is told so and leaves nothing; its neighbours are committed."""
    refusal = AgentError("refused")
    with table.led():
        calls = table.queue(
            [partial(table.writer.run, w) for w in (insert(1), failing(refusal), insert(3))]
        )

    assert [call.result for call in calls] == [1, refusal, 3]
    assert table.values == [1, 3]


def test_a_broken_constraint_does_not_fail_the_others(table: Table) -> None:
    """Work that the database refuses is refused alone: the storage has no fault."""
    table.writer.run(insert("taken"))
    with table.led():
        calls = table.queue(
            [partial(table.writer.run, insert(value)) for value in (1, "taken", 3)]
        )

    first, refused, third = [call.result for call in calls]
    assert (first, third) == (1, 3)
    assert isinstance(refused, StoreError)
    assert table.values == ["taken", 1, 3]


def test_riding_work_that_breaks_a_constraint_is_not_kept(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    """It could never be committed, so it must not fail every later transaction."""
    table.writer.run(insert("taken"))
    table.writer.ride(insert("taken"))

    assert table.writer.run(insert(2)) == 2
    assert not table.writer.pending
    assert "could not be recorded" in caplog.text


def test_riding_work_that_raises_is_logged_and_dropped(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    """The next transaction is not failed by it."""
    table.writer.ride(failing(ValueError("boom")))

    assert table.writer.run(insert(1)) == 1
    assert table.values == [1]
    assert "could not be recorded" in caplog.text


def test_riding_work_waits_for_the_next_commit(table: Table) -> None:
    """It is not committed by itself, and comes before the work that carries it."""
    table.writer.ride(insert("rides"))
    assert (table.values, table.begun, table.writer.pending) == ([], 0, True)

    table.writer.run(insert("carries"))

    assert table.values == ["rides", "carries"]
    assert (table.begun, table.writer.pending) == (1, False)


def test_a_flush_commits_what_rides(table: Table) -> None:
    """All of it goes in one transaction, and without any none is begun."""
    table.writer.flush()
    assert table.begun == 0

    table.writer.ride(insert(1))
    table.writer.ride(insert(2))
    table.writer.flush()

    assert (table.values, table.begun) == ([1, 2], 1)
    assert table.writer.waiting == 0.0


def test_riding_work_outlasts_a_fault(table: Table) -> None:
    """A failed transaction keeps what rides, in order, for the next one."""
    fault = sqlite3.OperationalError("disk I/O error")
    table.writer.ride(insert(1))
    table.writer.ride(insert(2))

    with pytest.raises(StorageFault) as raised:
        table.writer.run(failing(fault))
    assert raised.value.__cause__ is fault
    assert table.writer.pending
    table.writer.ride(insert(3))
    table.writer.run(insert(4))

    assert table.values == [1, 2, 3, 4]


def test_a_fault_leaves_nothing_of_its_transaction(table: Table) -> None:
    """All that waited are told, and nothing of the group is stored."""
    with table.led():
        calls = table.queue(
            [
                partial(table.writer.run, insert(1)),
                partial(table.writer.run, failing(sqlite3.OperationalError("full"))),
                partial(table.writer.run, insert(3)),
            ]
        )

    assert [type(call.result) for call in calls] == [StorageFault] * 3
    assert table.values == []


def test_another_writer_is_a_fault_that_passes(table: Table) -> None:
    """While another process holds the writer nothing is stored; later it works."""
    other = sqlite3.connect(table.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StorageFault, match="locked"):
        table.writer.run(insert(1))
    other.execute("ROLLBACK")
    other.close()

    assert table.writer.run(insert(2)) == 2
    assert table.values == [2]


def test_after_is_called_in_the_order_of_commits(table: Table) -> None:
    """Each hears its own value, once it is committed, riders included."""
    heard: list[tuple[Any, list[Any]]] = []

    def note(value: Any) -> None:
        heard.append((value, table.values))

    with table.led():
        calls = table.queue(
            [
                partial(table.writer.run, insert("a"), note),
                partial(table.writer.ride, insert("b"), note),
                partial(table.writer.run, insert("c"), note),
            ]
        )
    assert [call.result for call in calls] == ["a", None, "c"]

    everything = ["a", "b", "c"]
    assert heard == [(value, everything) for value in everything]


def test_after_is_not_called_for_what_failed(table: Table) -> None:
    """A fault or a refusal announces nothing."""
    heard: list[Any] = []

    for error in (ValueError("boom"), sqlite3.OperationalError("full")):
        with pytest.raises((ValueError, StorageFault)):
            table.writer.run(failing(error), heard.append)

    assert heard == []


def test_ctrl_c_in_the_leader_is_told_to_all(table: Table) -> None:
    """The leader raises it, those who wait get a fault, and nothing hangs."""
    with table.led():
        leader, follower = table.queue(
            [
                partial(table.writer.run, failing(KeyboardInterrupt())),
                partial(table.writer.run, insert(2)),
            ]
        )

    assert isinstance(leader.result, KeyboardInterrupt)
    assert isinstance(follower.result, StorageFault)
    assert table.writer.run(insert(3)) == 3
    assert table.values == [3]


def test_ctrl_c_in_the_leader_keeps_what_rides(table: Table) -> None:
    """An acknowledgement is not lost with the transaction that was interrupted."""
    table.writer.ride(insert(1))

    with pytest.raises(KeyboardInterrupt):
        table.writer.run(failing(KeyboardInterrupt()))
    table.writer.run(insert(2))

    assert table.values == [1, 2]


def test_ctrl_c_after_a_refusal_is_told_to_all(table: Table) -> None:
    """While each of a group gets its own transaction, nobody's work is forgotten."""
    with table.led():
        refused, interrupted, follower, rider = table.queue(
            [
                partial(table.writer.run, failing(AgentError("refused"))),
                partial(table.writer.run, failing(KeyboardInterrupt())),
                partial(table.writer.run, insert(3)),
                partial(table.writer.ride, insert(4)),
            ]
        )

    assert isinstance(refused.result, (AgentError, KeyboardInterrupt))
    assert isinstance(interrupted.result, (StorageFault, KeyboardInterrupt))
    assert isinstance(follower.result, StorageFault)
    assert rider.result is None
    table.writer.flush()
    assert table.values == [4]


def test_ctrl_c_between_single_transactions_keeps_the_rest(table: Table) -> None:
    """Interrupted after one of a refused group: waiters are told, riders are kept."""
    tries: list[sqlite3.Cursor] = []

    def interrupt_second_time(cursor: sqlite3.Cursor) -> None:
        tries.append(cursor)
        if len(tries) == 2:
            raise KeyboardInterrupt

    with table.led():
        calls = table.queue(
            [
                partial(table.writer.run, interrupt_second_time),
                partial(table.writer.run, failing(AgentError("refused"))),
                partial(table.writer.run, insert(3)),
                partial(table.writer.ride, insert(4)),
            ]
        )

    assert isinstance(calls[0].result, (StorageFault, KeyboardInterrupt))
    assert isinstance(calls[2].result, StorageFault)
    table.writer.flush()
    assert table.values == [4]


def test_ctrl_c_while_waiting_does_not_stop_the_others(table: Table) -> None:
    """A thread that gives up waiting for its commit leaves the writer to the next."""
    with table.led():
        interrupting = Call(partial(_interrupt_main_once, lambda: table.writer.pending))
        with pytest.raises(KeyboardInterrupt):
            table.writer.run(insert("given up"))
        assert not isinstance(interrupting.result, BaseException)

    later = Call(partial(table.writer.run, insert("later")))
    assert later.result == "later"
    assert "later" in table.values


def test_ctrl_c_while_a_transaction_begins_leaves_none_open(table: Table) -> None:
    """A signal that arrives as BEGIN returns does not block the writer for ever."""

    class Interrupted(sqlite3.Cursor):
        def execute(self, sql: str, *values: Any) -> Self:
            super().execute(sql, *values)
            if sql.startswith("BEGIN"):
                raise KeyboardInterrupt
            return self

    with (
        pytest.raises(KeyboardInterrupt),
        transaction(table.connection.cursor(Interrupted)),
    ):
        pass

    assert not table.connection.in_transaction
    assert table.writer.run(insert(1)) == 1


def test_a_closed_writer_refuses_work(table: Table) -> None:
    """Closing commits what rides; work that comes later is refused."""
    table.writer.ride(insert(1))
    table.writer.close()

    with pytest.raises(StorageFault, match="closed"):
        table.writer.run(insert(2))
    assert table.values == [1]


def test_an_abandoned_writer_drops_what_is_queued(table: Table) -> None:
    """What rides is not committed, and later work is refused."""
    table.writer.ride(insert(1))
    table.writer.abandon()

    with pytest.raises(StorageFault, match="closed"):
        table.writer.run(insert(2))
    assert table.values == []


def test_an_undone_subscription_is_not_remembered(
    store: EventStore, other: EventStore
) -> None:
    """What a failed transaction said of the subscriptions does not hide later ones."""

    def add_and_fail(cursor: sqlite3.Cursor) -> None:
        add(cursor, [listener("undone", of_type("invoice"))])
        store.subscriptions.current(cursor)
        raise sqlite3.OperationalError("disk I/O error")

    store.publish("order", "1")
    with pytest.raises(StorageFault):
        store.writer.run(add_and_fail)
    other.subscriptions.ensure([listener("kept")])

    store.publish("order", "2")

    assert [row["event_id"] for row in delivery_rows(store)] == [2]
