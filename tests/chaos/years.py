"""Years of fake time in many zones, with clocks that jump: is every job run, and once?

A simulation of the timetable alone, without threads: a machine is up, sleeps, is started
again, and has its clock set. What should have run is worked out here by other means.

What holds, and is checked:

- The runs of an interval job are never further apart than two intervals of the time that
  the machine is awake and the agent runs, whatever the clock does. An hourly crontab line
  likewise, counted anew when the clock is set.
- The run of a daily job belongs to the last local day whose due time is not after it. No
  day has two runs, ever: not even when the clock is set back and passes the day again.
- When the clock passes a due time while the agent runs, that day has its run. A due time
  that went by unseen (asleep, not running, jumped over) is made up for when the agent
  looks again, if the job has run on any day before.

`python -m tests.chaos.years --years 10 --zones 30 --seed 1`
"""

from __future__ import annotations

import argparse
import bisect
import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from py_agent.registry import Job
from py_agent.scheduler import LOOK_SECONDS
from py_agent.timetable import Entry, Timetable
from py_agent.timing import Cron, Daily, Interval, Rule

ZONES = (
    "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe",
    "Asia/Beirut", "Pacific/Apia", "Africa/Casablanca", "America/Sao_Paulo",
    "Asia/Kathmandu", "Pacific/Chatham", "Antarctica/Troll", "America/St_Johns",
    "Asia/Tehran", "Africa/Cairo", "Europe/London", "Europe/Dublin", "America/Havana",
    "America/Santiago", "America/Asuncion", "Asia/Gaza", "Pacific/Kiritimati",
    "Pacific/Pago_Pago", "Australia/Adelaide", "America/Caracas", "Asia/Pyongyang",
    "Europe/Istanbul", "Europe/Moscow", "Atlantic/Azores", "America/Nuuk", "UTC",
)  # fmt: skip

HOUR, DAY, YEAR = 3_600.0, 86_400.0, 365.25 * 86_400
BEGIN = datetime(2018, 1, 1, 10, tzinfo=UTC)
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2090, 1, 1, tzinfo=UTC)
LATE = timedelta(seconds=3)  # steps of the clock that are too small to be looked for
TICK_SECONDS = 1e-5  # the steps of the machine's clocks
CALM_SECONDS = 12 * DAY  # between two disturbances, on average


class Machine:
    """The clocks of one machine; time passes when the simulation says so."""

    def __init__(self) -> None:
        self.true = 0.0  # seconds since the beginning
        self.error = 0.0  # of the wall clock, in seconds
        self.booted = -100.0  # when the machine was switched on

    def now(self) -> datetime:
        """Return what the wall clock shows."""
        return BEGIN + timedelta(seconds=self.true + self.error)

    def boot(self) -> float:
        """Return seconds since boot."""
        return self.true - self.booted

    def set_to(self, moment: datetime) -> None:
        """Set the wall clock."""
        self.error = (moment - BEGIN).total_seconds() - self.true

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Refuse: nobody waits in a simulation."""
        raise NotImplementedError


@dataclass
class Figures:
    """What a simulation found; the faults are sentences."""

    runs: int = 0
    days: int = 0
    disturbances: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        said = (
            f"{self.runs:,} runs, {self.days:,} due days, "
            f"{self.disturbances:,} jumps, sleeps and restarts, {len(self.faults)} faults"
        )
        return "\n".join([said, *self.faults[:20]])


class Rhythm:
    """Checks a job that runs every so often, whatever the clock shows.

    Args:
        seconds: the longest time between two runs that is allowed.
        by_clock: whether it is counted anew when the clock is set.
    """

    def __init__(self, seconds: float, by_clock: bool = False) -> None:
        self._longest = seconds
        self._by_clock = by_clock
        self._since = 0.0

    def disturbed(self, awake: float) -> None:
        """Note that the clock was set, or that the agent did not run for a while."""
        if self._by_clock:
            self._since = awake

    def ran(self, now: datetime, awake: float) -> str | None:
        """Note a run; return what is wrong."""
        gap, self._since = awake - self._since, awake
        return f"{gap / HOUR:.2f} h without a run" if gap > self._longest else None

    def looked(self, now: datetime, calm_since: datetime, awake: float) -> str | None:
        """Return what is wrong, now that everything due has run."""
        gap = awake - self._since
        return f"{gap / HOUR:.2f} h and no run" if gap > self._longest else None


class Days:
    """Checks a job that runs at a local time on some days.

    Args:
        zone: where it is that time.
        at: the local time.
        wanted: whether a day is one of its days.
        after_gap: whether a time that the zone skips comes right after the gap, as in a
            crontab; else it comes as late as the gap is long.
    """

    def __init__(
        self, zone: ZoneInfo, at: time, wanted: Callable[[date], bool], after_gap: bool
    ) -> None:
        self._zone = zone
        self._at = at
        self._wanted = wanted
        self._after_gap = after_gap
        self._done: list[date] = []  # sorted
        self.due = cache(self._due)

    def disturbed(self, awake: float) -> None:
        """Note nothing: a day is a day."""

    def ran(self, now: datetime, awake: float) -> str | None:
        """Note a run; return what is wrong."""
        day = self.day(now + timedelta(seconds=1))
        place = bisect.bisect_left(self._done, day)
        if self._done[place : place + 1] == [day]:
            return f"a second run for {day}"
        self._done.insert(place, day)
        return None

    def looked(self, now: datetime, calm_since: datetime, awake: float) -> str | None:
        """Return what is wrong, now that everything due has run."""
        day = self.day(now - LATE)
        if self.day(now) != day:
            return None  # it is due just now, so the next look will tell
        expected = calm_since < self.due(day) or (self._done and self._done[0] < day)
        place = bisect.bisect_left(self._done, day)
        if expected and self._done[place : place + 1] != [day]:
            return f"no run for {day}"
        return None

    @property
    def count(self) -> int:
        """How many days had a run."""
        return len(self._done)

    def day(self, moment: datetime) -> date:
        """Return the last day whose due time is not after a moment."""
        day = moment.astimezone(self._zone).date() + timedelta(1)
        while not self._wanted(day) or self.due(day) > moment:
            day -= timedelta(1)
        return day

    def _due(self, day: date) -> datetime:
        local = datetime.combine(day, self._at)
        there = local.replace(tzinfo=self._zone).astimezone(UTC)
        while (
            self._after_gap and there.astimezone(self._zone).replace(tzinfo=None) != local
        ):
            local += timedelta(minutes=1)
            there = local.replace(tzinfo=self._zone).astimezone(UTC)
        return there


@dataclass
class Watched:
    """A job, the check of its runs, and when it ran, as the store remembers it."""

    name: str
    rule: Rule
    check: Rhythm | Days
    started: list[datetime] = field(default_factory=list)


def jobs_of(zone: ZoneInfo) -> list[Watched]:
    """Return the jobs that are watched in a zone."""

    def daily(at: time, weekday: int | None = None) -> Watched:
        rule = Daily(at, 1 if weekday is None else 7, weekday, zone)
        every = (
            (lambda day: True)
            if weekday is None
            else (lambda day: day.weekday() == weekday)
        )
        return Watched(str(rule), rule, Days(zone, at, every, after_gap=False))

    def cron(line: str, at: time, wanted: Callable[[date], bool]) -> Watched:
        rule = Cron(line, zone)
        return Watched(str(rule), rule, Days(zone, at, wanted, after_gap=True))

    hourly = Cron("17 * * * *", zone)
    return [
        Watched("every hour", Interval(HOUR), Rhythm(2 * HOUR)),
        Watched(str(hourly), hourly, Rhythm(2 * HOUR, by_clock=True)),
        daily(time(2, 30)), daily(time(0)), daily(time(23, 59)), daily(time(9), 0),
        cron("30 2 * * *", time(2, 30), lambda day: True),
        cron("0 9 * * 1-5", time(9), lambda day: day.weekday() < 5),
        cron("15 0 1 * *", time(0, 15), lambda day: day.day == 1),
    ]  # fmt: skip


class Life:
    """A machine and its agent in one zone.

    Args:
        zone: the jobs' time zone.
        seed: decides what happens to it.
    """

    def __init__(self, zone: str, seed: int) -> None:
        self._zone = zone
        self._chance = random.Random(f"{zone} {seed}")
        self._machine = Machine()
        self._watched = jobs_of(ZoneInfo(zone))
        self._awake = 0.0  # seconds that the agent has run on a machine that is awake
        self._corrected = float("inf")  # when the wall clock will be set right
        self.figures = Figures()

    def live(self, years: float) -> Figures:
        """Let years pass; return what was found."""
        self._start()
        while self._machine.true < years * YEAR:
            calm = self._chance.expovariate(1 / CALM_SECONDS)
            self._work_until(min(self._machine.true + calm, self._corrected))
            if self._machine.true >= self._corrected:
                self._machine.error, self._corrected = 0.0, float("inf")
            else:
                self._disturb()
            self.figures.disturbances += 1
            self._calm_down()
        for each in self._watched:
            if isinstance(each.check, Days):
                self.figures.days += each.check.count
        return self.figures

    def _start(self) -> None:
        """Begin a new process on the store that is there."""
        self._table = Timetable(self._machine, self._recall)
        self._entries: dict[Entry, Watched] = {}
        for each in self._watched:
            entry = Entry(Job(each.name, print), each.rule)
            self._entries[entry] = each
            self._table.add(entry, each.started[-1] if each.started else None)
        self._calm_down()

    def _calm_down(self) -> None:
        """Begin a time in which the clock is not set."""
        self._calm_since = self._machine.now()
        for each in self._watched:
            each.check.disturbed(self._awake)

    def _recall(self, name: str, now: datetime) -> list[datetime]:
        """Look up a job's last run by now, and those ahead, as the store does."""
        (started,) = [sorted(each.started) for each in self._watched if each.name == name]
        return started[max(0, bisect.bisect_right(started, now) - 1) :][:1000]

    def _work_until(self, end: float) -> None:
        """Let the agent run what is due, until an end of true time."""
        machine = self._machine
        # A look between this one and the next due time would change nothing.
        wait = self._chance.uniform(0, LOOK_SECONDS)
        while True:
            # Not less: the sums of large and tiny numbers would stand still.
            wait = min(wait, max(TICK_SECONDS, self._table.seconds_to_wait()))
            passed = min(wait, end - machine.true)
            machine.true += passed
            self._awake += passed
            if machine.true >= end:
                return
            self._look()
            wait = float("inf")

    def _look(self) -> None:
        now = self._machine.now()
        ran = [self._entries[entry] for entry, _ in self._table.due()]
        for each in ran:
            each.started.append(now)
            self._say(each, each.check.ran(now, self._awake))
        self.figures.runs += len(ran)
        # Others cannot have changed, but all are looked at now and then.
        for each in self._watched if len(ran) != 1 else ran:
            self._say(each, each.check.looked(now, self._calm_since, self._awake))

    def _say(self, watched: Watched, wrong: str | None) -> None:
        if wrong is not None:
            where = f"{self._zone}, {watched.name}, at {self._machine.now()}"
            self.figures.faults.append(f"{where}: {wrong}")

    # What happens to machines

    def _disturb(self) -> None:
        self._chance.choice(
            [self._jump, self._jump, self._nudge, self._sleep, self._restart, self._reboot]
        )()

    def _jump(self) -> None:
        """Set the clock, to be set right again later, or not."""
        size = self._chance.choice([HOUR, 6 * HOUR, DAY, 30 * DAY, YEAR])
        self._set(
            self._machine.now() + timedelta(seconds=self._chance.uniform(-1, 1) * size)
        )

    def _nudge(self) -> None:
        """Set the clock by less than a second, several times, as time services do."""
        for _ in range(self._chance.randrange(1, 20)):
            self._machine.error += self._chance.uniform(-0.9, 0.5)
            self._calm_down()
            self._work_until(self._machine.true + self._chance.uniform(1, HOUR))

    def _sleep(self) -> None:
        """Suspend the machine: boot time passes, and nobody looks."""
        self._machine.true += self._some_time()

    def _restart(self) -> None:
        """End the agent and start it again later."""
        self._machine.true += self._some_time()
        self._start()

    def _reboot(self) -> None:
        """Switch the machine off and on; it may have lost its clock."""
        self._machine.true += self._some_time()
        self._machine.booted = self._machine.true - self._chance.uniform(10, 100)
        if self._chance.random() < 0.5:
            self._set(FIRST + timedelta(seconds=self._machine.boot()))
        self._start()

    def _some_time(self) -> float:
        longest = self._chance.choice([60.0, HOUR, 8 * HOUR, 3 * DAY, 30 * DAY])
        return self._chance.uniform(0, longest)

    def _set(self, moment: datetime) -> None:
        self._machine.set_to(min(max(moment, FIRST), LAST))
        if self._chance.random() < 0.8 or moment.year < 2000:
            soon = self._chance.choice([30.0, HOUR, 6 * HOUR, 3 * DAY])
            self._corrected = self._machine.true + self._chance.uniform(0, soon)


def simulate(years: float, zones: Iterable[str], seed: int) -> Figures:
    """Let years pass in zones, one after the other; return what was found."""
    total = Figures()
    for zone in zones:
        found = Life(zone, seed).live(years)
        total.runs += found.runs
        total.days += found.days
        total.disturbances += found.disturbances
        total.faults += found.faults
    return total


def main() -> None:
    """Simulate as long as the command line says; fail if anything is wrong."""
    parser = argparse.ArgumentParser(description="Years of jobs under clocks that jump.")
    parser.add_argument("--years", type=float, default=10)
    parser.add_argument("--zones", type=int, default=len(ZONES))
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    figures = simulate(arguments.years, ZONES[: arguments.zones], arguments.seed)
    print(figures)
    raise SystemExit(1 if figures.faults else 0)


if __name__ == "__main__":
    main()
