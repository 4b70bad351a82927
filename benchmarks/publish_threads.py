"""W1: what do 16 threads gain that publish at once and share their syncs to disk?"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from py_agent import Handler

from . import ours, raw
from .measure import Plan, Row, Sample, interleave, row, samples

THREADS = 16


def measure(plan: Plan) -> Iterator[Row]:
    """Compare 16 publishing threads with one raw one."""
    events = samples(plan.events(8_000))
    slow: list[float] = []

    def together(folder: Path) -> float:
        with ours.agent(folder) as agent:
            agent.start()
            rate, late = publish_at_once(ours.opened(agent), events)
            slow.append(late)
            return rate

    def limit(folder: Path) -> float:
        return raw.publish(folder, events[: len(events) // 4])

    figures = interleave({"raw": limit, "ours": together}, plan)
    late = f"99 of 100 publishes end within {statistics.median(slow) * 1_000:.1f} ms"
    yield row(
        f"publish on {THREADS} threads, full, to one raw thread", "events/s", figures,
        target=">= 3.5", note=late,
    )  # fmt: skip


def publish_at_once(handler: Handler, events: list[Sample]) -> tuple[float, float]:
    """Return events per second, and the seconds that 99 of 100 publishes took at most."""
    gate = threading.Barrier(THREADS + 1)
    took: list[float] = []

    def work(mine: list[Sample]) -> None:
        durations = []
        gate.wait()
        for event_type, identifier, data in mine:
            before = time.perf_counter()
            handler.publish(event_type, identifier, data)
            durations.append(time.perf_counter() - before)
        took.extend(durations)

    parts = [events[number::THREADS] for number in range(THREADS)]
    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for each in threads:
        each.start()
    gate.wait()
    start = time.perf_counter()
    for each in threads:
        each.join()
    seconds = time.perf_counter() - start
    return len(events) / seconds, statistics.quantiles(took, n=100)[98]
