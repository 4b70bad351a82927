"""Timetable: which jobs are due, over restarts, sleeps and clocks that are set."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from py_agent.registry import COALESCE, SKIP, Job
from py_agent.testing import FakeClock
from py_agent.timetable import LATE_SECONDS, SERVICE_SECONDS, Entry, Timetable, runs_late
from py_agent.timing import Always, Cron, Daily, Interval, PastTheHour, Rule

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)
MINUTES = Interval(600)
NINE = Daily(time(9), zone=UTC)
DAILY_RULES = [Daily(time(13), zone=UTC), Cron("0 13 * * *", UTC)]


@pytest.fixture
def clock() -> FakeClock:
    """Noon on a Monday."""
    return FakeClock(NOON)


@pytest.fixture
def table(clock: FakeClock) -> Timetable:
    """An empty timetable."""
    return Timetable(clock)


def entry_of(
    rule: Rule, at_start: bool = False, name: str = "job", **options: Any
) -> Entry:
    """Return an entry for a job that does nothing."""
    return Entry(Job(name, print, **options), rule, at_start)


def due_names(table: Timetable) -> list[str]:
    """Return the names of what is due."""
    return [entry.job.name for entry, _ in table.due()]


def runs_at(
    table: Timetable, clock: FakeClock, steps: int, step: timedelta
) -> list[datetime]:
    """Let time pass step by step; return when the one job was due."""
    found = []
    for _ in range(steps):
        clock.advance(step.total_seconds())
        found += [clock.now() for _ in table.due()]
    return found


# Planning


@pytest.mark.parametrize(
    ("rule", "wait"),
    [
        (MINUTES, 600), (NINE, 21 * 3_600), (PastTheHour(900, 3_600), 900),
        (Cron("*/5 * * * *", UTC), 300), (Always(), 0),
    ],
)  # fmt: skip
def test_a_new_entry_waits_for_its_rule(table: Timetable, rule: Rule, wait: float) -> None:
    """Given a job that never ran, When it is added, Then it is due as its rule says."""
    assert table.add(entry_of(rule), None) is False
    assert table.seconds_to_wait() == pytest.approx(wait)


@pytest.mark.parametrize("rule", [MINUTES, NINE, Cron("*/5 * * * *", UTC)], ids=str)
def test_an_entry_may_be_due_at_the_start(table: Timetable, rule: Rule) -> None:
    """Given at_start, When it is added, Then it is due at once, and then by its rule."""
    table.add(entry_of(rule, at_start=True), NOON - timedelta(seconds=1))
    assert due_names(table) == ["job"]
    assert table.due() == []
    assert table.seconds_to_wait() > 0


def test_an_empty_timetable_waits_for_ever(table: Timetable) -> None:
    """Given no entry, Then nothing is due, ever."""
    assert (table.due(), table.seconds_to_wait()) == ([], float("inf"))


def test_a_cancelled_entry_is_never_due(table: Timetable, clock: FakeClock) -> None:
    """Given two entries, When one is cancelled, Then the other alone is due."""
    gone = entry_of(MINUTES, name="gone")
    table.add(gone, None)
    table.add(entry_of(MINUTES, name="stays"), None)
    gone.cancelled = True
    clock.advance(600)
    assert due_names(table) == ["stays"]


def test_a_service_is_looked_after(table: Timetable, clock: FakeClock) -> None:
    """Given a service, When it was due, Then it is again a minute later."""
    table.add(entry_of(Always()), NOON - HOUR)
    assert due_names(table) == ["job"]
    assert table.seconds_to_wait() == SERVICE_SECONDS


# Missed runs


@pytest.mark.parametrize(
    ("options", "late", "expected"),
    [
        ({}, 1e9, True), ({"grace": 60.0}, 60, True), ({"grace": 60.0}, 61, False),
        ({"grace": 0.0}, 0, True), ({"grace": 0.0}, 61, False),
        ({"misfire": SKIP}, LATE_SECONDS, True), ({"misfire": SKIP}, 61, False),
        ({"misfire": SKIP, "grace": 600.0}, 600, True),
        ({"misfire": SKIP, "grace": 5.0}, 6, False), ({"misfire": COALESCE}, 1e9, True),
    ],
)  # fmt: skip
def test_how_late_a_run_may_begin(
    options: dict[str, Any], late: float, expected: bool
) -> None:
    """Given misfire and grace, When a run is late, Then it is made up for or not."""
    assert runs_late(Job("job", print, **options), late) is expected


@pytest.mark.parametrize("rule", [NINE, Cron("0 9 * * *", UTC), MINUTES], ids=str)
@pytest.mark.parametrize(
    ("options", "runs", "left_out"),
    [({}, ["job"], False), ({"grace": 60.0}, [], True), ({"misfire": SKIP}, [], True)],
    ids=["coalesce", "grace", "skip"],
)
def test_runs_that_were_missed_while_down(
    table: Timetable, rule: Rule, options: dict[str, Any], runs: list[str], left_out: bool
) -> None:
    """Given three days down, When added, Then one run at once, or none and it is told."""
    last = NOON - timedelta(days=3, minutes=5)
    assert table.add(entry_of(rule, **options), last) is left_out
    assert due_names(table) == runs
    assert table.due() == []


@pytest.mark.parametrize("rule", [NINE, Cron("0 9 * * *", UTC)], ids=str)
def test_grace_counts_from_the_last_time_it_was_due(table: Timetable, rule: Rule) -> None:
    """Given days down, When today's run is within the grace, Then it is made up for."""
    last = NOON - timedelta(days=3)
    assert table.add(entry_of(rule, grace=4 * 3_600.0), last) is False
    assert due_names(table) == ["job"]


def test_a_run_that_was_not_missed_is_not_made_up_for(table: Timetable) -> None:
    """Given a run today, When it is added, Then the next one is tomorrow's."""
    table.add(entry_of(NINE), NOON - 3 * HOUR)
    assert table.seconds_to_wait() == 21 * 3_600


@pytest.mark.parametrize("ago", [0, 1, 90, 599])
def test_an_interval_keeps_its_rhythm_over_a_restart(table: Timetable, ago: int) -> None:
    """Given a run some seconds ago, When added, Then it is due when it would have been."""
    table.add(entry_of(MINUTES), NOON - timedelta(seconds=ago))
    assert table.seconds_to_wait() == pytest.approx(600 - ago)


@pytest.mark.parametrize("ahead", [HOUR, timedelta(days=365)], ids=str)
def test_a_last_run_in_the_future_is_made_again(table: Timetable, ahead: timedelta) -> None:
    """Given a clock that was set back while down, When added, Then it is due at once."""
    table.add(entry_of(MINUTES), NOON + ahead)
    assert due_names(table) == ["job"]
    assert table.seconds_to_wait() == 600


def test_a_clock_corrected_by_a_hair_costs_no_run(table: Timetable) -> None:
    """Given a last run half a second ahead, When added, Then it waits its interval."""
    table.add(entry_of(MINUTES), NOON + timedelta(seconds=0.5))
    assert table.seconds_to_wait() == 600


@pytest.mark.parametrize("rule", [MINUTES, NINE, Cron("*/5 * * * *", UTC)], ids=str)
def test_a_long_sleep_becomes_one_run(
    table: Timetable, clock: FakeClock, rule: Rule
) -> None:
    """Given three days of sleep, When it wakes up, Then each job is due once."""
    table.add(entry_of(rule), None)
    clock.advance(days=3)
    assert due_names(table) == ["job"]
    assert table.due() == []
    assert table.seconds_to_wait() > 0


def test_an_interval_keeps_its_rhythm_over_a_sleep(
    table: Timetable, clock: FakeClock
) -> None:
    """Given runs at :10, :20, When it slept until :35, Then the next one is at :40."""
    table.add(entry_of(MINUTES), None)
    clock.advance(minutes=35)
    table.due()
    assert table.seconds_to_wait() == 300


# Clocks that are set


@pytest.mark.parametrize("days", [-400, -30, -1, -0.2, 0.2, 1, 30, 400])
def test_an_interval_does_not_see_the_wall_clock(
    table: Timetable, clock: FakeClock, days: float
) -> None:
    """Given any jump, Then an interval is neither longer nor shorter."""
    table.add(entry_of(MINUTES), None)
    clock.advance(300)
    clock.set_wall_clock(clock.now() + timedelta(days))
    assert table.due() == []
    clock.advance(300)
    assert due_names(table) == ["job"]


@pytest.mark.parametrize("rule", DAILY_RULES, ids=str)
@pytest.mark.parametrize("hours", [1, 6, 20, 30, 49, 24 * 400])
def test_days_that_come_again_do_not_run_again(
    table: Timetable, clock: FakeClock, rule: Rule, hours: int
) -> None:
    """Given five days of runs, When the clock goes back, Then a new day is next."""
    table.add(entry_of(rule), None)
    before = runs_at(table, clock, 5 * 24, HOUR)

    clock.set_wall_clock(clock.now() - timedelta(hours=hours))
    after = runs_at(table, clock, hours + 24, HOUR)

    days = [moment.date() for moment in (*before, *after)]
    assert len(days) == len(set(days))
    if hours < 100:
        assert days == [(NOON + timedelta(number)).date() for number in range(6)]


@pytest.mark.parametrize("rule", DAILY_RULES, ids=str)
@pytest.mark.parametrize("days", [1, 30, 365, 3650])
def test_a_clock_that_was_wrong_for_an_hour_costs_no_day(
    table: Timetable, clock: FakeClock, rule: Rule, days: int
) -> None:
    """Given a clock that was ahead for an hour, When set right, Then no day lacks a run."""
    table.add(entry_of(rule), None)
    assert len(runs_at(table, clock, 20, HOUR)) == 1
    clock.set_wall_clock(clock.now() + timedelta(days))
    runs_at(table, clock, 1, HOUR)
    clock.set_wall_clock(clock.now() - timedelta(days))

    found = runs_at(table, clock, 72, HOUR)

    expected = [NOON + timedelta(number, hours=1) for number in range(1, 4)]
    if days == 1:
        expected = expected[1:]  # tomorrow had its run already
    assert found == expected


@pytest.mark.parametrize("rule", DAILY_RULES, ids=str)
def test_a_time_that_was_jumped_over_is_made_up_for(
    table: Timetable, clock: FakeClock, rule: Rule
) -> None:
    """Given a clock set forward over its time, Then it runs once at once."""
    table.add(entry_of(rule), None)
    clock.set_wall_clock(NOON + 6 * HOUR)
    assert due_names(table) == ["job"]
    assert runs_at(table, clock, 24, HOUR) == [NOON + timedelta(1, hours=1)]


@pytest.mark.parametrize("rule", DAILY_RULES, ids=str)
@pytest.mark.parametrize("waits", [0.5, 5, 50], ids="{} h in 1970".format)
def test_a_machine_without_a_clock_does_not_run_todays_job_again(
    rule: Rule, waits: float
) -> None:
    """Given a run today, When it boots in 1970 and is set right, Then tomorrow is next."""
    ran = [NOON - timedelta(1) + HOUR, NOON + HOUR]
    clock = FakeClock(datetime(1970, 1, 1, tzinfo=UTC))
    table = Timetable(clock, lambda name, now: list(ran))
    table.add(entry_of(rule), ran[-1])
    ran += runs_at(table, clock, round(waits * 2), HOUR / 2)
    clock.set_wall_clock(NOON + 4 * HOUR)

    assert table.due() == []
    assert runs_at(table, clock, 24, HOUR) == [NOON + timedelta(1, hours=1)]


def test_the_last_run_by_number_may_be_of_1970() -> None:
    """Given a run today and one in 1970 since, When added today, Then tomorrow is next."""
    today, long_ago = NOON - 3 * HOUR, datetime(1970, 1, 1, 9, tzinfo=UTC)
    table = Timetable(FakeClock(NOON), lambda name, now: [today])
    table.add(entry_of(NINE), long_ago)
    assert table.seconds_to_wait() == 21 * 3_600


@pytest.mark.parametrize("rule", DAILY_RULES, ids=str)
def test_many_small_steps_back_do_not_double_a_run(
    table: Timetable, clock: FakeClock, rule: Rule
) -> None:
    """Given a clock that is set back by less than a second, often, Then one run."""
    table.add(entry_of(rule), None)
    found = []
    for _ in range(100):
        clock.set_wall_clock(clock.now() - timedelta(seconds=0.9))
        found += runs_at(table, clock, 1, timedelta(minutes=1))
    assert [each.hour for each in found] == [13]


@pytest.mark.parametrize(
    "rule", [PastTheHour(0, 3_600), PastTheHour(0, 3_600, 3), Cron("0 * * * *", UTC)]
)
@pytest.mark.parametrize("hours", [-24 * 365, -30, -2, -0.5, 0.5, 30, 24 * 365])
def test_what_is_due_often_goes_on_by_the_clock(
    table: Timetable, clock: FakeClock, rule: Rule, hours: float
) -> None:
    """Given an hourly line, When the clock is set, Then it is due within its hours."""
    table.add(entry_of(rule), None)
    runs_at(table, clock, 6, HOUR)
    clock.set_wall_clock(clock.now() + timedelta(hours=hours))
    assert runs_at(table, clock, 6, HOUR / 2) != []


# Being moved


@pytest.mark.parametrize("rule", [MINUTES, NINE], ids=str)
def test_a_moved_entry_is_due_then_and_by_its_rule_again(
    table: Timetable, clock: FakeClock, rule: Rule
) -> None:
    """Given an entry, When it is moved to sooner, Then it is due once then."""
    entry = entry_of(rule)
    table.add(entry, None)
    table.move(entry, 5, earlier=True)
    assert table.seconds_to_wait() == 5
    clock.advance(5)
    assert due_names(table) == ["job"]
    assert table.seconds_to_wait() > 5


def test_a_delay_makes_nothing_sooner(table: Timetable) -> None:
    """Given a job in ten minutes, When it is delayed by less, Then nothing changes."""
    entry = entry_of(MINUTES)
    table.add(entry, None)
    table.move(entry, 5)
    assert table.seconds_to_wait() == 600
    table.move(entry, 900)
    assert table.seconds_to_wait() == 900


@pytest.mark.parametrize("days", [-30, 30])
def test_a_moved_entry_does_not_see_the_wall_clock(
    table: Timetable, clock: FakeClock, days: int
) -> None:
    """Given a daily job that asked for ten minutes, When the clock jumps, Then as asked."""
    entry = entry_of(NINE)
    table.add(entry, NOON - 3 * HOUR)
    table.move(entry, 600, earlier=True)
    clock.set_wall_clock(NOON + timedelta(days))
    assert table.due() == []
    clock.advance(600)
    assert due_names(table) == ["job"]


def test_an_entry_that_was_moved_twice_is_due_once(
    table: Timetable, clock: FakeClock
) -> None:
    """Given two wishes for the same time, When it comes, Then there is one run."""
    entry = entry_of(MINUTES)
    table.add(entry, None)
    table.move(entry, 5, earlier=True)
    table.move(entry, 5, earlier=True)
    clock.advance(5)
    assert due_names(table) == ["job"]
    assert table.due() == []


# Many


@pytest.mark.parametrize("make", [lambda: MINUTES, lambda: NINE])
def test_ten_thousand_are_due_once_each(
    table: Timetable, clock: FakeClock, make: Callable[[], Rule]
) -> None:
    """Given 10,000 entries, When they are due at once, Then each is found once."""
    for number in range(10_000):
        table.add(entry_of(make(), name=str(number)), None)
    clock.advance(days=1)
    found = due_names(table)
    assert len(found) == 10_000
    assert len(set(found)) == 10_000
    assert table.due() == []


def test_a_run_that_could_not_begin_is_due_again() -> None:
    """Given a daily job whose run is taken back, When a while passes, Then it is due."""
    clock = FakeClock(datetime(2026, 1, 5, 12, tzinfo=UTC))
    table = Timetable(clock)
    entry = Entry(Job("job", print), Daily(time(13), zone=UTC))
    table.add(entry, None)
    clock.advance(hours=1)
    assert [each for each, _ in table.due()] == [entry]
    table.take_back(entry, 5)
    clock.advance(5)
    assert [each for each, _ in table.due()] == [entry]
    assert table.seconds_to_wait() == 24 * 3600 - 5


@pytest.mark.parametrize("length", [0.1, 0.3, 1 / 3, 2.2])
def test_an_interval_is_due_once_at_each_of_its_times(length: float) -> None:
    """Given an interval that no float holds, When it is due, Then only once at a time."""
    clock = FakeClock()
    table = Timetable(clock)
    table.add(Entry(Job("job", print), Interval(length)), None)
    for _ in range(500):
        clock.advance(table.seconds_to_wait())
        while not table.due():
            clock.advance(max(table.seconds_to_wait(), 1e-6))
        assert table.due() == []
