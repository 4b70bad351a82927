"""Takes a store for this process alone: the lock, the checks, what the last one left."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .failures import printable
from .registry import Registry
from .store import schema
from .store.event_store import EventStore
from .store.lock import AgentLock
from .store.side_file import SideFile, read
from .store.takeover import Takeover, take_over

log = logging.getLogger("py_agent")


@dataclass(frozen=True)
class Possession:
    """A store on which this process alone runs an agent.

    Args:
        path: the store's real path.
        store: the open store.
        side_file: what is inside a function.
        lock: what keeps a second agent away.
        unchecked: whether it was too large to be checked as a whole beforehand.
    """

    path: Path
    store: EventStore
    side_file: SideFile
    lock: AgentLock
    unchecked: bool

    def check_files(self) -> None:
        """Look whether the store and the lock are still ours.

        Raises:
            StoreRefusedError: one of the files has been removed or replaced.
        """
        self.store.check_file()
        self.lock.check()

    def give_up(self) -> None:
        """Let another process have the store, which has been closed."""
        self.side_file.close()
        self.lock.release()


def take(
    path: Path,
    opened: Callable[[], EventStore],
    now: int,
    registry: Registry,
    park: bool,
) -> Possession:
    """Take a store, check it, and bring it in line with the code.

    Args:
        path: its real path; the store is made if there is none.
        opened: opens the store, or returns it if it is open.
        now: the present in microseconds.
        registry: the jobs and listeners.
        park: whether this code speaks for all listeners of the store, so that the
            deliveries of those it lacks are parked.

    Raises:
        StoreLockedError: another agent runs on the store.
        StoreError: the store cannot be used; nothing was changed.
    """
    lock = AgentLock(path)
    made_new = schema.ensure(path)
    schema.verify(path)
    lock.acquire()
    try:
        unchecked = schema.prepare(path, thorough=not made_new)
        store, inside = opened(), read(path)
        services = {each.name for each in registry.jobs if each.keep}
        guarded = {each.name for each in registry.jobs if each.hold_above is not None}
        _tell(
            take_over(
                store, registry.listeners, inside, now, park, services,
                guarded if park else None,
            )
        )  # fmt: skip
        return Possession(path, store, SideFile(path), lock, unchecked)
    except BaseException:
        lock.release()
        raise


def _tell(found: Takeover) -> None:
    for what in found.crashed:
        log.warning("the last process ended inside %s", what)
    for what in found.dead:
        log.error("%s ended the agent too often in a row and is not tried again; see %s",
                  what, "agent dead, agent jobs, agent resume")  # fmt: skip
    for name in found.parked:
        log.warning("listener %s is not in the code; its deliveries are parked", name)
    for name, count in found.freed.items():
        log.warning("%s deliveries waited for the end of a run of job %s, which holds "
                    "nothing back any more or is not in the code; they are delivered now",
                    f"{count:,}", printable(name))  # fmt: skip
