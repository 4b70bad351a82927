"""The time that a report is about: its bins, its ticks, and moments in local words.

Pure: the present and the time zone are parameters. Bins begin where a clock on the wall
shows a round time, so "a day" is a local day, also where it has 23 or 25 hours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from py_agent.clock import from_micros, to_micros
from py_agent.errors import UsageError

MOST_BINS = 92
MOST_TICKS = 8
MOST_YEARS = 100

HOUR, DAY = 3_600, 86_400
MONTH = 30.4 * DAY  # about; only to choose by


@dataclass(frozen=True)
class Step:
    """A round length of time on the clock or in the calendar.

    Args:
        words: its length in words.
        seconds: its length; of months, about.
        months: how many calendar months it is; 0 for a shorter one.
    """

    words: str
    seconds: float
    months: int = 0


def _steps() -> Iterator[Step]:
    for unit, size, counts in (
        ("second", 1, (1, 5, 15, 30)),
        ("minute", 60, (1, 2, 5, 10, 15, 30)),
        ("hour", HOUR, (1, 2, 3, 6, 12)),
        ("day", DAY, (1, 2, 7, 14)),
    ):
        for count in counts:
            yield Step(unit if count == 1 else f"{count} {unit}s", count * size)
    for months in (1, 3, 6):
        yield Step("month" if months == 1 else f"{months} months", months * MONTH, months)
    for years in (1, 2, 5, 20):
        words = "year" if years == 1 else f"{years} years"
        yield Step(words, years * 12 * MONTH, years * 12)


STEPS = tuple(_steps())


@dataclass(frozen=True)
class Tick:
    """A place on the axis of time.

    Args:
        at: the moment.
        label: what it is called there.
    """

    at: int
    label: str


@dataclass(frozen=True)
class Window:
    """The time that a report is about.

    Args:
        edges: where the bins begin, and the end of the last one, which is the present.
        width: the length of a bin, in words.
        seconds: the same, about.
        ticks: what the axis shows.
        zone: the time zone; None for the machine's own.
    """

    edges: tuple[int, ...]
    width: str
    seconds: float
    ticks: tuple[Tick, ...]
    zone: tzinfo | None

    @property
    def start(self) -> int:
        """The first moment."""
        return self.edges[0]

    @property
    def end(self) -> int:
        """The last moment, which is the present."""
        return self.edges[-1]

    def share(self, micros: int) -> float:
        """Return how far along a moment lies: 0 at the start, 1 at the end."""
        share = (micros - self.start) / (self.end - self.start)
        return min(1.0, max(0.0, share))

    def say(self, micros: int | None) -> str:
        """Return a moment in local words, as "Mon 2 Mar 2026, 14:05"."""
        if micros is None:
            return ""
        try:
            local = from_micros(micros).astimezone(self.zone)
        except (TypeError, OverflowError, ValueError):
            return "at an impossible time"
        seconds = ":%S" if self.seconds < 60 else ""
        year = " %Y" if self._has_years() or not self._holds(micros) else ""
        return local.strftime(f"%a {local.day} %b{year}, %H:%M{seconds}")

    def say_bin(self, number: int) -> str:
        """Return from when to when a bin is, in local words."""
        begin, end = self.edges[number], self.edges[number + 1]
        same_day = self._local(begin).date() == self._local(end).date()
        until = self.say(end).rpartition(", ")[2] if same_day else self.say(end)
        return f"{self.say(begin)} to {until}"

    def zones(self) -> str:
        """Return which zone that is, and the other one where clocks change meanwhile."""
        told: list[tuple[int, str]] = []
        for edge in self.edges:
            name = _zone_name(self._local(edge))
            if not told or told[-1][1] != name:
                told.append((edge, name))
        names = list(dict.fromkeys(name for _, name in told))
        if len(told) == 2:
            return f"{names[0]}, and {names[1]} by {self.say(told[1][0])}"
        return " and ".join(names)

    def _local(self, micros: int) -> datetime:
        return from_micros(micros).astimezone(self.zone)

    def _has_years(self) -> bool:
        return self._local(self.start).year != self._local(self.end).year

    def _holds(self, micros: int) -> bool:
        return self.start <= micros <= self.end


def parse_since(text: str, now: datetime, zone: tzinfo | None) -> datetime:
    """Return the moment that `--since` means.

    Args:
        text: a length of time before now, or a date, or a moment in ISO 8601.
        now: the present, aware.
        zone: the zone of a date without one; None for the machine's own.

    Raises:
        UsageError: it is neither, or not past.
    """
    from py_agent.lengths import parse_length

    try:
        since = _moment(text, zone)
    except ValueError:
        try:
            length = parse_length(text, "--since")
            since = now - timedelta(seconds=length)
        except (UsageError, OverflowError):
            since = None
    if since is None:
        raise UsageError(
            f"--since: {text!r} is neither a length of time, as 7d, 24h or 30m, "
            f"nor a date, as {now - timedelta(days=7):%Y-%m-%d}"
        )
    if since >= now:
        raise UsageError(f"--since: {text} is not past")
    if (now - since).days > MOST_YEARS * 366:
        raise UsageError(f"--since: {text} is longer ago than {MOST_YEARS} years")
    return since


def window_of(since: datetime, now: datetime, zone: tzinfo | None) -> Window:
    """Return the window from about a moment until now, cut into bins.

    Args:
        since: the moment; the first bin may begin a little before it.
        now: the present, aware.
        zone: the time zone; None for the machine's own.
    """
    since = min(since, now - timedelta(seconds=1))
    length = (now - since).total_seconds()
    step = next((each for each in STEPS if length / each.seconds <= MOST_BINS), STEPS[-1])
    begins = list(_marks(since, now, step, zone))
    edges = (*begins, max(to_micros(now), begins[-1] + 1))
    return Window(edges, step.words, step.seconds, _ticks(edges, zone), zone)


def _ticks(edges: Sequence[int], zone: tzinfo | None) -> tuple[Tick, ...]:
    start, end = from_micros(edges[0]), from_micros(edges[-1])
    length = (end - start).total_seconds()
    step = next((s for s in STEPS if length / s.seconds <= MOST_TICKS), STEPS[-1])
    marks = [each for each in _marks(start, end, step, zone) if each >= edges[0]]
    ticks, last = [], None
    for mark in marks:
        local = from_micros(mark).astimezone(zone)
        ticks.append(Tick(mark, _label(local, last, step)))
        last = local
    return tuple(ticks)


def _label(local: datetime, last: datetime | None, step: Step) -> str:
    if step.months >= 12:
        return f"{local:%Y}"
    if step.months:
        fresh = last is None or last.year != local.year
        return f"{local:%b %Y}" if fresh else f"{local:%b}"
    if step.seconds >= DAY:
        day = f"{local.day}" if step.seconds > DAY else f"{local:%a} {local.day}"
        fresh = last is None or last.month != local.month
        return f"{day} {local:%b}" if fresh else day
    if local.hour == local.minute == local.second == 0:
        return f"{local:%a} {local.day}"
    return f"{local:%H:%M:%S}" if step.seconds < 60 else f"{local:%H:%M}"


def _marks(
    since: datetime, until: datetime, step: Step, zone: tzinfo | None
) -> Iterator[int]:
    """Yield round local moments: the last one that is not after `since`, and all
    that follow before `until`.
    """
    if step.seconds <= HOUR:
        # An hour that comes twice is two hours, so these go on in real time.
        naive = since.astimezone(zone).replace(tzinfo=None)
        behind = (naive - datetime.combine(naive.date(), time())) % timedelta(
            seconds=step.seconds
        )
        moment = since - behind
        while moment < until:
            yield to_micros(moment)
            moment += timedelta(seconds=step.seconds)
        return
    wall = _floor(since.astimezone(zone).replace(tzinfo=None), step)
    last = None
    while (moment := _aware(wall, zone)) < until:
        following = _next(wall, step)
        # The next may be not later, where a clock is set forward over it.
        if _aware(following, zone) > moment and (last is None or moment > last):
            if _aware(following, zone) > since:
                yield to_micros(moment)
                last = moment
        wall = following


def _floor(wall: datetime, step: Step) -> datetime:
    midnight = datetime.combine(wall.date(), time())
    if step.months:
        months = wall.year * 12 + wall.month - 1
        return _month(months - months % step.months)
    if step.seconds >= DAY:
        days = round(step.seconds / DAY)
        ordinal = wall.date().toordinal()  # 1 is a Monday
        return datetime.combine(
            date.fromordinal(max(1, ordinal - (ordinal - 1) % days)), time()
        )
    return midnight + (wall - midnight) // timedelta(seconds=step.seconds) * timedelta(
        seconds=step.seconds
    )


def _next(wall: datetime, step: Step) -> datetime:
    if step.months:
        return _month(wall.year * 12 + wall.month - 1 + step.months)
    return wall + timedelta(seconds=step.seconds)


def _month(months: int) -> datetime:
    return datetime(max(1, months // 12), months % 12 + 1, 1)  # noqa: DTZ001


def _aware(wall: datetime, zone: tzinfo | None) -> datetime:
    """Return what a clock on the wall shows as a moment; UTC, so that it compares."""
    aware = wall.astimezone() if zone is None else wall.replace(tzinfo=zone)
    return aware.astimezone(UTC)


def _moment(text: str, zone: tzinfo | None) -> datetime | None:
    found = datetime.fromisoformat(text.strip())
    try:
        return _aware(found, zone) if found.tzinfo is None else found.astimezone(UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(text) from error


def _zone_name(local: datetime) -> str:
    offset = local.strftime("%z")
    shown = f"UTC{offset[:3]}:{offset[3:5]}" if offset else "UTC"
    name = local.tzname() or ""
    return (
        f"{name} ({shown})"
        if name.isalpha() and name != "UTC"
        else ("UTC" if shown == "UTC+00:00" else shown)
    )
