"""W3: what does it cost to publish many events at once, a thousand in a transaction?"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

from . import ours, raw
from .measure import Plan, Row, interleave, row, samples

BATCH = 1_000


def measure(plan: Plan) -> Iterator[Row]:
    """Compare with raw batches, on SQLite's own pragmas and on ours."""
    events = samples(plan.events(40_000))

    def many(folder: Path) -> float:
        with ours.agent(folder) as agent:
            agent.start()
            handler = ours.opened(agent)
            start = time.perf_counter()
            handler.publish_many(events)
            return len(events) / (time.perf_counter() - start)

    def limit(folder: Path, same_pragmas: bool = False) -> float:
        with raw.store(folder, same_pragmas=same_pragmas) as connection:
            start = time.perf_counter()
            rows = raw.encoded(events)
            while batch := list(itertools.islice(rows, BATCH)):
                connection.execute("BEGIN")
                connection.executemany(raw.INSERT, batch)
                connection.execute("COMMIT")
            return len(events) / (time.perf_counter() - start)

    def tuned(folder: Path) -> float:
        return limit(folder, same_pragmas=True)

    figures = interleave({"raw": limit, "ours": many, "tuned": tuned}, plan)
    yield row("publish_many, to raw batches of 1,000", "events/s", figures, target=">= 1.0")
    yield row(
        "publish_many, to the same with our pragmas", "events/s", figures,
        raw="tuned", target=">= 0.75",
    )  # fmt: skip
