"""Gives an agent its heartbeat and reports, where Observability is configured."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..clock import Clock
from ..errors import ConfigError
from ..fluent import Schedule
from ..planning import plan_of
from ..registry import make_job, make_listener
from .heartbeat import NAME, heartbeat
from .run_reports import RunReports
from .settings import CoreSettings, ObservabilitySettings

if TYPE_CHECKING:
    from ..registry import Registry
    from ..settings.sections import Sections
    from ..store.event_store import EventStore

FORWARD = "listeners.observability", "forward"


def attach(
    registry: Registry, schedule: Schedule, sections: Sections
) -> Callable[[EventStore, Clock], RunReports] | None:
    """Register the heartbeat, and the listener that forwards reports, if they are wanted.

    Whoever calls this checks the settings afterwards: what is wrong with them is told
    with all other mistakes.

    Args:
        registry: the agent's jobs and listeners.
        schedule: its schedule.
        sections: what is configured.

    Returns:
        What makes the reports of the agent's own runs; None if they are not wanted.
    """
    if NAME not in {job.name for job in registry.jobs}:
        plan = plan_of(keep=True)
        job = make_job(heartbeat, NAME, schedule=str(plan.rule), **plan.options)
        schedule.plan(job, plan.rule, plan.at_start)
    try:
        core = sections.get(CoreSettings)
        wanted = sections.get(ObservabilitySettings).report_jobs
    except ConfigError:
        return None
    if not wanted:
        return None
    forward_to(registry)
    return lambda store, clock: RunReports(store, clock, core.agent_key)


def forward_to(registry: Registry) -> None:
    """Register the ready-made listener that forwards reports, unless there is one.

    Raises:
        ConfigError: a package of the user's hides the ready-made listeners.
    """
    module, name = FORWARD
    try:
        forward = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ConfigError(
            f"the ready-made {module} is hidden or cannot be imported: {error}; "
            f"a folder listeners/ of your own must have no __init__.py"
        ) from error
    if forward not in [each.function for each in registry.listeners]:
        registry.add_listener(make_listener(forward))
