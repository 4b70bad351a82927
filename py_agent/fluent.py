"""The fluent API of the library `schedule`; timing and running are ours.

`schedule` is subclassed at its public seams, `Scheduler.every` and `Job.do`; its loop is
not used: there a job that raises starves the others, and at the autumn clock change
interval jobs pause for an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import UTC, tzinfo
from typing import Any

import schedule

from .arguments import named
from .errors import RegistrationError
from .phrases import parse_cron, rule_of, zone_of
from .registry import Job, Registry, make_job
from .timetable import Entry
from .timing import Cron, Rule


class PlannedJob(schedule.Job):
    """A job of the fluent API; see the `schedule` library for its methods."""

    scheduler: Schedule
    zone: tzinfo | None = None
    line: Cron | None = None
    entry: Entry | None = None

    def at(self, time_str: str, tz: Any = None) -> PlannedJob:
        """Set the time of day, in a zone given by name or as a tzinfo.

        Raises:
            RegistrationError: it is no time of day, or there is no such zone.
        """
        try:
            super().at(time_str)
        except schedule.ScheduleError as error:
            raise RegistrationError(f"at({time_str!r}): {error}") from error
        self.zone = zone_of(tz)
        return self

    def until(self, until_time: Any) -> PlannedJob:
        """Set when the job is cancelled; see `schedule`.

        Raises:
            RegistrationError: it is no moment, or past.
        """
        try:
            super().until(until_time)
        except (schedule.ScheduleError, TypeError) as error:
            raise RegistrationError(f"until({until_time!r}): {error}") from error
        return self

    def do(self, job_func: Callable[..., Any], *args: Any, **kwargs: Any) -> PlannedJob:
        """Register the function as a job.

        Args:
            job_func: the function; it is handed `handler` if it names it.
            args: positional arguments for it.
            kwargs: named arguments for it; `name` is the job's own name, unless the
                function has an argument called so.

        Raises:
            RegistrationError: no usable name, or arguments that do not fit.
        """
        name = None if "name" in named(job_func) else kwargs.pop("name", None)
        if self.interval < 1 or (self.latest or self.interval) < self.interval:
            raise RegistrationError(f"every({self.interval}) is no interval")
        rule: Rule = self.line or rule_of(
            self.unit or "seconds", self.interval, self.latest, self.at_time,
            self.start_day, self.zone,
        )  # fmt: skip
        job = make_job(job_func, name, args, kwargs, str(rule))
        try:
            super().do(job_func, *args, **kwargs)
        except schedule.ScheduleError as error:
            raise RegistrationError(f"{job.name}: {error}") from error
        until = self.cancel_after
        self.entry = Entry(
            job, rule, until=until.astimezone(UTC) if until else None, plan=self
        )
        try:
            self.scheduler.register(self.entry)
        except RegistrationError:
            super(Schedule, self.scheduler).cancel_job(self)
            raise
        return self


class Schedule(schedule.Scheduler):
    """What an agent has planned, before and while it runs.

    Args:
        registry: where jobs are registered under their names.
    """

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry
        self.entries: list[Entry] = []
        self.added: Callable[[Entry], None] | None = None

    def every(self, interval: int = 1) -> PlannedJob:
        """Begin to plan a job, as in `every(10).minutes.do(job)`."""
        return PlannedJob(interval, self)

    def cron(self, line: str, tz: str | tzinfo | None = None) -> PlannedJob:
        """Begin to plan a job by a line of a crontab: `cron("*/5 * * * *").do(job)`.

        Args:
            line: five fields, or six with seconds first.
            tz: the time zone, by name or as a tzinfo; the machine's own if not given.

        Raises:
            RegistrationError: it is no such line, or there is no such zone.
        """
        planned = PlannedJob(1, self).seconds
        assert isinstance(planned, PlannedJob)
        planned.line = parse_cron(line, zone_of(tz))
        return planned

    def plan(self, job: Job, rule: Rule, at_start: bool) -> None:
        """Plan a job by a rule.

        Raises:
            RegistrationError: its name is in use.
        """
        self.register(Entry(job, rule, at_start))

    def register(self, entry: Entry) -> None:
        """Plan an entry.

        Raises:
            RegistrationError: its name is in use.
        """
        self._registry.add_job(entry.job)
        self.entries.append(entry)
        if self.added is not None:
            self.added(entry)

    def cancel_job(self, job: schedule.Job) -> None:
        """Cancel a planned job; a run in progress ends by itself."""
        super().cancel_job(job)
        for entry in [each for each in self.entries if each.plan is job]:
            self.cancel(entry)

    def cancel(self, entry: Entry) -> None:
        """Cancel an entry."""
        entry.cancelled = True
        if entry in self.entries:
            self.entries.remove(entry)
        if isinstance(entry.plan, PlannedJob) and entry.plan in self.jobs:
            self.jobs.remove(entry.plan)
        self._registry.remove_job(entry.job.name)

    def clear(self, tag: Hashable | None = None) -> None:
        """Cancel all planned jobs, or those with a tag."""
        for job in self.get_jobs(tag):
            self.cancel_job(job)

    def run_pending(self) -> None:
        """Do nothing: the agent runs what is due by itself."""


def asks_to_cancel(value: Any) -> bool:
    """Return whether a job's value says that it shall not run again."""
    return value is schedule.CancelJob or isinstance(value, schedule.CancelJob)
