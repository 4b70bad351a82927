"""SQLite: making, recognising and upgrading a store file."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from py_agent.errors import (
    StorageFault,
    StoreError,
    StoreMissingError,
    StoreRefusedError,
)
from py_agent.store import schema
from py_agent.store.dialects import APPLICATION_ID
from py_agent.store.event_store import EventStore
from py_agent.store.tables import OLDEST, SCHEMA
from py_agent.testing import FakeClock

from .support import fingerprint, identities, in_processes, make_at_once

NEXT = SCHEMA + 1
_SECOND = f'''
import sqlalchemy as sa
from alembic import op

revision = "{NEXT:04d}"
down_revision = "{SCHEMA:04d}"


def upgrade():
    op.add_column("events", sa.Column("colour", sa.Text))
    op.create_table("colours", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("UPDATE store SET oldest_schema = {SCHEMA}")
    op.execute("DELETE FROM events WHERE identifier = '1'")
    LAST
'''


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with two events, closed, alone in its folder."""
    folder = tmp_path / "store"
    folder.mkdir()
    path = folder / "agent.sqlite"
    schema.create(path)
    store = EventStore.open(path, FakeClock())
    store.publish_many([("order", "1", None), ("order", "2", None)])
    store.close()
    return path


def _execute(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def _catalogue(path: Path) -> list[tuple[str, str, str]]:
    """Return what a store's catalogue says, without blanks that mean nothing."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return sorted(
        (kind, name, re.sub(r"[\s\"]+", "", sql or "").lower()) for kind, name, sql in rows
    )


def _migrations(folder: Path, last: str) -> Path:
    """Return a folder of migrations with one more, that ends with a statement."""
    scripts = folder / "100% migrations"
    shutil.copytree(str(files("py_agent.migrations")), scripts)
    name = f"{NEXT:04d}_next.py"
    (scripts / "versions" / name).write_text(_SECOND.replace("LAST", last))
    return scripts


def _refused_unchanged(path: Path, error: type[StoreError] = StoreRefusedError) -> str:
    """Check that every way to open refuses, and changes no byte; return why."""
    before = fingerprint(path.parent)
    ways: list[Callable[[], object]] = [
        lambda: schema.ensure(path) or schema.verify(path),
        lambda: schema.prepare(path),
        lambda: EventStore.open(path, FakeClock()),
        lambda: schema.verify(path, writing=False),
    ]
    for way in ways:
        with pytest.raises(error) as refused:
            way()
        assert fingerprint(path.parent) == before
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_a_new_store_is_complete(tmp_path: Path) -> None:
    """It has its schema, one file and its name, and is private to its user."""
    path = tmp_path / "agent.sqlite"

    assert schema.ensure(path)

    assert schema.verify(path) == schema.Stamp(SCHEMA, OLDEST)
    assert os.listdir(tmp_path) == ["agent.sqlite"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not schema.prepare(path)


def test_every_file_of_a_store_is_private(tmp_path: Path) -> None:
    """A permissive umask opens neither the store nor its side files to others."""
    before = os.umask(0)
    try:
        path = tmp_path / "agent.sqlite"
        schema.create(path)
        store = EventStore.open(path, FakeClock())
        store.publish("order", "1")
        modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)

    assert len(modes) > 1
    assert set(modes.values()) == {0o600}


def test_a_store_that_is_there_is_not_made(path: Path) -> None:
    """An existing store is left as it is."""
    before = fingerprint(path.parent)

    assert not schema.ensure(path)

    assert fingerprint(path.parent) == before


def test_verifying_changes_nothing(path: Path) -> None:
    """Looking at a good store changes no byte and leaves no side file."""
    before = fingerprint(path.parent)

    schema.verify(path)
    schema.verify_current(path)
    schema.prepare(path)

    assert fingerprint(path.parent) == before


def test_a_clean_close_leaves_one_file(path: Path) -> None:
    """The -wal and -shm go with the last connection."""
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    "name", ["a b.sqlite", "100%.sqlite", "a?b#c&d=e.sqlite", "\u00e9.sqlite", "a%20b"]
)
def test_a_store_may_have_any_name(tmp_path: Path, name: str) -> None:
    """Characters that mean something in a URI are part of the name."""
    path = tmp_path / name
    schema.create(path)
    store = EventStore.open(path, FakeClock())
    store.publish("order", "1")
    store.close()

    assert os.listdir(tmp_path) == [name]
    assert not schema.prepare(path)


def test_a_store_may_have_a_name_that_is_no_unicode(tmp_path: Path) -> None:
    """A folder name of arbitrary bytes is a name like any other."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this filesystem takes Unicode names only")
    path = folder / "agent.sqlite"

    schema.create(path)

    assert not schema.prepare(path)
    assert len(os.listdir(folder)) == 1


def test_processes_that_make_a_store_at_once_share_it(tmp_path: Path) -> None:
    """One of them makes it, all find it complete, and no draft is left."""
    path = tmp_path / "agent.sqlite"

    assert in_processes(4, make_at_once, path) == [SCHEMA] * 4
    assert os.listdir(tmp_path) == ["agent.sqlite"]


def test_a_store_needs_its_folder(tmp_path: Path) -> None:
    """No folder is made by us: the path is more likely a mistake."""
    with pytest.raises(StoreRefusedError, match="no folder"):
        schema.create(tmp_path / "nowhere" / "agent.sqlite")

    assert os.listdir(tmp_path) == []


def test_no_store_is_missing(tmp_path: Path) -> None:
    """Who may not make a store is told where it looked and what to do."""
    with pytest.raises(StoreMissingError, match="--db"):
        EventStore.open(tmp_path / "agent.sqlite", FakeClock())

    assert os.listdir(tmp_path) == []


def test_a_made_and_a_migrated_store_are_equal(path: Path, tmp_path: Path) -> None:
    """The migrations lead to just the tables and indexes that a new store has."""
    migrated = tmp_path / "migrated.sqlite"
    _execute(migrated, "PRAGMA user_version = 1")

    schema.upgrade(migrated, 0)

    assert _catalogue(migrated) == _catalogue(path)
    for table in ("store", "alembic_version"):
        with (
            contextlib.closing(sqlite3.connect(path)) as left,
            contextlib.closing(sqlite3.connect(migrated)) as right,
        ):
            query = f"SELECT * FROM {table}"
            assert left.execute(query).fetchall() == right.execute(query).fetchall()


def test_an_upgrade_makes_a_backup(path: Path, tmp_path: Path) -> None:
    """The store has the new schema, and its state of before is kept, privately."""
    saved = schema.upgrade(path, SCHEMA, _migrations(tmp_path, "pass"))

    assert schema.verify(path) == schema.Stamp(NEXT, SCHEMA)
    assert schema.verify(saved) == schema.Stamp(SCHEMA, OLDEST)
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert sorted(os.listdir(path.parent)) == sorted([path.name, saved.name])
    backup = EventStore.open(saved, FakeClock())
    assert identities(backup) == [("order", "1"), ("order", "2")]
    backup.close()


@pytest.mark.parametrize(
    "last",
    [
        'raise RuntimeError("half way")',
        'op.execute("INSERT INTO nothing VALUES (1)")',
        'op.add_column("events", sa.Column("colour", sa.Text))',
        "raise SystemExit(3)",
    ],
)
def test_an_upgrade_is_all_or_nothing(path: Path, tmp_path: Path, last: str) -> None:
    """A migration that fails after it changed tables and rows leaves the old store."""
    catalogue = _catalogue(path)
    scripts = _migrations(tmp_path, last)

    with pytest.raises(SystemExit if "Exit" in last else StoreError):
        schema.upgrade(path, SCHEMA, scripts)

    assert _catalogue(path) == catalogue
    assert schema.verify(path) == schema.Stamp(SCHEMA, OLDEST)
    store = EventStore.open(path, FakeClock())
    assert identities(store) == [("order", "1"), ("order", "2")]
    store.close()


def test_an_upgrade_sees_what_is_in_the_wal(path: Path, tmp_path: Path) -> None:
    """The backup of a store that another process has open holds its last events."""
    store = EventStore.open(path, FakeClock())
    store.publish("order", "3")

    saved = schema.upgrade(path, SCHEMA, _migrations(tmp_path, "pass"))
    store.close()

    backup = EventStore.open(saved, FakeClock())
    assert ("order", "3") in identities(backup)
    backup.close()


def test_a_store_that_needs_a_newer_release_is_refused(path: Path) -> None:
    """The message says both schemas and what to do."""
    _execute(
        path,
        f"UPDATE alembic_version SET version_num = '{NEXT:04d}'",
        f"UPDATE store SET oldest_schema = {NEXT}",
    )

    why = _refused_unchanged(path)

    assert "newer release" in why and f"schema {NEXT}" in why


def test_a_newer_store_that_suits_us_is_opened(path: Path) -> None:
    """An additive migration of the next release leaves the store usable by this one."""
    _execute(
        path,
        f"UPDATE alembic_version SET version_num = '{NEXT:04d}'",
        "ALTER TABLE events ADD COLUMN colour TEXT",
    )

    assert not schema.prepare(path)
    store = EventStore.open(path, FakeClock())
    assert store.publish("order", "3").new
    store.close()
    assert schema.verify(path).schema == NEXT


@pytest.mark.parametrize("version", ["", "x", "0000", "-001", "1e3", "\u00b2"])
def test_a_schema_that_never_was_is_refused(path: Path, version: str) -> None:
    """A stamp that no release wrote is not taken for an old schema to upgrade."""
    _execute(path, f"UPDATE alembic_version SET version_num = '{version}'")

    assert "schema" in _refused_unchanged(path)


def test_a_newer_store_left_by_a_crash_keeps_its_wal(path: Path, tmp_path: Path) -> None:
    """Refusing a store whose newest state is in its -wal changes neither file."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"UPDATE store SET oldest_schema = {NEXT}")
        crashed = tmp_path / "crashed"
        crashed.mkdir()
        for name in os.listdir(path.parent):
            shutil.copy(path.parent / name, crashed / name)
    before = fingerprint(crashed)

    with pytest.raises(StoreRefusedError, match="newer release"):
        schema.prepare(crashed / path.name)

    after = fingerprint(crashed)
    assert after.keys() == before.keys()
    for name in (path.name, f"{path.name}-wal"):
        assert after[name] == before[name]


def _foreign(path: Path) -> None:
    _execute(path, "CREATE TABLE theirs (x)", "INSERT INTO theirs VALUES (1)")


def _foreign_wal(path: Path) -> None:
    _execute(path, "PRAGMA journal_mode = WAL", "CREATE TABLE theirs (x)")


def _stamped_foreign(path: Path) -> None:
    _foreign(path)
    _execute(path, f"PRAGMA application_id = {APPLICATION_ID}")


def _with_hot_journal(path: Path) -> None:
    _foreign(path)
    path.with_name(f"{path.name}-journal").write_bytes(b"\xd9\xd5\x05\xf9" + b"j" * 1024)


def _garbage_with_wal(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    path.with_name(f"{path.name}-wal").write_bytes(b"w" * 5000)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"x"),
        lambda path: path.write_text("[core]\nname = 'this is agent.toml'\n" * 50),
        lambda path: path.write_bytes(b"SQLite format 3\0"),
        lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(4080)),
        lambda path: path.write_bytes(bytes(8192)),
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("nowhere"),
        lambda path: os.mkfifo(path),
        _foreign,
        _foreign_wal,
        _stamped_foreign,
        _with_hot_journal,
        _garbage_with_wal,
    ],
    ids=[
        "empty", "one byte", "text", "header", "zeros after header", "zeros", "folder",
        "dangling link", "fifo", "foreign", "foreign wal", "stamped foreign",
        "hot journal", "garbage with wal",
    ],
)  # fmt: skip
def test_what_is_no_store_is_refused(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    """A file that we do not understand is refused with not a byte changed."""
    path = tmp_path / "agent.sqlite"
    make(path)

    assert _refused_unchanged(path)


@pytest.fixture
def as_another_user() -> Iterator[Path]:
    """A folder that an unprivileged user can reach, as root may write anywhere."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def _refusal(path: Path) -> str:
    """Return how an unprivileged process is refused."""
    if os.geteuid() == 0:
        os.setuid(65534)
    try:
        schema.verify(path, writing=False)
        schema.prepare(path)
    except StoreError as error:
        return f"{type(error).__name__}: {error}"
    return "opened"


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "said"),
    [
        (0o444, 0o777, "read-only"),
        (0o444, 0o555, "read-only"),
        (0o666, 0o555, "folder"),
        (0o000, 0o777, "cannot be read"),
    ],
)
def test_a_read_only_store_is_refused(
    as_another_user: Path, file_mode: int, folder_mode: int, said: str
) -> None:
    """A user who may not write is told so, and nothing is made beside the store."""
    path = as_another_user / "agent.sqlite"
    schema.create(path)
    before = fingerprint(as_another_user)
    path.chmod(file_mode)
    as_another_user.chmod(folder_mode)

    (answer,) = in_processes(1, _refusal, path)

    as_another_user.chmod(0o755)
    path.chmod(0o600)
    assert answer.startswith("StoreRefusedError") and said in answer
    assert fingerprint(as_another_user) == before


def test_a_store_that_cannot_be_finished_has_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault while it is made leaves neither a store nor a draft."""

    def broken(cursor: sqlite3.Cursor) -> None:
        cursor.execute("CREATE TABLE half (x)")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(schema, "make_tables", broken)

    with pytest.raises(StorageFault, match="full"):
        schema.create(tmp_path / "agent.sqlite")

    assert os.listdir(tmp_path) == []


def test_a_store_whose_checkpoint_was_killed_opens(path: Path, tmp_path: Path) -> None:
    """The main file is shorter than its first page says; the -wal holds the rest."""
    store = EventStore.open(path, FakeClock())
    store.publish_many(("order", str(n), "x" * 3_000) for n in range(300))
    torn = tmp_path / "torn" / "agent.sqlite"
    torn.parent.mkdir()
    for suffix in ("-wal", "-shm"):
        shutil.copy(f"{path}{suffix}", f"{torn}{suffix}")
    wal = Path(f"{path}-wal").read_bytes()
    page_size = int.from_bytes(wal[8:12], "big")
    frames = range(32, len(wal), 24 + page_size)
    first_page = [
        wal[at + 24 : at + 24 + page_size]
        for at in frames
        if int.from_bytes(wal[at : at + 4], "big") == 1
    ][-1]
    torn.write_bytes(first_page + path.read_bytes()[page_size:])
    store.close()

    schema.verify(torn)

    opened = EventStore.open(torn, FakeClock())
    found = identities(opened)
    opened.close()
    assert len(found) == 300
