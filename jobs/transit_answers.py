"""What the MBTA's predictions and schedules say of the next departures; pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    model_validator,
)

from py_agent import at_path

ZONE = ZoneInfo("America/New_York")
MINUTE = timedelta(minutes=1)

KEPT = 30  # departures of a stop and route that are remembered
MOST_GONE = 300  # trips, likewise
NIGHT = timedelta(hours=3)  # after midnight that belong to the day before
NO_PICKUP = 1  # GTFS: here passengers only get off

_GONE = ("CANCELLED", "SKIPPED")  # relationships: this trip does not come here


def _no_flag(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"it is a text or a number, not {str(value).lower()}")
    return value


def _one(text: str) -> str:
    # In a request, commas separate the ids of several.
    if not text.strip() or "," in text:
        raise ValueError(
            f"{text!r} is not one id; write several into stops, each by itself"
        )
    return text.strip()


def _way(direction: str | int) -> str | int:
    if isinstance(direction, int) and direction not in (0, 1):
        raise ValueError(f"a direction is 0, 1 or a name, not {direction}")
    return direction


Word = Annotated[str | int, BeforeValidator(_no_flag)]
Id = Annotated[str, AfterValidator(_one), BeforeValidator(_no_flag)]
Direction = Annotated[Word, AfterValidator(_way)]


class Stop(BaseModel):
    """A stop and a route to watch.

    Args:
        stop: the stop's id, or a station's.
        route: the route's id.
        direction: its number, 0 or 1, or its name, as "Inbound"; both if not given.
        name: what to call the stop; as the MBTA does if not given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    stop: Id
    route: Id
    direction: Direction | None = None
    name: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _has_its_keys(cls, value: Any) -> Any:
        """Name the key that is wrong, which the text of a list's mistake does not."""
        if isinstance(value, dict):
            for key in value:
                if key not in cls.model_fields:
                    known = ", ".join(cls.model_fields)
                    raise ValueError(f"a stop has no {key!r}; known are {known}")
            for key in ("stop", "route"):
                if value.get(key) in (None, ""):
                    raise ValueError(f"each stop needs a {key}")
        return value

    @property
    def key(self) -> str:
        """What tells it from others, as a key of a state."""
        return json.dumps([self.stop, self.route, self.direction])


class Departure(NamedTuple):
    """A vehicle leaves a stop.

    Args:
        trip: the trip's id.
        sequence: the number of the stop in the trip, as a trip may come by twice.
        time: when.
        direction: 0 or 1.
        headsign: where it says that it goes.
        live: whether it is predicted, and not from the timetable.
    """

    trip: str
    sequence: int
    time: datetime
    direction: int
    headsign: str | None
    live: bool

    @property
    def key(self) -> str:
        """What tells it from others at its stop."""
        return f"{self.trip}@{self.sequence}"

    def as_json(self) -> list[Any]:
        """Return what a state can hold."""
        return [*self._replace(time=self.time.isoformat())]  # type: ignore[arg-type]

    @classmethod
    def of_json(cls, kept: Any) -> Departure:
        """Return a departure from what `as_json` returned."""
        found = cls(*kept)
        return found._replace(time=datetime.fromisoformat(kept[2]))


class Names(NamedTuple):
    """What a stop, a route and its directions are called; None where nobody says."""

    stop: str | None = None
    route: str | None = None
    directions: Sequence[str | None] = ()
    destinations: Sequence[str | None] = ()


class Found(NamedTuple):
    """What an answer says of one stop and route.

    Args:
        departures: in the order of time.
        gone: the trips that do not come, though they are in the timetable.
        names: what things are called.
    """

    departures: list[Departure]
    gone: list[str]
    names: Names

    def as_json(self) -> dict[str, Any]:
        """Return it as a state can hold it, with as many departures as will be needed."""
        kept = list[Departure]()
        for direction in (0, 1):
            kept += [each for each in self.departures if each.direction == direction][:KEPT]
        return {
            "departures": [each.as_json() for each in kept],
            "gone": self.gone[:MOST_GONE],
        }


class Document:
    """An answer in the form of JSON:API.

    Args:
        content: its JSON.
        what: what it lists, for errors.
        live: whether it holds predictions, and not the timetable.

    Raises:
        ValueError: it lists nothing.
    """

    def __init__(self, content: Any, what: str, live: bool) -> None:
        found = content.get("data") if isinstance(content, dict) else None
        if not isinstance(found, list):
            raise ValueError(f"the MBTA's answer holds no list of {what}")
        self.live = live
        self.left_out = 0  # items that cannot be read
        included = content.get("included")
        self._included = {
            (each.get("type"), each.get("id")): each
            for each in (included if isinstance(included, list) else ())
            if isinstance(each, dict) and isinstance(each.get("id"), str)
            and isinstance(each.get("type"), str)
        }  # fmt: skip
        self._items = [each for each in found if self._is_whole(each)]

    def of(self, wanted: Stop) -> Found:
        """Return what it says of a stop and route.

        Raises:
            ValueError: the route has no direction of the name that is wanted.
        """
        items = [each for each in self._items if self._is_of(each, wanted)]
        names = self._names(items, wanted)
        direction = direction_of(wanted, names)
        departures, gone = list[Departure](), list[str]()
        for item in items:
            attributes = item["attributes"]
            if attributes.get("schedule_relationship") in _GONE:
                gone.append(_id(item, "trip"))
            elif (found := self._departure(item)) is not None:
                if direction in (None, found.direction):
                    departures.append(found)
        unique = {each.key: each for each in departures}
        return Found(sorted(unique.values(), key=lambda each: each.time), gone, names)

    def _is_whole(self, item: Any) -> bool:
        whole = (
            isinstance(item, dict)
            and isinstance(item.get("attributes"), dict)
            and all(_id(item, name) for name in ("trip", "stop", "route"))
        )
        self.left_out += not whole
        return whole

    def _is_of(self, item: Mapping[str, Any], wanted: Stop) -> bool:
        stop = _id(item, "stop")
        # A station is asked for, its platforms are what vehicles stop at.
        station = at_path(
            self._included.get(("stop", stop)), "relationships.parent_station.data.id"
        )
        return _id(item, "route") == wanted.route and wanted.stop in (stop, station)

    def _departure(self, item: Mapping[str, Any]) -> Departure | None:
        """Return an item as a departure; None if nobody can get on, or it makes no sense.

        Without a time of departure it is the last stop of the trip.
        """
        attributes, trip = item["attributes"], _id(item, "trip")
        if attributes.get("departure_time") is None:
            return None
        if attributes.get("pickup_type") == NO_PICKUP:
            return None
        if attributes.get("schedule_relationship") == "NO_DATA":
            return None
        time, sequence = (
            _time(attributes["departure_time"]),
            attributes.get("stop_sequence"),
        )
        direction = attributes.get("direction_id")
        if time is None or direction not in (0, 1) or isinstance(direction, bool):
            self.left_out += 1
            return None
        of_trip = self._attributes("trip", trip).get("headsign")
        own = attributes.get("trip_headsign") or attributes.get("stop_headsign")
        return Departure(
            trip, sequence if isinstance(sequence, int) else 0, time, int(direction),
            _text(own) or _text(of_trip), self.live,
        )  # fmt: skip

    def _names(self, items: Iterable[Mapping[str, Any]], wanted: Stop) -> Names:
        item = next(iter(items), None)
        if item is None:
            return Names()
        route = self._attributes("route", wanted.route)
        stop = _text(self._attributes("stop", _id(item, "stop")).get("name"))
        name = _text(route.get("short_name")) or _text(route.get("long_name"))
        return Names(
            stop, name, _texts(route.get("direction_names")),
            _texts(route.get("direction_destinations")),
        )  # fmt: skip

    def _attributes(self, kind: str, name: str) -> Mapping[str, Any]:
        found = at_path(self._included.get((kind, name)), "attributes")
        return found if isinstance(found, dict) else {}


def direction_of(wanted: Stop, names: Names) -> int | None:
    """Return the number of the direction that is wanted; None for both, or if unknown.

    Raises:
        ValueError: the route has no direction of that name.
    """
    if wanted.direction is None or isinstance(wanted.direction, int):
        return wanted.direction
    text = wanted.direction.strip().casefold()
    if text in ("0", "1"):
        return int(text)
    if not names.directions:
        return None
    for which in (names.directions, names.destinations):
        for number, name in enumerate(which):
            if name is not None and name.casefold() == text:
                return number
    known = " and ".join(f"{name!r} ({n})" for n, name in enumerate(names.directions))
    raise ValueError(
        f"route {wanted.route} has no direction {wanted.direction!r}; it has {known}"
    )


def service_day(now: datetime) -> tuple[str, int]:
    """Return the date of the timetable at a moment, and the hours since its midnight.

    The hours after midnight are the 24th and so on of the day before.
    """
    local = now.astimezone(ZONE).replace(tzinfo=None)
    day = (local - NIGHT).date()
    return day.isoformat(), local.hour + 24 * (local.date() - day).days


def as_told(time: datetime, before: datetime | None) -> datetime:
    """Return the minute at which a departure is told.

    It is never later than the vehicle, so that nobody misses it. A minute that was told
    stays while the vehicle leaves in it or in the next, so that seconds are no news.

    Args:
        time: when it leaves.
        before: the minute that was told last, if it was.
    """
    if before is not None and before <= time < before + 2 * MINUTE:
        return before
    return time.replace(second=0, microsecond=0)


def next_departures(
    coming: Iterable[Departure], before: Mapping[str, Any], count: int
) -> dict[str, Any]:
    """Return what is told of the next departures, and what tells them apart next time.

    Args:
        coming: the departures to come.
        before: what this returned last; empty the first time.
        count: how many are told.
    """
    pairs = zip(before.get("keys", ()), before.get("departures", ()), strict=True)
    known = {key: datetime.fromisoformat(each["time"]) for key, each in pairs}
    settled = {
        (as_told(each.time, known.get(each.key)), each.key): each for each in coming
    }  # fmt: skip
    chosen = sorted(settled)[:count]
    return {
        "keys": [key for _, key in chosen],
        "departures": [
            {
                "time": time.isoformat(), "trip": settled[time, key].trip,
                "headsign": settled[time, key].headsign, "live": settled[time, key].live,
            }
            for time, key in chosen
        ],
    }  # fmt: skip


def _id(item: Mapping[str, Any], name: str) -> str:
    """Return the id of something that an item belongs to; "" if it does not say."""
    found = at_path(item, f"relationships.{name}.data.id")
    return found if isinstance(found, str) else ""


def _time(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
        return found if found.astimezone(ZONE) and found.tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: Any) -> list[str | None]:
    return [_text(each) for each in value] if isinstance(value, list) else []
