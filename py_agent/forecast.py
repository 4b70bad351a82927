"""What will run: the timetable of the agent itself, with time that is played forward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from .timetable import Entry, Timetable, runs_late


class _PlayedClock:
    """Time that passes when the forecast says so."""

    def __init__(self, begin: datetime) -> None:
        self._now = begin
        self._boot = 0.0

    def now(self) -> datetime:
        return self._now

    def boot(self) -> float:
        return self._boot

    def pass_to(self, boot: float) -> None:
        self._now += timedelta(seconds=boot - self._boot)
        self._boot = boot


def forecast(
    entry: Entry, last: datetime | None, begin: datetime, length: float, at_start: bool
) -> Iterator[datetime]:
    """Yield the moments at which a job will run, as far as nothing goes wrong.

    Args:
        entry: the job, as it is scheduled; it is not changed.
        last: when it ran last; None if it never did.
        begin: from when on, as an aware datetime.
        length: for how many seconds.
        at_start: whether an agent starts at `begin`; else one is running.
    """
    clock = _PlayedClock(begin)
    table = Timetable(clock)
    played = replace(entry, at_start=entry.at_start and at_start)
    table.add(played, last)
    while (wait := max(0.0, table.seconds_to_wait())) <= length - clock.boot():
        clock.pass_to(clock.boot() + wait)
        if entry.until is not None and clock.now() > entry.until:
            return
        for _, late in table.due():
            if runs_late(entry.job, late):
                yield clock.now()
        if entry.job.keep:
            return
