"""What a user registers: jobs and listeners, each under one stable name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeVar

from .arguments import check_call, function_name, named, settings_wanted
from .errors import RegistrationError
from .events import Event
from .filters import Filter, Match, compile_filter
from .lengths import parse_length
from .matching import Ordering, check_ordering
from .retry import RetryPolicy, Seconds, seconds

F = TypeVar("F", bound=Callable[..., Any])
Where = Callable[[Event], Any]

MARK = "__py_agent_listens__"
MAX_CONCURRENCY = 1000  # threads; far above any sane use, below what a machine refuses

COALESCE, SKIP = "coalesce", "skip"
BASELINE = "baseline"
USUAL = "usual"

FOR_JOBS = frozenset({"handler"})
FOR_LISTENERS = frozenset({"handler", "event"})


@dataclass(frozen=True)
class Listener:
    """A function and the events it is called for.

    Args:
        name: the stable name of its subscription.
        function: called by name with `event` and `handler`.
        filter: the checked condition on events.
        retry: when a failed delivery is tried again.
        timeout: seconds after which a call is stuck; None for no limit.
        concurrency: calls at the same time at most.
        ordered_by: paths into the event; equal values are delivered in order.
        where: asked at delivery time; false completes the delivery as not wanted.
        debounce: seconds without another event after which it is called for the last
            one; None to be called for each.
        throttle: seconds after a call in which it is not called again; None for none.
        arguments: further named arguments for the function.
    """

    name: str
    function: Callable[..., Any]
    filter: Filter
    retry: RetryPolicy = RetryPolicy()
    timeout: float | None = None
    concurrency: int = 1
    ordered_by: Ordering = ()
    where: Where | None = None
    debounce: float | None = None
    throttle: float | None = None
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @cached_property
    def asks_for(self) -> frozenset[str]:
        """What its function names of that which can be handed over with an event."""
        return FOR_LISTENERS & named(self.function)

    @cached_property
    def settings(self) -> Mapping[str, type[Any]]:
        """The settings classes that its function asks for and nobody gave, by argument."""
        return settings_wanted(self.function, (), self.arguments)


@dataclass(frozen=True)
class Job:
    """A function that looks at the world, and how it is called.

    Args:
        name: the stable name.
        function: called by name with `handler`.
        args: positional arguments for the function.
        arguments: named arguments for the function.
        schedule: its schedule in words, for people.
        misfire: what becomes of a run that was missed: COALESCE runs it late, once,
            SKIP never.
        grace: seconds after which even the late run is left out; None for no limit.
        expect_every: seconds without a successful run after which `job.silent` is
            published; None for never.
        keep: whether it is a service, restarted whenever it ends.
        first: BASELINE stores as seen what is published until a run has succeeded.
        hold_above: the number of new events above which those of one run are held for a
            person; USUAL for far more than usual; None holds nothing.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    schedule: str = ""
    misfire: str = COALESCE
    grace: float | None = None
    expect_every: float | None = None
    keep: bool = False
    first: str | None = None
    hold_above: int | str | None = None

    @cached_property
    def settings(self) -> Mapping[str, type[Any]]:
        """The settings classes that its function asks for and nobody gave, by argument."""
        return settings_wanted(self.function, self.args, self.arguments)


def listen_for(
    match: Match,
    *,
    name: str | None = None,
    retry: RetryPolicy | None = None,
    timeout: Seconds | None = None,
    concurrency: int = 1,
    ordered_by: str | tuple[str, ...] | None = None,
    where: Where | None = None,
    debounce: str | Seconds | None = None,
    throttle: str | Seconds | None = None,
) -> Callable[[F], F]:
    """Mark a function as a listener; it can still be called plainly, as in a test.

    Args:
        match: the filter, `{field: (operator, value)}`; see `filters`.
        name: the subscription's stable name; `module.qualname` if not given.
        retry: when a failed delivery is tried again.
        timeout: seconds or timedelta after which a call counts as stuck.
        concurrency: calls of this listener at the same time at most.
        ordered_by: a path or paths into the event (`"data.run.id"`); events with equal
            values are delivered one after the other, in the order of publication.
        where: a function of the event, asked when it is delivered.
        debounce: `"30 seconds"`, seconds or timedelta: of several events, each so soon
            after the one before, it is called for the last, when it has been quiet for
            that long. With `ordered_by`, for the last of each key.
        throttle: likewise: after a call, what comes within that time is left out. What
            either leaves out is completed, with the reason `debounced` or `throttled`.

    Raises:
        FilterError: the filter or `ordered_by` names what does not exist.
        UsageError: another value is out of range.
    """
    options: dict[str, Any] = {
        "match": match, "name": name, "retry": retry, "timeout": timeout,
        "concurrency": concurrency, "ordered_by": ordered_by, "where": where,
        "debounce": debounce, "throttle": throttle,
    }  # fmt: skip
    _checked_options(**options)

    def mark(function: F) -> F:
        setattr(function, MARK, options)
        return function

    return mark


def _checked_options(
    match: Match,
    name: str | None,
    retry: RetryPolicy | None,
    timeout: Seconds | None,
    concurrency: int,
    ordered_by: str | tuple[str, ...] | None,
    where: Where | None,
    debounce: str | Seconds | None,
    throttle: str | Seconds | None,
) -> dict[str, Any]:
    """Return the fields of a Listener for the options of `listen_for`."""
    if isinstance(concurrency, bool) or not isinstance(concurrency, int):
        raise RegistrationError(f"concurrency must be a number, not {concurrency!r}")
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise RegistrationError(
            f"concurrency must be 1 to {MAX_CONCURRENCY:,}, not {concurrency}"
        )
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise RegistrationError(f"retry must be a RetryPolicy(...), not {retry!r}")
    if where is not None and not callable(where):
        raise RegistrationError(f"where must be a function of the event, not {where!r}")
    limit = None if timeout is None else seconds(timeout, "timeout")
    if limit == 0:
        raise RegistrationError("timeout must be more than 0 seconds")
    pace = _checked_pace(debounce, throttle, concurrency, where)
    return {
        "filter": compile_filter(match),
        "retry": retry or RetryPolicy(),
        "timeout": limit,
        "concurrency": concurrency,
        "ordered_by": check_ordering(ordered_by),
        "where": where,
        **pace,
    }


def _checked_pace(
    debounce: str | Seconds | None,
    throttle: str | Seconds | None,
    concurrency: int,
    where: Where | None,
) -> dict[str, float | None]:
    """Return the fields of a Listener that say for which events it is called."""
    given = {"debounce": debounce, "throttle": throttle}
    pace = {
        key: None if value is None else parse_length(value, key)
        for key, value in given.items()
    }
    named = [key for key, value in pace.items() if value is not None]
    if len(named) == 2:
        raise RegistrationError("give either debounce or throttle, not both")
    if named and not pace[named[0]]:
        raise RegistrationError(f"{named[0]} must be more than 0 seconds")
    if named and concurrency > 1:
        raise RegistrationError(f"{named[0]} needs concurrency = 1: calls side by side "
                                f"would not know of each other")  # fmt: skip
    if debounce is not None and where is not None:
        raise RegistrationError("debounce cannot be used with where: the last event "
                                "may be one that it declines")  # fmt: skip
    return pace


def marks_of(function: Callable[..., Any]) -> Mapping[str, Any] | None:
    """Return the options that `listen_for` left on a function, None without a mark."""
    found = getattr(function, MARK, None)
    return found if isinstance(found, dict) else None


def make_listener(
    function: Callable[..., Any],
    match: Match | None = None,
    arguments: Mapping[str, Any] | None = None,
    **options: Any,
) -> Listener:
    """Return the listener for a function, its mark, and options that win over the mark.

    Args:
        function: the listener function.
        match: the filter; None takes the mark's.
        arguments: further named arguments for the function.
        options: the keywords of `listen_for`; None takes the mark's.

    Raises:
        RegistrationError: no filter, no name, or arguments that do not fit.
        FilterError: the filter is wrong.
    """
    merged: dict[str, Any] = {
        "match": None, "name": None, "retry": None, "timeout": None,
        "concurrency": 1, "ordered_by": None, "where": None,
        "debounce": None, "throttle": None,
    }  # fmt: skip
    merged.update(marks_of(function) or {})
    given = {"match": match, **options}
    if unknown := given.keys() - merged.keys():
        raise RegistrationError(f"a listener has no option {', '.join(sorted(unknown))}")
    merged.update({key: value for key, value in given.items() if value is not None})
    name = function_name(function, merged["name"])
    if merged["match"] is None:
        raise RegistrationError(
            f"{name} does not say which events it wants: decorate it with "
            f"@listen_for({{'event_type': ('==', '...')}}), pass the filter, or write "
            f"match = {{ event_type = ['==', '...'] }} in agent.toml"
        )
    arguments = MappingProxyType(dict(arguments or {}))
    check_call(name, function, (), arguments, FOR_LISTENERS)
    return Listener(
        name=name,
        function=function,
        arguments=arguments,
        **_checked_options(**merged),
    )


def make_job(
    function: Callable[..., Any],
    name: str | None = None,
    args: tuple[Any, ...] = (),
    arguments: Mapping[str, Any] | None = None,
    schedule: str = "",
    **options: Any,
) -> Job:
    """Return the job for a function.

    Args:
        function: called by name with `handler`.
        name: the stable name; `module.qualname` if not given.
        args: positional arguments for the function.
        arguments: named arguments for the function.
        schedule: its schedule in words, for people.
        options: further fields of the job; see `planning`, which checks them.

    Raises:
        RegistrationError: no name, or arguments that do not fit.
    """
    if not callable(function):
        raise RegistrationError(f"{function!r} is not a function, so it cannot be a job")
    given = MappingProxyType(dict(arguments or {}))
    known = function_name(function, name)
    check_call(known, function, args, given, FOR_JOBS)
    return Job(known, function, args, given, schedule, **options)


class Registry:
    """The jobs and listeners of one agent; a duplicate name is refused at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._listeners: dict[str, Listener] = {}

    @property
    def jobs(self) -> list[Job]:
        """The registered jobs in the order of registration."""
        with self._lock:
            return list(self._jobs.values())

    @property
    def listeners(self) -> list[Listener]:
        """The registered listeners in the order of registration."""
        with self._lock:
            return list(self._listeners.values())

    def add_job(self, job: Job) -> None:
        """Register a job.

        Raises:
            RegistrationError: the name is in use.
        """
        self._add(self._jobs, "job", job)

    def add_listener(self, listener: Listener) -> None:
        """Register a listener.

        Raises:
            RegistrationError: the name is in use.
        """
        self._add(self._listeners, "listener", listener)

    def remove_job(self, name: str) -> None:
        """Forget a job; nothing happens if there is none of that name."""
        with self._lock:
            self._jobs.pop(name, None)

    def _add(self, known: dict[str, Any], kind: str, entry: Any) -> None:
        with self._lock:
            if entry.name in known:
                raise RegistrationError(
                    f"there is already a {kind} named {entry.name}; "
                    f"give this one its own name="
                )
            known[entry.name] = entry
