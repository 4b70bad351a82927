"""Gives an agent its heartbeat and reports, where Observability is configured."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..arguments import settings_wanted
from ..clock import Clock
from ..errors import ConfigError
from ..fluent import Schedule
from ..planning import plan_of
from ..registry import make_job, make_listener
from ..tally import HEARTBEAT_JOB
from .heartbeat import heartbeat
from .integrations import integration_of, is_integration
from .run_reports import RunReports
from .settings import CoreSettings, ObservabilitySettings

if TYPE_CHECKING:
    from ..registry import Registry
    from ..settings.sections import Sections
    from ..store.event_store import EventStore

LEAST_PERIOD = 1.0  # seconds; an existing agent's 0 meant "as fast as possible"
FORWARD = "listeners.observability", "forward"


def attach(
    registry: Registry, schedule: Schedule, sections: Sections
) -> Callable[[EventStore, Clock], RunReports] | None:
    """Register the heartbeat, and the listener that forwards reports.

    Whoever calls this checks the settings afterwards: what is wrong with them is told
    with all other mistakes.

    Args:
        registry: the agent's jobs and listeners.
        schedule: its schedule.
        sections: what is configured.

    Returns:
        What makes the reports of the agent's own runs; None if they are not wanted.
    """
    if HEARTBEAT_JOB not in {job.name for job in registry.jobs}:
        plan = plan_of(keep=True)
        job = make_job(heartbeat, HEARTBEAT_JOB, schedule=str(plan.rule), **plan.options)
        schedule.plan(job, plan.rule, plan.at_start)
    _forward_to(registry)
    try:
        core = sections.get(CoreSettings)
        wanted = sections.get(ObservabilitySettings).report_jobs
    except ConfigError:
        return None
    if not wanted:
        return None
    return lambda store, clock: RunReports(store, clock, core.agent_key)


def integrate(
    agent_type: str,
    alone: bool,
    registry: Registry,
    schedule: Schedule,
    sections: Sections,
    load: Callable[[str], Callable[..., Any]],
) -> None:
    """Register the ready-made job that watches a tool.

    Args:
        agent_type: the tool, as `[core] agent_type` has it.
        alone: whether the agent would else have nothing to do, so that another
            `agent_type` than ours is a mistake.
        registry: the agent's jobs and listeners.
        schedule: its schedule.
        sections: what is configured.
        load: returns the function named `module:function`.

    Raises:
        ConfigError: there is no integration for it.
        LoadError: its job does not import.
    """
    if not alone and not is_integration(agent_type):
        return
    integration = integration_of(agent_type)
    function = load(integration.run)
    every = None if integration.keep else _period(function, sections)
    plan = plan_of(every, keep=integration.keep)
    job = make_job(function, None, (), {}, str(plan.rule), **plan.options)
    schedule.plan(job, plan.rule, plan.at_start)


def _period(function: Callable[..., Any], sections: Sections) -> float:
    """Return the seconds between two runs, as the job's own settings say."""
    for wanted in settings_wanted(function, (), {}).values():
        if "period" in wanted.model_fields:
            try:
                return max(LEAST_PERIOD, float(sections.get(wanted).period))
            except ConfigError:
                break  # told with all other settings
    return LEAST_PERIOD


def _forward_to(registry: Registry) -> None:
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
