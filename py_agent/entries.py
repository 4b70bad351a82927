"""Makes jobs and listeners of the tables in agent.toml that describe them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .agent import Agent
from .arguments import check_together
from .errors import ConfigError
from .planning import plan_of
from .registry import FOR_JOBS, FOR_LISTENERS, listen_for, make_job, make_listener
from .retry import RetryPolicy
from .settings.config import Config, JobEntry, ListenerEntry
from .settings.conversion import convert_arguments

Function = Callable[..., Any]


def arguments_of(
    function: Function, entry: JobEntry | ListenerEntry, config: Config
) -> dict[str, Any]:
    """Return the arguments that a table gives a function, as it declares them.

    Raises:
        ConfigError: every argument that the function lacks or that does not fit, or else
            that they do not go together.
    """
    offered = FOR_JOBS if isinstance(entry, JobEntry) else FOR_LISTENERS
    base = None if config.path is None else config.path.parent
    arguments = convert_arguments(function, entry.arguments, offered, base)
    try:
        check_together(function, arguments)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return arguments


def job_options(entry: JobEntry, is_torn: bool) -> dict[str, Any]:
    """Return what says when a job runs.

    Raises:
        UsageError: it cannot be; of a torn entry it is not asked whether it says that.
    """
    if is_torn and not entry.model_fields_set & {"every", "at", "cron", "keep"}:
        return {}
    given = entry.model_dump(exclude={"run", "name", "arguments"})
    return {"plan": plan_of(**given)}


def add_job(
    agent: Agent,
    name: str | None,
    function: Function,
    arguments: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Add a job.

    Raises:
        UsageError: the arguments do not go together, or the name is taken.
    """
    plan = options["plan"]
    # Not through add_job(): there, an argument named `every` or `name` is its own.
    job = make_job(function, name, (), arguments, str(plan.rule), **plan.options)
    agent.schedule.plan(job, plan.rule, plan.at_start)


def listener_options(entry: ListenerEntry) -> dict[str, Any]:
    """Return the options of a listener.

    Raises:
        UsageError: one of them cannot be.
    """
    match = None
    if entry.match is not None:
        match = {field: tuple(term) for field, term in entry.match.items()}
    retry = None
    if entry.retry is not None:
        attempts = entry.retry.attempts
        retry = RetryPolicy(
            None if attempts == "forever" else attempts,
            entry.retry.first, entry.retry.factor, entry.retry.cap,
        )  # fmt: skip
    ordered_by = entry.ordered_by
    given: dict[str, Any] = {
        "match": match,
        "retry": retry,
        "timeout": entry.timeout,
        "concurrency": entry.concurrency,
        "ordered_by": tuple(ordered_by) if isinstance(ordered_by, list) else ordered_by,
        "debounce": entry.debounce,
        "throttle": entry.throttle,
    }
    options = {key: value for key, value in given.items() if value is not None}
    listen_for(**{"match": {"event_type": ("exists", True)}, **options})  # checks them
    return options


def add_listener(
    agent: Agent,
    name: str | None,
    function: Function,
    arguments: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Add a listener.

    Raises:
        UsageError: it does not say which events it wants, the arguments do not go
            together, or the name is taken.
    """
    listener = make_listener(function, arguments=arguments, name=name, **options)
    agent.registry.add_listener(listener)
