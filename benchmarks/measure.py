"""Interleaved rounds, and the rows of the table that they become."""

from __future__ import annotations

import gc
import hashlib
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Sample = tuple[str, str, dict[str, Any]]  # an event type, an identifier, data
Contestant = Callable[[Path], float]  # takes an empty folder, returns its figure


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
        rounds: how often each contestant runs.
        share: the part of the full number of events that is published.
        folder: where the stores are made; it should be on a real disk.
    """

    rounds: int = 7
    share: float = 1.0
    folder: Path | None = None

    def events(self, full: int) -> int:
        """Return how many events to publish where a full run publishes `full`."""
        return max(200, round(full * self.share))


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        question: what was measured.
        unit: of the two figures.
        raw: the machine's own figure, without py_agent: the median of the rounds.
        ours: py_agent's figure, likewise.
        ratio: the median of the rounds' own ratios, ours to raw.
        low: the lowest of them.
        high: the highest of them.
        target: what the ratio should be, in words.
        note: what else is worth knowing.
    """

    question: str
    unit: str
    raw: float
    ours: float
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    target: str = ""
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the row for `--json`."""
        return asdict(self)


Figures = Mapping[str, list[float]]


def interleave(contestants: Mapping[str, Contestant], plan: Plan) -> Figures:
    """Run all contestants in turn, round after round, each in a folder of its own.

    One round more is run first and thrown away: it fills the caches of the machine.

    Returns:
        The figures of each contestant, by its name, in the order of the rounds.
    """
    figures: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(plan.rounds + 1):
        for name, contestant in contestants.items():
            with tempfile.TemporaryDirectory(dir=plan.folder) as folder:
                gc.collect()
                figure = contestant(Path(folder))
            if number > 0:
                figures[name].append(figure)
    return figures


def row(
    question: str,
    unit: str,
    figures: Figures,
    *,
    ours: str = "ours",
    raw: str = "raw",
    target: str = "",
    note: str = "",
) -> Row:
    """Return the line that compares two contestants of the same rounds."""
    pairs = zip(figures[ours], figures[raw], strict=True)
    ratios = [mine / limit for mine, limit in pairs]
    return Row(
        question, unit, statistics.median(figures[raw]), statistics.median(figures[ours]),
        statistics.median(ratios), min(ratios), max(ratios), target, note,
    )  # fmt: skip


def samples(count: int, event_type: str = "measured") -> list[Sample]:
    """Return events whose identifiers come in no order, as those of the world do."""
    return [
        (
            event_type,
            hashlib.sha1(b"%d" % number).hexdigest(),
            {
                "number": number,
                "title": f"Something changed, and it is number {number}",
                "tags": ["first", "second"],
                "score": number / 7,
            },
        )
        for number in range(count)
    ]
