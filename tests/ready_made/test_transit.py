"""jobs.transit: the next departures are told when they have changed for a person."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import responses
from pydantic import SecretStr, ValidationError

from jobs.transit import MbtaSettings, transit
from jobs.transit_answers import ZONE, Document, Stop, as_told, next_departures, service_day
from py_agent import Handler, HttpError
from py_agent.errors import ConfigError, RegistrationError
from py_agent.loading import agent_of_config
from py_agent.testing import AgentUnderTest

from .json_server import Answer, Asked, as_json
from .transit_server import TransitServer

KEY = "canary0123456789abcdef0123456789"
HERE: dict[str, Any] = {"stop": "2168", "route": "66"}


@pytest.fixture
def server(running: AgentUnderTest) -> Iterator[TransitServer]:
    """The MBTA at noon or one, at the beginning of a minute."""
    noon = running.clock.now().replace(hour=17, minute=0, second=0, microsecond=0)
    running.clock.set_wall_clock(noon)
    made = TransitServer(running.clock.now)
    yield made
    made.close()


@pytest.fixture
def agent(running: AgentUnderTest, server: TransitServer) -> AgentUnderTest:
    """An agent that asks it without a key."""
    running.settings[MbtaSettings] = MbtaSettings(api_url=server.host)
    return running


def poll(agent: AgentUnderTest, seconds: float = 0, **arguments: Any) -> list[Any]:
    """Let some time pass and poll; return the data of what was told anew."""
    before = len(agent.published("transit_departures"))
    agent.clock.advance(seconds)
    agent.run_job(transit, **(arguments or HERE))
    return [each.data for each in agent.published("transit_departures")[before:]]


def minutes(agent: AgentUnderTest, data: Any) -> list[float]:
    """Return how many minutes from now what was told departs."""
    times = [datetime.fromisoformat(each["time"]) for each in data["departures"]]
    return [(each - agent.clock.now()).total_seconds() / 60 for each in times]


def trips(data: Any) -> list[str]:
    return [each["trip"] for each in data["departures"]]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [each.message for each in caplog.records if each.levelno >= logging.WARNING]
    return [each.removeprefix("jobs.transit.transit: ") for each in found]


# What is told


def test_the_next_departures_are_told(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given predictions, Then the next three are told in order, with all names."""
    server.predictions = [
        server.departs(f"t{n}", n) for n in (30, 5.5, 45, 12)
    ]  # fmt: skip
    poll(agent)
    (event,) = agent.published("transit_departures")
    assert event.identifier.startswith("2168/66/1/1-")
    times = [each.pop("time") for each in event.data["departures"]]
    assert event.data == {
        "agency": "MBTA", "stop": "2168", "stop_name": "Stop 2168", "route": "66",
        "route_name": "66", "direction": 1, "direction_name": "Inbound",
        "destination": "Nubian Station",
        "departures": [
            {"trip": trip, "headsign": "Nubian Station", "live": True}
            for trip in ("t5.5", "t12", "t30")
        ],
    }  # fmt: skip
    moments = [datetime.fromisoformat(each) for each in times]
    assert moments == [agent.clock.now() + timedelta(minutes=n) for n in (5, 12, 30)]
    local = agent.clock.now().astimezone(ZONE).utcoffset()
    assert {each.utcoffset() for each in moments} == {local}


def test_each_stop_route_and_direction_is_an_event(
    agent: AgentUnderTest, server: TransitServer
) -> None:
    """Given several stops, Then one request tells each of them, and nothing else."""
    server.stations = {"70069": "place-cntsq", "70070": "place-cntsq"}
    server.predictions = [
        server.departs("a", 3), server.departs("b", 4, direction_id=0),
        server.departs("c", 5, stop="70069", route="Red", direction_id=0),
        server.departs("d", 6, stop="70070", route="Red"),
        server.departs("e", 7, stop="70070"),  # of a route that nobody asked for here
    ]  # fmt: skip
    stops = [
        {"stop": 2168, "route": 66, "name": "Home"},
        {"stop": "place-cntsq", "route": "Red", "direction": "inbound"},
    ]
    told = poll(agent, stops=stops)
    assert [(each["stop"], each["direction"], trips(each)) for each in told] == [
        ("2168", 0, ["b"]), ("2168", 1, ["a"]), ("place-cntsq", 1, ["d"]),
    ]  # fmt: skip
    assert [each["stop_name"] for each in told] == ["Home", "Home", "Stop 70069"]
    assert [each["route_name"] for each in told] == ["66", "66", "Line Red"]
    (asked,) = server.asked
    assert asked.query["filter[stop]"] == "2168,place-cntsq"
    assert asked.query["filter[route]"] == "66,Red"
    assert asked.query["include"] == "stop,route,trip"


@pytest.mark.parametrize("direction", [0, "0", "outbound", "Harvard square"])
def test_a_direction(agent: AgentUnderTest, server: TransitServer, direction: Any) -> None:
    """Given a direction by number, name or destination, Then only that is told."""
    server.predictions = [server.departs("a", 3), server.departs("b", 4, direction_id=0)]
    told = poll(agent, **HERE, direction=direction)
    assert [trips(each) for each in told] == [["b"]]


def test_a_direction_that_is_none(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given a name that no direction has, Then the run fails and says which there are."""
    server.predictions = [server.departs("a", 3)]
    expected = r"no direction 'north'; it has 'Outbound' \(0\) and 'Inbound' \(1\)"
    with pytest.raises(ValueError, match=expected):
        poll(agent, **HERE, direction="north")


@pytest.mark.parametrize(
    "fields",
    [{"schedule_relationship": "CANCELLED"}, {"schedule_relationship": "SKIPPED"},
     {"schedule_relationship": "NO_DATA"}, {"departure_time": None},
     {"departure_time": None, "arrival_time": None, "status": "Stopped 5 stops away"}],
)  # fmt: skip
def test_what_nobody_can_board_is_left_out(
    agent: AgentUnderTest, server: TransitServer, fields: Any
) -> None:
    """Given a trip that is cancelled, skips the stop or ends there, Then it is not told."""
    server.predictions = [server.departs("a", 3, **fields), server.departs("b", 9)]
    assert [trips(each) for each in poll(agent)] == [["b"]]


@pytest.mark.parametrize("relationship", ["ADDED", "UNSCHEDULED", None])
def test_extra_trips_are_told(
    agent: AgentUnderTest, server: TransitServer, relationship: str | None
) -> None:
    """Given a trip that is not in the timetable, Then it is told like others."""
    server.predictions = [server.departs("a", 3, schedule_relationship=relationship)]
    assert [trips(each) for each in poll(agent)] == [["a"]]


def test_a_trip_that_comes_by_twice(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given one trip with two times at a stop, Then both are told, each once."""
    twice = [server.departs("a", 3), server.departs("a", 20, stop_sequence=30)]
    server.predictions = [*twice, server.departs("a", 3)]
    (told,) = poll(agent)
    assert minutes(agent, told) == [3, 20]
    assert poll(agent, 30) == []


def test_the_headsign_of_the_day(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given a headsign that differs from the trip's own, Then it is the one told."""
    server.predictions = [server.departs("a", 3, trip_headsign="Park Street")]
    assert poll(agent)[0]["departures"][0]["headsign"] == "Park Street"


# What is news


def test_the_same_is_told_once(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given what stays, Then it is told once, after a restart as well."""
    server.predictions = [server.departs("a", 10)]
    assert len(poll(agent)) == 1
    assert poll(agent, 20) == []
    agent.stop()
    agent.start()
    assert poll(agent, 20) == []


def test_seconds_are_no_news(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given a time that wavers within its minute and the next, Then nothing is told."""
    for shift, news in ((20, 1), (50, 0), (0, 0), (119, 0), (61, 0), (30, 0)):
        server.predictions = [server.departs("a", 10 + shift / 60)]
        assert len(poll(agent)) == news


def test_a_minute_is_news(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given a vehicle before its minute, or over a minute late, Then it is told anew."""
    for shift, expected in ((0, [10]), (120, [12]), (119, [11]), (0, [10])):
        server.predictions = [server.departs("a", 10 + shift / 60)]
        assert [minutes(agent, each) for each in poll(agent)] == [expected]
    events = agent.published("transit_departures")
    assert len({each.identifier for each in events}) == 4


def test_what_comes_back_is_told_again(
    agent: AgentUnderTest, server: TransitServer
) -> None:
    """Given a trip that comes, goes and comes, Then each has an identifier of its own."""
    both = [server.departs("a", 10), server.departs("b", 20)]
    for server.predictions in (both, both[:1], both, both[:1]):
        assert len(poll(agent)) == 1
    events = agent.published("transit_departures")
    assert [len(each.data["departures"]) for each in events] == [2, 1, 2, 1]


def test_what_has_left_makes_room(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given a server that says nothing new, Then what has left is dropped all the same."""
    server.modified = agent.clock.now()
    server.predictions = [server.departs(f"t{n}", n) for n in (1, 5, 9, 13, 17)]
    assert [trips(each) for each in poll(agent)] == [["t1", "t5", "t9"]]
    assert [trips(each) for each in poll(agent, 61)] == [["t5", "t9", "t13"]]
    assert poll(agent, 30) == []
    asked = [each for each in server.asked if each.path == "/predictions"]
    conditions = [each.headers.get("if-modified-since") for each in asked]
    assert conditions[0] is None
    assert conditions[1] == conditions[2] is not None


def test_another_stop_is_asked_for_without_a_condition(
    agent: AgentUnderTest, server: TransitServer
) -> None:
    """Given what is unchanged but not known of another stop, Then all of it is read."""
    server.modified = agent.clock.now()
    server.predictions = [server.departs("a", 9), server.departs("b", 8, direction_id=0)]
    poll(agent, **HERE, direction=1)
    assert [trips(each) for each in poll(agent, **HERE, direction=0)] == [["b"]]


def test_a_cancelled_trip_is_news(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given a trip that is cancelled, Then the list without it is told."""
    server.predictions = [server.departs("a", 10), server.departs("b", 20)]
    poll(agent)
    cancelled = {"schedule_relationship": "CANCELLED", "departure_time": None}
    server.predictions[0] = server.departs("a", 10, **cancelled)
    assert [trips(each) for each in poll(agent)] == [["b"]]


def test_a_change_of_one_stop_tells_no_other(
    agent: AgentUnderTest, server: TransitServer
) -> None:
    """Given two stops, When one changes, Then only that is told."""
    other = {"stop": "1", "route": "39"}
    stops = [HERE, other]
    server.predictions = [server.departs("a", 10), server.departs("b", 9, **other)]
    assert len(poll(agent, stops=stops)) == 2
    server.predictions[1] = server.departs("b", 14, **other)
    assert [each["stop"] for each in poll(agent, stops=stops)] == ["1"]


def cut_off(handler: Handler, mbta: MbtaSettings, cut: list[bool]) -> None:
    transit(handler, mbta, **HERE)
    if cut.pop():
        raise OSError("cut off")


def test_a_run_cut_off_after_its_event_tells_nothing_twice(
    agent: AgentUnderTest, server: TransitServer
) -> None:
    """Given a run that fails after it published, When repeated, Then the event is known."""
    server.predictions = [server.departs("a", 10)]
    cut = [False, True]
    with pytest.raises(OSError, match="cut off"):
        agent.run_job(cut_off, cut=cut)
    agent.run_job(cut_off, cut=cut)
    assert len(agent.published("transit_departures")) == 1


# The timetable


def today(agent: AgentUnderTest) -> str:
    return service_day(agent.clock.now())[0]


def test_without_predictions_the_timetable_is_told(
    agent: AgentUnderTest, server: TransitServer
) -> None:
    """Given no prediction, Then the timetable is told, and predictions as they come."""
    server.timetable[today(agent)] = [server.departs(f"t{n}", n) for n in (-5, 10, 30)]
    (told,) = poll(agent)
    assert [(each["trip"], each["live"]) for each in told["departures"]] == [
        ("t10", False), ("t30", False),
    ]  # fmt: skip
    server.predictions = [server.departs("t10", 11)]
    (told,) = poll(agent)
    assert [(each["trip"], each["live"]) for each in told["departures"]] == [("t10", True)]


def test_the_timetable_is_asked_for_once_an_hour(
    agent: AgentUnderTest, server: TransitServer
) -> None:
    """Given a poll each minute without predictions, Then an hour has one such request."""
    server.timetable[today(agent)] = [server.departs(f"t{n}", n) for n in range(5, 200, 20)]
    for _ in range(6):
        poll(agent, 600, **HERE, direction=1)
    asked = [each for each in server.asked if each.path == "/schedules"]
    assert len(asked) == 2
    assert asked[0].query["filter[min_time]"] < asked[1].query["filter[min_time]"]


def test_nothing_is_kept_of_the_addresses_of_timetables(
    agent: AgentUnderTest, server: TransitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a timetable with an ETag, When polled for hours, Then it is not remembered, as
    its address holds the hour.
    """
    answer, kept = server.answer, set[str]()

    def with_tag(asked: Asked) -> Answer:
        status, headers, body = answer(asked)
        return status, {**headers, "ETag": f'"{asked.path}"'}, body

    def look(handler: Handler, mbta: MbtaSettings) -> None:
        transit(handler, mbta, **HERE)
        kept.update(handler.http.validators)

    monkeypatch.setattr(server, "answer", with_tag)
    for _ in range(3):
        agent.run_job(look)
        agent.clock.advance(3600)
    assert [each.path for each in server.asked].count("/schedules") >= 3
    assert len(kept) == 1 and "/predictions" in kept.pop()


def test_the_timetable_knows_nothing_of_cancelled_trips(
    agent: AgentUnderTest, server: TransitServer
) -> None:
    """Given all trips cancelled or skipped, Then the timetable does not bring them back."""
    server.timetable[today(agent)] = [server.departs(f"t{n}", n) for n in (10, 20, 30)]
    server.predictions = [
        server.departs("t10", 10, schedule_relationship="CANCELLED", departure_time=None),
        server.departs("t20", 20, schedule_relationship="SKIPPED"),
        server.departs("t30", 30, schedule_relationship="NO_DATA", departure_time=None),
    ]
    assert [trips(each) for each in poll(agent)] == [["t30"]]


def test_each_direction_has_its_timetable(
    agent: AgentUnderTest, server: TransitServer
) -> None:
    """Given predictions of one direction only, Then the other's timetable is told."""
    server.timetable[today(agent)] = [
        server.departs("x", 20), server.departs("b", 30, direction_id=0),
    ]  # fmt: skip
    server.predictions = [server.departs("a", 10)]
    told = {each["direction"]: each["departures"] for each in poll(agent)}
    assert [(each["trip"], each["live"]) for each in told[0]] == [("b", False)]
    assert [(each["trip"], each["live"]) for each in told[1]] == [("a", True)]
    assert poll(agent, 30) == []
    assert [each.path for each in server.asked] == [
        "/predictions", "/schedules", "/predictions",
    ]  # fmt: skip


def test_today_and_tomorrow(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given one direction that has ended for today, Then tomorrow's is told of it alone."""
    tomorrow = f"{agent.clock.now().astimezone(ZONE) + timedelta(days=1):%Y-%m-%d}"
    server.timetable[today(agent)] = [server.departs("late", 20)]
    server.timetable[tomorrow] = [
        server.departs("early", 17 * 60, direction_id=0), server.departs("x", 17 * 60),
    ]  # fmt: skip
    told = {each["direction"]: trips(each) for each in poll(agent)}
    assert told == {0: ["early"], 1: ["late"]}


def test_the_timetable_has_last_stops(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given trips that end here or only let people off, Then they are not told."""
    server.timetable[today(agent)] = [
        server.departs("a", 5, departure_time=None), server.departs("b", 6, pickup_type=1),
        server.departs("c", 7, pickup_type=0, stop_headsign="Elsewhere"),
    ]  # fmt: skip
    (told,) = poll(agent)
    assert [each["headsign"] for each in told["departures"]] == ["Elsewhere"]


def test_over_midnight(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given half past midnight, Then the day before is asked for, from its 24th hour on."""
    local = agent.clock.now().astimezone(ZONE)
    midnight = (local + timedelta(days=1)).replace(hour=0, minute=30)
    agent.clock.set_wall_clock(midnight.astimezone(UTC))
    server.timetable[f"{local:%Y-%m-%d}"] = [server.departs("late", 10)]
    (told,) = poll(agent)
    assert trips(told) == ["late"]
    query = server.asked[1].query
    assert (query["filter[date]"], query["filter[min_time]"]) == (
        f"{local:%Y-%m-%d}", "24:00",
    )  # fmt: skip


def test_the_first_bus_of_tomorrow(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given nothing more today, Then the first departures of tomorrow are told."""
    tomorrow = f"{agent.clock.now().astimezone(ZONE) + timedelta(days=1):%Y-%m-%d}"
    server.timetable[tomorrow] = [server.departs("early", 17 * 60)]
    (told,) = poll(agent)
    assert told["departures"][0]["time"].startswith(tomorrow)
    assert poll(agent, 60) == []
    assert [each.path for each in server.asked].count("/schedules") == 2


def test_when_nothing_leaves_any_more(
    agent: AgentUnderTest, server: TransitServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a last departure, When it has left, Then an empty list is told, and a hint."""
    server.predictions = [server.departs("last", 1)]
    poll(agent)
    server.predictions = []
    (told,) = poll(agent, 120)
    assert told["departures"] == []
    assert (told["stop_name"], told["direction_name"]) == ("Stop 2168", "Inbound")
    assert poll(agent, 3_600) == []
    (line,) = warnings(caplog)
    assert "no departure of route 66 from stop 2168, today or tomorrow" in line


# What is wrong


@pytest.mark.parametrize("answer", [{}, [], None, 5, {"data": None}, {"data": {"id": "x"}}])
def test_an_answer_without_a_list(
    agent: AgentUnderTest, server: TransitServer, answer: Any
) -> None:
    """Given JSON that lists nothing, Then the run fails with one clear line."""
    server.refuse = [as_json(answer)]
    with pytest.raises(
        ValueError, match="^the MBTA's answer holds no list of predictions$"
    ):
        poll(agent)


def test_one_wrong_item_stops_no_other(
    agent: AgentUnderTest, server: TransitServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given items that make no sense, Then the others are told and those are counted."""
    server.predictions = [
        None, 7, {}, {"attributes": None}, {"attributes": {}, "relationships": []},
        server.departs("a", 1, departure_time="soon"),
        server.departs("b", 2, direction_id=2),
        server.departs("c", 3, departure_time=5),
        server.departs("d", 4, direction_id=None),
        server.departs("e", 4, departure_time="2026-01-05T12:00:00"),
        server.departs("g", 5, departure_time="0001-01-01T00:00:00+23:59"),
        server.departs("f", 6, stop_sequence="x", trip_headsign=7),
    ]  # fmt: skip
    server.refuse = [as_json({"data": server.predictions, "included": [5, {"id": []}, {}]})]
    assert [trips(each) for each in poll(agent)] == [["f"]]
    assert warnings(caplog) == [
        "11 items of the MBTA's answer make no sense and are left out"
    ]


@pytest.mark.parametrize(
    "answer",
    [(200, {}, "<html>"), (200, {}, "[" * 100_000), (200, {}, b"\xff\xfe\xfa"),
     (200, {}, " " * 10_100_000), (400, {}, '{"errors": [{"detail": "Invalid filter"}]}')],
    ids=["html", "deep", "bytes", "huge", "refused"],
)  # fmt: skip
def test_no_usable_answer(
    agent: AgentUnderTest, server: TransitServer, answer: Any
) -> None:
    """Given no JSON, no end or an error, Then the run fails with its reason."""
    server.refuse = [answer]
    with pytest.raises(HttpError, match="^GET http"):
        poll(agent)


def test_a_server_error_passes(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given one answer of 503, Then the request is tried again."""
    server.predictions = [server.departs("a", 10)]
    server.refuse = [(503, {}, "busy")]
    assert len(poll(agent)) == 1


def test_too_many_requests(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given 429 until the minute is over, Then the request waits for that."""
    server.predictions = [server.departs("a", 10)]
    before = agent.clock.now()
    reset = str(round(before.timestamp()) + 20)
    limits = {"x_ratelimit_remaining": "0", "x_ratelimit_reset": reset}
    server.refuse = [as_json({"errors": [{"code": "rate_limited"}]}, 429, **limits)]
    assert len(poll(agent)) == 1
    assert agent.clock.now() - before >= timedelta(seconds=20)


def test_the_last_request_of_a_minute(agent: AgentUnderTest, server: TransitServer) -> None:
    """Given that no request is left, Then the next one waits as long as needed."""
    server.predictions = [server.departs("a", 10)]
    server.limit = "0"
    poll(agent)
    before = agent.clock.now()
    server.limit = "20"
    poll(agent, 10)
    assert agent.clock.now() - before == timedelta(seconds=30)
    poll(agent)
    assert agent.clock.now() - before == timedelta(seconds=30)


@pytest.mark.parametrize("reset", ["", "soon", "9" * 40, "-1", "²"])
def test_senseless_limits(agent: AgentUnderTest, server: TransitServer, reset: str) -> None:
    """Given a limit that makes no sense, Then nothing waits for it."""
    server.predictions = [server.departs("a", 10)]
    document = as_json({"data": []})[2]
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
    server.refuse = [(200, headers, document)]
    before = agent.clock.now()
    poll(agent)
    poll(agent)
    assert agent.clock.now() == before


# Arguments and the key


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, 'no stop is named; with = { stop = "2168", route = "66" } does'),
        ({"stops": []}, "no stop is named"),
        ({"stop": "1"}, "transit: a stop is not as it should be: each stop needs a route$"),
        ({"route": "66"}, "each stop needs a stop"),
        ({"direction": 1}, "belong to stop and route"),
        ({"stops": [{"stop": "1,2", "route": "3"}]}, "stop: '1,2' is not one id"),
        ({"stop": True, "route": "3"}, "stop: it is a text or a number, not true"),
        ({"stop": "1", "route": "3", "direction": 5}, "direction is 0, 1 or a name, not 5"),
        ({"stops": [{"stop": "1", "route": "3", "dirction": 0}]}, "has no 'dirction'"),
        ({"stops": ["2168"]}, "transit: a stop is not as it should be: Input should be"),
    ],
)  # fmt: skip
def test_wrong_arguments(
    agent: AgentUnderTest, server: TransitServer, arguments: Any, expected: str
) -> None:
    """Given arguments that name no stop, When the job is registered, Then one clear line
    says so.
    """
    with pytest.raises(RegistrationError, match=expected) as raised:
        agent.run_job(transit, **arguments)
    assert "\n" not in str(raised.value)
    assert server.asked == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("stops = [{ stop = '1', route = '3', dirction = 0 }]", "a stop has no 'dirction'"),
        ("stops = [{ stop = '1' }]", "each stop needs a route"),
        ("stop = '1', route = '3', count = 0", "argument 'count'"),
        ("stop = [], route = '3'", "argument 'stop'"),
        ("stop = true, route = '3'", "argument 'stop': it is a text or a number, not true"),
        ("stop = '1'", "each stop needs a route"),
        ("stop = '1,2', route = '3'", "'1,2' is not one id; write several into stops"),
        (
            "stop = '1', route = '3', direction = 5",
            "argument 'direction': a direction is 0",
        ),
        ("count = 2", "no stop is named; with = "),
        (
            "stops = [{ stop = '1', route = '3' }], direction = 0",
            "belong to stop and route",
        ),
        ("stops = []", "argument 'stops': list should have at least 1 item"),
    ],
)
def test_wrong_arguments_in_the_file(tmp_path: Path, given: str, expected: str) -> None:
    """Given such arguments in agent.toml, Then they are told before anything starts."""
    file = tmp_path / "agent.toml"
    file.write_text(
        f"[[jobs]]\nrun = 'jobs.transit.transit'\nevery = '1 minute'\n"
        f"with = {{ {given} }}\n"
    )
    with pytest.raises(ConfigError, match=expected):
        agent_of_config(str(file))


def test_stops_in_the_file(tmp_path: Path) -> None:
    """Given stops in agent.toml, Then they are typed when the job is made."""
    stops = "[{ stop = 2168, route = 66, direction = 'Inbound', name = 'Home' }]"
    file = tmp_path / "agent.toml"
    file.write_text(
        f"[[jobs]]\nrun = 'jobs.transit.transit'\nevery = '1 minute'\n"
        f"with = {{ stops = {stops} }}\n"
    )
    (job,) = agent_of_config(str(file)).registry.jobs
    expected = Stop(stop="2168", route="66", direction="Inbound", name="Home")
    assert job.arguments["stops"] == [expected]


def test_the_key_is_sent_and_is_nowhere_else(
    agent: AgentUnderTest,
    server: TransitServer,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """Given a key, Then it is a header, and in no log, error, event or state."""
    caplog.set_level(logging.DEBUG)
    agent.settings[MbtaSettings] = MbtaSettings(
        api_key=SecretStr(f" {KEY}\n"), api_url=server.host
    )
    server.key = KEY
    server.modified = agent.clock.now()
    server.predictions = [server.departs("a", 10)]
    assert len(poll(agent)) == 1
    assert server.asked[0].headers["x-api-key"] == KEY
    texts = []
    for status in (400, 403, 404, 429, 200):
        headers = {"Retry-After": "900"} if status == 429 else {}
        server.refuse = [(status, headers, f"no {KEY}")]
        with pytest.raises(HttpError) as raised:
            poll(agent)
        texts.append(repr(raised.value))
    assert "MBTA_API_KEY or [mbta] api_key" in texts[1]
    agent.stop()
    texts += [caplog.text, repr(agent.settings)]
    assert not any(KEY in each for each in texts)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes()


def test_the_public_service_is_asked(running: AgentUnderTest) -> None:
    """Given no settings at all, Then the MBTA is asked, without a key."""
    with responses.RequestsMock() as web:
        web.get("https://api-v3.mbta.com/predictions", json={}, status=400)
        with pytest.raises(HttpError, match="status 400"):
            running.run_job(transit, **HERE)
        assert "x-api-key" not in web.calls[0].request.headers


# Parts


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-1, -60), (0, 0), (59, 0), (119, 0), (120, 120), (-61, -120), (3_601, 3_600)],
)
def test_the_minute_that_is_told(seconds: int, expected: int) -> None:
    """Given a minute told before, Then it stays for two minutes, and is never too late."""
    before = datetime(2026, 1, 5, 12, 7, tzinfo=ZONE)
    told = as_told(before + timedelta(seconds=seconds), before)
    assert told == before + timedelta(seconds=expected)


def test_two_that_leave_together_do_not_change_places() -> None:
    """Given two departures that overtake each other by seconds, Then nothing is news."""

    def document(first: int, second: int) -> Any:
        server_time = datetime(2026, 1, 5, 12, 7, tzinfo=ZONE)
        return Document({"data": [
            {
                "attributes": {
                    "departure_time": (server_time + timedelta(seconds=n)).isoformat(),
                    "direction_id": 0,
                },
                "relationships": {
                    name: {"data": {"id": each}}
                    for name, each in (("stop", "s"), ("route", "r"), ("trip", trip))
                },
            }
            for trip, n in (("a", first), ("b", second))
        ]}, "predictions", True).of(Stop(stop="s", route="r")).departures  # fmt: skip

    before = next_departures(document(10, 20), {}, 1)
    assert next_departures(document(40, 30), before, 1) == before


@pytest.mark.parametrize(
    ("local", "expected"),
    [((6, 2, 59), ("2026-01-05", 26)), ((6, 3, 0), ("2026-01-06", 3)),
     ((5, 23, 59), ("2026-01-05", 23)), ((6, 0, 0), ("2026-01-05", 24))],
)  # fmt: skip
def test_the_day_of_the_timetable(local: Any, expected: Any) -> None:
    """Given a time after midnight, Then it belongs to the day before until three."""
    day, hour, minute = local
    moment = datetime(2026, 1, day, hour, minute, tzinfo=ZONE).astimezone(UTC)
    assert service_day(moment) == expected


def test_a_stop_is_what_it_says() -> None:
    """Given numbers, Then they are ids; given a comma, Then it is refused."""
    assert Stop.model_validate({"stop": 1, "route": 66}).key == '["1", "66", null]'
    with pytest.raises(ValidationError):
        Stop(stop="1", route="66,39")
