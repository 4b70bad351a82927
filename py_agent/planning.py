"""A job's options in the words of the user, checked and turned into a plan."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from .errors import RegistrationError
from .lengths import parse_length
from .phrases import parse_cron, parse_interval, parse_time, zone_of
from .registry import BASELINE, COALESCE, SKIP, USUAL
from .retry import Seconds
from .timing import Always, Interval, Rule

Length = str | Seconds  # "10 minutes", a number of seconds, or a timedelta


@dataclass(frozen=True)
class Plan:
    """When a job runs, and what becomes of it when it does not.

    Args:
        rule: when it is due.
        at_start: whether it also runs as soon as the agent starts.
        options: further fields of its `registry.Job`.
    """

    rule: Rule
    at_start: bool
    options: dict[str, Any]


def plan_of(
    every: Length | None = None,
    at: str | None = None,
    cron: str | None = None,
    tz: str | tzinfo | None = None,
    at_start: bool | None = None,
    misfire: str | None = None,
    grace: Length | None = None,
    expect_every: Length | None = None,
    keep: bool = False,
    first: str | None = None,
    hold_above: int | str | None = None,
) -> Plan:
    """Return the plan for the options of `Agent.add_job`, which explains them.

    Raises:
        UsageError: options that mean nothing, or exclude each other.
    """
    if keep:
        others = {
            "every": every, "at": at, "cron": cron, "tz": tz, "at_start": at_start,
            "misfire": misfire, "grace": grace, "expect_every": expect_every,
            "first": first, "hold_above": hold_above,
        }  # fmt: skip
        given = [name for name, value in others.items() if value is not None]
        if given:
            raise RegistrationError(
                f"keep=True is a service that always runs, so {' and '.join(given)} "
                f"cannot go with it"
            )
        return Plan(Always(), False, {"keep": True})
    rule = _rule(every, at, cron, tz)
    options: dict[str, Any] = {
        "misfire": _one_of("misfire", misfire, COALESCE, SKIP) or COALESCE,
        "first": _one_of("first", first, BASELINE),
    }
    if hold_above is not None:
        options["hold_above"] = _number_or_usual(hold_above)
    if grace is not None:
        options["grace"] = parse_length(grace, "grace")
    if expect_every is not None:
        options["expect_every"] = parse_length(expect_every, "expect_every")
        least = rule.seconds if isinstance(rule, Interval) else 0
        if options["expect_every"] <= least:
            raise RegistrationError(
                f"expect_every={expect_every!r} must be longer than the job's own rhythm, "
                f"or it is silent all the time"
            )
    at_once = isinstance(rule, Interval) if at_start is None else at_start
    return Plan(rule, at_once, options)


def _rule(
    every: Length | None, at: str | None, cron: str | None, tz: str | tzinfo | None
) -> Rule:
    if sum(each is not None for each in (every, at, cron)) != 1:
        raise RegistrationError(
            "a job needs every= or at= or cron=, and only one of them; "
            "a service that always runs needs keep=True"
        )
    zone = zone_of(tz)
    if at is not None:
        return parse_time(at, zone)
    if cron is not None:
        return parse_cron(cron, zone)
    assert every is not None
    if zone is not None:
        raise RegistrationError("tz= says where at= or cron= is; an interval needs none")
    return parse_interval(every)


def _number_or_usual(hold_above: Any) -> int | str:
    number = isinstance(hold_above, int) and not isinstance(hold_above, bool)
    if hold_above != USUAL and not (number and hold_above > 0):
        raise RegistrationError(
            f"hold_above is a number of new events, 1 or more, or {USUAL!r}, "
            f"not {hold_above!r:.80}"
        )
    return hold_above  # type: ignore[no-any-return]


def _one_of(name: str, value: str | None, *known: str) -> str | None:
    if value is not None and value not in known:
        words = " or ".join(f"{each!r}" for each in known)
        raise RegistrationError(f"{name} is {words}, not {value!r}")
    return value
