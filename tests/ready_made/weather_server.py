"""OpenWeather's One Call 3.0 and Open-Meteo, as documented, on loopback."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from .json_server import Answer, Asked, JsonServer, as_json

ZONE = ZoneInfo("America/New_York")
NEEDS_SUBSCRIPTION = (
    "Please note that using One Call 3.0 requires a separate subscription to the One Call "
    "by Call plan."
)

CODES = {"clear": 0, "clouds": 3, "rain": 61, "snow": 73, "storm": 95, "fog": 45}
IDS = {"clear": 800, "clouds": 804, "rain": 500, "snow": 601, "storm": 211, "fog": 741}


class WeatherServer(JsonServer):
    """Says the same weather in the form of either service.

    Args:
        now: the moment; the test moves it.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.key = ""  # the only one that is taken
        self.current: dict[str, Any] = {
            "temperature": 3.2, "feels": -1.1, "wind": 15.0, "condition": "clouds",
        }  # fmt: skip
        self.day: dict[str, Any] = {
            "low": -2.0, "high": 5.0, "feels_low": -7.0, "feels_high": 1.0, "rain": 60,
            "wind": 25.0, "condition": "snow",
        }  # fmt: skip
        self.tomorrow: dict[str, Any] = {**self.day, "high": 9.0, "condition": "clear"}
        self.hour: dict[str, Any] = {**self.current, "rain": 20}
        super().__init__()

    def answer(self, asked: Asked) -> Answer:
        """Return the answer of the service whose path it is."""
        if asked.path == "/v1/forecast":
            return as_json(self.open_meteo())
        if asked.path != "/data/3.0/onecall":
            return as_json({"cod": "404", "message": "Internal error"}, 404)
        if asked.query.get("appid") != self.key:
            return as_json({"cod": 401, "message": NEEDS_SUBSCRIPTION}, 401)
        return as_json(self.openweather())

    def open_meteo(self) -> dict[str, Any]:
        """Return what Open-Meteo answers: columns, beginning at midnight."""
        hours = [self._midnight() + timedelta(hours=each) for each in range(72)]
        count, days = len(hours), [self.day, self.tomorrow, self.tomorrow]

        def column(name: str) -> list[Any]:
            return [each[name] for each in days]

        return {
            "latitude": 42.365, "longitude": -71.05, "generationtime_ms": 0.2,
            "utc_offset_seconds": self._offset(), "timezone": str(ZONE),
            "current": {
                "time": _stamp(self.now), "interval": 900,
                "temperature_2m": self.current["temperature"],
                "apparent_temperature": self.current["feels"],
                "wind_speed_10m": self.current["wind"],
                "weather_code": CODES.get(self.current["condition"]),
            },
            "hourly": {
                "time": [_stamp(each) for each in hours],
                "temperature_2m": [self.hour["temperature"]] * count,
                "apparent_temperature": [self.hour["feels"]] * count,
                "wind_speed_10m": [self.hour["wind"]] * count,
                "weather_code": [CODES.get(self.hour["condition"])] * count,
                "precipitation_probability": [self.hour["rain"]] * count,
            },
            "daily": {
                "time": [_stamp(hours[each]) for each in (0, 24, 48)],
                "temperature_2m_min": column("low"), "temperature_2m_max": column("high"),
                "apparent_temperature_min": column("feels_low"),
                "apparent_temperature_max": column("feels_high"),
                "precipitation_probability_max": column("rain"),
                "wind_speed_10m_max": column("wind"),
                "weather_code": [CODES.get(each["condition"]) for each in days],
                "sunrise": [_stamp(hours[each + 7]) + 13 * 60 for each in (0, 24, 48)],
                "sunset": [_stamp(hours[each + 16]) + 25 * 60 for each in (0, 24, 48)],
            },
        }  # fmt: skip

    def openweather(self) -> dict[str, Any]:
        """Return what OpenWeather answers in metric units: wind in m/s, chances to 1."""
        hour = self.now.replace(minute=0, second=0, microsecond=0)
        days = [self._day(each) for each in range(3)]
        return {
            "lat": 42.36, "lon": -71.06, "timezone": str(ZONE),
            "timezone_offset": self._offset(),
            "current": {"dt": _stamp(self.now), **_entry(self.current)},
            "hourly": [
                {"dt": _stamp(hour + timedelta(hours=each)), **_entry(self.hour)}
                for each in range(48)
            ],
            "daily": days,
        }  # fmt: skip

    def _day(self, number: int) -> dict[str, Any]:
        day = self.tomorrow if number else self.day
        begin = self._midnight() + timedelta(days=number)
        return {
            "dt": _stamp(begin + timedelta(hours=12)),
            "sunrise": _stamp(begin + timedelta(hours=7, minutes=13)),
            "sunset": _stamp(begin + timedelta(hours=16, minutes=25)),
            "temp": {"min": day["low"], "max": day["high"], "day": 4.0, "night": 0.0},
            "feels_like": {"morn": day["feels_low"], "day": day["feels_high"]},
            "pop": _part(day["rain"]), "wind_speed": day["wind"] / 3.6,
            "weather": [{"id": IDS.get(day["condition"], 0), "main": "x"}],
        }  # fmt: skip

    def _midnight(self) -> datetime:
        local = self.now.astimezone(ZONE)
        return local.replace(hour=0, minute=0, second=0, microsecond=0)

    def _offset(self) -> int:
        offset = self.now.astimezone(ZONE).utcoffset()
        assert offset is not None
        return round(offset.total_seconds())


def _stamp(moment: datetime) -> int:
    return round(moment.timestamp())


def _part(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _entry(values: dict[str, Any]) -> dict[str, Any]:
    found = {
        "temp": values["temperature"], "feels_like": values["feels"],
        "wind_speed": values["wind"] / 3.6,
        "weather": [{"id": IDS.get(values["condition"], 0), "main": "x"}],
    }  # fmt: skip
    return {**found, "pop": _part(values["rain"])} if "rain" in values else found
