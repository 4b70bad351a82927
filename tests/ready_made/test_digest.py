"""listeners.digest: many events become one list an hour or a day."""

from __future__ import annotations

from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from listeners.digest import digest, next_end
from py_agent import Event, Handler
from py_agent.errors import ConfigError
from py_agent.loading import agent_of_config
from py_agent.store import by_hand
from py_agent.testing import AgentUnderTest

WANTED = {"event_type": ("==", "news")}


def collect(agent: AgentUnderTest, **arguments: Any) -> None:
    """Add the digest, with a day that ends at eight."""
    given = {"at": time(8), "tz": ZoneInfo("UTC")} | arguments
    agent.add_listener(digest, WANTED, name="daily", **given)


def news(agent: AgentUnderTest, *titles: str) -> None:
    """Publish events and let them be collected."""
    for title in titles:
        agent.handler.publish("news", title, {"title": title.upper()})
    agent.advance(1)


def lists(agent: AgentUnderTest) -> list[list[str]]:
    """Return the identifiers that each list holds."""
    return [
        [each["identifier"] for each in event.data["events"]]
        for event in agent.published("digest")
    ]


def test_a_day_is_one_list(running: AgentUnderTest) -> None:
    """Given three events in a day, When it ends, Then one list holds them in order."""
    collect(running)
    news(running, "a", "b", "c")
    assert lists(running) == []

    running.advance(days=1)

    (event,) = running.published("digest")
    assert event.identifier == "daily 2026-01-06T08:00:00+00:00 1.1"
    assert event.data["count"] == 3
    assert event.data["text"] == "- A\n- B\n- C"
    assert [each["identifier"] for each in event.data["events"]] == ["a", "b", "c"]
    assert event.data["events"][0]["data"] == {"title": "A"}


def test_each_hour_has_its_list_and_an_empty_one_has_none(running: AgentUnderTest) -> None:
    """Given events in two of four hours, When they end, Then there are two lists."""
    collect(running, every="hour")
    news(running, "a")
    running.advance(hours=2)
    news(running, "b", "c")
    running.advance(hours=2)
    assert lists(running) == [["a"], ["b", "c"]]


def test_a_list_survives_restarts(running: AgentUnderTest) -> None:
    """Given a stop between two events, When the day ends, Then both are in it."""
    collect(running)
    news(running, "a")
    running.stop()
    running.start()
    news(running, "b")
    running.stop()
    running.start()
    running.advance(days=1)
    assert lists(running) == [["a", "b"]]


def test_a_list_whose_end_was_missed_is_sent_at_the_start(running: AgentUnderTest) -> None:
    """Given a stop over the end of the day, When started, Then the list is sent once, and
    new events begin another one.
    """
    collect(running)
    news(running, "a", "b")
    running.stop()
    running.clock.advance(days=3)
    running.handler.publish("news", "c", {"title": "C"})
    running.start()
    running.advance(1)
    assert lists(running) == [["a", "b"]]

    running.advance(days=1)
    assert lists(running) == [["a", "b"], ["c"]]


def test_a_list_is_closed_even_if_its_first_event_is_given_up(
    running: AgentUnderTest,
) -> None:
    """Given the event that opened a list and was discarded by hand, When the day ends,
    Then the list is sent all the same.
    """
    collect(running)
    news(running, "a", "b")
    by_hand.discard(running._store.get(), [(1, 1)])
    running.advance(days=1)
    assert lists(running) == [["a", "b"]]
    news(running, "c")
    running.advance(days=1)
    assert lists(running) == [["a", "b"], ["c"]]


def test_a_list_that_nobody_waits_for_is_closed_by_the_next_event(
    running: AgentUnderTest,
) -> None:
    """Given a list whose first three events were discarded by hand, When another comes
    after the end, Then it closes the list, and begins one of its own.
    """
    collect(running)
    news(running, "a", "b", "c", "d")
    by_hand.discard(running._store.get(), [(1, 1), (2, 1), (3, 1)])
    running.advance(days=1)
    assert lists(running) == []
    news(running, "e")
    running.advance(days=1)
    assert lists(running) == [["a", "b", "c", "d"], ["e"]]


def test_a_list_that_an_older_agent_began_is_closed(running: AgentUnderTest) -> None:
    """Given a list for whose end one event waits, as older agents kept it, When another
    comes and the day ends, Then there is one list.
    """

    def began(handler: Handler, event: Event) -> None:
        digest(handler, event, at=time(8), tz=ZoneInfo("UTC"))

    def as_before(handler: Handler, event: Event) -> None:
        try:
            began(handler, event)
        finally:
            if "open" in handler.state:
                del handler.state["open"]["keepers"]

    running.add_listener(as_before, WANTED, name="daily")
    news(running, "a", "b")
    running.advance(days=1)
    assert lists(running) == [["a", "b"]]


def test_its_own_lists_are_not_collected(
    running: AgentUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a match that fits the lists, too, When days pass, Then no list holds a list,
    and the log says what is wrong.
    """
    running.add_listener(digest, {"event_type": ("exists", True)}, name="daily")
    news(running, "a")
    running.advance(days=4)
    assert lists(running) == [["a"]]
    assert "its match fits its own lists, too; they are left out" in caplog.text


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("at = 18", "argument 'at': write a time as \"18:00\", not 18"),
        ('at = "18:00+02:00"', "argument 'at': leave out the offset; tz = "),
        ('at = "25:00"', "argument 'at': input should be in a valid time format"),
        ('every = "week"', "argument 'every': input should be 'hour' or 'day'"),
    ],
)
def test_mistakes_in_agent_toml_are_told_at_start(
    tmp_path: Path, given: str, problem: str
) -> None:
    """Given a time that is none, Then the agent does not start."""
    config = tmp_path / "agent.toml"
    config.write_text(
        '[[listeners]]\nrun = "listeners.digest"\n'
        f'match = {{ event_type = ["==", "news"] }}\nwith = {{ {given} }}\n'
    )
    with pytest.raises(ConfigError, match=problem):
        agent_of_config(str(config))


def test_a_long_list_is_cut_and_says_so(running: AgentUnderTest) -> None:
    """Given more events than a list takes, When it is closed, Then it counts the rest."""
    collect(running, most=2)
    news(running, "a", "b", "c", "d")
    running.advance(days=1)
    (event,) = running.published("digest")
    assert event.data["count"] == 4
    assert event.data["text"] == "- A\n- B\nand 2 more"


def test_huge_events_do_not_break_the_state(running: AgentUnderTest) -> None:
    """Given events of 40 and 200 KB, When a day ends, Then the list holds what has room,
    and of the largest ones their lines.
    """
    collect(running)
    for number, size in enumerate([200_000, *[40_000] * 6]):
        data = {"title": f"n{number}", "text": "x" * size}
        running.handler.publish("news", str(number), data)
    running.advance(1)
    running.advance(days=1)
    (event,) = running.published("digest")
    assert (event.data["count"], len(event.data["events"])) == (7, 5)
    assert event.data["events"][0]["data"] is None
    assert event.data["text"].splitlines()[0] == "- n0"


def test_a_clock_that_is_set_back_loses_no_list(running: AgentUnderTest) -> None:
    """Given a list that was just closed, When the clock is set back and an event comes,
    Then there is a second list for that day.
    """
    collect(running)
    news(running, "a")
    running.advance(days=1)
    running.clock.set_wall_clock(running.clock.now().replace(hour=7, minute=59))
    running.advance(10)
    running.clock.set_wall_clock(running.clock.now().replace(day=6))
    news(running, "b")
    running.advance(days=2)
    assert lists(running) == [["a"], ["b"]]


def test_an_agent_that_takes_small_events_only(tmp_path: Path) -> None:
    """Given a low limit of size, When a list is longer, Then it is sent without events."""
    agent = AgentUnderTest(tmp_path / "small.sqlite", max_data=2_000)
    collect(agent)
    try:
        news(agent, *(f"{number} {'x' * 90}" for number in range(30)))
        agent.advance(days=1)
        (event,) = agent.published("digest")
        assert (event.data["count"], event.data["events"]) == (30, [])
    finally:
        agent.stop()


def test_a_line_shows_what_stands_at_a_path(running: AgentUnderTest) -> None:
    """Given `show`, When a list is made, Then lines show that, or else the identifier."""
    collect(running, show="data.name")
    running.handler.publish("news", "1", {"data": {"name": "two\nlines"}})
    running.handler.publish("news", "2", {})
    running.advance(1)
    running.advance(days=1)
    assert running.published("digest")[0].data["text"] == "- two lines\n- 2"


def test_two_digests_have_lists_of_their_own(running: AgentUnderTest) -> None:
    """Given two under different names, When the day ends, Then there are two lists."""
    collect(running)
    running.add_listener(digest, WANTED, name="other", at=time(8), tz=ZoneInfo("UTC"))
    news(running, "a")
    running.advance(days=1)
    assert sorted(event.data["name"] for event in running.published("digest")) == [
        "daily", "other",
    ]  # fmt: skip


def test_a_listener_gets_the_list(running: AgentUnderTest) -> None:
    """Given a listener for digests, When a list is closed, Then it is delivered."""
    got: list[Event] = running.record({"event_type": ("==", "digest")})
    collect(running)
    news(running, "a")
    running.advance(days=1)
    assert [event.data["count"] for event in got] == [1]


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("now", "every", "at", "tz", "end"),
    [
        ("2026-01-05T07:59", "day", "08:00", UTC, "2026-01-05T08:00"),
        ("2026-01-05T08:00", "day", "08:00", UTC, "2026-01-06T08:00"),
        ("2026-03-28T12:00", "day", "02:30", BERLIN, "2026-03-29T01:30"),  # the gap
        ("2026-10-24T12:00", "day", "02:30", BERLIN, "2026-10-25T00:30"),  # comes twice
        ("2026-10-25T00:30", "day", "02:30", BERLIN, "2026-10-26T01:30"),
        ("2026-01-05T12:10", "hour", "00:00", UTC, "2026-01-05T13:00"),
        ("2026-01-05T13:00", "hour", "00:00", UTC, "2026-01-05T14:00"),
        ("2026-01-05T12:10", "hour", "00:00", ZoneInfo("Asia/Kolkata"), "2026-01-05T12:30"),
        ("2026-10-25T00:10", "hour", "00:00", BERLIN, "2026-10-25T01:00"),
    ],
)
def test_when_an_hour_or_a_day_ends(
    now: str, every: Any, at: str, tz: Any, end: str
) -> None:
    """Given a moment, When asked for the end, Then it is the next one, in UTC here."""
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    found = next_end(moment, every, time.fromisoformat(at), tz)
    assert found.astimezone(UTC) == datetime.fromisoformat(end).replace(tzinfo=UTC)
    assert found > moment
