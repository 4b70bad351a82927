"""The time of a report: bins that begin at round local times, and what `--since` means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_agent.cli.report.window import MOST_BINS, Window, parse_since, window_of

from py_agent.clock import from_micros, to_micros
from py_agent.errors import UsageError

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ["Europe/Berlin", "Africa/Cairo", "America/Havana", "Asia/Kolkata",
         "Australia/Lord_Howe", "Pacific/Apia", "UTC"]  # fmt: skip
NOW = datetime(2026, 3, 31, 10, 7, tzinfo=UTC)


def window(days: float, zone: ZoneInfo = BERLIN, now: datetime = NOW) -> Window:
    return window_of(now - timedelta(days=days), now, zone)


def locals_of(found: Window) -> list[datetime]:
    return [from_micros(edge).astimezone(found.zone) for edge in found.edges]


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.floats(min_value=0, max_value=36_500),
    st.sampled_from(ZONES),
    st.datetimes(datetime(1975, 1, 1), datetime(2099, 1, 1)),  # noqa: DTZ001
)
def test_bins_cover_the_time_once(days: float, zone: str, now: datetime) -> None:
    """Given any time and zone, When it is cut, Then the bins are in order, not too many,
    and reach from before its beginning until the present.
    """
    found = window(days, ZoneInfo(zone), now.replace(tzinfo=UTC))
    assert all(before < after for before, after in pairwise(found.edges))
    assert found.start <= to_micros(now.replace(tzinfo=UTC) - timedelta(days=days))
    assert found.end >= to_micros(now.replace(tzinfo=UTC))
    assert len(found.edges) <= MOST_BINS + 3
    assert len(found.ticks) <= 10
    assert all(found.start <= tick.at <= found.end for tick in found.ticks)


def test_a_week_begins_its_bins_at_round_local_hours() -> None:
    """Given a week in which clocks go forward, When cut, Then bins keep local hours."""
    found = window(7)
    assert found.width == "2 hours"
    assert {each.hour % 2 for each in locals_of(found)[:-1]} <= {0, 1}
    odd = [each for each in locals_of(found)[:-1] if each.hour % 2]
    assert [each.strftime("%d %H:%M") for each in odd] == ["29 03:00"]  # there is no 02:00


@pytest.mark.parametrize(("zone", "hours"), [("Europe/Berlin", 23), ("UTC", 24)])
def test_a_day_is_a_local_day(zone: str, hours: int) -> None:
    """Given three months, When cut into days, Then the day of the change is shorter."""
    found = window(90, ZoneInfo(zone))
    lengths = [(after - before) / 3.6e9 for before, after in pairwise(found.edges)]
    assert found.width == "day"
    assert all(each.hour == 0 for each in locals_of(found)[:-1])
    assert min(lengths[:-1]) == hours


def test_an_hour_that_comes_twice_is_two_hours_of_bins() -> None:
    """Given the night in which clocks go back, When cut, Then no bin is twice as long."""
    now = datetime(2026, 10, 25, 6, 0, tzinfo=UTC)
    found = window(0.5, now=now)
    assert {after - before for before, after in pairwise(found.edges)} <= {600_000_000}


def test_the_zone_is_said_with_its_change() -> None:
    """Given a week with a change of clocks, When its zone is said, Then both are named."""
    assert window(7).zones() == "CET (UTC+01:00), and CEST (UTC+02:00) by Sun 29 Mar, 03:00"
    assert window(1).zones() == "CEST (UTC+02:00)"
    assert window(7, ZoneInfo("UTC")).zones() == "UTC"


def test_a_moment_is_said_in_local_words() -> None:
    """Given moments, When said, Then they are local, and what cannot be is no error."""
    found = window(7)
    assert found.say(to_micros(NOW)) == "Tue 31 Mar, 12:07"
    assert found.say(0) == "Thu 1 Jan 1970, 01:00"
    assert found.say(None) == ""
    assert found.say(2**62) == "at an impossible time"


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("24h", NOW - timedelta(hours=24)),
        ("30m", NOW - timedelta(minutes=30)),
        ("2026-03-01", datetime(2026, 2, 28, 23, tzinfo=UTC)),
        ("2026-03-01T12:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
    ],
)
def test_since_is_a_length_or_a_local_date(text: str, since: datetime) -> None:
    """Given a length or a date, When parsed, Then it is that moment."""
    assert parse_since(text, NOW, BERLIN) == since


@pytest.mark.parametrize("text", ["", "7x", "-1d", "0s", "2026-02-30", "2999-01-01",
                                  "0001-01-01", "9999-12-31T23:59:59-14:00"])  # fmt: skip
def test_another_since_is_a_mistake(text: str) -> None:
    """Given garbage, When parsed, Then one line says so."""
    with pytest.raises(UsageError, match=r"^--since: [^\n]+$"):
        parse_since(text, NOW, BERLIN)
