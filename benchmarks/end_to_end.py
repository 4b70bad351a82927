"""W4: how long is the way from publish over the listener to 'completed'?"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from py_agent import Agent

from . import ours, raw
from .measure import Plan, Row, Sample, interleave, row, samples

TARGETS = {"full": ">= 1.2", "fast": ">= 1.0"}
EVENTS = {"full": 2_000, "fast": 6_000}


def measure(plan: Plan) -> Iterator[Row]:
    """Compare with a strict raw loop: two commits for each event."""
    for durability in TARGETS:
        yield from _measure(plan, durability)


def _measure(plan: Plan, durability: str) -> Iterator[Row]:
    events = samples(plan.events(EVENTS[durability]))

    def delivered(folder: Path) -> float:
        with ours.agent(folder, durability) as agent:
            seen = listen(agent)
            agent.start()
            return publish_and_drain(agent, events, seen)

    def limit(folder: Path) -> float:
        return strict(folder, events, durability)

    figures = interleave({"raw": limit, "ours": delivered}, plan)
    yield row(
        f"publish, listen, complete, {durability}, to two raw commits", "events/s",
        figures, target=TARGETS[durability],
    )  # fmt: skip


def listen(agent: Agent) -> list[int]:
    """Add the listener of the samples; return the list of numbers that it fills."""
    seen: list[int] = []

    def listener(event: Any) -> None:
        seen.append(event.data["number"])

    agent.add_listener(listener, {"event_type": ("==", "measured")}, name="listener")
    return seen


def publish_and_drain(agent: Agent, events: list[Sample], seen: list[int]) -> float:
    """Publish and wait until all is recorded; return events per second."""
    handler = ours.opened(agent)
    agent.drain()
    start = time.perf_counter()
    for event_type, identifier, data in events:
        handler.publish(event_type, identifier, data)
    agent.drain()
    seconds = time.perf_counter() - start
    assert len(seen) == len(events), "every event is delivered once"
    return len(events) / seconds


def strict(folder: Path, events: list[Sample], durability: str = "full") -> float:
    """Commit event and delivery, read them back, call, commit the result; events/s."""
    seen: list[int] = []
    with raw.store(folder, durability) as connection:
        cursor = connection.cursor()
        start = time.perf_counter()
        for each in raw.encoded(events):
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute(raw.INSERT, each)
            cursor.execute(raw.OWE, (cursor.lastrowid,))
            cursor.execute("COMMIT")
            for event_id, data in cursor.execute(raw.READ, (1,)).fetchall():
                seen.append(json.loads(data)["number"])
                cursor.execute(raw.DONE, (raw.micros(), event_id))
        seconds = time.perf_counter() - start
    assert len(seen) == len(events), "every event is delivered once"
    return len(events) / seconds
