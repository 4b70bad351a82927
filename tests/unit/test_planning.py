"""Planning: a job's options in the user's words, checked before anything runs."""

from __future__ import annotations

from datetime import UTC, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from py_agent.errors import RegistrationError, UsageError
from py_agent.planning import plan_of
from py_agent.timing import Always, Cron, Daily, Interval

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("options", "rule", "at_start"),
    [
        ({"every": "10 minutes"}, Interval(600), True),
        ({"every": 30}, Interval(30), True),
        ({"every": timedelta(hours=1), "at_start": False}, Interval(3_600), False),
        ({"at": "02:30"}, Daily(time(2, 30)), False),
        ({"at": "02:30", "at_start": True}, Daily(time(2, 30)), True),
        ({"at": "02:30", "tz": "Europe/Berlin"}, Daily(time(2, 30), zone=BERLIN), False),
        ({"at": "02:30", "tz": UTC}, Daily(time(2, 30), zone=UTC), False),
        ({"cron": "*/5 * * * *"}, Cron("*/5 * * * *"), False),
        ({"cron": "0 9 * * 1", "tz": BERLIN}, Cron("0 9 * * 1", BERLIN), False),
        ({"keep": True}, Always(), False),
    ],
)
def test_a_plan_is_made_of_one_schedule(
    options: dict[str, Any], rule: Any, at_start: bool
) -> None:
    """Given one schedule, When it is planned, Then `every` alone runs at the start."""
    plan = plan_of(**options)
    assert (plan.rule, plan.at_start) == (rule, at_start)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"every": "1 day", "at": "02:30"}, {"at": "02:30", "cron": "30 2 * * *"},
        {"every": 1, "at": "02:30", "cron": "30 2 * * *"}, {"tz": "UTC"}, {"keep": False},
    ],
)  # fmt: skip
def test_no_schedule_or_two_are_refused(options: dict[str, Any]) -> None:
    """Given none or several, When it is planned, Then which is meant cannot be guessed."""
    with pytest.raises(RegistrationError, match="only one of them"):
        plan_of(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"every": 1, "tz": "UTC"}, "an interval needs none"),
        ({"at": "02:30", "tz": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"cron": "* * * *"}, "no crontab line"),
        ({"cron": "61 * * * *"}, "no crontab line"),
        ({"cron": ""}, "no crontab line"),
        ({"cron": 5}, "no crontab line"),
        ({"cron": "0 0 30 2 *"}, "'0 0 30 2 *'"),
        ({"every": 0}, "less than a millisecond"),
        ({"every": "sometimes"}, "is no length of time"),
        ({"every": 1, "misfire": "later"}, "misfire is 'coalesce' or 'skip', not 'later'"),
        ({"every": 1, "misfire": ""}, "misfire"),
        ({"every": 1, "first": "skip"}, "first is 'baseline', not 'skip'"),
        ({"every": 1, "grace": "soon"}, "'soon' is no length of time"),
        ({"every": 1, "grace": -1}, "grace"),
        ({"every": 1, "expect_every": 0}, "must be longer than"),
        ({"every": 1, "hold_above": 0}, "hold_above is a number of new events, 1 or more"),
        ({"every": 1, "hold_above": -3}, "hold_above"),
        ({"every": 1, "hold_above": True}, "hold_above"),
        ({"every": 1, "hold_above": 2.5}, "not 2.5"),
        ({"every": 1, "hold_above": "often"}, "or 'usual', not 'often'"),
        ({"every": 1, "expect_every": "an hour"}, "is no length of time"),
    ],
)
def test_what_means_nothing_is_refused(options: dict[str, Any], said: str) -> None:
    """Given a wrong value, When it is planned, Then one line names it."""
    with pytest.raises(UsageError) as caught:
        plan_of(**options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "other",
    [
        {"every": 1}, {"at": "02:30"}, {"cron": "* * * * *"}, {"tz": "UTC"},
        {"at_start": True}, {"at_start": False}, {"misfire": "skip"}, {"grace": 1},
        {"expect_every": 1}, {"first": "baseline"}, {"hold_above": 50},
    ],
)  # fmt: skip
def test_a_service_has_no_schedule(other: dict[str, Any]) -> None:
    """Given keep=True, When it has another option, Then that is named."""
    with pytest.raises(RegistrationError, match=f"so {next(iter(other))} cannot go with"):
        plan_of(keep=True, **other)


def test_lengths_of_time_are_read_as_people_write_them() -> None:
    """Given words, numbers and timedeltas, When planned, Then they are seconds."""
    plan = plan_of(at="02:30", grace="2 hours", expect_every=timedelta(days=2))
    assert (plan.options["grace"], plan.options["expect_every"]) == (7_200, 172_800)


def test_what_is_not_said_is_coalesced_and_no_baseline() -> None:
    """Given a schedule alone, When planned, Then missed runs become one."""
    assert plan_of(every=1).options == {"misfire": "coalesce", "first": None}


@pytest.mark.parametrize("limit", [1, 50, "usual"])
def test_a_guard_is_kept(limit: int | str) -> None:
    """Given a number or "usual", When planned, Then the job has it."""
    assert plan_of(every=1, hold_above=limit).options["hold_above"] == limit


def test_a_grace_of_nothing_is_no_grace() -> None:
    """Given grace=0, When planned, Then it is kept: only a run on time begins."""
    assert plan_of(every=1, grace=0).options["grace"] == 0
