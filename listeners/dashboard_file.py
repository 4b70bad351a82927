"""A JSON file that is replaced as a whole, by one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

MODE = 0o644  # of a new file: what shows it often runs as another user
MAX_BYTES = 10_000_000  # of a file that may be ours

_LOCK = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep others from writing a file meanwhile, in this process or another.

    The lock is a file beside it, which stays: the file itself is replaced, and a lock on
    what was replaced would keep nobody away.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    try:
        descriptor = os.open(file.with_name(f".{file.name}.lock"), _LOCK, MODE)
    except FileNotFoundError:
        text = "there is no such folder for the dashboard; make it"
        raise FileNotFoundError(errno.ENOENT, text, str(file.parent)) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_or_set_aside(
    file: Path, is_ours: Callable[[Any], bool]
) -> tuple[dict[str, Any] | None, Path | None]:
    """Return what a file holds, and where it was moved to if that is not ours.

    Args:
        file: the file, locked.
        is_ours: tells whether its JSON is ours.

    Returns:
        The content, None if there is none of ours; the new name of what was in its
        place, None if that was nothing.

    Raises:
        OSError: it cannot be read, or is no file.
    """
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "the dashboard must be a plain file", str(file))
        text = file.read_bytes() if found.st_size <= MAX_BYTES else b"?"
    except FileNotFoundError:
        return None, None
    if not text.strip():
        return None, None  # somebody made the place for it
    with suppress(ValueError, RecursionError):
        content = json.loads(text)
        if is_ours(content):
            return content, None
    kept = _free_name(file)
    os.rename(file, kept)
    return None, kept


def _free_name(file: Path) -> Path:
    number = 1
    while os.path.lexists(kept := file.with_name(f"{file.name}.kept-{number}")):
        number += 1
    return kept


def replace(file: Path, content: bytes) -> None:
    """Put other content into a file; it is on the disk when this returns.

    Whoever reads the file finds the old or the new content, whatever happens meanwhile.

    Args:
        file: the file, locked.
        content: what it is to hold.

    Raises:
        OSError: it cannot be written; it is as it was.
    """
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)  # left by a crash; nobody else writes now
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except FileNotFoundError:
        mode = MODE
    try:
        with open(os.open(draft, _NEW, 0o600), "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, file)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some filesystems cannot; the file is whole anyway
            os.fsync(folder)
    finally:
        os.close(folder)
