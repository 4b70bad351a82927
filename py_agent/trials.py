"""Deliveries that ended the agent twice in a row are tried once, alone, at the start.

Alone, so that the crash is charged to the culprit and not to what ran beside it; before
jobs and other listeners, so that those cannot be blamed either. The third crash in a row
makes the delivery a dead letter (see `store.takeover`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from .calls import Caller
from .clock import Clock
from .deliverer import Deliverer
from .lanes import Call, Lane
from .own_log import during
from .store.deliveries import Attempt
from .store.event_store import EventStore
from .store.takeover import CRASH_LIMIT
from .threads import Threads

log = logging.getLogger("py_agent.dispatcher")

TRIAL_SECONDS = 60.0  # how long a suspect without a timeout may take
LOOK_SECONDS = 0.1  # how soon a trial notices that the agent shall stop


def try_suspects(
    store: EventStore,
    deliverer: Deliverer,
    caller: Caller,
    threads: Threads,
    clock: Clock,
    stopping: Callable[[], bool],
) -> None:
    """Try each suspect alone, one after the other.

    Args:
        store: the open store.
        deliverer: has the lanes, and takes the result of a trial that ends too late.
        caller: makes the calls.
        threads: where they run.
        clock: tells the time.
        stopping: whether the agent has been asked to stop.
    """
    for owed in store.deliveries.suspects(CRASH_LIMIT - 1):
        lane = deliverer.roster.lanes.get(owed.subscription_id)
        if lane is None or lane.paused(caller.now()) or stopping():
            continue
        log.warning(
            "delivery %s to %s ended the agent %d times in a row; it is tried alone",
            owed.key, lane.listener.name, owed.crashes,
        )  # fmt: skip
        trial = Call(owed)
        ended = threading.Event()

        def work(
            lane: Lane = lane, trial: Call = trial, ended: threading.Event = ended
        ) -> None:
            attempt: Attempt | None = None
            try:
                with during(listener=lane.listener.name, delivery=trial.owed.key):
                    attempt = _try(caller, lane, trial)
            finally:
                with deliverer.lock:
                    if not trial.stuck:
                        if attempt is not None:
                            recorded = partial(caller.recorded, trial)
                            store.deliveries.record(trial.owed, attempt, recorded)
                        ended.set()
                if trial.stuck:
                    deliverer.end_late(lane, trial, attempt)

        threads.run(work, lane.listener.name)
        _await(ended, clock, lane.listener.timeout or TRIAL_SECONDS, stopping)
        with deliverer.lock:
            if not ended.is_set():
                caller.record_stuck(lane.listener, trial)
                lane.adopt(trial)
        store.writer.flush()
        if trial.stuck:
            return  # beside it, no other would be alone


def _try(caller: Caller, lane: Lane, trial: Call) -> Attempt | None:
    """Make the call and return its result; None if it is not owed any more."""
    event = caller.find(trial.owed)
    if event is None:
        return None
    if instead := caller.instead(lane.listener, trial.owed, event):
        return instead
    caller.enter(lane.listener, trial)
    attempt, _ = caller.make(lane.listener, trial, event)
    return attempt


def _await(
    ended: threading.Event, clock: Clock, limit: float, stopping: Callable[[], bool]
) -> None:
    deadline = clock.boot() + limit
    while not ended.wait(LOOK_SECONDS) and clock.boot() < deadline and not stopping():
        pass
