"""Copies of a store that is in use."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from py_agent.errors import StorageFault, StoreRefusedError
from py_agent.store import backups, schema
from py_agent.store.listing import reading

from .conftest import Open


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files cannot grow beyond 100 kB meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_copy_holds_what_was_committed(
    open_store: Open, path: Path, tmp_path: Path
) -> None:
    """Given an open store with an event in its -wal, When copied, Then it is there."""
    open_store().publish("a", "1", {"n": 1})
    target = tmp_path / "copy"

    backups.write(path, target)

    assert schema.verify(target) == schema.verify(path)
    with reading(target) as listing:
        assert [row["identifier"] for row in listing.events(10)] == ["1"]
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_copy_that_fails_leaves_the_older_one(
    open_store: Open, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a backup, When the next cannot be finished, Then the first is as it was."""
    open_store()
    target = tmp_path / "copies" / "copy"
    target.parent.mkdir()
    target.write_bytes(b"the older one")

    def full(*places: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageFault, match="No space left"):
        backups.write(path, target, thorough=True)

    assert target.read_bytes() == b"the older one"
    assert list(target.parent.iterdir()) == [target]


def test_a_full_disk_leaves_nothing(
    open_store: Open, path: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Given room for a part of it, When copied, Then the copy is to blame, not the store,
    and no part of it is left.
    """
    open_store().publish("a", "1", {"text": "x" * 100_000})
    folder = tmp_path / "copies"
    folder.mkdir()
    request.getfixturevalue("small_files")

    with pytest.raises(StorageFault, match=f"^{folder / 'copy'} cannot be written: "):
        backups.write(path, folder / "copy")

    assert list(folder.iterdir()) == []


def test_a_folder_that_takes_no_files_is_a_fault(
    open_store: Open, path: Path, tmp_path: Path
) -> None:
    """Given a place where nothing can be made nor removed, Then that is told."""
    open_store()
    (tmp_path / "file").touch()

    with pytest.raises(StorageFault, match="cannot be written: .*Not a directory"):
        backups.write(path, tmp_path / "file" / "copy")


def test_a_damaged_store_does_not_replace_a_good_copy(
    open_store: Open, path: Path, tmp_path: Path
) -> None:
    """Given a store whose index lacks a row, When copied, Then the older copy stays."""
    opened = open_store()
    opened.publish("a", "identifier 1")
    target = tmp_path / "copy"
    backups.write(path, target)
    good = target.read_bytes()
    opened.close()
    once = path.read_bytes().replace(b"identifier 1", b"identifier 2", 1)
    path.write_bytes(once)  # in the table or its index, but not in both

    with pytest.raises(StoreRefusedError) as caught:
        backups.write(path, target, thorough=True)

    assert str(caught.value).startswith(f"{target} is not written, as {path} is damaged")
    assert target.read_bytes() == good


def test_what_a_kill_has_left_goes(open_store: Open, path: Path, tmp_path: Path) -> None:
    """Given parts of copies, Then the next copy removes those that nobody writes to."""
    open_store()
    folder = tmp_path / "copies"
    folder.mkdir()
    killed, busy, other = (
        folder / name
        for name in (f".{path.name}.12.new", f".{path.name}.34.new", ".other.12.new")
    )
    for each in (killed, busy, other):
        each.touch()
    for each in (killed, other):
        os.utime(each, (0, 0))

    backups.write(path, folder / "copy")

    assert set(folder.iterdir()) == {folder / "copy", busy, other}


def test_the_newest_copies_stay(tmp_path: Path) -> None:
    """Given five copies and other files, When pruned to two, Then the oldest three go."""
    store = tmp_path / "agent.sqlite"
    start = datetime(2026, 9, 30, 23, 59, 58, tzinfo=UTC)
    names = [backups.name_of(store, start + timedelta(seconds=n)) for n in range(5)]
    strange = "b.sqlite.20260101T000000Z.backup"
    others = ["agent.sqlite", "agent.sqlite.schema-2.backup", strange]
    for name in [*names, *others]:
        (tmp_path / name).touch()

    removed = backups.prune(store, tmp_path, 2)

    assert [each.name for each in removed] == names[:3]
    assert {each.name for each in tmp_path.iterdir()} == {*names[3:], *others}
