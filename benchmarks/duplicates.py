"""W2: what does it cost to be offered an event that is known already?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from . import ours, raw
from .measure import Plan, Row, interleave, row, samples


def measure(plan: Plan) -> Iterator[Row]:
    """Publish everything a second time."""
    events = samples(plan.events(20_000))

    def again(folder: Path) -> float:
        with ours.agent(folder) as agent:
            agent.start()
            handler = ours.opened(agent)
            handler.publish_many(events)
            return ours.publish_each(handler, events)

    def limit(folder: Path) -> float:
        with raw.store(folder) as connection:
            connection.execute("BEGIN")
            connection.executemany(raw.INSERT, raw.encoded(events))
            connection.execute("COMMIT")
            return raw.insert_each(connection, events)

    figures = interleave({"raw": limit, "ours": again}, plan)
    yield row(
        "publish what is known, to a raw INSERT OR IGNORE", "events/s", figures,
        target=">= 1.5",
    )  # fmt: skip
