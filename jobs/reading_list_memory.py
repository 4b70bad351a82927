"""What a reading list remembers of its links: when to try each again, and how often."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobs.reading_list_links import Found, digest
from py_agent import EventError, Handler, shown_url

FIRST_WAIT = timedelta(minutes=15)  # after a page failed; four times as long each time


def remembered(handler: Handler, links: list[Found]) -> dict[str, Any]:
    """Return what is known of links, by digest; those off the list are forgotten."""
    known = handler.state.get("links", {})
    kept = {key: known[key] for each in links if (key := key_of(each)) in known}
    handler.state["links"] = kept
    return kept


def is_due(handler: Handler, memory: dict[str, Any], link: Found) -> bool:
    """Return whether a link is to be fetched now."""
    noted = memory.get(key_of(link))
    if noted is None:
        match = {"event_type": ("==", "archive_article"), "identifier": ("==", link.name)}
        if handler.query_events(match, limit=1):
            memory[key_of(link)] = "done"
            return False
        return True
    if not isinstance(noted, dict):
        return False
    return handler.clock.now() >= datetime.fromisoformat(noted["next"])


def note_failure(
    handler: Handler,
    memory: dict[str, Any],
    link: Found,
    why: str,
    wait: float,
    tries: int,
) -> None:
    """Remember when to try again, or give a link up and say so."""
    now, noted = handler.clock.now(), memory.get(key_of(link)) or {}
    tried, first = noted.get("tries", 0) + 1, noted.get("first", now.isoformat())
    where = shown_url(link.url)
    if tried >= tries:
        data = {"url": link.url, "reason": why, "tries": tried, "task": link.task}
        name = link.name if len(link.name) < 990 else digest(link.name)
        try:
            handler.publish("archive_failed", f"{name}@{first}", data)
        except EventError:  # whatever is wrong with the task, that it failed is to be known
            handler.publish("archive_failed", f"{name}@{first}", {**data, "task": None})
        handler.log.warning("%s is given up, try %d: %s", where, tried, why)
        memory[key_of(link)] = "given up"
        return
    due = now + max(FIRST_WAIT * 4 ** (tried - 1), timedelta(seconds=wait))
    memory[key_of(link)] = {"tries": tried, "first": first, "next": due.isoformat()}
    handler.log.info("%s is tried again at %s: %s", where, due.isoformat(), why)


def note_unreached(handler: Handler, memory: dict[str, Any], link: Found) -> None:
    """Let the next run begin with other links: this one may be offline for ever."""
    now = handler.clock.now().isoformat()
    memory[key_of(link)] = {"tries": 0, "first": now, **(memory.get(key_of(link)) or {})}
    memory[key_of(link)]["next"] = now


def due_since(noted: Any) -> str:
    """Return since when a link is due, to be sorted by; what is new comes first."""
    return noted["next"] if isinstance(noted, dict) else ""


def key_of(link: Found) -> str:
    """Return the key under which a link is remembered."""
    return digest(link.name)[:20]
