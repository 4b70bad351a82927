"""The same work through py_agent's public names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from py_agent import Agent, Handler

from .measure import Sample


@contextmanager
def agent(folder: Path, durability: str = "full") -> Iterator[Agent]:
    """Lend an agent with a new store, open and not started; it is stopped at the end."""
    lent = Agent(folder / "agent.sqlite", durability=durability, grace=60)
    try:
        yield lent
    finally:
        lent.stop()


def opened(lent: Agent) -> Handler:
    """Return the agent's handler once its store is made and open."""
    lent.handler.publish("warm up", "1")
    return lent.handler


def publish_each(handler: Handler, events: list[Sample]) -> float:
    """Publish each event by itself; return events per second."""
    start = time.perf_counter()
    for event_type, identifier, data in events:
        handler.publish(event_type, identifier, data)
    return len(events) / (time.perf_counter() - start)
