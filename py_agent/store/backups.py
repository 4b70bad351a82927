"""Copies of a store that is in use: whole, synced, and named only when complete."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from datetime import datetime
from pathlib import Path

from ..errors import StorageFault, StoreRefusedError
from .dialects import backup, check_integrity

ENDING = ".backup"
DRAFT = ".new"
LEFT_SECONDS = 86_400  # a draft that nobody has written to for so long is left over


def name_of(store: Path, moment: datetime) -> str:
    """Return the name of a copy that is kept in a folder, sorted by its moment."""
    return f"{store.name}.{moment:%Y%m%dT%H%M%SZ}{ENDING}"


def write(store: Path, target: Path, thorough: bool = False) -> None:
    """Copy a store; the target has its name only when the copy is complete.

    Args:
        store: the store's file, which an agent may be using.
        target: the copy; a file of this name is replaced.
        thorough: whether the copy's tables are compared with their indexes before.

    Raises:
        StoreRefusedError: the copy is damaged; a file of its name is as it was.
        StoreError: the copy could not be made, likewise.
    """
    draft = target.with_name(f".{store.name}.{secrets.token_hex(8)}{DRAFT}")
    try:
        _remove_left(store, target.parent)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        backup(store, draft)
        if thorough:
            _check(store, draft, target)
        os.replace(draft, target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, StorageFault) as error:
        reason = (error.__cause__ if isinstance(error, StorageFault) else None) or error
        raise StorageFault(f"{target} cannot be written: {reason}") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def _check(store: Path, draft: Path, target: Path) -> None:
    """Compare a copy with itself, so that no damage drives out the good copies."""
    try:
        check_integrity(draft)
    except StoreRefusedError as error:
        found = str(error).replace(str(draft), str(store))
        raise StoreRefusedError(f"{target} is not written, as {found}") from error


def _remove_left(store: Path, folder: Path) -> None:
    """Remove the drafts of copies that were killed."""
    for each in folder.iterdir():
        if each.name.startswith(f".{store.name}.") and each.name.endswith(DRAFT):
            with contextlib.suppress(OSError):  # another copy has removed it just now
                if time.time() - each.stat().st_mtime > LEFT_SECONDS:
                    each.unlink()


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
