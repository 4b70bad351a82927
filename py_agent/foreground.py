"""Runs an engine as what the process is for: until a signal, a call or its work's end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import AgentError
from .signals import Doorbell, stop_signals
from .supervisor import Supervisor

if TYPE_CHECKING:
    from .engine import Engine

log = logging.getLogger("py_agent")


@dataclass(frozen=True)
class Told:
    """Who is told how the process stands, and what.

    Args:
        supervisor: what has started the process.
        summary: returns what the agent does, in one line.
        grace: returns the seconds that running work may take to end.
    """

    supervisor: Supervisor
    summary: Callable[[], str]
    grace: Callable[[], float]


def run_until_stopped(
    doorbell: Doorbell,
    start: Callable[[], Engine],
    stop: Callable[[], None],
    abort: Callable[[], None],
    work: Callable[[Engine], None] | None,
    told: Told,
) -> int:
    """Start, wait until the doorbell rings, and stop.

    Args:
        doorbell: rung by SIGTERM, Ctrl-C and whoever asks for the stop.
        start: starts the engine.
        stop: stops it; called however this ends.
        abort: called by a second Ctrl-C, just before the process ends at once.
        work: done meanwhile on a thread of its own, which rings when it ends.
        told: who is told of the start and the stop.

    Returns:
        How many runs and attempts have failed.

    Raises:
        AgentError: the engine could not start or go on, or the work failed.
    """
    errors: list[AgentError] = []

    def work_and_ring(engine: Engine, work: Callable[[Engine], None]) -> None:
        try:
            work(engine)
        except AgentError as error:
            errors.append(error)
        finally:
            doorbell.ring()

    doorbell.arm()
    try:
        with stop_signals(doorbell, abort):
            with told.supervisor.starting():
                engine = start()
            if not doorbell.rung:
                told.supervisor.ready(told.summary())
            if work is not None:
                threading.Thread(
                    target=work_and_ring, args=(engine, work), daemon=True
                ).start()
            try:
                doorbell.wait()
                log.info("Stopping agent")
            finally:
                told.supervisor.stopping(told.grace())
                stop()
        for error in (engine.fatal, *errors):
            if error is not None:
                raise error
    except AgentError as error:
        told.supervisor.failed(error)
        raise
    finally:
        doorbell.disarm()
    return engine.failures
