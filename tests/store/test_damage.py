"""SQLite: damaged stores, a full disk, a fork, and a writer that is elsewhere."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from py_agent.clock import SystemClock
from py_agent.errors import AgentError, StorageFault, StoreRefusedError
from py_agent.store import by_hand, schema
from py_agent.store.attempts import Attempt
from py_agent.store.deliveries import Owed
from py_agent.store.event_store import EventStore
from py_agent.store.side_file import Inside
from py_agent.store.tables import State
from py_agent.testing import FakeClock

from .support import (
    EVERY,
    NOW,
    delivery_rows,
    fingerprint,
    identities,
    in_child,
    listener,
    of_type,
    start,
)

MINE = listener("mine", of_type("order"), ("data.key",))
KNOWN = [("order", f"identifier {n}") for n in range(300)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store that uses every table; tests take copies of it."""
    path = tmp_path_factory.mktemp("whole") / "agent.sqlite"
    schema.create(path)
    store = EventStore.open(path, FakeClock())
    start(store, MINE, listener("other"), inside=Inside("life", jobs=("poll",)))
    store.publish_many(
        (*known, {"key": n, "text": "x" * 50}) for n, known in enumerate(KNOWN)
    )
    for event_id in range(1, 60):
        state = [State.COMPLETED, State.RETRYABLE, State.DISCARDED][event_id % 3]
        store.deliveries.record(Owed(event_id, 1), Attempt(state, 1, NOW, due=NOW))
        store.runs.open("poll", NOW)
    store.close()
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    """A copy of the whole store, alone in its folder."""
    folder = tmp_path / "store"
    folder.mkdir()
    return Path(shutil.copy(whole, folder / "agent.sqlite"))


@pytest.fixture
def store(path: Path) -> Iterator[EventStore]:
    """The copy, open."""
    opened = EventStore.open(path, FakeClock())
    yield opened
    opened.close()


def _mutate(content: bytearray, dice: random.Random) -> bytes:
    """Return a store's bytes after something that disks and people do to them."""
    pages = len(content) // 4096
    page = dice.randrange(pages) * 4096
    match dice.randrange(6):
        case 0:
            for _ in range(dice.choice([1, 8, 200])):
                content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        case 1:
            del content[dice.randrange(len(content)) :]
        case 2:
            content[page : page + 4096] = bytes(4096)
        case 3:
            content[page : page + 4096] = dice.randbytes(4096)
        case 4:
            other = dice.randrange(pages) * 4096
            content[page : page + 4096] = content[other : other + 4096]
        case _:
            for place in dice.sample(range(100, 4096), 20):
                content[place] = dice.randrange(256)
    return bytes(content)


def _use(store: EventStore) -> None:
    """Do what an agent and its commands do with a store, error by error."""
    uses: list[Callable[[], Any]] = [
        lambda: start(store, MINE, inside=Inside("life 2", ((1, 1),), ("poll",))),
        lambda: [event.data for event in store.query(EVERY)],
        lambda: [store.publish(*known).event.data for known in KNOWN],
        lambda: store.publish("order", "new", {"key": 1}),
        lambda: store.publish_many([("order", "new 2", None)]),
        lambda: store.deliveries.load(1, 100, NOW, left_out=()),
        lambda: store.deliveries.suspects(1),
        lambda: store.deliveries.gap(0),
        lambda: store.runs.job("poll"),
        lambda: store.runs.open("poll", NOW),
        lambda: by_hand.redeliver(store, by_hand.dead_letters(store, None)),
        lambda: by_hand.replay(store, "other", EVERY),
        lambda: store.subscriptions.all(),
        store.close,
    ]
    for use in uses:
        with contextlib.suppress(AgentError):
            use()


@pytest.mark.parametrize("seed", range(50))
def test_a_mutated_store_is_refused_or_whole(path: Path, seed: int) -> None:
    """The lock holder refuses it unchanged, or knows every event: never a fresh one."""
    path.write_bytes(_mutate(bytearray(path.read_bytes()), random.Random(seed)))
    before = fingerprint(path.parent)

    assert not schema.ensure(path)
    try:
        schema.prepare(path)
    except AgentError:
        assert fingerprint(path.parent) == before
        return
    store = EventStore.open(path, FakeClock())
    assert sorted(identities(store)) == sorted(KNOWN)
    assert not any(store.publish(*known).new for known in KNOWN)
    _use(store)


@pytest.mark.parametrize("seed", range(50))
def test_a_mutated_store_raises_our_errors_only(path: Path, seed: int) -> None:
    """Opened beside an agent, so unchecked, damage shows as an error of ours."""
    path.write_bytes(_mutate(bytearray(path.read_bytes()), random.Random(seed)))

    opened = False
    with contextlib.suppress(AgentError):
        store = EventStore.open(path, FakeClock())
        opened = True
        _use(store)

    assert opened or path.exists()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET data = '{\"key\": '",
        "UPDATE events SET data = x'ff00'",
        "UPDATE events SET data = 5",
        "UPDATE events SET data = NULL",
        "UPDATE events SET created = 4611686018427387904",
        "UPDATE events SET created = 'yesterday'",
        "UPDATE events SET event_type = x'80' || id, identifier = x'81' || id",
        "UPDATE events SET source = 7, depth = 'deep'",
        "UPDATE subscriptions SET filter = 'no filter'",
        'UPDATE subscriptions SET filter = \'{"nothing": ["==", 1]}\'',
        "UPDATE subscriptions SET filter = '5'",
        "UPDATE subscriptions SET ordered_by = '{'",
        "UPDATE subscriptions SET ordered_by = '5'",
        "UPDATE subscriptions SET ordered_by = '[\"nothing\"]'",
        "UPDATE subscriptions SET paused_until = 'later', name = x'ff' || id",
        "UPDATE deliveries SET attempts = 'many', crashes = 'some', due = 'soon'",
        "UPDATE deliveries SET order_key = x'ff', state = 'resting'",
        "UPDATE deliveries SET subscription_id = 99 WHERE subscription_id = 1",
        "UPDATE store SET subscriptions_version = 'x', deliveries_version = 'y'",
        "DELETE FROM store",
        "DELETE FROM subscriptions",
        "DELETE FROM events",
        "UPDATE jobs SET crashes = 'often', paused = 'perhaps'",
        "DROP TABLE deliveries",
    ],
)
def test_damaged_values_raise_our_errors_only(path: Path, damage: str) -> None:
    """A value that no release wrote shows as an error of ours, wherever it is met."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(damage)

    with contextlib.suppress(AgentError):
        schema.prepare(path)
    with contextlib.suppress(AgentError):
        _use(EventStore.open(path, FakeClock()))

    assert not schema.ensure(path)


def test_a_damaged_index_is_refused_by_the_lock_holder(path: Path) -> None:
    """An index that lost an event would let it be stored twice."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        (root,) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name LIKE 'sqlite_autoindex_events%'"
        ).fetchone()
        pages = [
            page for (page,) in db.execute(
                "SELECT pageno FROM dbstat WHERE name LIKE 'sqlite_autoindex_events%'"
            )
        ] if _has_dbstat(db) else [root]  # fmt: skip
    content = bytearray(path.read_bytes())
    sought = b"identifier 1"
    place = next(
        at for page in pages
        if (at := content.find(sought, (page - 1) * 4096, page * 4096)) >= 0
    )  # fmt: skip
    content[place] ^= 1
    path.write_bytes(content)
    before = fingerprint(path.parent)

    with pytest.raises(StoreRefusedError, match="damaged"):
        schema.prepare(path)

    assert fingerprint(path.parent) == before


def _has_dbstat(db: sqlite3.Connection) -> bool:
    try:
        db.execute("SELECT 1 FROM dbstat LIMIT 1")
    except sqlite3.OperationalError:
        return False
    return True


@contextlib.contextmanager
def _full_disk(store: EventStore) -> Iterator[None]:
    """Let the writer's connection have not one page more."""
    writer = store.writer._cursor.connection
    (used,) = writer.execute("PRAGMA page_count").fetchone()
    (most,) = writer.execute("PRAGMA max_page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {used}")
    try:
        yield
    finally:
        writer.execute(f"PRAGMA max_page_count = {most}")


def test_a_full_disk_is_a_fault_that_passes(store: EventStore) -> None:
    """Nothing is stored while it is full, reading goes on, and then all works again."""
    big = "x" * 100_000
    with _full_disk(store):
        with pytest.raises(StorageFault, match="full"):
            store.publish("order", "big", big)
        with pytest.raises(StorageFault, match="full"):
            store.publish_many([("order", "many", big)])
        assert len(identities(store)) == len(KNOWN)
        assert not store.publish(*KNOWN[0]).new

    assert store.publish("order", "big", big).new
    assert store.publish_many([("order", "many", big)]).new == 1


def test_a_full_disk_uses_up_no_attempt(store: EventStore) -> None:
    """A result that could not be stored waits, and is stored when there is space."""
    store.deliveries.record(Owed(100, 1), Attempt(State.COMPLETED, 1, NOW))
    with _full_disk(store):
        with pytest.raises(StorageFault):
            store.publish("order", "big", "x" * 100_000)
        assert store.writer.pending

    store.writer.flush()

    row = next(each for each in delivery_rows(store) if each["event_id"] == 100)
    assert (row["state"], row["attempts"]) == ("completed", 1)


def test_closing_on_a_full_disk_says_so_and_closes(path: Path) -> None:
    """The fault is raised, and the store is closed all the same."""
    store = EventStore.open(path, FakeClock())
    store.writer._cursor.execute("PRAGMA max_page_count = 1")  # means: not one page more
    grow = "UPDATE events SET data = ? WHERE id = 1"
    store.writer.ride(lambda cursor: cursor.execute(grow, ["x" * 100_000]))

    with pytest.raises(StorageFault, match="full"):
        store.close()

    store.close()
    assert fingerprint(path.parent).keys() == {path.name}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_use_the_parents_store(store: EventStore) -> None:
    """New events, known ones and batches are refused there; the parent goes on."""
    tries: list[Callable[[], Any]] = [
        lambda: store.publish("order", "of the child"),
        lambda: store.publish(*KNOWN[0]),
        lambda: store.publish_many([("order", "of the child", None)]),
    ]
    for attempt in tries:
        with in_child(lambda call=attempt: str(call())) as said:  # type: ignore[misc]
            assert "StorageFault" in said and "fork" in said

    assert store.publish("order", "of the parent").new
    assert ("order", "of the child") not in identities(store)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_refused_while_the_parent_writes(store: EventStore) -> None:
    """It does not wait for the parent's transaction, nor end it."""

    def work(cursor: sqlite3.Cursor) -> str:
        cursor.execute("UPDATE events SET depth = 9 WHERE id = 1")
        with in_child(lambda: str(store.publish("order", "of the child"))) as said:
            return said

    assert "StorageFault" in store.writer.run(work)
    assert store.event(1).depth == 9


def test_a_child_may_open_the_store_anew(path: Path, store: EventStore) -> None:
    """A store of its own works, beside that of the parent."""
    with in_child(lambda: _publish_anew(path)) as said:
        assert said == "True"

    assert ("order", "of the child") in identities(store)


def _publish_anew(path: Path) -> str:
    store = EventStore.open(path, SystemClock())
    try:
        return str(store.publish("order", "of the child").new)
    finally:
        store.close()


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
def test_a_store_that_is_gone_takes_no_more_events(path: Path, replaced: bool) -> None:
    """SQLite would go on writing into a file that nobody finds any more."""
    store = EventStore.open(path, SystemClock())
    path.unlink()
    if replaced:
        schema.create(path)

    with pytest.raises(StoreRefusedError, match="removed or replaced"):
        store.publish("order", "after")
    with pytest.raises(StoreRefusedError, match="removed or replaced"):
        store.publish_many([("order", "after", None)])

    store.close()
