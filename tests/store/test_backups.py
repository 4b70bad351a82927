"""Copies of a store that is in use."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from py_agent.errors import StorageFault
from py_agent.store import backups, schema
from py_agent.store.listing import reading

from .conftest import Open


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
        backups.write(path, target)

    assert target.read_bytes() == b"the older one"
    assert list(target.parent.iterdir()) == [target]


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
