"""Turns and troubles: pure decisions on a clock that is given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from py_agent.observability import Link

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def test_turns_come_one_after_the_other() -> None:
    """Given five turns a second, When ten are taken at once, Then they are 0.2 s apart."""
    link = Link()
    waits = [round(link.turn(100.0, 5), 6) for _ in range(10)]
    assert waits == [round(n * 0.2, 6) for n in range(10)]


def test_turns_that_nobody_took_are_gone() -> None:
    """Given a pause, When turns are taken again, Then there is no burst."""
    link = Link()
    link.turn(0.0, 5)
    assert [round(link.turn(1_000.0, 5), 6) for _ in range(3)] == [0.0, 0.2, 0.4]


def test_a_server_that_stays_away_is_tried_less_and_less() -> None:
    """Given a server that stays away, Then waits grow up to a minute, never to none."""
    link, boot, waits = Link(), 0.0, []
    for _ in range(20):
        waits.append(link.away(boot, "gone"))
        boot += waits[-1]
    assert 0.5 <= waits[0] <= 1
    assert all(0.5 <= each <= 60 for each in waits)
    assert min(waits[10:]) >= 30


def test_calls_that_find_it_away_together_share_a_wait() -> None:
    """Given four calls at once, When all fail, Then the wait is not four times longer."""
    link = Link()
    first = link.away(10.0, "gone")
    assert [link.away(10.0, "gone") for _ in range(3)] == [first] * 3


def test_one_bad_report_is_not_the_servers_fault() -> None:
    """Given one report that fails again and again, Then only several others make it so."""
    link = Link()
    assert [link.failed("a") for _ in range(5)] == [False] * 5
    assert [link.failed("b"), link.failed("c")] == [False, True]
    link.arrived()
    assert not link.failed("a")


def test_the_latest_never_goes_back() -> None:
    """Given moments out of order, Then the latest one is told."""
    link = Link()
    assert link.latest is None
    for hours in (1, 3, 2):
        link.arrived(NOW + timedelta(hours=hours))
    link.arrived()
    assert link.latest == NOW + timedelta(hours=3)


def test_the_end_of_an_outage_is_told_once() -> None:
    """Given a server that was away, When reports arrive, Then the first says so."""
    link = Link()
    link.away(0.0, "gone")
    assert [link.arrived(NOW), link.arrived(NOW)] == [True, False]


def test_what_the_server_asks_for_holds_for_all() -> None:
    """Given one answer that asks for two minutes, Then nobody is let through before."""
    link = Link()
    link.away(10.0, "gone")
    assert link.away(10.0, "wait", least=120) == 120
    assert (link.closed(20.0), link.reason, link.doubtful) == (110, "gone", True)
    link.arrived()
    assert (link.closed(20.0), link.doubtful) == (0, False)
