"""What the weather services answer, brought into one form; pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

Values = dict[str, Any]

OPENWEATHER, OPEN_METEO = "openweather", "open-meteo"
NAMES = {OPENWEATHER: "OpenWeather", OPEN_METEO: "Open-Meteo"}

IN_NOW = ("temperature", "feels_like", "wind", "rain_chance", "condition")
IN_DAY = ("low", "high", "feels_low", "feels_high", "rain_chance", "wind", "condition")

KMH = 3.6  # in a metre per second, which is what OpenWeather calls metric
HOUR = timedelta(hours=1)

_MOST_ROWS = 500  # of hours or days; what is longer is no forecast
_FAR = 100_000.0  # no temperature, speed or chance is so far from zero
_LATEST = 10_000_000_000  # seconds since 1970, some centuries on
_DAY = 86_400  # seconds


class Forecast(NamedTuple):
    """What a service says of one place; numbers as it has them, None for what it lacks.

    Args:
        zone: the place's time zone.
        timezone: its name.
        now: the values of `IN_NOW`.
        hours: the same for each hour, and its `time`; in order.
        days: the values of `IN_DAY`, `sunrise` and `sunset`, by the local date.
    """

    zone: tzinfo
    timezone: str
    now: Values
    hours: list[Values]
    days: dict[str, Values]


def params_of(service: str, latitude: float, longitude: float, units: str) -> Values:
    """Return the query that asks a service for all that is read here, but for the key.

    Args:
        service: OPENWEATHER or OPEN_METEO.
        latitude: degrees north.
        longitude: degrees east.
        units: "metric" or "imperial".
    """
    if service == OPENWEATHER:
        return {
            "lat": latitude, "lon": longitude, "units": units,
            "exclude": "minutely,alerts",
        }  # fmt: skip
    of_now = "temperature_2m,apparent_temperature,wind_speed_10m,weather_code"
    imperial = units == "imperial"
    return {
        "latitude": latitude, "longitude": longitude, "current": of_now,
        "hourly": f"{of_now},precipitation_probability",
        "daily": "temperature_2m_min,temperature_2m_max,apparent_temperature_min,"
        "apparent_temperature_max,precipitation_probability_max,wind_speed_10m_max,"
        "weather_code,sunrise,sunset",
        "temperature_unit": "fahrenheit" if imperial else "celsius",
        "wind_speed_unit": "mph" if imperial else "kmh",
        "timezone": "auto", "timeformat": "unixtime", "forecast_days": 3,
    }  # fmt: skip


def forecast_of(service: str, answer: Any, units: str) -> Forecast:
    """Return what a service's answer says; what makes no sense in it is left out.

    Args:
        service: OPENWEATHER or OPEN_METEO.
        answer: its JSON.
        units: "metric" or "imperial".
    """
    answer = _object(answer)
    if service == OPENWEATHER:
        return _of_openweather(answer, KMH if units == "metric" else 1.0)
    return _of_open_meteo(answer)


def _of_openweather(answer: Mapping[str, Any], speed: float) -> Forecast:
    """Read One Call API 3.0: times in UTC, wind in m/s or mph, chances from 0 to 1."""
    offset = number(answer.get("timezone_offset"))
    zone = zone_of(answer.get("timezone"), offset)

    def moment(each: Mapping[str, Any]) -> Values:
        return {
            "temperature": number(each.get("temp")),
            "feels_like": number(each.get("feels_like")),
            "wind": number(each.get("wind_speed"), speed),
            "rain_chance": number(each.get("pop"), 100),
            "condition": _condition_of_id(each.get("weather")),
        }

    def day(each: Mapping[str, Any]) -> Values:
        temp, feels = _object(each.get("temp")), _object(each.get("feels_like"))
        felt = [each for each in map(number, feels.values()) if each is not None]
        return {
            "low": number(temp.get("min")), "high": number(temp.get("max")),
            "feels_low": min(felt, default=None), "feels_high": max(felt, default=None),
            "rain_chance": number(each.get("pop"), 100),
            "wind": number(each.get("wind_speed"), speed),
            "condition": _condition_of_id(each.get("weather")),
            "sunrise": _local(each.get("sunrise"), zone),
            "sunset": _local(each.get("sunset"), zone),
        }  # fmt: skip

    return Forecast(
        zone,
        str(zone),
        moment(_object(answer.get("current"))),
        _hours((each.get("dt"), moment(each)) for each in _list(answer.get("hourly"))),
        _days(((each.get("dt"), day(each)) for each in _list(answer.get("daily"))), offset),
    )


def _of_open_meteo(answer: Mapping[str, Any]) -> Forecast:
    """Read a forecast that was asked for with `timeformat=unixtime`."""
    offset = number(answer.get("utc_offset_seconds"))
    zone = zone_of(answer.get("timezone"), offset)

    def moment(each: Mapping[str, Any]) -> Values:
        return {
            "temperature": number(each.get("temperature_2m")),
            "feels_like": number(each.get("apparent_temperature")),
            "wind": number(each.get("wind_speed_10m")),
            "rain_chance": number(each.get("precipitation_probability")),
            "condition": _condition_of_code(each.get("weather_code")),
        }

    def day(each: Mapping[str, Any]) -> Values:
        return {
            "low": number(each.get("temperature_2m_min")),
            "high": number(each.get("temperature_2m_max")),
            "feels_low": number(each.get("apparent_temperature_min")),
            "feels_high": number(each.get("apparent_temperature_max")),
            "rain_chance": number(each.get("precipitation_probability_max")),
            "wind": number(each.get("wind_speed_10m_max")),
            "condition": _condition_of_code(each.get("weather_code")),
            "sunrise": _local(each.get("sunrise"), zone),
            "sunset": _local(each.get("sunset"), zone),
        }

    return Forecast(
        zone,
        str(zone),
        moment(_object(answer.get("current"))),
        _hours((each.get("time"), moment(each)) for each in _rows(answer.get("hourly"))),
        _days(
            ((each.get("time"), day(each)) for each in _rows(answer.get("daily"))), offset
        ),
    )


def number(value: Any, factor: float = 1.0) -> float | None:
    """Return a number times a factor; None for anything that is no sensible number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) * factor if -_FAR < value < _FAR else None


def zone_of(name: Any, offset: float | None) -> tzinfo:
    """Return a time zone by its name, else by its seconds from UTC, else UTC."""
    try:
        if isinstance(name, str) and name:
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass  # its data here are older than the name
    if offset is None or not -_DAY < offset < _DAY:
        return UTC
    return timezone(timedelta(seconds=round(offset)))


def _condition_of_code(code: Any) -> str | None:
    """Return a word for a WMO code, as Open-Meteo lists them."""
    if isinstance(code, bool) or not isinstance(code, int | float):
        return None
    if code in (0, 1):
        return "clear"
    if code in (2, 3):
        return "clouds"
    if code in (45, 48):
        return "fog"
    if 71 <= code <= 77 or code in (85, 86):
        return "snow"
    if 51 <= code <= 67 or 80 <= code <= 82:
        return "rain"
    return "storm" if 95 <= code <= 99 else None


def _condition_of_id(weather: Any) -> str | None:
    """Return a word for the first of OpenWeather's condition ids."""
    first = weather[0] if isinstance(weather, list) and weather else None
    code = _object(first).get("id")
    if isinstance(code, bool) or not isinstance(code, int):
        return None
    if code in (800, 801):
        return "clear"
    if code in (771, 781):  # squalls, a tornado; the other 7.. are mist, dust and such
        return "storm"
    words = {2: "storm", 3: "rain", 5: "rain", 6: "snow", 7: "fog", 8: "clouds"}
    return words.get(code // 100)


def _hours(found: Iterable[tuple[Any, Values]]) -> list[Values]:
    hours = [
        {"time": moment, **values}
        for stamp, values in found
        if (moment := _moment(stamp)) is not None
    ]
    return sorted(hours, key=lambda each: each["time"])


def _days(found: Iterable[tuple[Any, Values]], offset: float | None) -> dict[str, Values]:
    """Return days by their local date.

    Both services count their days with the offset of today, also where the clocks change
    tomorrow; so it is not the time zone that tells the date.
    """
    days: dict[str, Values] = {}
    for stamp, values in found:
        if (moment := _moment(stamp)) is not None:
            name = (moment + timedelta(seconds=offset or 0)).date().isoformat()
            days.setdefault(name, {"date": name, **values})
    return days


def _moment(stamp: Any) -> datetime | None:
    if isinstance(stamp, bool) or not isinstance(stamp, int | float):
        return None
    return datetime.fromtimestamp(stamp, UTC) if 0 < stamp < _LATEST else None


def _local(stamp: Any, zone: tzinfo) -> str | None:
    """Return a time of the day to the minute, where the place is."""
    moment = _moment(stamp)
    if moment is None:
        return None
    return moment.astimezone(zone).replace(second=0, microsecond=0).isoformat()


def _rows(block: Any) -> list[Values]:
    """Return the rows of a table that is had as columns; short columns leave gaps."""
    columns = {
        name: each for name, each in _object(block).items() if isinstance(each, list)
    }
    length = min(len(columns.get("time", ())), _MOST_ROWS)
    return [
        {name: column[row] for name, column in columns.items() if row < len(column)}
        for row in range(length)
    ]


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Mapping[str, Any]]:
    found = value[:_MOST_ROWS] if isinstance(value, list) else []
    return [each for each in found if isinstance(each, dict)]
