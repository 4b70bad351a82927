"""Forecast: what will run, played forward on the agent's own timetable."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from py_agent.forecast import forecast
from py_agent.registry import SKIP, Job
from py_agent.testing import FakeClock
from py_agent.timetable import Entry, Timetable
from py_agent.timing import Always, Cron, Daily, Interval, PastTheHour, Rule

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
DAY = 86_400.0
HOUR = timedelta(hours=1)
NINE = Daily(time(9), zone=UTC)


def entry_of(rule: Rule, at_start: bool = False, **options: Any) -> Entry:
    """Return an entry for a job that does nothing."""
    return Entry(Job("job", print, **options), rule, at_start)


def moments(
    entry: Entry, last: datetime | None = None, length: float = DAY, at_start: bool = True
) -> list[datetime]:
    """Return when an entry will run from noon on."""
    return list(forecast(entry, last, NOON, length, at_start))


def test_an_interval_runs_at_the_start_and_after_each_interval() -> None:
    """Given an agent that is started, Then the first run is now."""
    found = moments(entry_of(Interval(3_600), at_start=True), length=3 * 3_600)
    assert found == [NOON + number * HOUR for number in range(4)]


def test_a_running_agent_does_not_start_again() -> None:
    """Given an agent that runs, Then the rhythm of the last run goes on."""
    entry = entry_of(Interval(3_600), at_start=True)
    found = moments(entry, NOON - HOUR / 4, 2 * 3_600, at_start=False)
    assert found == [NOON + HOUR * 0.75, NOON + HOUR * 1.75]


def test_a_daily_job_runs_once_a_day() -> None:
    """Given a week, Then there are seven runs."""
    found = moments(entry_of(NINE), length=7 * DAY)
    assert found == [NOON + timedelta(number, hours=-3) for number in range(1, 8)]


def test_a_missed_run_comes_first() -> None:
    """Given a run that was missed, When the agent is started, Then it is made up for."""
    found = moments(entry_of(NINE), NOON - timedelta(days=3))
    assert found == [NOON, NOON + timedelta(1, hours=-3)]


def test_a_missed_run_that_is_skipped_is_not_shown() -> None:
    """Given misfire="skip", When a run was missed, Then the next one is shown."""
    found = moments(entry_of(NINE, misfire=SKIP), NOON - timedelta(days=3))
    assert found == [NOON + timedelta(1, hours=-3)]


def test_a_service_begins_at_once_and_is_shown_once() -> None:
    """Given a service, Then it has one beginning."""
    assert moments(entry_of(Always(), keep=True)) == [NOON]


def test_a_job_with_an_end_is_not_shown_after_it() -> None:
    """Given until, Then the last run is before it."""
    entry = entry_of(Interval(3_600))
    entry.until = NOON + HOUR * 2.5
    assert moments(entry) == [NOON + HOUR, NOON + HOUR * 2]


def test_the_end_of_the_time_belongs_to_it() -> None:
    """Given an hour, When a run is due at its end, Then it is shown."""
    entry = entry_of(Interval(3_600))
    assert moments(entry, length=3_600) == [NOON + HOUR]
    assert moments(entry, length=3_599) == []


def test_daylight_saving_is_shown_as_it_will_be() -> None:
    """Given half past two in Berlin, When summer begins, Then once, at half past three."""
    zone = ZoneInfo("Europe/Berlin")
    begin = datetime(2026, 3, 28, 12, tzinfo=zone).astimezone(UTC)
    entry = entry_of(Daily(time(2, 30), zone=zone))
    found = [m.astimezone(zone) for m in forecast(entry, None, begin, 2 * DAY, False)]
    assert [(m.day, m.hour, m.minute) for m in found] == [(29, 3, 30), (30, 2, 30)]


def test_the_entry_itself_is_not_changed() -> None:
    """Given a planned entry, When it is forecast, Then it is due as before."""
    clock = FakeClock(NOON)
    table, entry = Timetable(clock), entry_of(NINE)
    table.add(entry, NOON - timedelta(1))
    before = (entry.due, entry.due_at, list(entry.ran), entry.order)
    moments(entry)
    assert (entry.due, entry.due_at, entry.ran, entry.order) == before


def test_an_endless_forecast_can_be_cut() -> None:
    """Given a job each second for a century, When some are asked for, Then it is quick."""
    endless = forecast(entry_of(Interval(1)), None, NOON, 3e9, False)
    assert len(list(islice(endless, 1_000))) == 1_000


@pytest.mark.parametrize(
    "rule",
    [
        Interval(1_234.5), Interval(0.1 * 3), NINE, PastTheHour(900, 3_600, 2),
        Cron("*/7 * * * *", UTC), Cron("30 2 * * *", ZoneInfo("Europe/Berlin")),
    ],
    ids=str,
)  # fmt: skip
def test_a_forecast_is_what_the_timetable_does(rule: Rule) -> None:
    """Given any rule, When time passes to each moment, Then the job is due just then."""
    clock = FakeClock(NOON)
    table = Timetable(clock)
    table.add(entry_of(rule), None)
    for moment in islice(forecast(entry_of(rule), None, NOON, 30 * DAY, False), 20):
        clock.advance((moment - clock.now()).total_seconds() - 0.1)
        assert table.due() == []
        clock.advance(0.100001)
        assert len(table.due()) == 1
