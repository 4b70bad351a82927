"""Writes a file as a whole or not at all, for listeners that keep one."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from py_agent import Pause, Retry

AGAIN = 60.0  # seconds until a listener looks whether a disk or a folder was mended

# What is wrong with one name only; all else is wrong with the disk or the folder.
_OF_ONE = frozenset({errno.EISDIR, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL})


@contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """Yield a draft that takes the place of a file in the end, if nothing is raised.

    If nothing is written into it, the file stays as it is. Whoever reads the file finds
    the old one or the new one, whenever a process or the machine stops. One process at a
    time is in here for a file, so that it may read it first. The draft stands beside
    the file, as `.name.part`; one that a crash left behind is used again.

    Args:
        file: what is replaced, or made; its folder is made as well. Of a link, what it
            leads to is replaced.

    Raises:
        OSError: it cannot be written; it is as it was before.
    """
    target = file.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f".{target.name}.part")
    with _locked(path) as draft:
        try:
            draft.truncate(0)
            yield draft
            draft.flush()
            if os.fstat(draft.fileno()).st_size:
                with suppress(FileNotFoundError):
                    os.fchmod(draft.fileno(), target.stat().st_mode & 0o777)
                os.fsync(draft.fileno())
                os.replace(path, target)
                sync_folder(target.parent)
                return
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        path.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """Open a file for this process alone; its lock is that of whoever has the name."""
    while True:
        descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        with os.fdopen(descriptor, "r+b") as draft:
            fcntl.flock(draft, fcntl.LOCK_EX)
            if _is_still(path, draft):
                yield draft
                return


def _is_still(path: Path, draft: BinaryIO) -> bool:
    """Return whether a name still leads to an open file: it may have been replaced."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(draft.fileno()))
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """Wait until the names of the files in a folder are on the disk.

    Args:
        folder: the folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(error: OSError, file: Path) -> Retry | Pause:
    """Return what a listener raises when a file cannot be written, on one line.

    Args:
        error: why.
        file: the file.
    """
    reason = f"{file} cannot be written: {error.strerror or error}"
    if error.errno in _OF_ONE:
        return Retry(reason=reason)
    return Pause(f"{reason}; it is tried again every {AGAIN:g} s", after=AGAIN)
