"""A listener that keeps one JSON file for a screen: the weather, what to wear, buses."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import Field

from listeners.dashboard_file import MODE, content_of, place_of
from listeners.whole_file import replacing, set_aside, unwritable
from py_agent import Discard, Event, Handler, Settings, listen_for

WEATHER, DEPARTURES = "weather_forecast", "transit_departures"
FORMAT = "py_agent dashboard 1"

OLD = timedelta(days=1)  # departures that were told before are of no use
EMPTY_BOARD: Mapping[str, Any] = {"weather": None, "buses": []}
AHEAD = timedelta(minutes=1)  # what was told later than now was told by a wrong clock


class DashboardSettings(Settings, section="dashboard", env_prefix="PY_AGENT_DASHBOARD_"):
    """The dashboard.

    Args:
        file: the file that is written.
    """

    file: Path = Field(
        default=Path("dashboard.json"),
        description="the JSON file that the dashboard shows; a relative path is relative "
        "to the folder in which the agent runs",
    )


@listen_for({"event_type": ("in", [WEATHER, DEPARTURES])})
def dashboard(
    handler: Handler,
    event: Event,
    settings: DashboardSettings,
    file: Path | None = None,
    place: str | None = None,
) -> None:
    """Write what `jobs.weather` and `jobs.transit` tell into one JSON file.

        {"format": "py_agent dashboard 1", "updated": "2026-01-05T17:00:00+00:00",
         "weather": {"place": "Boston", "now": {...}, "today": {...}, "hours": [...], ...,
                     "wear": ["warm coat", "hat and gloves", "boots"],
                     "told": "2026-01-05T17:00:00+00:00", "event": 7},
         "buses": [{"stop": "2168", "stop_name": "Harvard Ave", "route": "66",
                    "route_name": "66", "direction": 1, "direction_name": "Inbound",
                    "destination": "Nubian Station", "headsign": "Nubian Station",
                    "departures": ["2026-01-05T12:07:00-05:00", ...], "live": true,
                    "told": "2026-01-05T16:59:00+00:00", "event": 6}]}

    It is replaced as a whole, so who reads it finds the old or the new one, and a crash or
    a full disk leaves the old one. An event that is delivered late never replaces a newer
    one of the same place, or stop, route and direction. Departures that were told more
    than a day ago are dropped. Several listeners and agents may write one file, one at a
    time; it has one weather, the one that was told last. What is found in its place and
    was not written by this listener is kept under another name, and the log says so. A
    link may lead to another folder only if there is a file of this listener.

    A new file can be read by all users of the machine (0644), as the program that shows
    it may be another one's; it holds no secret, but says where you live. One that takes
    the place of another keeps its mode: `chmod 600` stays.

    Args:
        handler: knows the time, and logs.
        event: a `weather_forecast` or `transit_departures`.
        settings: where the file is, unless `file` says so.
        file: the file; its folder must exist.
        place: shows only the weather of this place, where several are told.

    Raises:
        Discard: the event holds nothing that can be shown.
        Pause: the file cannot be written; it is as it was, and tried again after a minute.
    """
    part = _weather_of(event) if event.event_type == WEATHER else _bus_of(event)
    if event.event_type == WEATHER and place not in (None, part["place"]):
        handler.log.info("the weather of %s is left out: place = %r", part["place"], place)
        return
    shown_in = Path(os.path.expanduser(file or settings.file))
    try:
        _show(handler, shown_in, event.event_type, part)
    except OSError as error:
        raise unwritable(error, shown_in) from error


def _show(handler: Handler, file: Path, event_type: str, part: dict[str, Any]) -> None:
    """Write a part into the file, unless there is a newer one."""
    target = place_of(file, is_board)
    with replacing(target, MODE, wait=handler.wait) as draft:
        board, is_foreign = content_of(target, is_board)
        changed = with_part(board or EMPTY_BOARD, event_type, part, handler.clock.now())
        if changed is None:
            return
        text = json.dumps(changed, ensure_ascii=False, indent=2)
        draft.write(f"{text}\n".encode("utf-8", "backslashreplace"))
        if is_foreign:
            kept = set_aside(target, draft)
            words = "%s is not what this listener writes; it is kept as %s"
            handler.log.warning(words, target, kept.name)


def with_part(
    board: Mapping[str, Any], event_type: str, part: dict[str, Any], now: datetime
) -> dict[str, Any] | None:
    """Return a board with a part that is newer than its own; None if it is not.

    Args:
        board: as it stands in the file.
        event_type: of the event that the part was made of.
        part: the weather, or one stop's departures.
        now: this moment.
    """
    buses = [each for each in board["buses"] if not _is_old(each, now)]
    weather = board["weather"]
    if event_type == WEATHER:
        if not _is_newer(part, weather, now):
            return None
        weather = part
    else:
        same = next((each for each in buses if _place(each) == _place(part)), None)
        if _is_old(part, now) or not _is_newer(part, same, now):
            return None
        buses = [each for each in buses if each is not same] + [part]
        buses.sort(key=lambda each: (each["stop_name"], *map(str, _place(each))))
    return {
        "format": FORMAT, "updated": now.isoformat(), "weather": weather, "buses": buses,
    }  # fmt: skip


def what_to_wear(
    low: float | None,
    high: float | None,
    rain_chance: float | None = None,
    wind: float | None = None,
    snow: bool = False,
    units: str = "metric",
) -> list[str]:
    """Return what to put on for a day, in a few words.

    Args:
        low: the coldest that it feels like.
        high: the warmest that it feels like.
        rain_chance: percent.
        wind: km/h or mph.
        snow: whether it snows.
        units: "metric" or "imperial".
    """
    if units == "imperial":
        low, high = (None if each is None else (each - 32) / 1.8 for each in (low, high))
        wind = None if wind is None else wind * 1.609
    known = [each for each in (low, high) if each is not None]
    found = []
    if known:
        coldest, warmest = min(known), max(known)
        coats = {0: "warm coat", 8: "coat", 15: "jacket", 20: "sweater"}
        found += [next((coat for t, coat in coats.items() if coldest < t), "t-shirt")]
        found += ["hat and gloves"] * (coldest < 0)
        found += ["layers"] * (coldest < 15 and warmest - coldest >= 12)
        found += ["sun hat"] * (warmest >= 27)
    if snow:
        return [*found, "boots"]
    if rain_chance is not None and rain_chance >= 40:
        # An umbrella is no help in a strong wind.
        found += ["raincoat" if wind is not None and wind >= 40 else "umbrella"]
    elif wind is not None and wind >= 40 and found[:1] in (["t-shirt"], ["sweater"]):
        found += ["windbreaker"]
    return found


# What an event holds


def _weather_of(event: Event) -> dict[str, Any]:
    """Return the weather as the board shows it.

    Raises:
        Discard: it is not in the form of `jobs.weather`.
    """
    parts = event.data if isinstance(event.data, dict) else {}
    now, today = parts.get("now"), parts.get("today")
    if not (isinstance(now, dict) and isinstance(today, dict)):
        raise Discard("its data are no weather: 'now' or 'today' is no object")
    moments = [now, today, *_objects(parts.get("hours"))]
    snow = any(each.get("condition") == "snow" for each in moments)
    wear = what_to_wear(
        _number(today.get("feels_low")), _number(today.get("feels_high")),
        _number(today.get("rain_chance")), _number(today.get("wind")), snow,
        str(parts.get("units")),
    )  # fmt: skip
    return {"place": None, **parts, "wear": wear, **_of(event)}


def _bus_of(event: Event) -> dict[str, Any]:
    """Return the departures as the board shows them.

    Raises:
        Discard: they are not in the form of `jobs.transit`.
    """
    data = event.data if isinstance(event.data, dict) else {}
    stop, route, found = (data.get(name) for name in ("stop", "route", "departures"))
    if not (isinstance(stop, str) and isinstance(route, str) and isinstance(found, list)):
        raise Discard("its data are no departures: it needs stop, route and departures")
    times = [(_moment(each.get("time")), each) for each in _objects(found)]
    coming = [(time, each) for time, each in times if time is not None]
    coming.sort(key=lambda pair: pair[0])
    first = coming[0][1] if coming else {}
    names = ("direction", "direction_name", "destination")
    return {
        "stop": stop, "stop_name": str(data.get("stop_name") or stop),
        "route": route, "route_name": str(data.get("route_name") or route),
        **{name: data.get(name) for name in names},
        "headsign": first.get("headsign"),
        "departures": [each["time"] for _, each in coming],
        "live": first.get("live"),
        **_of(event),
    }  # fmt: skip


def _of(event: Event) -> dict[str, Any]:
    return {"told": event.created.isoformat(), "event": event.id}


def _is_newer(part: Mapping[str, Any], other: Any, now: datetime) -> bool:
    """Return whether a part was told after the one that is shown.

    Events of one moment are told apart by their numbers. What is shown from the future
    was told before the clock was set back.
    """
    shown = _moment(other.get("told")) if isinstance(other, dict) else None
    told = _moment(part["told"])
    if shown is None or told is None or shown > now + AHEAD:
        return True
    number = other.get("event")
    return (told, part["event"]) > (shown, number if isinstance(number, int) else 0)


def _is_old(bus: Mapping[str, Any], now: datetime) -> bool:
    told = _moment(bus.get("told"))
    return told is None or told < now - OLD


def _place(bus: Mapping[str, Any]) -> tuple[Any, ...]:
    return bus["stop"], bus["route"], bus.get("direction")


def _moment(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else None


def _objects(value: Any) -> list[dict[str, Any]]:
    found = value if isinstance(value, list) else []
    return [each for each in found if isinstance(each, dict)]


def is_board(found: Any) -> bool:
    """Return whether JSON is a board that this listener wrote."""
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return False
    buses, weather = found.get("buses"), found.get("weather")
    return (
        isinstance(buses, list)
        and len(_objects(buses)) == len(buses)
        and (weather is None or isinstance(weather, dict))
        and all(
            isinstance(bus.get(name), str)
            for bus in buses
            for name in ("stop", "route", "stop_name")
        )
    )
