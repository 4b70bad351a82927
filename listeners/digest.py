"""A listener that makes one list an hour or a day out of many events."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator

from py_agent import Event, EventError, Handler, Snooze, at_path

MOST_TEXT = 200_000  # characters of JSON in a list; what comes after that is only counted
MOST_DATA = 50_000  # characters of JSON of one event; more is left out
MIDNIGHT = time()
KEEPERS = 3  # events of a list that wait for its end; any of them closes it


def _text_of_time(at: Any) -> Any:
    if isinstance(at, int | float):  # which would be seconds
        raise ValueError(f'write a time as "18:00", not {at!r}')
    return at


def _of_the_wall(at: time) -> time:
    if at.tzinfo is not None:
        raise ValueError('leave out the offset; tz = "Europe/Berlin" says where it is')
    return at


OfDay = Annotated[time, AfterValidator(_of_the_wall), BeforeValidator(_text_of_time)]


def digest(
    handler: Handler,
    event: Event,
    every: Literal["hour", "day"] = "day",
    at: OfDay = MIDNIGHT,
    tz: ZoneInfo | None = None,
    show: str = "title",
    event_type: str = "digest",
    most: int = 500,
) -> None:
    """Collect events, and publish one list of them at the end of the hour or day.

    The list is kept in the store, so a restart loses none of it; what was collected
    before the agent was down is sent after it. An hour or day without events has no list.
    Its first three events wait for its end; if all of them are given up by hand, the list
    is sent when the next event comes. A list of its own is never collected.
    Register it once for each list, with a `match`, and a `name` if there are several.

    Publishes:
        `digest`, identifier: the listener's name, the end of the time that the list is
        for, and the event that has opened it. The data
        is, for example, `{"name": "listeners.digest.digest", "until":
        "2026-01-06T08:00:00+01:00", "count": 2, "text": "- Printer is broken\\n- Tea is
        out", "events": [{"event_type": "new_issue_assigned", "identifier": "...",
        "created": "2026-01-05T12:00:00+00:00", "data": {...}}, ...]}`. Data that is too
        large is left out, as null; `count` is more than the number of events where a list
        was too long.

    Args:
        handler: keeps the list, and publishes it.
        event: what to collect.
        every: `hour` or `day`.
        at: the local time at which a day ends, as `08:00`.
        tz: the time zone of that, as `Europe/Berlin`; the machine's own if not given.
        show: the path in the data to what a line of the text shows; the identifier is
            shown where nothing stands there.
        event_type: the type of the list.
        most: events in a list; more are only counted.

    Raises:
        Snooze: the list is not closed yet, and this event may be the one that closes it.
    """
    now, key = handler.clock.now(), event.delivery_key
    if key in handler.state.get("closed", ()):
        handler.state["closed"].remove(key)
        return  # another event has closed the list that this one is in
    if event.event_type == event_type and event.source == handler.source:
        handler.log.warning("its match fits its own lists, too; they are left out")
        return
    opened = handler.state.get("open")
    if opened and datetime.fromisoformat(opened["until"]) <= now:
        _close(handler, opened, event_type)
        keepers = _keepers(opened)
        _note_closed(handler.state, [each for each in keepers if each != key])
        if key in keepers:
            return
        opened = None
    if opened is None:
        until = next_end(now, every, at, tz)
        opened = {"until": until.isoformat(), "opener": key, "keepers": [], "size": 0,
                  "count": 0, "events": [], "lines": []}  # fmt: skip
        handler.state["open"] = opened
    keepers = _keepers(opened)
    if key not in keepers:  # one that comes back before the end is in the list
        _add(opened, event, show, most)
        opened["keepers"] = keepers = [*keepers, key][:KEEPERS]
    if key in keepers:
        raise Snooze(datetime.fromisoformat(opened["until"]) - now)


def next_end(
    now: datetime, every: Literal["hour", "day"], at: time, tz: ZoneInfo | None
) -> datetime:
    """Return when the hour or day that `now` is in ends, aware.

    Args:
        now: aware.
        every: `hour` or `day`.
        at: the local time at which a day ends.
        tz: the time zone; None for the machine's own.
    """
    local = now.astimezone(tz)
    if every == "hour":
        into = timedelta(
            minutes=local.minute, seconds=local.second, microseconds=local.microsecond
        )
        return (now - into + timedelta(hours=1)).astimezone(tz)
    for days in (0, 1, 2):
        day = local.date() + timedelta(days=days)
        # Through UTC, so that a time which daylight saving skips becomes one that exists.
        end = datetime.combine(day, at, tz).astimezone(UTC)
        if end > now:
            return end.astimezone(tz)
    raise AssertionError("some day ends within two days")


def _add(opened: dict[str, Any], event: Event, show: str, most: int) -> None:
    opened["count"] += 1
    entry = {
        "event_type": event.event_type, "identifier": event.identifier,
        "created": event.created.isoformat(), "data": event.data,
    }  # fmt: skip
    size = len(json.dumps(entry))
    if size > MOST_DATA:
        entry, size = entry | {"data": None}, 0
    if len(opened["events"]) < most and opened["size"] + size <= MOST_TEXT:
        opened["size"] += size
        opened["events"].append(entry)
        opened["lines"].append(_line(event, show))


def _line(event: Event, show: str) -> str:
    shown = at_path(event.data, show)
    text = event.identifier if shown is None or isinstance(shown, dict | list) else shown
    return "- " + " ".join(str(text).split())[:300]


def _close(handler: Handler, opened: dict[str, Any], event_type: str) -> None:
    lines, left_out = opened["lines"], opened["count"] - len(opened["events"])
    if left_out:
        lines = [*lines, f"and {left_out} more"]
    data = {
        "name": handler.source, "until": opened["until"], "count": opened["count"],
        "text": "\n".join(lines), "events": opened["events"],
    }  # fmt: skip
    # A repeat after a crash is the same event, and known. After a clock that was set back
    # there may be two lists for one day.
    name = f"{handler.source} {opened['until']} {opened['opener']}"
    try:
        handler.publish(event_type, name, data)
    except EventError as error:  # this agent takes smaller events than usual
        handler.log.warning("the list is sent without its events: %s", error)
        short = data | {"events": [], "text": f"{opened['count']} events"}
        handler.publish(event_type, name, short)
    del handler.state["open"]


def _keepers(opened: dict[str, Any]) -> list[Any]:
    """Return whose deliveries wait for the end of a list; an older agent kept one only."""
    keepers: list[Any] = opened.get("keepers", [opened["opener"]])
    return keepers


def _note_closed(state: dict[str, Any], keepers: list[Any]) -> None:
    """Remember whose list was closed by another; these come when they are due."""
    if keepers:
        state["closed"] = [*state.get("closed", ()), *keepers][-100:]
