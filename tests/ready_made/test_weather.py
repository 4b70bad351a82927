"""jobs.weather: a forecast is told when it has changed for a person."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import responses
from pydantic import SecretStr

from jobs.weather import OpenMeteoSettings, OpenWeatherSettings, as_told, is_news, weather
from jobs.weather_services import OPEN_METEO, OPENWEATHER, forecast_of, number, zone_of
from py_agent import Handler, HttpError
from py_agent.errors import ConfigError
from py_agent.loading import agent_of_config
from py_agent.testing import AgentUnderTest, JobRun

from .json_server import as_json
from .weather_server import CODES, IDS, WeatherServer

KEY = "canary0123456789abcdef0123456789"
HERE: dict[str, Any] = {"latitude": 42.36, "longitude": -71.06, "place": "Boston"}


@pytest.fixture
def server(running: AgentUnderTest) -> Iterator[WeatherServer]:
    """Both services, at noon in the place."""
    local = running.clock.now().replace(hour=17, minute=0, second=0, microsecond=0)
    running.clock.set_wall_clock(local)
    made = WeatherServer(local)
    made.key = KEY
    yield made
    made.close()


@pytest.fixture
def agent(running: AgentUnderTest, server: WeatherServer) -> AgentUnderTest:
    """An agent that asks Open-Meteo."""
    running.settings[OpenMeteoSettings] = OpenMeteoSettings(api_url=server.host)
    with_key(running, server, None)
    return running


def with_key(agent: AgentUnderTest, server: WeatherServer, key: str | None) -> None:
    given = None if key is None else SecretStr(key)
    settings = OpenWeatherSettings(api_key=given, api_url=server.host)
    agent.settings[OpenWeatherSettings] = settings


def run(agent: AgentUnderTest, **arguments: Any) -> JobRun:
    return agent.run_job(weather, **HERE, **arguments)


def poll(agent: AgentUnderTest, server: WeatherServer, minutes: float = 1) -> bool:
    """Let some time pass and poll; return whether the forecast was told."""
    before = len(agent.published("weather_forecast"))
    agent.clock.advance(minutes * 60)
    server.now = agent.clock.now()
    run(agent)
    return len(agent.published("weather_forecast")) > before


def told(agent: AgentUnderTest) -> Any:
    return agent.published("weather_forecast")[-1].data


# What is told


@pytest.mark.parametrize("service", [OPEN_METEO, OPENWEATHER])
def test_both_services_tell_the_same(
    agent: AgentUnderTest, server: WeatherServer, service: str
) -> None:
    """Given the same weather, When told by either service, Then the data are the same."""
    with_key(agent, server, KEY if service == OPENWEATHER else None)
    run(agent)
    (event,) = agent.published("weather_forecast")
    day = f"{server.now:%Y-%m-%d}"
    after = f"{server.now + timedelta(days=1):%Y-%m-%d}"
    assert event.identifier.startswith(f"Boston/{day}/1-")
    hours = event.data.pop("hours")
    sunset = event.data["today"].pop("sunset")
    assert event.data.pop("tomorrow")["high"] == 9
    assert event.data == {
        "service": service, "place": "Boston", "latitude": 42.36, "longitude": -71.06,
        "units": "metric", "timezone": "America/New_York", "date": day,
        "now": {
            "temperature": 3, "feels_like": -1, "wind": 15, "rain_chance": 20,
            "condition": "clouds",
        },
        "today": {
            "date": day, "low": -2, "high": 5, "feels_low": -7, "feels_high": 1,
            "rain_chance": 60, "wind": 25, "condition": "snow",
            "sunrise": event.data["today"]["sunrise"],
        },
    }  # fmt: skip
    assert datetime.fromisoformat(sunset) > server.now
    assert [datetime.fromisoformat(each["time"]) for each in hours] == [
        server.now + timedelta(hours=each) for each in range(12)
    ]
    assert hours[0]["rain_chance"] == 20
    assert agent.published()[0].data["tomorrow"]["date"] == after


def test_units_are_asked_for(agent: AgentUnderTest, server: WeatherServer) -> None:
    """Given imperial units, Then each service is asked for Fahrenheit and miles."""
    run(agent, units="imperial")
    with_key(agent, server, KEY)
    run(agent, units="imperial")
    first, second = (each.query for each in server.asked)
    assert (first["temperature_unit"], first["wind_speed_unit"]) == ("fahrenheit", "mph")
    assert (second["units"], second["exclude"]) == ("imperial", "minutely,alerts")
    assert [each.data["now"]["wind"] for each in agent.published()] == [15, 4]


@pytest.mark.parametrize("word", CODES)
def test_conditions_are_few_words(word: str) -> None:
    """Given a condition in either service's numbers, Then it is one of six words."""
    first = {"current": {"weather_code": CODES[word]}}
    assert forecast_of(OPEN_METEO, first, "metric").now["condition"] == word
    second = {"current": {"weather": [{"id": IDS[word]}]}}
    assert forecast_of(OPENWEATHER, second, "metric").now["condition"] == word


@pytest.mark.parametrize(
    ("code", "word"),
    [(1, "clear"), (2, "clouds"), (55, "rain"), (67, "rain"), (82, "rain"), (77, "snow"),
     (86, "snow"), (99, "storm"), (48, "fog"), (42, None), (True, None), ("0", None)],
)  # fmt: skip
def test_further_codes(code: Any, word: str | None) -> None:
    """Given a code of the list, or none at all, Then it has its word, or no word."""
    found = forecast_of(OPEN_METEO, {"current": {"weather_code": code}}, "metric")
    assert found.now["condition"] == word


@pytest.mark.parametrize(
    ("code", "word"),
    [(801, "clear"), (802, "clouds"), (310, "rain"), (622, "snow"), (781, "storm"),
     (701, "fog"), (771, "storm"), (900, None), (1.5, None)],
)  # fmt: skip
def test_further_ids(code: Any, word: str | None) -> None:
    """Given an id of OpenWeather's list, or none at all, Then it has its word, or none."""
    found = forecast_of(OPENWEATHER, {"current": {"weather": [{"id": code}]}}, "metric")
    assert found.now["condition"] == word


# What is news


def test_the_same_is_told_once(agent: AgentUnderTest, server: WeatherServer) -> None:
    """Given a forecast that stays, Then it is told once, after a restart as well."""
    assert poll(agent, server)
    assert not poll(agent, server)
    agent.stop()
    agent.start()
    assert not poll(agent, server)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("current", "temperature", 4.6), ("current", "temperature", 1.4),
        ("current", "feels", 3.0), ("current", "wind", 40.0),
        ("current", "condition", "rain"), ("day", "high", 7.2), ("day", "low", -4.0),
        ("day", "rain", 85), ("day", "condition", "clear"), ("tomorrow", "high", 12.0),
        ("tomorrow", "condition", "storm"), ("hour", "temperature", 8.0),
        ("hour", "rain", 90),
    ],
)  # fmt: skip
def test_what_a_person_notices_is_news(
    agent: AgentUnderTest, server: WeatherServer, part: str, name: str, value: Any
) -> None:
    """Given a value that moved by more than its step, Then the forecast is told again."""
    poll(agent, server)
    getattr(server, part)[name] = value
    assert poll(agent, server)
    assert not poll(agent, server)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("current", "temperature", 3.9), ("current", "temperature", 2.1),
        ("current", "wind", 20.0), ("day", "high", 5.9), ("day", "rain", 70),
        ("hour", "temperature", 5.0), ("hour", "rain", 34), ("hour", "wind", 90.0),
    ],
)  # fmt: skip
def test_what_nobody_notices_is_none(
    agent: AgentUnderTest, server: WeatherServer, part: str, name: str, value: Any
) -> None:
    """Given a value that moved by less than its step, Then nothing is told."""
    poll(agent, server)
    getattr(server, part)[name] = value
    assert not poll(agent, server)


def test_a_value_on_an_edge_does_not_swing(
    agent: AgentUnderTest, server: WeatherServer
) -> None:
    """Given a temperature to and fro between two degrees, Then it is told once."""
    server.current["temperature"] = 3.4
    poll(agent, server)
    for value in (3.6, 3.4, 3.9, 3.1, 3.5):
        server.current["temperature"] = value
        assert not poll(agent, server)


def test_what_comes_back_is_told_again(
    agent: AgentUnderTest, server: WeatherServer
) -> None:
    """Given rain, sun, rain and sun, Then each is told, and each has an id of its own."""
    for word in ("rain", "clear", "rain", "clear"):
        server.current["condition"] = word
        assert poll(agent, server, 0)
    events = agent.published("weather_forecast")
    assert [each.data["now"]["condition"] for each in events] == [
        "rain", "clear", "rain", "clear",
    ]  # fmt: skip
    assert len({each.identifier for each in events}) == 4


def test_a_gap_is_no_news(agent: AgentUnderTest, server: WeatherServer) -> None:
    """Given a value that is missing at times, Then only its first coming is told."""
    for value, news in ((None, True), (60, True), (None, False), (60, False)):
        server.day["rain"] = value
        assert poll(agent, server) is news
    assert told(agent)["today"]["rain_chance"] == 60


def test_a_new_day_is_news(agent: AgentUnderTest, server: WeatherServer) -> None:
    """Given the same weather day after day, Then each local day is told."""
    poll(agent, server)
    server.tomorrow = server.day
    poll(agent, server, 60)
    before = told(agent)["date"]
    assert poll(agent, server, 12 * 60)
    assert told(agent)["date"] > before


def test_half_of_the_hours_are_over(agent: AgentUnderTest, server: WeatherServer) -> None:
    """Given no other change, Then the next hours are told before they have run out."""
    poll(agent, server)
    assert [poll(agent, server, 60) for _ in range(7)] == [False] * 5 + [True, False]


def cut_off(
    handler: Handler,
    openweather: OpenWeatherSettings,
    open_meteo: OpenMeteoSettings,
    cut: list[bool],
) -> None:
    weather(handler, openweather, open_meteo, **HERE)
    if cut.pop():
        raise OSError("cut off")


def test_a_run_cut_off_after_its_event_tells_nothing_twice(
    agent: AgentUnderTest, server: WeatherServer
) -> None:
    """Given a run that fails after it published, When repeated, Then the event is known."""
    cut = [False, True]
    with pytest.raises(OSError, match="cut off"):
        agent.run_job(cut_off, cut=cut)
    agent.run_job(cut_off, cut=cut)
    assert len(agent.published("weather_forecast")) == 1


def test_other_units_are_news(agent: AgentUnderTest, server: WeatherServer) -> None:
    """Given another unit, place or service, Then the forecast is told, and counted on."""
    run(agent)
    run(agent, units="imperial")
    run(agent)
    counts = [each.identifier.split("/")[2][0] for each in agent.published()]
    assert counts == ["1", "2", "3"]


def test_a_step_of_ones_own(agent: AgentUnderTest, server: WeatherServer) -> None:
    """Given a larger step, Then a change within it is no news."""
    run(agent, step=5)
    server.current["temperature"] = 7.9
    run(agent, step=5)
    assert len(agent.published()) == 1
    server.current["temperature"] = 8.4
    run(agent, step=5)
    assert told(agent)["now"]["temperature"] == 8


def test_a_tiny_step_does_not_tell_the_same_again() -> None:
    """Given a step below the rounding, Then what would read the same is no news."""
    part = dict.fromkeys(("temperature", "condition"))
    found: dict[str, Any] = {
        "date": "d", "now": {**part, "temperature": 3.4}, "today": part, "tomorrow": part,
        "hours": [],
    }  # fmt: skip
    steps = {"temperature": 0.1}
    assert not is_news(as_told(found), found, steps, datetime.now(UTC))


def test_without_a_name_the_coordinates_are_the_place(
    agent: AgentUnderTest, server: WeatherServer
) -> None:
    """Given no name, Then the place is called by its coordinates."""
    agent.run_job(weather, latitude=42.361, longitude=-71)
    assert agent.published()[0].identifier.startswith("42.36,-71.00/")


# What is wrong


@pytest.mark.parametrize(
    "answer",
    [[], {"current": 3, "hourly": 4, "daily": 5},
     {"current": {"temperature_2m": "cold", "temp": True}},
     {"current": {"temperature_2m": 10**400, "temp": 10**400}},
     {"daily": {"time": [1, None, "x", 10**30]}, "hourly": {"time": {}}},
     {"daily": [{"dt": 10**30, "temp": 4}, 7], "hourly": [{"dt": -1}]}],
)  # fmt: skip
@pytest.mark.parametrize("key", [None, KEY])
def test_an_answer_without_weather_is_one_line(
    agent: AgentUnderTest, server: WeatherServer, answer: Any, key: str | None
) -> None:
    """Given JSON that holds no weather, Then the run fails with one clear line."""
    with_key(agent, server, key)
    server.refuse = [as_json(answer)]
    with pytest.raises(
        ValueError, match=r"^Open\S+ answered without any weather for today$"
    ):
        run(agent)
    assert agent.published() == []


def test_one_wrong_value_spoils_no_other(
    agent: AgentUnderTest, server: WeatherServer
) -> None:
    """Given wrong and missing values among good ones, Then the good ones are told."""
    answer = server.open_meteo()
    answer["timezone"] = "Mars/Olympus"
    answer["current"].update(apparent_temperature=None, wind_speed_10m="strong")
    answer["hourly"]["temperature_2m"] = [1.0]
    answer["daily"]["sunrise"] = [0, 0, 0]
    del answer["daily"]["temperature_2m_max"]
    server.refuse = [as_json(answer)]
    run(agent)
    data = told(agent)
    assert data["now"]["temperature"] == 3
    assert data["now"]["feels_like"] == data["hours"][0]["feels_like"] == -1
    assert data["now"]["wind"] == 15  # of this hour
    assert (data["today"]["low"], data["today"]["high"]) == (-2, None)
    assert data["today"]["sunrise"] is None
    assert data["hours"][0]["temperature"] is None
    assert data["timezone"] == "UTC-05:00"


@pytest.mark.parametrize(
    "answer",
    [(200, {}, "<html>"), (200, {}, '{"current": {"temperature_2m": NaN}}'),
     (200, {}, "[" * 100_000), (200, {}, b"\xff\xfe\xfa"), (200, {}, ""),
     (200, {}, '{"x": ' + "9" * 5_000 + "}"), (200, {}, " " * 2_100_000)],
    ids=["html", "nan", "deep", "bytes", "empty", "long number", "huge"],
)  # fmt: skip
def test_no_json(agent: AgentUnderTest, server: WeatherServer, answer: Any) -> None:
    """Given an answer that is no JSON or has no end, Then the run fails with its reason."""
    server.refuse = [answer]
    with pytest.raises(HttpError, match="^GET http"):
        run(agent)


def test_a_server_error_passes(agent: AgentUnderTest, server: WeatherServer) -> None:
    """Given one answer of 502, Then the request is tried once more."""
    server.refuse = [(502, {}, "bad")]
    run(agent)
    assert len(server.asked) == 2
    server.refuse = [(500, {}, "bad")] * 2
    with pytest.raises(HttpError, match="status 500"):
        run(agent)


def test_too_many_requests(agent: AgentUnderTest, server: WeatherServer) -> None:
    """Given 429 with a long wait, Then the next run waits as long as was asked."""
    server.refuse = [as_json({"cod": 429}, 429, Retry_After="600")]
    with pytest.raises(HttpError, match="asks to wait 600 s") as raised:
        run(agent)
    assert raised.value.retry_after == 600


def test_a_wrong_place_is_told_in_the_services_words(
    agent: AgentUnderTest, server: WeatherServer
) -> None:
    """Given status 400 with a reason, Then the run fails with it."""
    reason = "Latitude must be in range of -90 to 90. Given: 300."
    server.refuse = [as_json({"error": True, "reason": reason}, 400)]
    with pytest.raises(HttpError, match="status 400.*must be in range"):
        run(agent)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("latitude", "95"), ("longitude", "-181"), ("units", "'kelvin'"), ("hours", "0"),
     ("step", "0")],
)  # fmt: skip
def test_wrong_arguments_in_the_file(tmp_path: Path, argument: str, value: str) -> None:
    """Given an impossible value in agent.toml, Then it is told before anything starts."""
    lines = {"latitude": "42.36", "longitude": "-71.06", argument: value}
    given = ", ".join(f"{name} = {each}" for name, each in lines.items())
    file = tmp_path / "agent.toml"
    file.write_text(
        f"[[jobs]]\nrun = 'jobs.weather.weather'\nevery = '1h'\nwith = {{ {given} }}\n"
    )
    with pytest.raises(ConfigError, match=f"argument '{argument}'"):
        agent_of_config(str(file))


# The key


def test_a_refused_key_is_told_by_its_place(
    agent: AgentUnderTest, server: WeatherServer
) -> None:
    """Given a key that is refused, Then it is said which, and what One Call 3.0 needs."""
    with_key(agent, server, "another-key-0815")
    with pytest.raises(HttpError) as raised:
        run(agent)
    text = str(raised.value)
    assert "OPENWEATHER_API_KEY or [openweather] api_key" in text
    assert "One Call API 3.0 needs a subscription of its own" in text
    assert "another-key" not in text
    assert "\n" not in text


def test_a_blank_key_is_none(agent: AgentUnderTest, server: WeatherServer) -> None:
    """Given a key of blanks, Then Open-Meteo is asked."""
    with_key(agent, server, "  ")
    run(agent)
    assert told(agent)["service"] == OPEN_METEO


def test_the_settings_say_where_the_key_is_had() -> None:
    """Given a field for the key, Then its description leads to the key."""
    description = OpenWeatherSettings.model_fields["api_key"].description or ""
    assert "https://home.openweathermap.org/users/sign_up" in description
    assert "One Call API 3.0" in description


def test_the_key_is_nowhere(
    agent: AgentUnderTest,
    server: WeatherServer,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """Given a key in the query, Then no log, error, event, state or file holds it."""
    caplog.set_level(logging.DEBUG)
    with_key(agent, server, KEY)
    agent.add_job(weather, every="1 hour", **HERE)
    quoted = f"the key {KEY} in {server.host}/data/3.0/onecall?appid={KEY}"
    tagged = {"ETag": f'"{KEY[:3]}"', "Last-Modified": "Mon, 05 Jan 2026 12:00:00 GMT"}
    server.refuse = [
        (200, tagged, as_json(server.openweather())[2]),
        (401, {}, quoted), (403, {}, quoted), (404, {}, quoted), (429, {}, quoted),
        (429, {}, quoted), (500, {}, quoted), (500, {}, quoted), (200, {}, quoted),
        (200, {}, f'{{"{KEY}": 1}}'), (302, {"Location": f"http://[{KEY}"}, ""),
        (302, {"Location": f"{server.host}/x?appid={KEY}"}, ""),
        (302, {"Location": f"ftp://x/?appid={KEY}"}, ""),
    ]  # fmt: skip
    errors = []
    for _ in range(30):
        agent.clock.advance(minutes=30)
        server.now = agent.clock.now()
        try:
            agent.run_job(weather)
        except Exception as error:
            errors.append(repr(error))
    gone = WeatherServer(server.now)
    gone.close()
    with_key(agent, gone, KEY)
    with pytest.raises(HttpError) as raised:
        agent.run_job(weather)
    agent.stop()
    assert server.asked[0].query["appid"] == KEY
    assert len(errors) >= 8
    texts = [*errors, repr(raised.value), caplog.text, repr(with_key)]
    texts += [repr(agent.settings), *(repr(each.data) for each in agent.published())]
    assert not any(KEY in each for each in texts)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes()


# Parts


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (1.5, 1.5), (-0.0, 0.0), (True, None), ("1", None), (None, None),
     (10**400, None), (1e300, None), ([], None)],
)  # fmt: skip
def test_numbers(value: Any, expected: float | None) -> None:
    """Given JSON where a number should be, Then only a sensible number is one."""
    assert number(value) == expected


@pytest.mark.parametrize(
    ("name", "offset", "expected"),
    [("America/New_York", None, "America/New_York"), ("../etc/passwd", 3600.0, "UTC+01:00"),
     (7, -18000.0, "UTC-05:00"), ("No/Such", None, "UTC"), ("", 1e9, "UTC")],
)  # fmt: skip
def test_zones(name: Any, offset: float | None, expected: str) -> None:
    """Given a name that is unknown, Then the offset counts, and UTC without a sane one."""
    assert str(zone_of(name, offset)) == expected


def test_the_services_are_asked_where_they_are(running: AgentUnderTest) -> None:
    """Given no settings at all, Then the public service is asked, without a key."""
    with responses.RequestsMock() as web:
        web.get("https://api.open-meteo.com/v1/forecast", json={}, status=400)
        with pytest.raises(HttpError, match="status 400"):
            run(running)
        assert "appid" not in str(web.calls[0].request.url)


def test_a_day_on_which_the_clocks_change() -> None:
    """Given days counted with today's offset, Then each has its own local date."""
    begin = datetime(2026, 3, 7, 5, tzinfo=UTC)  # midnight in New York, a day before
    stamps = [round(begin.timestamp()) + 86_400 * each for each in range(3)]
    answer: dict[str, Any] = {
        "timezone": "America/New_York", "utc_offset_seconds": -18_000,
        "daily": {"time": stamps, "temperature_2m_max": [1, 2, 3]},
    }  # fmt: skip
    days = forecast_of(OPEN_METEO, answer, "metric").days
    assert {name: day["high"] for name, day in days.items()} == {
        "2026-03-07": 1.0, "2026-03-08": 2.0, "2026-03-09": 3.0,
    }  # fmt: skip
