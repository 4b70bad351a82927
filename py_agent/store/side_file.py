"""What is inside a function right now, so that a crash charges just that.

A small file beside the store, `<store>.inside`, written without a sync: it must outlive
the process, not a power cut. It is a row of fixed slots; entering a function writes one,
leaving blanks it. Its first slot is a random *life*: the store remembers the last life
whose crashes it charged, so that none is charged twice.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

from ..errors import StorageFault

MAX_KEY = 2**63 - 1  # the largest number that a row can have
SLOT = 272  # bytes: a kind, a blank, a name of at most 255 bytes, room for the end
_DELIVERY = b"d"
_EFFECT = b"e"  # a delivery whose listener does what may not simply be repeated
_DOUBT = b"u"  # the same, where the listener is not to blame for a crash
_JOB = b"j"


@dataclass(frozen=True)
class Inside:
    """What a process was inside of when it ended.

    Args:
        life: the random name of that process's side file; empty if there was none.
        deliveries: (event id, subscription id) pairs.
        jobs: names of jobs.
        doubtful: the deliveries, charged or not, whose effect may have happened.
    """

    life: str = ""
    deliveries: tuple[tuple[int, int], ...] = ()
    jobs: tuple[str, ...] = ()
    doubtful: tuple[tuple[int, int], ...] = ()


def side_path(store: Path) -> Path:
    """Return the path of a store's side file."""
    return Path(f"{store}.inside")


def read(store: Path) -> Inside:
    """Return what the side file says; nothing if there is none or it is damaged."""
    try:
        content = side_path(store).read_bytes()
    except OSError:
        return Inside()
    slots = [
        content[start : start + SLOT].rstrip(b"\0")
        for start in range(0, len(content), SLOT)
    ]
    if not slots:
        return Inside()
    deliveries, jobs, doubtful = [], [], []
    for slot in slots[1:]:
        kind, _, name = slot.partition(b" ")
        with contextlib.suppress(ValueError):
            if kind in (_DELIVERY, _EFFECT):
                deliveries.append(_delivery(name))
            if kind in (_EFFECT, _DOUBT):
                doubtful.append(_delivery(name))
            if kind == _JOB:
                jobs.append(name.decode())
    life = slots[0].decode("ascii", "replace")
    return Inside(life, tuple(deliveries), tuple(jobs), tuple(doubtful))


def _delivery(name: bytes) -> tuple[int, int]:
    """Return the keys of a delivery.

    Raises:
        ValueError: it is none.
    """
    event_id, subscription_id = map(int, name.decode().split("."))
    if not (0 < event_id <= MAX_KEY and 0 < subscription_id <= MAX_KEY):
        raise ValueError("it cannot be the key of a row")
    return event_id, subscription_id


class SideFile:
    """The side file of the running agent.

    Args:
        store: the store's real path, whose lock the caller holds.
    """

    def __init__(self, store: Path) -> None:
        self.path = side_path(store)
        self._lock = threading.Lock()
        self._free: list[int] = []
        self._slots = 1
        self._effects: dict[int, bytes] = {}  # slots with an effect, and whose
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise StorageFault(f"cannot open the side file: {error}") from error
        self._write(0, secrets.token_hex(16).encode())

    def enter_delivery(self, event_id: int, subscription_id: int) -> int:
        """Say that a listener is entered; returns the slot for `leave`."""
        return self._enter(b"d %d.%d" % (event_id, subscription_id))

    def enter_job(self, name: str) -> int:
        """Say that a job is entered; returns the slot for `leave`."""
        return self._enter(b"j " + name.encode())

    def begin_effect(self, slot: int, event_id: int, subscription_id: int) -> None:
        """Say that what the listener of a slot does from now on may not be repeated."""
        with self._lock:
            self._effects[slot] = b" %d.%d" % (event_id, subscription_id)
            self._write(slot, _EFFECT + self._effects[slot])

    def leave_doubt(self, slot: int) -> None:
        """Say that the function of a slot has ended, but its result is not stored yet."""
        with self._lock:
            self._write(slot, _DOUBT + self._effects[slot])

    def leave(self, slot: int) -> None:
        """Say that the function of a slot has ended."""
        with self._lock:
            self._effects.pop(slot, None)
            self._write(slot, b"")
            self._free.append(slot)

    def clear(self) -> None:
        """Forget every entry, without waiting for a lock: the process is about to end.

        What is kept is that an effect may have happened, which is nobody's fault.
        """
        descriptor, self._descriptor = self._descriptor, -1
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, SLOT)
            for slot, name in list(self._effects.items()):
                os.pwrite(descriptor, (_DOUBT + name).ljust(SLOT, b"\0"), slot * SLOT)

    def close(self) -> None:
        """Remove the file: everything has ended or been handed back.

        It stays if the result of an effect could not be stored, which is in doubt then.
        """
        with self._lock, contextlib.suppress(OSError):
            if not self._effects:
                self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def _enter(self, content: bytes) -> int:
        with self._lock:
            if self._free:
                slot = self._free.pop()
            else:
                slot = self._slots
                self._slots += 1
            self._write(slot, content)
        return slot

    def _write(self, slot: int, content: bytes) -> None:
        if self._descriptor < 0:
            return  # a thread that was left behind ends after the stop
        with contextlib.suppress(OSError):  # a full disk costs the crash count, no work
            os.pwrite(self._descriptor, content.ljust(SLOT, b"\0"), slot * SLOT)
