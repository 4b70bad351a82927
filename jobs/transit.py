"""A job that tells the next departures of buses and trains of the MBTA, Boston."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError

from jobs.transit_answers import (
    Departure,
    Direction,
    Document,
    Found,
    Names,
    Stop,
    Word,
    direction_of,
    next_departures,
    service_day,
)
from py_agent import Handler, HeaderAuth, HttpError, Settings
from py_agent.settings import WebUrl, checked_by

EVENT_TYPE = "transit_departures"

MAX_BYTES = 10_000_000  # of an answer
MOST_WAIT = 60.0  # seconds; the MBTA counts requests by the minute

_INCLUDE = {
    "include": "stop,route,trip",
    "fields[trip]": "headsign",
    "fields[route]": "short_name,long_name,direction_names,direction_destinations",
}


class MbtaSettings(Settings, section="mbta", env_prefix="MBTA_"):
    """The MBTA's V3 API; it works without a key, for 20 requests a minute.

    Args:
        api_key: the key, if any.
        api_url: where the service is.
    """

    api_key: SecretStr | None = Field(
        default=None,
        description="an MBTA V3 API key, which is free and allows 1,000 requests a minute: "
        "sign up at https://api-v3.mbta.com and request one",
    )
    api_url: WebUrl = "https://api-v3.mbta.com"


def wanted_of(
    stops: Sequence[Any] | None = None,
    stop: Any = None,
    route: Any = None,
    direction: Any = None,
    name: Any = None,
) -> list[Stop]:
    """Return what to watch, each once; the arguments are those of `transit`.

    Raises:
        ValueError: the arguments name no stop, or not as they should.
    """
    given = list(stops or [])
    if stop is not None or route is not None:
        given.append({"stop": stop, "route": route, "direction": direction, "name": name})
    elif direction is not None or name is not None:
        raise ValueError("direction and name belong to stop and route; write them inside")
    if not given:
        raise ValueError('no stop is named; with = { stop = "2168", route = "66" } does')
    try:
        found = map(Stop.model_validate, given)
        return list({each.key: each for each in found}.values())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        said = first["msg"].removeprefix("Value error, ")
        said = ": ".join([*map(str, first["loc"]), said])
        raise ValueError(f"a stop is not as it should be: {said}") from None


@checked_by(wanted_of)
def transit(
    handler: Handler,
    mbta: MbtaSettings,
    stops: Annotated[list[Stop], Field(min_length=1)] | None = None,
    stop: Word | None = None,
    route: Word | None = None,
    direction: Direction | None = None,
    name: str | None = None,
    count: Annotated[int, Field(ge=1, le=10)] = 3,
) -> None:
    """Tell the next departures from stops, whenever they have changed for a person.

    In agent.toml, `with = { stop = "2168", route = "66" }` is one stop, and
    `with = { stops = [{ stop = "2168", route = "66", direction = "Inbound" },
    { stop = "place-cntsq", route = "Red", name = "Central" }] }` are several.

    All stops are one request, which is conditional; `every = "1 minute"` is a good rhythm.
    Without a key the MBTA allows 20 requests a minute; its `x-ratelimit-...` headers are
    obeyed. Where nothing is predicted, the timetable of this day, or else of the next, is
    told; it is asked for once an hour at most. Trips that are cancelled, that skip the
    stop or end there are left out.

    A time is told to the minute, never later than the vehicle, and again only when the
    vehicle comes before that minute, or more than a minute after it. So a departure that
    wavers by seconds is no news; one that has left, comes anew, is cancelled, or changes
    between prediction and timetable is. What comes back is told again.

    Publishes:
        `transit_departures`, for each stop, route and direction; identifier
        `<stop>/<route>/<direction>/<number>-<digest>`, where the number counts what this
        job told; with

            {"agency": "MBTA", "stop": "2168", "stop_name": "Harvard Ave", "route": "66",
             "route_name": "66", "direction": 1, "direction_name": "Inbound",
             "destination": "Nubian Station",
             "departures": [{"time": "2026-01-05T12:07:00-05:00", "trip": "70001",
                             "headsign": "Nubian Station", "live": true}]}

        in the order of time. The list is empty when nothing leaves any more. `live` is
        false for what is from the timetable.

    Args:
        handler: fetches and publishes.
        mbta: where the service is, and the key.
        stops: what to watch.
        stop: the id of a single stop or station: it stands in the address of its page at
            mbta.com.
        route: the id of the route there, likewise.
        direction: 0, 1, or a name as "Inbound"; both if not given.
        name: what to call the stop.
        count: how many departures are told of each.

    Raises:
        HttpError: there is no whole answer, the key is refused, or it is not JSON.
        ValueError: the arguments name no stop, or a direction that the route has not; or
            the answer is no list.
    """
    wanted = wanted_of(stops, stop, route, direction, name)
    poll = _Poll(handler, mbta, wanted, count)
    poll.ask_for_predictions()
    poll.ask_for_timetable()
    poll.tell()


class _Poll:
    """One poll of all stops.

    `handler.state` holds what was predicted last, the timetable, and names, by `Stop.key`;
    what was told, by stop, route and direction; and how often something was told.
    """

    def __init__(
        self, handler: Handler, settings: MbtaSettings, wanted: list[Stop], count: int
    ) -> None:
        self.handler, self.settings = handler, settings
        self.wanted, self.count = wanted, count
        self.now = handler.clock.now()
        self.state = handler.state
        keys = {each.key for each in wanted}
        for name in ("predicted", "timetable", "names"):
            kept = self.state.get(name, {})
            self.state[name] = {key: kept[key] for key in kept.keys() & keys}

    def ask_for_predictions(self) -> None:
        """Read what is predicted, unless it is as it was."""
        known = self.state["predicted"]
        is_known = all(each.key in known for each in self.wanted)
        document = self._document("predictions", self.wanted, {}, is_known)
        if document is None:
            return
        for each in self.wanted:
            known[each.key] = self._noted(each, document.of(each)).as_json()
        self._say_left_out(document)

    def ask_for_timetable(self) -> None:
        """Read the timetable for directions without predictions, once an hour at most."""
        day, hour = service_day(self.now)
        asked, timetable = f"{day}/{hour}", self.state["timetable"]
        bare = [
            each for each in self.wanted
            if self._bare(each, "predicted")
            and timetable.get(each.key, {}).get("asked") != asked
        ]  # fmt: skip
        for each in bare:
            timetable[each.key] = {"asked": asked}
        after = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
        today = {"filter[date]": day, "filter[min_time]": f"{hour:02}:00"}
        for filters in (today, {"filter[date]": after}):
            if bare:
                self._read_timetable(bare, filters)
            bare = [each for each in bare if self._bare(each, "predicted", "timetable")]
        for each in bare:
            if not (self._coming("predicted", each) or self._coming("timetable", each)):
                self.handler.log.warning(
                    "the MBTA lists no departure of route %s from stop %s, today or "
                    "tomorrow; if there should be one, look at these ids",
                    each.route, each.stop,
                )  # fmt: skip

    def _bare(self, wanted: Stop, *names: str) -> bool:
        """Return whether a direction of a stop has no departure of these kinds."""
        only = direction_of(wanted, self._names(wanted))
        here = {each.direction for name in names for each in self._coming(name, wanted)}
        return not here >= ({0, 1} if only is None else {only})

    def _read_timetable(self, bare: list[Stop], filters: dict[str, str]) -> None:
        document = self._document("schedules", bare, filters)
        assert document is not None, "it was asked for without a condition"
        for each in bare:
            found = self._noted(each, document.of(each))
            coming = self._coming("timetable", each)
            known = {one.direction for one in coming}
            coming += [
                one for one in found.departures
                if one.time >= self.now and one.direction not in known
            ]  # fmt: skip
            found = found._replace(departures=coming)
            self.state["timetable"][each.key] |= found.as_json()
        self._say_left_out(document)

    def tell(self) -> None:
        """Publish the next departures of each stop, route and direction that are news."""
        before = self.state.get("told", {})
        told: dict[str, Any] = {}
        for wanted in self.wanted:
            names = self._names(wanted)
            found = self._coming("predicted", wanted)
            live = {each.direction for each in found}
            found += [
                each for each in self._coming("timetable", wanted)
                if each.direction not in live
            ]  # fmt: skip
            for direction in self._directions(wanted, names, found, before):
                key = json.dumps([wanted.stop, wanted.route, direction])
                if key not in told:
                    coming = [each for each in found if each.direction == direction]
                    told[key] = next_departures(coming, before.get(key, {}), self.count)
                    if key not in before or told[key] != before[key]:
                        self._publish(wanted, names, direction, told[key]["departures"])
        self.state["told"] = told

    def _directions(
        self, wanted: Stop, names: Names, found: list[Departure], before: dict[str, Any]
    ) -> list[int]:
        """Return the directions of which something is to be told, or was."""
        only = direction_of(wanted, names)
        here = {each.direction for each in found}
        here |= {
            one for one in (0, 1)
            if json.dumps([wanted.stop, wanted.route, one]) in before
        }  # fmt: skip
        return sorted(each for each in here if only in (None, each))

    def _publish(
        self, wanted: Stop, names: Names, direction: int, departures: list[Any]
    ) -> None:
        """Publish departures under an identifier that no earlier ones of this job had.

        A run that is repeated after a crash counts the same, so that what it told already
        is known.
        """
        self.state["count"] = self.state.get("count", 0) + 1
        data = {
            "agency": "MBTA", "stop": wanted.stop,
            "stop_name": wanted.name or names.stop or wanted.stop,
            "route": wanted.route, "route_name": names.route or wanted.route,
            "direction": direction,
            "direction_name": _at(names.directions, direction),
            "destination": _at(names.destinations, direction),
            "departures": departures,
        }  # fmt: skip
        digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
        where = f"{wanted.stop[:200]}/{wanted.route[:200]}/{direction}"
        name = f"{where}/{self.state['count']}-{digest[:12]}"
        self.handler.publish(EVENT_TYPE, name, data)

    # What is remembered

    def _coming(self, name: str, wanted: Stop) -> list[Departure]:
        """Return the departures to come, of those predicted or in the timetable."""
        kept = self.state[name].get(wanted.key, {}).get("departures", ())
        gone = self.state["predicted"].get(wanted.key, {}).get("gone", ())
        found = [Departure.of_json(each) for each in kept]
        return [
            each for each in found if each.time >= self.now and each.trip not in gone
        ]  # fmt: skip

    def _noted(self, wanted: Stop, found: Found) -> Found:
        """Remember what things are called, for when nothing leaves any more."""
        if any(found.names):
            self.state["names"][wanted.key] = [*found.names]
        return found

    def _names(self, wanted: Stop) -> Names:
        return Names(*self.state["names"].get(wanted.key, ()))

    # Requests

    def _document(
        self, what: str, wanted: list[Stop], filters: Any, is_known: bool | None = None
    ) -> Document | None:
        """Return an answer about stops; None if it is known, and as it was."""
        url = f"{self.settings.api_url.rstrip('/')}/{what}"
        params = {
            "filter[stop]": ",".join(dict.fromkeys(each.stop for each in wanted)),
            "filter[route]": ",".join(dict.fromkeys(each.route for each in wanted)),
            **filters, **_INCLUDE,
        }  # fmt: skip
        key, options = self.settings.api_key, dict[str, Any]()
        if key and key.get_secret_value().strip():
            options["auth"] = HeaderAuth("x-api-key", key.get_secret_value().strip())
        self._keep_limit()
        options |= {"params": params, "max_bytes": MAX_BYTES}
        http = self.handler.http
        answer: Any = None if is_known is None else http.get_if_changed(url, **options)
        if answer is None and is_known:
            return None
        if answer is None:  # read for others, or a timetable: its address is never the same
            answer = http.get(url, **options)
        self._note_limit(answer.headers)
        if answer.status_code == 403 and "auth" in options:
            raise HttpError(
                "the MBTA refuses the key in MBTA_API_KEY or [mbta] api_key (status 403): "
                "look at it at https://api-v3.mbta.com, or leave it out",
                answer.status_code,
                answer.retry_after,
            )
        answer.raise_for_status()
        return Document(answer.json(), what, live=what == "predictions")

    def _keep_limit(self) -> None:
        """Wait until requests are allowed again, if they are used up."""
        left = self.state.pop("limited_until", 0) - self.handler.clock.now().timestamp()
        if left > 0:
            self.handler.wait(min(left, MOST_WAIT))

    def _note_limit(self, headers: Any) -> None:
        remaining, reset = (
            headers.get(f"x-ratelimit-{name}", "").strip()
            for name in ("remaining", "reset")
        )
        if remaining == "0" and reset.isdecimal() and len(reset) < 12:
            self.state["limited_until"] = int(reset)

    def _say_left_out(self, document: Document) -> None:
        if count := document.left_out:
            text = "%d items of the MBTA's answer make no sense and are left out"
            self.handler.log.warning(text, count)


def _at(names: Sequence[str | None], number: int) -> str | None:
    return names[number] if number < len(names) else None
