"""Drops the data of old events once a day, where `keep_data` says how long it is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from .clock import to_micros
from .context import Handler
from .fluent import Schedule
from .planning import plan_of
from .registry import Registry, make_job
from .store.event_store import EventStore
from .store.pruning import old_events, prune

NAME = "py_agent.retention"
STRIDE = timedelta(days=2)  # how far a run goes beyond the one before it


def attach(
    registry: Registry, schedule: Schedule, keep: float, opened: Callable[[], EventStore]
) -> None:
    """Register the job that drops the data of old events, unless it is there already.

    Args:
        registry: the agent's jobs and listeners.
        schedule: its schedule.
        keep: seconds for which data is kept.
        opened: returns the agent's store.
    """
    if NAME not in {job.name for job in registry.jobs}:
        plan = plan_of("1 day", at_start=False)
        arguments = {"keep": keep, "opened": opened}
        job = make_job(forget, NAME, (), arguments, str(plan.rule), **plan.options)
        schedule.plan(job, plan.rule, plan.at_start)


def forget(handler: Handler, keep: float, opened: Callable[[], EventStore]) -> None:
    """Drop the data of events that are older than it is kept, and of use to nobody.

    What is dropped is gone, so one run under a clock that is ahead must not drop all: it
    goes by what the clock showed at the last run, and the first run drops nothing.

    Args:
        handler: the run's own.
        keep: seconds for which data is kept.
        opened: returns the agent's store.
    """
    since, until = handler.window
    if since is None:
        return
    store, count = opened(), 0
    before = to_micros(min(until, since + STRIDE)) - round(keep * 1_000_000)
    for ids in old_events(store, before):
        if handler.stop_requested:
            break  # the next run goes on
        count += prune(store, ids)
    if count:
        handler.log.info("the data of %s old events is dropped", f"{count:,}")
