"""Copies of a store that is in use: whole, synced, and named only when complete."""

from __future__ import annotations

import os
import secrets
from datetime import datetime
from pathlib import Path

from ..errors import StorageFault
from .dialects import backup

ENDING = ".backup"


def name_of(store: Path, moment: datetime) -> str:
    """Return the name of a copy that is kept in a folder, sorted by its moment."""
    return f"{store.name}.{moment:%Y%m%dT%H%M%SZ}{ENDING}"


def write(store: Path, target: Path) -> None:
    """Copy a store; the target has its name only when the copy is complete.

    Args:
        store: the store's file, which an agent may be using.
        target: the copy; a file of this name is replaced.

    Raises:
        StoreError: the copy could not be made; a file of its name is as it was.
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.new")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        backup(store, draft)
        os.replace(draft, target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StorageFault(f"cannot write the backup {target}: {error}") from error
    finally:
        draft.unlink(missing_ok=True)


def prune(store: Path, folder: Path, keep: int) -> list[Path]:
    """Remove a store's oldest copies in a folder; return which.

    Only names that `name_of` makes are looked at.

    Args:
        store: the store.
        folder: where its copies are.
        keep: how many of the newest stay; at least 1.
    """
    stamp = "[0-9]" * 8 + "T" + "[0-9]" * 6 + "Z"
    found = sorted(
        each for each in folder.iterdir() if _is_copy(each.name, store.name, stamp)
    )
    old = found[: max(0, len(found) - max(1, keep))]
    for each in old:
        try:
            each.unlink(missing_ok=True)
        except OSError as error:
            raise StorageFault(f"cannot remove the backup {each}: {error}") from error
    return old


def _is_copy(name: str, store: str, stamp: str) -> bool:
    from fnmatch import fnmatchcase

    middle = name.removeprefix(f"{store}.").removesuffix(ENDING)
    return name == f"{store}.{middle}{ENDING}" and fnmatchcase(middle, stamp)
