"""The MBTA's V3 API as documented, on loopback: predictions, schedules, limits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any
from zoneinfo import ZoneInfo

from .json_server import Answer, Asked, JsonServer, as_json

ZONE = ZoneInfo("America/New_York")
DIRECTIONS = ("Outbound", "Inbound")
ENDS = ("Harvard Square", "Nubian Station")


class TransitServer(JsonServer):
    """Knows predictions and a timetable, each a list of JSON:API items.

    Args:
        now: tells the moment.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.predictions: list[Any] = []
        self.timetable: dict[str, list[Any]] = {}  # by the date of the service
        self.stations: dict[str, str] = {}  # by platform
        self.modified: datetime | None = None  # of the predictions
        self.key = ""  # the only one that is taken
        self.limit = "20"  # requests that are left
        super().__init__()

    def answer(self, asked: Asked) -> Answer:
        """Return the answer to a request."""
        if asked.headers.get("x-api-key", self.key) != self.key:
            return as_json({"errors": [{"status": "403", "code": "forbidden"}]}, 403)
        reset = str(round(self.now().timestamp()) + 30)
        limits = {"x_ratelimit_remaining": self.limit, "x_ratelimit_reset": reset}
        if asked.path == "/schedules":
            items = self.timetable.get(asked.query["filter[date]"], [])
            return as_json(self._document(asked, items, asked.query), 200, **limits)
        if asked.path != "/predictions":
            return as_json({"errors": [{"status": "404", "code": "not_found"}]}, 404)
        if self.modified is not None:
            stamp = format_datetime(self.modified, usegmt=True)
            if asked.headers.get("if-modified-since") == stamp:
                return 304, {}, ""
            limits["Last_Modified"] = stamp
        return as_json(self._document(asked, self.predictions, {}), 200, **limits)

    def departs(self, trip: str, minutes: float, **fields: Any) -> dict[str, Any]:
        """Return an item of a trip that departs so many minutes from now.

        Args:
            trip: its id.
            minutes: from now.
            fields: attributes, or `stop` and `route`.
        """
        time = (self.now() + timedelta(minutes=minutes)).astimezone(ZONE).isoformat()
        stop, route = fields.pop("stop", "2168"), fields.pop("route", "66")
        related = {"trip": trip, "stop": stop, "route": route}
        attributes = {
            "arrival_time": time, "departure_time": time, "direction_id": 1,
            "stop_sequence": 12, "status": None, "schedule_relationship": None, **fields,
        }  # fmt: skip
        return {
            "id": f"prediction-{trip}-{stop}-12", "type": "prediction",
            "attributes": attributes,
            "relationships": {
                name: {"data": {"id": each, "type": name}} for name, each in related.items()
            },
        }  # fmt: skip

    def _document(self, asked: Asked, items: list[Any], query: dict[str, str]) -> Any:
        stops = asked.query["filter[stop]"].split(",")
        routes = asked.query["filter[route]"].split(",")
        found = [each for each in items if self._is_among(each, stops, routes)]
        found = [each for each in found if not _is_before(each, query)]
        return {
            "data": found, "jsonapi": {"version": "1.0"},
            "included": [*self._included(found).values()],
        }  # fmt: skip

    def _is_among(self, item: Any, stops: list[str], routes: list[str]) -> bool:
        if not isinstance(item, dict) or "relationships" not in item:
            return True  # the server is mad; it sends this to everybody
        stop, route = _id(item, "stop"), _id(item, "route")
        return route in routes and (stop in stops or self.stations.get(stop) in stops)

    def _included(self, items: list[Any]) -> dict[tuple[str, str], Any]:
        found: dict[tuple[str, str], Any] = {}
        for item in items:
            if not isinstance(item, dict) or "relationships" not in item:
                continue
            stop, route, trip = (_id(item, each) for each in ("stop", "route", "trip"))
            direction = item["attributes"].get("direction_id")
            headsign = ENDS[direction] if direction in (0, 1) else None
            station = self.stations.get(stop)
            parent = {"id": station, "type": "stop"} if station else None
            found["stop", stop] = {
                "type": "stop", "id": stop, "attributes": {"name": f"Stop {stop}"},
                "relationships": {"parent_station": {"data": parent}},
            }  # fmt: skip
            found["trip", trip] = {
                "type": "trip", "id": trip, "attributes": {"headsign": headsign},
            }  # fmt: skip
            found["route", route] = {
                "type": "route", "id": route,
                "attributes": {
                    "short_name": "" if route == "Red" else route,
                    "long_name": f"Line {route}", "direction_names": list(DIRECTIONS),
                    "direction_destinations": list(ENDS),
                },
            }  # fmt: skip
        return found


def _id(item: dict[str, Any], name: str) -> str:
    return str(item["relationships"][name]["data"]["id"])


def _is_before(item: Any, query: dict[str, str]) -> bool:
    """Return whether an item of a timetable is before `filter[min_time]`."""
    time = item["attributes"].get("departure_time") if isinstance(item, dict) else None
    if time is None or "filter[min_time]" not in query:
        return False
    hours, minutes = query["filter[min_time]"].split(":")
    day = datetime.fromisoformat(query["filter[date]"]).replace(tzinfo=ZONE)
    least = day + timedelta(hours=int(hours), minutes=int(minutes))
    return datetime.fromisoformat(time) < least
