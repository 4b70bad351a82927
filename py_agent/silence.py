"""Tells when a job has not succeeded for too long, and when it does again.

Both are events, so that a listener can do something about it. Their identifier names the
success that was the last one, so each silence is told once, whatever is restarted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from .clock import Clock
from .errors import NotFoundError, StoreError
from .registry import Job
from .store.event_store import EventStore

log = logging.getLogger("py_agent.scheduler")

SILENT, RECOVERED = "job.silent", "job.recovered"

FIRST_SECONDS = 60.0  # what a job has to make up for a silence from before the start
NEVER = float("inf")
AGAIN_SECONDS = 60.0  # after a storage fault, before it is told again


@dataclass(eq=False)
class _Watched:
    job: Job
    expected: float  # seconds
    since: datetime | None  # the last success
    deadline: float  # boot time at which it is silent
    silent: bool = False
    untold: datetime | None = None  # the success before a silence whose end is not stored
    again: float = NEVER  # boot time at which that is tried again


class Silence:
    """Watches the jobs with `expect_every`; whoever uses it guards it.

    Args:
        store: where the events are published.
        clock: tells the time.
        aside: runs what waits for the disk, on another thread.
    """

    def __init__(
        self,
        store: EventStore,
        clock: Clock,
        aside: Callable[[Callable[[], None]], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._aside = aside
        self._watched: dict[str, _Watched] = {}

    def watch(self, job: Job, since: datetime | None, known: datetime) -> None:
        """Expect a job to succeed from now on.

        Args:
            job: the job.
            since: when its last successful run began; None if none has succeeded.
            known: when the job was planned for the first time.

        Raises:
            StoreError: the store cannot be read.
        """
        if job.expect_every is None:
            return
        waited = (self._clock.now() - (since or known)).total_seconds()
        left = job.expect_every - max(0.0, waited)
        left = max(left, min(job.expect_every, FIRST_SECONDS))
        silent = self._is_told(_identifier(job, since))
        self._watched[job.name] = _Watched(
            job, job.expect_every, since, self._clock.boot() + left, silent
        )

    def silent(self) -> dict[str, bool]:
        """Return of each job that is watched whether it is silent; asks for no guard."""
        return {name: each.silent for name, each in self._watched.copy().items()}

    def forget(self, job: Job) -> None:
        """Expect nothing of a job any more."""
        self._watched.pop(job.name, None)

    def tell_recovered(self, job: Job) -> None:
        """Publish that a silent job has succeeded.

        Before its success is stored: after a crash in between, it is told again, and
        that is a duplicate. It waits for the disk, so no lock is held meanwhile.
        """
        watched = self._watched.get(job.name)
        if watched is not None and watched.silent:
            self._recover(watched, watched.since)

    def succeeded(self, job: Job, began: datetime) -> None:
        """Note that a run which began at that moment has succeeded."""
        watched = self._watched.get(job.name)
        if watched is not None:
            watched.silent = False
            watched.since = began
            watched.deadline = self._clock.boot() + watched.expected

    def tell_due(self) -> None:
        """Publish an event for each job that has become silent, and what failed before."""
        boot = self._clock.boot()
        for watched in self._watched.values():
            if watched.again <= boot:
                watched.again = NEVER
                self._aside(partial(self._recover, watched, watched.untold))
            if not watched.silent and watched.deadline <= boot:
                watched.silent = True
                log.warning("job %s has not succeeded for %g s",
                            watched.job.name, watched.expected,
                            extra={"job": watched.job.name})  # fmt: skip
                self._aside(partial(self._silence, watched, watched.since))

    def seconds_to_wait(self) -> float:
        """Return the seconds until a job becomes silent; infinite if none will."""
        boot = self._clock.boot()
        moments = [w.again for w in self._watched.values()]
        moments += [w.deadline for w in self._watched.values() if not w.silent]
        return min(moments, default=NEVER) - boot

    def _recover(self, watched: _Watched, since: datetime | None) -> None:
        if not self._publish(RECOVERED, watched, since):
            watched.untold, watched.again = since, self._clock.boot() + AGAIN_SECONDS

    def _silence(self, watched: _Watched, since: datetime | None) -> None:
        if not self._publish(SILENT, watched, since):
            watched.deadline = self._clock.boot() + AGAIN_SECONDS
            watched.silent = False

    def _publish(self, event_type: str, watched: _Watched, since: datetime | None) -> bool:
        """Store one of the two events; false if the store failed."""
        identifier = _identifier(watched.job, since)
        data = {
            "job": watched.job.name,
            "last_success": None if since is None else since.isoformat(),
            "expect_every": watched.expected,
        }
        try:
            self._store.publish(event_type, identifier, data, source=watched.job.name)
        except StoreError as error:
            log.error("%s of %s is not stored: %s", event_type, watched.job.name, error)
            return False
        return True

    def _is_told(self, identifier: str) -> bool:
        try:
            self._store.find(SILENT, identifier)
        except NotFoundError:
            return False
        return True


def _identifier(job: Job, since: datetime | None) -> str:
    return f"{job.name}@{'never' if since is None else since.isoformat()}"
