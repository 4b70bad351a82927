"""Reports the runs of this agent's own jobs, as events like those of any other tool.

A run's end is published before its row is written, and has one name whatever it was: so
it is told once, and what is missing after a crash is told by the next start.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from ..clock import Clock, from_micros
from ..errors import AgentError, NotFoundError, StoreError
from ..failures import Failure
from ..runner import Run
from ..store.event_store import EventStore
from ..store.runs import LastRun
from ..store.tables import Outcome
from .models import validate
from .reporting import (
    COMPLETED,
    FAILED,
    MOST_BYTES,
    RUNNING,
    WARNED,
    fit_text,
    identifier_for,
    safe_key,
)

log = logging.getLogger("py_agent.scheduler")

TOOL = "PY_AGENT"
BEGUN, ENDED, TOLD = "begun", "ended", "told"
RECENT = 1_000  # runs that are looked at after a start
MOST_UNTOLD = 1_000  # reports kept while the disk fails


class RunReports:
    """Publishes what becomes of runs; services, which hardly ever end, are left out.

    Args:
        store: where the events are published.
        clock: tells the time.
        agent_key: tells the runs of this agent from those of others.
    """

    def __init__(self, store: EventStore, clock: Clock, agent_key: str) -> None:
        self._store = store
        self._clock = clock
        self._agent_key = agent_key
        self._lock = threading.Lock()
        self._untold: list[Callable[[], None]] = []

    def begun(self, run: Run) -> None:
        """Tell that a run has begun, on the run's own thread."""
        if not run.job.keep:
            began = from_micros(run.began)
            self._tell(partial(self._status, run.job.name, began, BEGUN, RUNNING, began))

    def ended(self, run: Run, failure: Failure | None) -> None:
        """Tell how a run has ended, and why, on the run's own thread."""
        if run.job.keep:
            return
        now, began, name = self._clock.now(), from_micros(run.began), run.job.name
        warnings = run.handler.warnings
        status = FAILED if failure else WARNED if warnings else COMPLETED
        if failure is not None:
            self._tell(partial(self._message, name, began, "ERROR", str(failure), now,
                               failure.traceback[-MOST_BYTES:]))  # fmt: skip
        if warnings:
            text = "\n".join(warnings)
            self._tell(partial(self._message, name, began, "WARNING", text, now))
        self._tell(partial(self._status, name, began, ENDED, status, now))

    def catch_up(self) -> None:
        """End the runs that were told to have begun, and not to have ended.

        The process ended in them, or the disk was full then; so a job that is not in the
        code any more counts, too.
        """
        self._tell(self._end_all)

    def _end_all(self) -> None:
        for last in reversed(self._store.runs.latest(RECENT)):
            self._catch_up(last)

    def _catch_up(self, last: LastRun) -> None:
        if last.outcome == Outcome.RUNNING:
            return  # begun since, while the disk let nothing be told
        job, began = last.job, from_micros(last.started)
        if not self._is_told(job, began, BEGUN) or self._is_told(job, began, ENDED):
            return
        ended = from_micros(last.finished) if last.finished else self._clock.now()
        if last.error:
            self._message(job, began, "ERROR", last.error, ended)
        status = COMPLETED if last.outcome == Outcome.COMPLETED else FAILED
        self._status(job, began, ENDED, status, ended)

    def _tell(self, publish: Callable[[], None]) -> None:
        """Publish, after what could not be published before; never raises.

        The lock keeps the order, also of what waits for a disk that has failed.
        """
        with self._lock:
            self._untold.append(publish)
            while self._untold:
                try:
                    self._untold[0]()
                except StoreError as error:
                    log.error("a run is not reported for now: %s", error)
                    break
                except AgentError as error:
                    log.error("a report of a run is left out: %s", error)
                del self._untold[0]
            if len(self._untold) > MOST_UNTOLD:
                log.error("too many reports of runs wait; the oldest is left out")
                del self._untold[0]

    def _status(
        self, job: str, began: datetime, what: str, status: str, at: datetime
    ) -> None:
        self._publish("run-status", job, began, what, {"status": status}, at)

    def _message(
        self,
        job: str,
        began: datetime,
        level: str,
        text: str,
        at: datetime,
        details: str | None = None,
    ) -> None:
        fields = {
            "log_level": level,
            "message": fit_text(text) or level,
            **({"message_details": fit_text(details)} if details else {}),
        }
        self._publish("message-log", job, began, f"{TOLD} {level}", fields, at)

    def _publish(
        self,
        event_type: str,
        job: str,
        began: datetime,
        what: str,
        fields: dict[str, Any],
        at: datetime,
    ) -> None:
        payload = {
            "pipeline_key": safe_key(job),
            "run_key": safe_key(f"{self._agent_key}@{began.isoformat()}"),
            "component_tool": TOOL,
            "event_timestamp": at.isoformat(),
            **fields,
        }
        wire = validate(event_type, payload)
        name = self._name(job, began, what)
        self._store.publish(event_type, name, wire, source=job)

    def _is_told(self, job: str, began: datetime, what: str) -> bool:
        try:
            self._store.find("run-status", self._name(job, began, what))
        except NotFoundError:
            return False
        return True

    def _name(self, job: str, began: datetime, what: str) -> str:
        return identifier_for(TOOL, self._agent_key, job, began.isoformat(), what)
