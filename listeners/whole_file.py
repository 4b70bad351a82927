"""Writes a file as a whole or not at all, for listeners that keep one."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from py_agent import Pause, Retry

Wait = Callable[[float], object]  # as handler.wait: False says that the agent stops

AGAIN = 60.0  # seconds until a listener looks whether a disk or a folder was mended
PATIENCE = 5.0  # seconds until a file that another process has is given up for now
PRIVATE = 0o600  # the mode of a new file

_LOOK = 0.01  # seconds between two looks whether a file is free
_OPEN = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK

# What is wrong with one name only; all else is wrong with the disk or the folder.
_OF_ONE = frozenset({errno.EISDIR, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL})
# What a folder says that cannot be synced, though its files are whole.
_NO_SYNC = frozenset({errno.EACCES, errno.EINVAL, errno.ENOTSUP})


def target_of(file: Path) -> Path:
    """Return where a file is in the end, when all links are followed.

    Args:
        file: the file, or a link to it.

    Raises:
        OSError: the links lead in a circle.
    """
    target = Path(os.path.realpath(file))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(file))
    return target


@contextmanager
def replacing(
    file: Path, mode: int = PRIVATE, follow: bool = True, wait: Wait = time.sleep
) -> Iterator[BinaryIO]:
    """Yield a draft that takes the place of a file in the end, if nothing is raised.

    If nothing is written into it, the file stays as it is. Whoever reads the file finds
    the old one or the new one, whenever a process or the machine stops. One process at a
    time is in here for a file, so that it may read it first. The draft stands beside
    the file, as `.name.part`; one that a crash left behind is removed.

    Args:
        file: what is replaced, or made; its folder is made as well.
        mode: of a new file; one that is replaced keeps its own.
        follow: whether of a link it is what it leads to that is replaced, and not the
            link itself.
        wait: called with seconds while another process is in here.

    Raises:
        OSError: it cannot be written, or another process has it for too long; it is as
            it was before.
    """
    target = target_of(file) if follow else file
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f".{target.name}.part")
    with locked(path, wait, fresh=True) as descriptor, _stream(descriptor) as draft:
        try:
            mode = _mode_of(target, mode)
            yield draft
            draft.flush()
            if not os.fstat(descriptor).st_size:
                path.unlink()
                return
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
            os.replace(path, target)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)  # the draft's name may be another's by now


def _stream(descriptor: int) -> BinaryIO:
    return os.fdopen(descriptor, "r+b", closefd=False)


def _mode_of(target: Path, mode: int) -> int:
    """Return the mode that a file has, or that it will have if it is new.

    Raises:
        OSError: what is in its place is no file.
    """
    try:
        found = os.lstat(target).st_mode
    except FileNotFoundError:
        return mode
    if stat.S_ISLNK(found):
        return mode
    if not stat.S_ISREG(found):
        raise OSError(errno.EINVAL, "it is no plain file", str(target))
    return stat.S_IMODE(found) & 0o777


@contextmanager
def locked(path: Path, wait: Wait = time.sleep, fresh: bool = False) -> Iterator[int]:
    """Open a file, made if there is none, for this process alone.

    Whoever may read a file can lock it, and keep it so for ever: it is waited for a few
    seconds only.

    Args:
        path: the file; a new one is its owner's.
        wait: called with seconds while another process has it.
        fresh: whether it must be made here: what a crash left is removed, and what
            others put in its place, as a link.

    Raises:
        OSError: it cannot be opened, is no file, or another process has it for too long.
    """
    for _ in range(int(PATIENCE / _LOOK)):
        descriptor, is_new = _opened(path, fresh)
        try:
            if descriptor is not None and _is_taken(path, descriptor):
                if is_new or not fresh:
                    yield descriptor
                    return
                path.unlink(missing_ok=True)
                continue
        finally:
            if descriptor is not None:
                os.close(descriptor)
        if wait(_LOOK) is False:
            break
    raise OSError(errno.EAGAIN, "another program has it locked", str(path))


def _opened(path: Path, fresh: bool) -> tuple[int | None, bool]:
    """Open a file, and return whether it was made; None if it went meanwhile."""
    if not fresh:
        return os.open(path, _OPEN | os.O_CREAT, PRIVATE), False
    if path.is_symlink():
        path.unlink(missing_ok=True)
    with suppress(FileExistsError):
        return os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, PRIVATE), True
    try:
        return os.open(path, _OPEN | os.O_NOFOLLOW), False
    except FileNotFoundError:
        return None, False


def _is_taken(path: Path, descriptor: int) -> bool:
    """Lock an open file, and return whether that is the one which has the name now.

    It may have been replaced since it was opened.
    """
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except (BlockingIOError, FileNotFoundError):
        return False


def sync_folder(folder: Path) -> None:
    """Wait until the names of the files in a folder are on the disk, if it can tell.

    Args:
        folder: the folder.

    Raises:
        OSError: the disk failed.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def unwritable(error: OSError, file: Path, others: bool = False) -> Retry | Pause:
    """Return what a listener raises when a file cannot be written, on one line.

    Args:
        error: why.
        file: the file.
        others: whether the listener writes other files, too, which need not wait for
            one with a name that cannot be.
    """
    why = error.strerror or str(error)
    if error.errno == errno.ENOENT and file.parent.is_dir():
        why = f"no file can be made in {file.parent}"
    elif error.errno in (errno.EEXIST, errno.ENOTDIR):
        path = Path(error.filename or file)
        found = next((each for each in (path, *path.parents) if each.exists()), path)
        why = f"{found} is a file, and should be a folder"
    elif error.filename not in (None, str(file)):
        why = f"{why}: {error.filename}"
    reason = f"{file} cannot be written: {why}"
    if others and error.errno in _OF_ONE:
        return Retry(reason=reason)
    return Pause(f"{reason}; it is tried again every {AGAIN:g} s", after=AGAIN)


def set_aside(file: Path, draft: BinaryIO) -> Path:
    """Give a file that is about to be replaced another name, so that it is kept.

    The draft is on the disk first, and the file keeps its name, too, until the draft
    takes it, if the filesystem can do that.

    Args:
        file: the file; no link.
        draft: what will take its place, as `replacing` yields it.

    Returns:
        The other name.

    Raises:
        OSError: that is not possible.
    """
    draft.flush()
    os.fsync(draft.fileno())
    number, found = 1, os.lstat(file)
    while os.path.lexists(kept := file.with_name(f"{file.name}.kept-{number}")):
        if os.path.samestat(os.lstat(kept), found):
            return kept  # a crash came between this and the end
        number += 1
    try:
        os.link(file, kept, follow_symlinks=False)
    except OSError:
        os.rename(file, kept)
    return kept
