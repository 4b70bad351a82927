"""Times and lengths in the words of a user, turned into rules."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSimError

from .errors import RegistrationError
from .lengths import UNITS, parse_length
from .retry import Seconds
from .timing import WEEKDAYS, Cron, Daily, Interval, PastTheHour, Rule

LEAST_SECONDS = 0.001  # a shorter interval is lost in the rounding of clocks


def zone_of(name: str | tzinfo | None) -> tzinfo | None:
    """Return the time zone of a name, as `"Europe/Berlin"`; None stays None.

    Raises:
        RegistrationError: there is no such time zone.
    """
    if not isinstance(name, str):
        return name
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise RegistrationError(
            f"there is no time zone {name!r}; write for example 'Europe/Berlin'"
        ) from error


def parse_cron(line: str, zone: tzinfo | None = None) -> Cron:
    """Return the rule for a line of a crontab, as `"*/5 * * * *"`.

    Raises:
        RegistrationError: it is none, or names a date that never comes.
    """
    rule = Cron(line, zone)
    try:
        rule.after(datetime.now(UTC))
    except (CronSimError, AttributeError, TypeError) as error:
        raise RegistrationError(
            f"{line!r} is no crontab line ({error}); write for example '*/5 * * * *'"
        ) from error
    except StopIteration:
        raise RegistrationError(f"{line!r} names a date that never comes") from None
    return rule


def parse_interval(every: str | Seconds) -> Interval:
    """Return the interval for `"10 minutes"`, a number of seconds or a timedelta.

    Raises:
        UsageError: it is none, or not longer than zero.
    """
    length = parse_length(every, "every")
    if length < LEAST_SECONDS:
        raise RegistrationError(f"every={every!r} is less than a millisecond; use more")
    return Interval(length)


def parse_time(at: str, zone: tzinfo | None = None) -> Daily:
    """Return the rule for a time of day, `"02:30"` or `"02:30:15"`.

    Raises:
        RegistrationError: it is none.
    """
    if isinstance(at, str) and re.fullmatch(r"\d\d:\d\d(:\d\d)?", at):
        try:
            return Daily(time.fromisoformat(at), zone=zone)
        except ValueError:
            pass
    raise RegistrationError(f"{at!r} is no time of day; write for example '02:30'")


def rule_of(
    unit: str,
    interval: int,
    latest: int | None,
    at: time | None,
    weekday: str | None,
    zone: tzinfo | None,
) -> Rule:
    """Return the rule for what `schedule`'s fluent API collects.

    Args:
        unit: "seconds" to "weeks".
        interval: every how many of them.
        latest: the longest interval, where one is drawn each time.
        at: the time of day, or past the hour or minute.
        weekday: "monday" to "sunday"; without a time, it is the time of registration.
        zone: the time zone of `at`, None for the machine's own.
    """
    size = UNITS[unit.removesuffix("s")]
    if weekday is not None:
        at = at or datetime.now().astimezone().time().replace(microsecond=0)
        return Daily(at, 7, WEEKDAYS.index(weekday), zone)
    if at is not None and size == UNITS["day"]:
        return Daily(at, interval, None, zone)
    if at is not None:
        return PastTheHour(at.minute * 60 + at.second, size, interval)
    return Interval(
        float(interval * size), None if latest is None else float(latest * size)
    )
