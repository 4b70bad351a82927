"""When a job is due: pure rules over a moment, without a clock of their own.

An interval counts on boot time, which no change of the wall clock touches. A wall-clock
rule names local times: a time that daylight saving skips is taken as late as the gap is
long, and one that comes twice counts the first time, so a daily job runs once per day.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cached_property
from itertools import islice
from zoneinfo import ZoneInfoNotFoundError

from cronsim import CronSim

from .errors import RegistrationError
from .lengths import UNITS

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

    def before(self, moment: datetime) -> datetime:
        """Return the last due moment that is not after `moment`, as if due each day."""
        day = moment.astimezone(self.zone).date() + timedelta(1)
        if self.weekday is not None:
            day -= timedelta((day.weekday() - self.weekday) % 7)
        while (due := self._on(datetime.combine(day, self.at))) > moment:
            day -= timedelta(7 if self.weekday is not None else 1)
        return due

    @property
    def once(self) -> bool:
        """Whether it counts once, should a clock that was set back pass it again."""
        return True

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
        due = moment + timedelta(seconds=self.unit - self._past(moment))
        period = timedelta(seconds=self.unit * self.count)
        if last is not None and last - moment < period:
            earliest = last + timedelta(seconds=self.unit * (self.count - 1))
            while due <= earliest:
                due += timedelta(seconds=self.unit)
        return due.replace(microsecond=0)

    def before(self, moment: datetime) -> datetime:
        """Return the last due moment that is not after `moment`, as if each counted."""
        due = moment - timedelta(seconds=self._past(moment))
        return due.replace(microsecond=0)

    @property
    def once(self) -> bool:
        """Whether it counts once; no: it goes on by the clock. See `Daily.once`."""
        return False

    def _past(self, moment: datetime) -> float:
        """Return the seconds since it was due."""
        # Full hours and minutes are the same in every zone whose offset is whole hours;
        # for the few others, the local hour counts.
        local = moment.astimezone()
        shift = (local.utcoffset() or timedelta()).total_seconds() % self.unit
        return (moment.timestamp() + shift - self.offset) % self.unit

    def __str__(self) -> str:
        unit = "hour" if self.unit == UNITS["hour"] else "minute"
        many = unit if self.count == 1 else f"{self.count} {unit}s"
        minutes, second = divmod(self.offset, 60)
        return f"every {many} at {minutes:02}:{second:02}"


@dataclass(frozen=True)
class Cron:
    """Due as a line of a crontab says.

    Args:
        line: five fields, or six with seconds first, as the library cronsim reads them.
            Daylight saving is treated as by Debian's cron: a time in the gap comes right
            after it, a time that repeats counts once, `*` and steps go on through both.
        zone: the time zone, None for the machine's own.
    """

    line: str
    zone: tzinfo | None = None

    def after(self, moment: datetime, last: datetime | None = None) -> datetime:
        """Return the first due moment after `moment`, in UTC; `last` changes nothing."""
        # In an hour that comes twice, the library looks on from the first time.
        return next(due for due in self._moments(moment) if due > moment)

    def before(self, moment: datetime) -> datetime:
        """Return the last due moment that is not after `moment`, in UTC."""
        # The library leaves out the moment itself, and the first of an hour's two times.
        later = moment + (timedelta(hours=3) if self.once else timedelta(seconds=1))
        return next(due for due in self._moments(later, True) if due <= moment)

    @cached_property
    def once(self) -> bool:
        """Whether it is due less than twice a day on average; see `Daily.once`.

        A line that is due more often is like an interval, and goes on by the clock.
        """
        due = list(islice(CronSim(self.line, datetime(2001, 1, 1, tzinfo=UTC)), 5))
        return due[-1] - due[0] > (len(due) - 1) * timedelta(hours=12)

    def _moments(self, moment: datetime, reverse: bool = False) -> Iterator[datetime]:
        local = moment.astimezone(self.zone or self._here)
        for due in CronSim(self.line, local, reverse):
            yield due.astimezone(UTC)

    @cached_property
    def _here(self) -> tzinfo:
        """The machine's own zone by name: an offset alone knows no daylight saving."""
        from tzlocal import get_localzone

        try:
            return get_localzone()
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise RegistrationError(
                "the machine's time zone has no name that is known (TZ, /etc/localtime); "
                "say which one is meant with tz="
            ) from error

    def __str__(self) -> str:
        zone = "" if self.zone is None else f" {self.zone}"
        return f"cron {self.line}{zone}"


@dataclass(frozen=True)
class Always:
    """Never due by a clock: a service runs from the start on, whenever it has ended."""

    def __str__(self) -> str:
        return "always"


WallClock = Daily | PastTheHour | Cron
Rule = Interval | WallClock | Always


def in_words(length: float) -> str:
    """Return seconds in words, in the largest unit that divides them."""
    for unit, size in reversed(UNITS.items()):
        if length >= size and length % size == 0:
            count = int(length // size)
            return unit if count == 1 else f"{count} {unit}s"
    return f"{length:g} seconds"
