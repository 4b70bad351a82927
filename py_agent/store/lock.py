"""The agent lock: one agent at a time on a store.

An exclusive `flock` on `<store>.lock`, and not a POSIX record lock, which any close of
the file in the process would drop. The lock decides, never the text in the file: that
only names the holder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import weakref
from pathlib import Path

from ..errors import StorageFault, StoreLockedError, StoreRefusedError

PATIENCE = 10.0  # seconds to wait for those who only ask
ASKING = 0.01  # seconds, more than one of them takes

_held: weakref.WeakSet[AgentLock] = weakref.WeakSet()


class AgentLock:
    """The right to deliver, run jobs and migrate on one store.

    Args:
        store: the store's real path.
    """

    def __init__(self, store: Path) -> None:
        self.path = Path(f"{store}.lock")
        self._store = store
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            StoreLockedError: another agent has it; the message names its process.
            StorageFault: the lock file cannot be made.
        """
        while True:
            try:
                descriptor = os.open(
                    self.path,
                    os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
                    0o600,
                )
            except OSError as error:
                raise StorageFault(f"cannot open the lock: {error}") from error
            try:
                _take(descriptor)
            except OSError as error:
                pid = _read_pid(descriptor)
                os.close(descriptor)
                if not isinstance(error, BlockingIOError):
                    raise StorageFault(f"cannot lock {self.path}: {error}") from error
                raise StoreLockedError(
                    f"an agent already runs on {self._store} "
                    f"(pid {pid if pid else 'unknown'}); stop it first, "
                    f"or use another store with --db",
                    pid,
                ) from None
            if self._is_current(descriptor):
                break
            os.close(descriptor)  # the holder before us removed this file; try the new
        with contextlib.suppress(OSError):  # a full disk: only the hint is missing
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        _held.add(self)

    def release(self) -> None:
        """Remove the lock file while it is held, then let go; safe to call twice."""
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            if self._is_current(self._descriptor):
                self.path.unlink()
        os.close(self._descriptor)
        self._descriptor = None

    def check(self) -> None:
        """Check that the lock still keeps other agents away.

        Raises:
            StoreRefusedError: the lock file was removed, so a second agent could start.
        """
        if self._descriptor is not None and not self._is_current(self._descriptor):
            raise StoreRefusedError(
                f"{self.path} was removed while the agent ran, so that another agent can "
                f"start on the same store; stop it, and start again"
            )

    def forget(self) -> None:
        """Close a forked child's copy, so that an orphan does not keep the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_current(self, descriptor: int) -> bool:
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        here = os.fstat(descriptor)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def holder(store: Path) -> int | None:
    """Return the process id of the agent that runs on a store, None if there is none.

    The lock says whether there is, and not the text, which a power cut leaves behind and
    whose number may be any process's by now. The id is 0 where the text tells none.
    """
    try:
        descriptor = os.open(f"{store}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # let go of at once
    except BlockingIOError:
        return _read_pid(descriptor) or 0
    except OSError:
        pass  # no lock can be had here, nor by an agent
    finally:
        os.close(descriptor)
    return None


def _take(descriptor: int) -> None:
    """Lock a file; wait for those who only ask whether it is locked, as `holder` does.

    They have it for a moment, unless the machine is so busy that they stand still.

    Raises:
        OSError: an agent has it, or it cannot be locked.
    """
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up or not _is_only_asked(descriptor):
                raise
        time.sleep(ASKING)


def _is_only_asked(descriptor: int) -> bool:
    """Return whether no agent has a lock: an agent's keeps others from sharing it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    pid = int(text) if text.isdecimal() else 0
    return pid if 0 < pid < 2**31 else None


def _after_fork() -> None:
    for lock in list(_held):
        lock.forget()


os.register_at_fork(after_in_child=_after_fork)
