"""A job that asks for the weather of one place, and tells when the forecast has changed."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from jobs.weather_services import (
    HOUR,
    IN_DAY,
    IN_NOW,
    NAMES,
    OPEN_METEO,
    OPENWEATHER,
    Forecast,
    Values,
    forecast_of,
    params_of,
)
from py_agent import Handler, HttpError, Settings
from py_agent.settings import WebUrl

EVENT_TYPE = "weather_forecast"

MAX_BYTES = 2_000_000  # of an answer; they have about 20,000
STEPS = {"metric": 1.0, "imperial": 2.0}  # degrees
WIND_STEPS = {"metric": 8.0, "imperial": 5.0}  # km/h, mph
RAIN_STEP = 15.0  # percent; what is told is a multiple of ten

_DEGREES = ("temperature", "feels_like", "low", "high", "feels_low", "feels_high")
_IN_HOUR = ("temperature", "rain_chance")  # of what is told of an hour, what is news


class OpenWeatherSettings(Settings, section="openweather", env_prefix="OPENWEATHER_"):
    """OpenWeather; without a key, Open-Meteo is asked, which needs none.

    Args:
        api_key: the key.
        api_url: where the service is.
    """

    api_key: SecretStr | None = Field(
        default=None,
        description="an OpenWeather API key with a subscription to One Call API 3.0: sign "
        "up at https://home.openweathermap.org/users/sign_up, copy the key from the tab "
        "'API keys', and subscribe to 'One Call by Call' at https://openweathermap.org/price",
    )
    api_url: WebUrl = "https://api.openweathermap.org"


class OpenMeteoSettings(Settings, section="open_meteo", env_prefix="OPEN_METEO_"):
    """Open-Meteo, the free service or one of your own.

    Args:
        api_url: where the service is.
    """

    api_url: WebUrl = "https://api.open-meteo.com"


def weather(
    handler: Handler,
    openweather: OpenWeatherSettings,
    open_meteo: OpenMeteoSettings,
    latitude: Annotated[float, Field(ge=-90, le=90)],
    longitude: Annotated[float, Field(ge=-180, le=180)],
    place: str | None = None,
    units: Literal["metric", "imperial"] = "metric",
    hours: Annotated[int, Field(ge=1, le=48)] = 12,
    step: Annotated[float, Field(gt=0)] | None = None,
) -> None:
    """Tell the weather of a place: now, today, in the next hours, tomorrow.

    With a key for OpenWeather (`OPENWEATHER_API_KEY`), its One Call API 3.0 is asked, else
    Open-Meteo, which needs no key. One run is one request; both services renew their
    forecasts about every 10 to 60 minutes, so `every = "30 minutes"` is a good rhythm.

    A forecast is told again when it has changed for a person: a temperature moved by more
    than `step` from the one told, a chance of rain by more than 15 percent, the wind by
    more than 8 km/h (5 mph), another condition, a new day, or half of the hours told are
    over. A value between two steps does not swing to and fro, and one that comes back is
    told again, as it is news each time. A value that is missing once is no news.

    Publishes:
        `weather_forecast`, identifier `<place>/<local date>/<number>-<digest>`, where the
        number counts what this job told; data from both services in one form:

            {"service": "open-meteo", "place": "Boston", "latitude": 42.36,
             "longitude": -71.06, "units": "metric", "timezone": "America/New_York",
             "date": "2026-01-05",
             "now": {"temperature": 3, "feels_like": -1, "wind": 15, "rain_chance": 20,
                     "condition": "clouds"},
             "today": {"date": "2026-01-05", "low": -2, "high": 5, "feels_low": -7,
                       "feels_high": 1, "rain_chance": 60, "wind": 25,
                       "condition": "snow", "sunrise": "2026-01-05T07:13:00-05:00",
                       "sunset": "2026-01-05T16:25:00-05:00"},
             "tomorrow": {"date": "2026-01-06", ...},
             "hours": [{"time": "2026-01-05T12:00:00-05:00", "temperature": 3, ...}]}

        Temperatures are whole degrees (Celsius, Fahrenheit), the wind is in km/h or mph,
        chances are in steps of ten percent. A condition is `clear`, `clouds`, `rain`,
        `snow`, `storm` or `fog`. What the service does not say is null.

    Args:
        handler: fetches and publishes.
        openweather: where OpenWeather is, and the key.
        open_meteo: where Open-Meteo is.
        latitude: degrees north, as 42.36.
        longitude: degrees east, as -71.06.
        place: what to call it; the coordinates if not given.
        units: "metric" or "imperial".
        hours: how many of the next hours are told.
        step: degrees by which a temperature moves before it is told again; 1 Celsius or 2
            Fahrenheit if not given.

    Raises:
        HttpError: there is no whole answer, the key is refused, or it is not JSON.
        ValueError: the answer holds no weather for today.
    """
    key = _key(openweather)
    service = OPENWEATHER if key else OPEN_METEO
    where = place or f"{latitude:.2f},{longitude:.2f}"
    params = params_of(service, latitude, longitude, units)
    if key:
        answer = _from_openweather(handler, openweather, params, key)
    else:
        answer = _answer(handler, f"{open_meteo.api_url.rstrip('/')}/v1/forecast", params)
    head = {
        "service": service, "place": where, "latitude": latitude, "longitude": longitude,
        "units": units,
    }  # fmt: skip
    now = handler.clock.now()
    found = seen_from(forecast_of(service, answer, units), now, hours)
    if not _says_something(found):
        raise ValueError(f"{NAMES[service]} answered without any weather for today")
    _tell(handler, head, found, _steps(units, step), now)


def _key(settings: OpenWeatherSettings) -> str:
    return settings.api_key.get_secret_value().strip() if settings.api_key else ""


def _from_openweather(
    handler: Handler, settings: OpenWeatherSettings, params: Values, key: str
) -> Any:
    """Return OpenWeather's answer.

    The key stands in the query, as the service wants it. What handler.http says of a URL
    has no query; nothing is remembered of the page.
    """
    url = f"{settings.api_url.rstrip('/')}/data/3.0/onecall"
    try:
        return _answer(handler, url, {**params, "appid": key})
    except HttpError as error:
        if error.status not in (401, 403):
            raise
        raise HttpError(
            f"OpenWeather refuses the key in OPENWEATHER_API_KEY or [openweather] api_key "
            f"(status {error.status}): One Call API 3.0 needs a subscription of its own, "
            f"'One Call by Call' at https://openweathermap.org/price, and a new key works "
            f"after some two hours; without a key, Open-Meteo is asked",
            error.status,
            error.retry_after,
        ) from None


def _answer(handler: Handler, url: str, params: Values) -> Any:
    found = handler.http.get(url, params=params, max_bytes=MAX_BYTES, retries=1)
    found.raise_for_status()
    return found.json()


def seen_from(forecast: Forecast, now: datetime, hours: int) -> Values:
    """Return what of a forecast is told at a moment; numbers as the service has them."""
    local = now.astimezone(forecast.zone)
    today, tomorrow = local.date(), local.date() + timedelta(days=1)
    ahead = [each for each in forecast.hours if each["time"] > now - HOUR][:hours]
    running = ahead[0] if ahead and ahead[0]["time"] <= now else {}
    nothing = dict.fromkeys((*IN_DAY, "sunrise", "sunset"))
    return {
        "timezone": forecast.timezone,
        "date": today.isoformat(),
        # Of the moment itself neither service says the chance of rain.
        "now": {name: _first(forecast.now[name], running.get(name)) for name in IN_NOW},
        "today": {"date": today.isoformat(), **nothing}
        | forecast.days.get(today.isoformat(), {}),
        "tomorrow": {"date": tomorrow.isoformat(), **nothing}
        | forecast.days.get(tomorrow.isoformat(), {}),
        "hours": [
            {**each, "time": each["time"].astimezone(forecast.zone).isoformat()}
            for each in ahead
        ],
    }


def _first(value: Any, other: Any) -> Any:
    return other if value is None else value


def _says_something(found: Values) -> bool:
    values = (found["now"]["temperature"], found["today"]["low"], found["today"]["high"])
    return any(each is not None for each in values)


def as_told(found: Values) -> Values:
    """Return a forecast with its numbers rounded to what a person wants to know."""
    return {
        name: _rounded_part(part) if isinstance(part, dict) else part
        for name, part in found.items()
    } | {"hours": [_rounded_part(each) for each in found["hours"]]}


def _rounded_part(part: Values) -> Values:
    return {name: _rounded(name, value) for name, value in part.items()}


def _rounded(name: str, value: Any) -> Any:
    if not isinstance(value, float):
        return value
    if name == "rain_chance":
        return min(100, max(0, round(value / 10) * 10))
    return round(value)


def _steps(units: str, step: float | None) -> dict[str, float]:
    """Return by how much each number moves before it is told again."""
    degrees = STEPS[units] if step is None else step
    steps = dict.fromkeys(_DEGREES, degrees)
    return {**steps, "wind": WIND_STEPS[units], "rain_chance": RAIN_STEP}


def is_news(told: Any, found: Values, steps: dict[str, float], now: datetime) -> bool:
    """Return whether a forecast differs, for a person, from the one told last.

    Args:
        told: as `as_told` returned it; None if nothing was told yet.
        found: as the service has it now.
        steps: by how much each number moves before it is news.
        now: this moment.
    """
    if not isinstance(told, dict) or told["date"] != found["date"]:
        return True
    for part in ("now", "today", "tomorrow"):
        before, after = told[part], found[part]
        if any(_moved(name, before, after, steps, 1) for name in (*steps, "condition")):
            return True
    return _hours_are_news(told["hours"], found["hours"], steps, now)


def _hours_are_news(
    told: list[Values], found: list[Values], steps: dict[str, float], now: datetime
) -> bool:
    """Return whether the next hours differ; they are less sure, so by twice as much."""
    left = [each for each in told if datetime.fromisoformat(each["time"]) > now - HOUR]
    if len(found) > len(left) and 2 * len(left) <= len(told):
        return True
    before = {each["time"]: each for each in left}
    return any(
        _moved(name, before[each["time"]], each, steps, 2)
        for each in found
        if each["time"] in before
        for name in _IN_HOUR
    )


def _moved(
    name: str, told: Values, found: Values, steps: dict[str, float], times: int
) -> bool:
    before, after = told.get(name), found.get(name)
    if after is None:
        return False  # a gap in one answer; what was told stays the best that is known
    if before is None or name not in steps:
        return bool(before != after)
    far = abs(after - before) > steps[name] * times
    return bool(far and _rounded(name, after) != before)


def _tell(
    handler: Handler, head: Values, found: Values, steps: dict[str, float], now: datetime
) -> None:
    """Publish a forecast if it is news, and remember it.

    The count makes a forecast that comes back another event. A run that is repeated after
    a crash counts the same, so that what it told already is known.
    """
    state = handler.state
    if state.get("of") != head:
        state.pop("told", None)
    if not is_news(state.get("told"), found, steps, now):
        return
    told = as_told(found)
    count = state.get("count", 0) + 1
    digest = hashlib.sha256(json.dumps([head, told], sort_keys=True).encode()).hexdigest()
    name = f"{head['place'][:200]}/{told['date']}/{count}-{digest[:12]}"
    handler.publish(EVENT_TYPE, name, {**head, **told})
    state.update(of=head, told=told, count=count)
