"""How does an agent come back to a store that owes 10,000 deliveries?"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import ours, raw
from .measure import Plan, Row, Sample, interleave, row, samples

WINDOW = 200  # deliveries that are read and recorded together by the raw loop


def measure(plan: Plan) -> Iterator[Row]:
    """Time a restart until the first call, and until everything is completed."""
    events = samples(plan.events(10_000))
    firsts: dict[str, list[float]] = {"raw": [], "ours": []}

    def restarted(folder: Path) -> float:
        first, seconds = _restart(folder, events)
        firsts["ours"].append(first * 1_000)
        return len(events) / seconds

    def limit(folder: Path) -> float:
        first, seconds = _raw_restart(folder, events)
        firsts["raw"].append(first * 1_000)
        return len(events) / seconds

    figures = interleave({"raw": limit, "ours": restarted}, plan)
    firsts = {name: found[1:] for name, found in firsts.items()}  # but for the warm-up
    yield row(
        f"restart with {len(events):,} owed, to raw windows of {WINDOW}", "events/s",
        figures, target=">= 0.6",
    )  # fmt: skip
    yield row(
        "from start() to the first call, to opening and reading", "ms", firsts,
        note="start() checks the store's integrity",
    )  # fmt: skip


def _restart(folder: Path, events: list[Sample]) -> tuple[float, float]:
    calls: list[float] = []

    def listener(event: Any) -> None:
        calls.append(time.perf_counter())
        assert event.data["number"] >= 0

    match = {"event_type": ("==", "measured")}
    with ours.agent(folder) as before:
        before.add_listener(listener, match, name="listener")
        before.handler.publish_many(events)
    with ours.agent(folder) as agent:
        agent.add_listener(listener, match, name="listener")
        start = time.perf_counter()
        agent.start()
        agent.drain()
        seconds = time.perf_counter() - start
    assert len(calls) == len(events), "every event is delivered once"
    return calls[0] - start, seconds


def _raw_restart(folder: Path, events: list[Sample]) -> tuple[float, float]:
    calls: list[float] = []
    with raw.store(folder) as connection:
        connection.execute("BEGIN")
        connection.executemany(raw.INSERT, raw.encoded(events))
        numbers = connection.execute("SELECT id FROM events").fetchall()
        connection.executemany(raw.OWE, numbers)
        connection.execute("COMMIT")
    start = time.perf_counter()
    with raw.store(folder) as connection:
        while window := connection.execute(raw.READ, (WINDOW,)).fetchall():
            for _, data in window:
                calls.append(time.perf_counter())
                assert json.loads(data)["number"] >= 0
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(raw.DONE, [(raw.micros(), id) for id, _ in window])
            connection.execute("COMMIT")
    seconds = time.perf_counter() - start
    assert len(calls) == len(events), "every event is delivered once"
    return calls[0] - start, seconds
