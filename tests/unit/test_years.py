"""A short piece of the simulation in tests/chaos/years.py, which says what it checks."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.chaos.years import HOUR, ZONES, Days, Life, Rhythm, simulate

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.mark.parametrize("seed", [1, random.randrange(10**6)], ids=["fixed", "random"])
def test_no_job_stalls_and_no_day_has_two_runs(seed: int) -> None:
    """Given clocks that jump in some zones, When a year passes, Then all runs are right."""
    zones = random.Random(seed).sample(ZONES, 3)
    figures = simulate(1, zones, seed)
    assert figures.faults == [], f"seed {seed}"
    assert figures.runs > 10_000
    assert figures.days > 1_000


def test_no_job_is_put_off_by_starts_without_a_clock() -> None:
    """Given two starts in 1970 soon after another, When it goes on, Then no run is late."""
    assert Life("America/New_York", 2032).live(1).faults == []


def test_a_life_is_the_same_for_the_same_seed() -> None:
    """Given one seed, When it is simulated twice, Then a fault can be found again."""
    assert str(Life("UTC", 3).live(0.2)) == str(Life("UTC", 3).live(0.2))


@pytest.fixture
def days() -> Days:
    """The check of a job that is due at nine each day."""
    return Days(ZoneInfo("UTC"), time(9), lambda day: True, after_gap=False)


def test_the_check_sees_a_second_run(days: Days) -> None:
    """Given a run that day, When another one begins before nine, Then it is a fault."""
    assert days.ran(NOON, 0) is None
    assert days.ran(NOON + timedelta(hours=20), 0) == "a second run for 2026-01-05"


def test_the_check_sees_a_day_without_a_run(days: Days) -> None:
    """Given a run that day, When nine has passed next day, Then a run is missed."""
    days.ran(NOON, 0)
    tomorrow = NOON + timedelta(1)
    assert days.looked(NOON, NOON, 0) is None
    assert days.looked(tomorrow, tomorrow, 0) == "no run for 2026-01-06"


def test_the_check_knows_what_the_clock_has_not_passed(days: Days) -> None:
    """Given a job that never ran, When nine passed before it was there, Then it waits."""
    assert days.looked(NOON, NOON - timedelta(hours=1), 0) is None
    assert days.looked(NOON, NOON - timedelta(hours=6), 0) == "no run for 2026-01-05"


def test_the_check_knows_daylight_saving() -> None:
    """Given half past two in a zone that skips it, When due, Then as each rule says."""
    berlin, spring = ZoneInfo("Europe/Berlin"), date(2026, 3, 29)
    late = Days(berlin, time(2, 30), lambda day: True, after_gap=False)
    after = Days(berlin, time(2, 30), lambda day: True, after_gap=True)
    assert late.due(spring).astimezone(berlin).time() == time(3, 30)
    assert after.due(spring).astimezone(berlin).time() == time(3)


def test_the_check_sees_a_stall() -> None:
    """Given two hours at most, When there is no run for longer, Then it is a fault."""
    rhythm = Rhythm(2 * HOUR)
    assert rhythm.ran(NOON, HOUR) is None
    assert rhythm.looked(NOON, NOON, 3 * HOUR) is None
    assert rhythm.looked(NOON, NOON, 3.5 * HOUR) == "2.50 h and no run"
    assert rhythm.ran(NOON, 3.5 * HOUR) == "2.50 h without a run"
