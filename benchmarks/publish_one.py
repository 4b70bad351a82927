"""W1: what does it cost to publish one event after the other, on one thread?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from . import ours, raw
from .measure import Plan, Row, interleave, row, samples

TARGETS = {"full": ">= 0.85", "fast": ">= 0.75"}
EVENTS = {"full": 3_000, "fast": 10_000}


def measure(plan: Plan) -> Iterator[Row]:
    """Publish in a running agent, and beside one that is not started."""
    for durability in TARGETS:
        yield from _measure(plan, durability)


def _measure(plan: Plan, durability: str) -> Iterator[Row]:
    events = samples(plan.events(EVENTS[durability]))

    def running(folder: Path) -> float:
        with ours.agent(folder, durability) as agent:
            agent.start()
            return ours.publish_each(ours.opened(agent), events)

    def alone(folder: Path) -> float:
        with ours.agent(folder, durability) as agent:
            return ours.publish_each(ours.opened(agent), events)

    def limit(folder: Path) -> float:
        return raw.publish(folder, events, durability)

    figures = interleave({"raw": limit, "running": running, "alone": alone}, plan)
    for name, question in (
        ("running", f"publish one by one, {durability}"),
        ("alone", f"the same from a process without the agent, {durability}"),
    ):
        target = TARGETS[durability]
        yield row(question, "events/s", figures, ours=name, target=target)
