"""Timing: when a job is due, over daylight saving and odd zones."""

from __future__ import annotations

import random
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_agent.errors import RegistrationError, UsageError
from py_agent.lengths import UNITS, parse_length
from py_agent.phrases import (
    parse_cron,
    parse_interval,
    parse_time,
    zone_of,
)
from py_agent.retry import LONGEST
from py_agent.timing import (
    Always,
    Cron,
    Daily,
    Interval,
    PastTheHour,
    in_words,
)

from .conftest import TimeZone

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from(
    [
        UTC, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata"),
        ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Asia/Beirut"), ZoneInfo("Pacific/Apia"),
    ]
)  # fmt: skip
MOMENTS = st.datetimes(
    datetime(2000, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)  # noqa: DTZ001
)  # fmt: skip
TIMES = st.builds(time, st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))


def local(*parts: int) -> datetime:
    """Return a moment by its local time in Berlin."""
    return datetime(*parts, tzinfo=BERLIN)  # type: ignore[arg-type,misc]


@given(MOMENTS, TIMES, ZONES)
def test_a_daily_job_is_due_within_two_days_and_never_now(
    moment: datetime, at: time, zone: Any
) -> None:
    """It is due ahead, at its local time or as late as a gap is long."""
    due = Daily(at, zone=zone).after(moment)
    assert moment < due <= moment + timedelta(days=2, hours=2)
    there = due.astimezone(zone)
    shown = timedelta(hours=there.hour, minutes=there.minute, seconds=there.second)
    wanted = timedelta(hours=at.hour, minutes=at.minute, seconds=at.second)
    assert (shown - wanted) % timedelta(days=1) <= timedelta(hours=1)


@given(MOMENTS, TIMES, ZONES)
def test_a_daily_job_is_due_once_per_local_day(
    moment: datetime, at: time, zone: Any
) -> None:
    """No local day has it twice, and none lacks it but one that a zone skipped whole."""
    rule, days, due = Daily(at, zone=zone), [], moment
    for _ in range(400):
        due = rule.after(due, due)
        days.append(due.astimezone(zone).date())
    assert len(set(days)) == len(days)
    steps = {later - earlier for earlier, later in zip(days, days[1:], strict=False)}
    skipped = {timedelta(2)} if str(zone) == "Pacific/Apia" else set()
    assert steps <= {timedelta(1)} | skipped


def test_a_time_that_is_skipped_is_taken_as_late_as_the_gap_is_long() -> None:
    """02:30 does not exist on that Sunday; 03:30 is the same distance from midnight."""
    due = Daily(time(2, 30), zone=BERLIN).after(local(2026, 3, 29, 0))
    assert due.astimezone(BERLIN) == local(2026, 3, 29, 3, 30)


def test_a_time_that_comes_twice_counts_the_first_time_only() -> None:
    """02:30 comes again an hour later, and is not due again."""
    rule = Daily(time(2, 30), zone=BERLIN)
    first = rule.after(local(2026, 10, 25, 0))
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert rule.after(first, first).astimezone(BERLIN) == local(2026, 10, 26, 2, 30)


def test_a_clock_set_back_does_not_run_a_daily_job_again() -> None:
    """It was due today already."""
    due = Daily(time(9), zone=BERLIN).after(local(2026, 1, 5, 8), local(2026, 1, 5, 9))
    assert due == local(2026, 1, 6, 9)


def test_a_last_time_far_in_the_future_is_forgotten() -> None:
    """A clock that was wrong by years and is right now must not stop the job for years."""
    due = Daily(time(9), zone=BERLIN).after(local(2026, 1, 5, 8), local(2030, 1, 1, 9))
    assert due == local(2026, 1, 5, 9)


@given(MOMENTS, TIMES, ZONES, st.integers(0, 6))
def test_a_weekly_job_is_due_every_seven_days(
    moment: datetime, at: time, zone: Any, weekday: int
) -> None:
    """On its weekday, as the zone counts days."""
    rule, days, due = Daily(at, 7, weekday, zone), [], moment
    for _ in range(60):
        due = rule.after(due, due)
        days.append(due.astimezone(zone).date())
    apia = str(zone) == "Pacific/Apia"  # skipped a Friday whole in 2011
    assert apia or {day.weekday() for day in days} == {weekday}
    steps = {later - earlier for earlier, later in zip(days, days[1:], strict=False)}
    assert apia or steps == {timedelta(7)}


def test_a_weekly_job_that_was_found_late_is_due_on_its_next_weekday() -> None:
    """A machine that slept over Monday runs on Tuesday, and on Monday again."""
    rule = Daily(time(9), 7, 0, BERLIN)
    tuesday = local(2026, 1, 6, 10)
    assert rule.after(tuesday, tuesday) == local(2026, 1, 12, 9)


def test_every_other_day_leaves_one_out() -> None:
    """Counted from when it was due last."""
    rule, first = Daily(time(9), 2, zone=BERLIN), local(2026, 1, 5, 9)
    assert rule.after(first, first) == local(2026, 1, 7, 9)
    assert rule.after(local(2026, 1, 6, 12), first) == local(2026, 1, 7, 9)


def test_days_that_were_missed_become_one() -> None:
    """After a long sleep the job is due next at its time, not for each day again."""
    due = Daily(time(9), zone=BERLIN).after(local(2026, 1, 9, 10), local(2026, 1, 5, 9))
    assert due == local(2026, 1, 10, 9)


def test_a_daily_job_without_a_zone_follows_the_machines(machine_zone: TimeZone) -> None:
    """Daylight saving included."""
    machine_zone("Europe/Berlin")
    rule = Daily(time(2, 30))
    assert rule.after(local(2026, 3, 29, 0)) == local(2026, 3, 29, 3, 30)
    assert rule.after(local(2026, 7, 1, 0)) == local(2026, 7, 1, 2, 30)
    first = rule.after(local(2026, 10, 25, 0))
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert rule.after(first, first) == local(2026, 10, 26, 2, 30)


@given(MOMENTS, st.integers(0, 3_599), st.integers(1, 5))
def test_an_hourly_job_is_due_at_its_minute(
    moment: datetime, offset: int, count: int
) -> None:
    """To the second, after the moment, and every so many hours from then on."""
    rule = PastTheHour(offset, 3_600, count)
    first = rule.after(moment)
    assert moment < first <= moment + timedelta(hours=1)
    assert (first.minute * 60 + first.second, first.microsecond) == (offset, 0)
    assert rule.after(first, first) == first + timedelta(hours=count)


@given(MOMENTS, st.integers(0, 59), st.integers(1, 5))
def test_a_job_every_minute_is_due_at_its_second(
    moment: datetime, offset: int, count: int
) -> None:
    """The same rule, one unit smaller."""
    rule = PastTheHour(offset, 60, count)
    first = rule.after(moment)
    assert moment < first <= moment + timedelta(minutes=1)
    assert (first.second, first.microsecond) == (offset, 0)
    assert rule.after(first, first) == first + timedelta(minutes=count)


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "Europe/Berlin", "UTC"])
def test_an_hourly_job_counts_the_local_hour(machine_zone: TimeZone, zone: str) -> None:
    """In a zone that is half an hour off, :15 is a quarter past on the wall."""
    machine_zone(zone)
    due = PastTheHour(15 * 60, 3_600).after(datetime(2026, 1, 5, 12, tzinfo=UTC))
    assert due.astimezone(ZoneInfo(zone)).minute == 15


def test_hours_that_were_missed_become_one() -> None:
    """After a sleep, the next full rhythm counts."""
    rule = PastTheHour(0, 3_600, 3)
    last = datetime(2026, 1, 5, 3, tzinfo=UTC)
    assert rule.after(datetime(2026, 1, 5, 20, 30, tzinfo=UTC), last) == datetime(
        2026, 1, 5, 21, tzinfo=UTC
    )


@given(st.floats(0.1, 1e6), st.floats(0, 1e6), st.randoms(use_true_random=False))
def test_a_random_interval_stays_in_its_bounds(
    shortest: float, more: float, chance: random.Random
) -> None:
    """As `every(5).to(10).seconds` asks."""
    wait = Interval(shortest, shortest + more).wait(chance)
    assert shortest <= wait <= shortest + more


def test_a_fixed_interval_needs_no_chance(chance: random.Random) -> None:
    """It is always the same."""
    assert Interval(5).wait(chance) == 5


@given(st.sampled_from(sorted(UNITS)), st.integers(1, 1_000), st.booleans())
def test_an_interval_is_a_number_and_a_unit(unit: str, count: int, plural: bool) -> None:
    """In the words that people use, singular or plural."""
    words = f"{count} {unit}{'s' if plural else ''}"
    assert parse_interval(words) == Interval(min(count * UNITS[unit], LONGEST))


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("hour", 3_600), ("1.5 minutes", 90), ("10seconds", 10), ("  2 Days ", 172_800),
        (30, 30), (0.5, 0.5), (timedelta(minutes=2), 120), ("9" * 40 + " weeks", LONGEST),
    ],
)  # fmt: skip
def test_an_interval_may_be_written_in_several_ways(words: Any, seconds: float) -> None:
    """As text, number or timedelta."""
    assert parse_interval(words) == Interval(seconds)


@pytest.mark.parametrize(
    "words",
    ["", "10", "ten minutes", "10 fortnights", "-1 day", "1e3 seconds", "minutes 10", "s",
     "9" * 400 + " weeks", "0 seconds", 0, -1, float("nan"), timedelta(0), True, None,
     [10]],
)  # fmt: skip
def test_what_is_no_interval_is_refused(words: Any) -> None:
    """With an example of what may be written."""
    with pytest.raises(UsageError):
        parse_interval(words)


@given(TIMES)
def test_a_time_of_day_is_hours_and_minutes(at: time) -> None:
    """Seconds are allowed."""
    assert parse_time(at.isoformat()) == Daily(at)
    assert parse_time(at.strftime("%H:%M")) == Daily(at.replace(second=0))


@pytest.mark.parametrize(
    "at",
    ["", "2:30", "24:00", "12:60", "noon", "12:30:61", "12:30\n", "12:30+01:00", 5, None],
)
def test_what_is_no_time_of_day_is_refused(at: Any) -> None:
    """With an example of what may be written."""
    with pytest.raises(RegistrationError, match="write for example '02:30'"):
        parse_time(at)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Interval(1), "every second"),
        (Interval(90), "every 90 seconds"),
        (Interval(0.5), "every 0.5 seconds"),
        (Interval(300, 600), "every 5 minutes to 10 minutes"),
        (Daily(time(9)), "every day at 09:00:00"),
        (Daily(time(9), 2), "every 2 days at 09:00:00"),
        (Daily(time(9), 7, 0, BERLIN), "every monday at 09:00:00 Europe/Berlin"),
        (PastTheHour(900, 3_600), "every hour at 15:00"),
        (PastTheHour(30, 60, 5), "every 5 minutes at 00:30"),
        (Cron("*/5 * * * *"), "cron */5 * * * *"),
        (Cron("0 9 * * 1", BERLIN), "cron 0 9 * * 1 Europe/Berlin"),
        (Always(), "always"),
    ],
)
def test_a_rule_reads_as_a_sentence(rule: Any, words: str) -> None:
    """As `agent jobs` shows it."""
    assert str(rule) == words


@given(st.sampled_from(sorted(UNITS)), st.integers(1, 1_000))
def test_an_interval_in_words_is_the_same_interval(unit: str, count: int) -> None:
    """What is shown can be written."""
    length = min(count * UNITS[unit], LONGEST)
    assert parse_interval(in_words(length)) == Interval(length)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5 min", 300),
        ("5m", 300),
        ("1.5h", 5400),
        ("2d", 172_800),
        ("1w", 604_800),
    ],
)
def test_short_units(text: str, seconds: float) -> None:
    """Units may be shortened as people do."""
    assert parse_interval(text) == Interval(seconds)


def test_a_run_that_was_made_up_for_after_midnight_is_yesterdays() -> None:
    """So that today's own time is not skipped."""
    rule = Daily(time(23, 30), zone=UTC)
    made_up = datetime(2026, 1, 6, 0, 10, tzinfo=UTC)
    assert rule.after(made_up, made_up) == datetime(2026, 1, 6, 23, 30, tzinfo=UTC)


def test_a_run_by_hand_before_its_time_does_not_take_its_place() -> None:
    """`agent go --once` at one o'clock leaves the run at half past two."""
    rule = Daily(time(2, 30), zone=UTC)
    by_hand = datetime(2026, 1, 6, 1, 0, tzinfo=UTC)
    assert rule.after(by_hand, by_hand) == datetime(2026, 1, 6, 2, 30, tzinfo=UTC)


def test_a_run_that_began_a_hair_early_is_todays() -> None:
    """Clocks move in steps, and a day must not have two runs for that."""
    rule = Daily(time(2, 30), zone=UTC)
    early = datetime(2026, 1, 6, 2, 29, 59, 999_500, tzinfo=UTC)
    assert rule.after(early, early) == datetime(2026, 1, 7, 2, 30, tzinfo=UTC)


# Lines of a crontab


@pytest.mark.parametrize(
    ("line", "due"),
    [
        ("*/5 * * * *", (2026, 1, 5, 12, 5)),
        ("0 * * * *", (2026, 1, 5, 13)),
        ("30 2 * * *", (2026, 1, 6, 2, 30)),
        ("0 9 * * 1-5", (2026, 1, 6, 9)),
        ("0 9 * * SUN", (2026, 1, 11, 9)),
        ("15 0 1 * *", (2026, 2, 1, 0, 15)),
        ("0 0 29 2 *", (2028, 2, 29)),
        ("0 0 L * *", (2026, 1, 31)),
        ("*/10 * * * * *", (2026, 1, 5, 12, 0, 10)),
    ],
)
def test_a_crontab_line_is_due_as_it_says(line: str, due: tuple[int, ...]) -> None:
    """Given noon on a Monday, When a line is asked, Then it is due ahead."""
    assert parse_cron(line, BERLIN).after(local(2026, 1, 5, 12)) == local(*due)


@given(MOMENTS, ZONES, st.sampled_from(["30 2 * * *", "*/20 * * * *", "0 0 * * 1"]))
def test_a_crontab_line_is_due_ahead_and_was_due_before(
    moment: datetime, zone: Any, line: str
) -> None:
    """Given any moment and zone, Then before <= moment < after, and nothing between."""
    rule = Cron(line, zone)
    before, after = rule.before(moment), rule.after(moment)
    assert before <= moment < after
    assert rule.after(before) == after


def test_a_crontab_line_in_the_hour_that_comes_twice_is_due_ahead() -> None:
    """Given the second half past two, When the line is asked, Then it is tomorrow's."""
    moment = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)  # the second 02:15 in Berlin
    rule = Cron("30 2 * * *", BERLIN)
    assert rule.after(moment) == local(2026, 10, 26, 2, 30)
    assert rule.before(moment) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_a_crontab_time_in_the_gap_comes_right_after_it() -> None:
    """Given half past two on the Sunday that lacks it, Then three o'clock."""
    assert Cron("30 2 * * *", BERLIN).after(local(2026, 3, 29, 0)) == local(2026, 3, 29, 3)


@pytest.mark.parametrize("start", [(2026, 3, 28), (2026, 10, 24)], ids=["gap", "repeat"])
def test_a_crontab_step_goes_on_through_daylight_saving(start: tuple[int, ...]) -> None:
    """Given */10, When the clock is changed for summer or winter, Then ten minutes stay."""
    rule, due = Cron("*/10 * * * *", BERLIN), local(*start, 12)
    for _ in range(144):
        due, before = rule.after(due), due
        assert due - before == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("line", "once"),
    [
        ("30 2 * * *", True), ("0 9 * * 1", True), ("0 0 1 * *", True),
        ("0 0 29 2 *", True), ("0 9,10 1 * *", True), ("0 9,21 * * *", False),
        ("0 9,10 * * *", False), ("0 * * * *", False), ("*/5 * * * *", False),
        ("0 9-17 * * 1-5", False), ("* * * * * *", False),
    ],
)  # fmt: skip
def test_a_line_that_is_due_rarely_counts_once(line: str, once: bool) -> None:
    """Given less than two a day, Then a clock set back does not repeat it."""
    assert Cron(line, BERLIN).once is once


def test_a_crontab_line_without_a_zone_follows_the_machines(machine_zone: TimeZone) -> None:
    """Given a machine in Berlin, When summer begins, Then it is due an hour earlier."""
    machine_zone("Europe/Berlin")
    rule = Cron("0 9 * * *")
    assert rule.after(local(2026, 3, 28, 0)) == datetime(2026, 3, 28, 8, tzinfo=UTC)
    assert rule.after(local(2026, 3, 30, 0)) == datetime(2026, 3, 30, 7, tzinfo=UTC)


@pytest.mark.parametrize("line", ["", "* * * *", "60 * * * *", "a b c d e", None, 5])
def test_what_is_no_crontab_line_is_refused(line: Any) -> None:
    """Given nonsense, When it is parsed, Then an example says what may be written."""
    with pytest.raises(RegistrationError, match="write for example"):
        parse_cron(line)


def test_a_crontab_date_that_never_comes_is_refused() -> None:
    """Given the 31st of a short month, When it is parsed, Then it is refused."""
    with pytest.raises(RegistrationError, match="no crontab line"):
        parse_cron("0 0 31 2,4 *")
    with pytest.raises(RegistrationError, match="never comes"):
        parse_cron("0 0 */30 * 1#2", BERLIN)  # the second Monday is no 1st and no 31st


# The time before


@given(MOMENTS, TIMES, ZONES, st.none() | st.integers(0, 6))
def test_a_daily_job_was_due_before_and_not_since(
    moment: datetime, at: time, zone: Any, weekday: int | None
) -> None:
    """Given any moment, Then before <= moment < the next one after before."""
    rule = Daily(at, 1 if weekday is None else 7, weekday, zone)
    before = rule.before(moment)
    assert before <= moment < rule.after(before)
    assert rule.after(before) == rule.after(moment)


@given(MOMENTS, st.integers(0, 3_599))
def test_an_hourly_job_was_due_before(moment: datetime, offset: int) -> None:
    """Given any moment, Then before is within the hour, at the minute."""
    rule = PastTheHour(offset, 3_600)
    before = rule.before(moment)
    assert before <= moment < before + timedelta(hours=1)
    assert rule.after(before) == rule.after(moment)


# Zones and lengths


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../../etc/passwd", "Europe", "\0"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    """Given a name that zoneinfo does not know, When asked, Then one clear line."""
    with pytest.raises(RegistrationError, match="there is no time zone"):
        zone_of(name)


def test_a_zone_may_be_given_as_itself() -> None:
    """Given a tzinfo or nothing, When asked, Then it stays."""
    assert (zone_of(UTC), zone_of(None), zone_of("UTC")) == (UTC, None, ZoneInfo("UTC"))


def test_a_length_of_time_may_be_nothing() -> None:
    """Given zero, When it is no interval, Then it is allowed."""
    assert (parse_length("0 seconds", "grace"), parse_length(0, "grace")) == (0, 0)
