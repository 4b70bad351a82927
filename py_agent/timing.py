"""When a job is due: pure rules over a moment, without a clock of their own.

An interval counts on boot time, which no change of the wall clock touches. A wall-clock
rule names local times: a time that daylight saving skips is taken as late as the gap is
long, and one that comes twice counts the first time, so a daily job runs once per day.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from .errors import RegistrationError
from .retry import Seconds, seconds

SHORT = {
    "s": "second", "sec": "second", "m": "minute", "min": "minute", "h": "hour",
    "d": "day", "w": "week",
}  # fmt: skip
UNITS = {
    "second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800,
}  # fmt: skip
WEEKDAYS = (
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
)  # fmt: skip


@dataclass(frozen=True)
class Interval:
    """Due again and again after so many seconds.

    Args:
        seconds: the shortest wait.
        longest: the longest wait, where each one is drawn at random; None for `seconds`.
    """

    seconds: float
    longest: float | None = None

    def wait(self, chance: random.Random) -> float:
        """Return the seconds until it is due again."""
        if self.longest is None:
            return self.seconds
        return chance.uniform(self.seconds, self.longest)

    def __str__(self) -> str:
        longest = "" if self.longest is None else f" to {in_words(self.longest)}"
        return f"every {in_words(self.seconds)}{longest}"


@dataclass(frozen=True)
class Daily:
    """Due at a time of day, every so many days.

    Args:
        at: the local time of day.
        days: every how many days, or 7 together with `weekday`.
        weekday: 0 for Monday to 6 for Sunday, None for any day.
        zone: the time zone, None for the machine's own.
    """

    at: time
    days: int = 1
    weekday: int | None = None
    zone: tzinfo | None = None

    def after(self, moment: datetime, last: datetime | None = None) -> datetime:
        """Return the first due moment after `moment`, in UTC.

        Args:
            moment: an aware datetime.
            last: when it was due, or ran, last; None if it never was.
        """
        day = moment.astimezone(self.zone).date()
        # A last time far ahead means that the clock was set back since: forget it.
        if last is not None and last - moment < timedelta(self.days):
            step = self.days if self.weekday is None else 1  # to the next such weekday
            day = max(day, self._due_day(last) + timedelta(step))
        if self.weekday is not None:
            day += timedelta((self.weekday - day.weekday()) % 7)
        while (due := self._on(datetime.combine(day, self.at))) <= moment:
            day += timedelta(7 if self.weekday is not None else 1)
        return due

    def _due_day(self, ran: datetime) -> date:
        """Return the day whose time a run belongs to: made up for after midnight, it is
        yesterday's. A run may begin a hair before its time, by the clocks' steps.
        """
        local = ran.astimezone(self.zone) + timedelta(seconds=1)
        return local.date() - timedelta(local.time() < self.at)

    def _on(self, local: datetime) -> datetime:
        if self.zone is None:
            # Not astimezone(), which takes a time that is skipped as too early.
            return datetime.fromtimestamp(local.timestamp(), UTC)
        return local.replace(tzinfo=self.zone).astimezone(UTC)

    def __str__(self) -> str:
        day = "day" if self.days == 1 else f"{self.days} days"
        if self.weekday is not None:
            day = WEEKDAYS[self.weekday]
        zone = "" if self.zone is None else f" {self.zone}"
        return f"every {day} at {self.at.isoformat()}{zone}"


@dataclass(frozen=True)
class PastTheHour:
    """Due at a minute and second of every so many hours, or a second of minutes.

    Args:
        offset: seconds past the full hour or minute.
        unit: 3,600 for hours, 60 for minutes.
        count: every how many of them.
    """

    offset: int
    unit: int
    count: int = 1

    def after(self, moment: datetime, last: datetime | None = None) -> datetime:
        """Return the first due moment after `moment`, in UTC; see `Daily.after`."""
        # Full hours and minutes are the same in every zone whose offset is whole hours;
        # for the few others, the local hour counts.
        local = moment.astimezone()
        shift = (local.utcoffset() or timedelta()).total_seconds() % self.unit
        past = (moment.timestamp() + shift - self.offset) % self.unit
        step = self.unit - past
        due = moment + timedelta(seconds=step)
        period = timedelta(seconds=self.unit * self.count)
        if last is not None and last - moment < period:
            earliest = last + timedelta(seconds=self.unit * (self.count - 1))
            while due <= earliest:
                due += timedelta(seconds=self.unit)
        return due.replace(microsecond=0)

    def __str__(self) -> str:
        unit = "hour" if self.unit == UNITS["hour"] else "minute"
        many = unit if self.count == 1 else f"{self.count} {unit}s"
        minutes, second = divmod(self.offset, 60)
        return f"every {many} at {minutes:02}:{second:02}"


Rule = Interval | Daily | PastTheHour


def parse_interval(every: str | Seconds) -> Interval:
    """Return the interval for `"10 minutes"`, a number of seconds or a timedelta.

    Raises:
        UsageError: it is none, or not longer than zero.
    """
    if isinstance(every, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)?\s*([a-z]+)\s*", every.lower())
        unit = found[2] if found else ""
        short = SHORT.get(unit) if found and found[1] else None
        unit = short or unit.removesuffix("s")
        if not found or unit not in UNITS:
            raise RegistrationError(
                f"{every!r} is no interval; write for example '30 seconds', "
                f"'10 minutes', '1 hour' or '2 days'"
            )
        length = seconds(float(found[1] or 1) * UNITS[unit], "every")
    else:
        length = seconds(every, "every")
    if length <= 0:
        raise RegistrationError(f"every={every!r} is no time at all; use more than zero")
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


def parse_rule(every: str | Seconds | None, at: str | None) -> Rule:
    """Return the rule for the one of two that is given.

    Raises:
        RegistrationError: neither is given, or both, or it means nothing.
    """
    if (every is None) == (at is None):
        raise RegistrationError("a job needs every= or at=, and not both")
    if at is not None:
        return parse_time(at)
    assert every is not None
    return parse_interval(every)


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


def in_words(length: float) -> str:
    """Return seconds in words, in the largest unit that divides them."""
    for unit, size in reversed(UNITS.items()):
        if length >= size and length % size == 0:
            count = int(length // size)
            return unit if count == 1 else f"{count} {unit}s"
    return f"{length:g} seconds"
