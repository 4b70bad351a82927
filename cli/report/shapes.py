"""What a report draws: counted rows turned into series, shares and quantiles.

Pure: rows as `py_agent.store.history` and `delivery_history` return them in, values out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

SECOND = 1_000_000  # microseconds
PER_DECADE = 20  # bins in which lengths are counted
DRAWN_TOGETHER = 4  # of those, one bar
DECADES = 10  # from a millisecond to 116 days

# The first bin is all that is shorter than a millisecond.
LENGTHS = (
    0,
    *(round(1_000 * 10 ** (n / PER_DECADE)) for n in range(PER_DECADE * DECADES + 1)),
)


@dataclass(frozen=True)
class Series:
    """A count for each bin.

    Args:
        name: what is counted; None for all that have no row of their own.
        values: the counts.
    """

    name: str | None
    values: list[int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.values)

    @property
    def peak(self) -> int:
        """The most in one bin."""
        return max(self.values, default=0)

    @property
    def peak_bin(self) -> int:
        """The bin with the most."""
        return self.values.index(self.peak)


def series(
    found: Iterable[tuple[str | None, int, int]], names: Sequence[str], bins: int
) -> list[Series]:
    """Return a series for each name, in that order, and one for all others, if any.

    Args:
        found: (name or None, bin, count).
        names: the names.
        bins: how many bins there are.
    """
    values: dict[str | None, list[int]] = {name: [0] * bins for name in names}
    for name, bin, how_many in found:
        row = values.setdefault(name, [0] * bins)
        row[min(max(bin, 0), bins - 1)] += how_many
    return [Series(name, row) for name, row in values.items()]


def added(rows: Sequence[Series], name: str | None = None) -> Series:
    """Return the sum of several series."""
    return Series(
        name, [sum(column) for column in zip(*(r.values for r in rows), strict=True)]
    )


@dataclass
class Strip:
    """The runs of one job over time, by how they ended.

    Args:
        job: its name.
        cells: for each outcome, a count for each bin.
        spans: (began, ended) of long runs; None as the end of one that goes on.
        sums: for each outcome, how many runs there were.
        skips: how many times it was due while it was running.
        published: new events.
        duplicates: events that were known.
    """

    job: str
    cells: dict[str, list[int]] = field(default_factory=dict)
    spans: list[tuple[int, int | None]] = field(default_factory=list)
    sums: dict[str, int] = field(default_factory=dict)
    skips: int = 0
    published: int = 0
    duplicates: int = 0

    @property
    def runs(self) -> int:
        """How many runs there were; a skip is none."""
        return sum(count for outcome, count in self.sums.items() if outcome != "skipped")

    @property
    def troubles(self) -> int:
        """How many of them failed or crashed."""
        return self.sums.get("failed", 0) + self.sums.get("crashed", 0)

    def counts(self, bin: int) -> dict[str, int]:
        """Return how many runs ended in each way in a bin."""
        return {name: row[bin] for name, row in self.cells.items() if row[bin]}


def strips(
    found: Iterable[tuple[str, int, str, int]],
    sums: Iterable[tuple[str, str, int, int, int, int]],
    spans: Iterable[tuple[str, int, int | None]],
    bins: int,
) -> list[Strip]:
    """Return a strip for each job, those with trouble first.

    Args:
        found: (job, bin, outcome, count).
        sums: (job, outcome, count, published, duplicates, skips).
        spans: (job, began, ended).
        bins: how many bins there are.
    """
    jobs: dict[str, Strip] = {}
    for job, bin, outcome, how_many in found:
        cells = jobs.setdefault(job, Strip(job)).cells
        row = cells.setdefault(outcome, [0] * bins)
        row[min(max(bin, 0), bins - 1)] += how_many
    for job, outcome, how_many, published, duplicates, skips in sums:
        strip = jobs.setdefault(job, Strip(job))
        strip.sums[outcome] = how_many
        strip.skips += skips
        strip.published += published
        strip.duplicates += duplicates
    for job, began, ended in spans:
        jobs.setdefault(job, Strip(job)).spans.append((began, ended))
    return sorted(jobs.values(), key=lambda each: (-each.troubles, each.job))


@dataclass(frozen=True)
class Latency:
    """How long the deliveries of a listener took.

    Args:
        listener: its name.
        counts: how many fall into each of the bins of LENGTHS.
        longest: the longest, in microseconds.
        backward: how many ended before they began, by a clock that was set back.
    """

    listener: str
    counts: list[int]
    longest: int
    backward: int

    @property
    def total(self) -> int:
        """How many deliveries there are, but for those that went backward."""
        return sum(self.counts)

    def bars(self) -> list[int]:
        """Return the counts as they are drawn: several bins together."""
        first, rest = self.counts[:1], self.counts[1:]
        starts = range(0, len(rest), DRAWN_TOGETHER)
        return first + [sum(rest[n : n + DRAWN_TOGETHER]) for n in starts]


def latencies(
    found: Iterable[tuple[int, int, int, int]], names: Mapping[int, str]
) -> list[Latency]:
    """Return how long deliveries took, the listener with the most first.

    Args:
        found: (subscription, bin of LENGTHS, count, longest).
        names: the listeners' names by subscription.
    """
    counts: dict[str, list[int]] = {}
    longest: dict[str, int] = {}
    backward: dict[str, int] = {}
    for subscription, bin, how_many, most in found:
        name = names.get(subscription, f"listener {subscription}")
        row = counts.setdefault(name, [0] * (len(LENGTHS) - 1))
        if bin < 0:
            backward[name] = backward.get(name, 0) + how_many
            continue
        row[bin] += how_many
        longest[name] = max(longest.get(name, 0), most)
    rows = [
        Latency(name, row, longest.get(name, 0), backward.get(name, 0))
        for name, row in counts.items()
    ]
    return sorted(rows, key=lambda each: (-each.total, each.listener))


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Return the length, in microseconds, that a share of all is not longer than.

    It lies within its bin, so it is about right: to 6 percent. None without any.

    Args:
        counts: how many fall into each of the bins of LENGTHS.
        share: 0.5 for the median.
    """
    total = sum(counts)
    if not total:
        return None
    wanted = share * total
    for bin, reached in enumerate(accumulate(counts)):
        if reached >= wanted and counts[bin]:
            break
    begin, end = LENGTHS[bin], LENGTHS[bin + 1]
    into = (wanted - (reached - counts[bin])) / counts[bin]
    if begin == 0:
        return end * into
    return float(begin * (end / begin) ** into)


@dataclass(frozen=True)
class Backlog:
    """How many deliveries a listener was owed, at the end of each step.

    Args:
        listener: its name.
        owed: the counts.
    """

    listener: str
    owed: list[int]

    @property
    def peak(self) -> int:
        """The most that were owed at once."""
        return max(self.owed)

    @property
    def peak_step(self) -> int:
        """The first step with the most."""
        return self.owed.index(self.peak)


def backlogs(
    found: Iterable[tuple[int, int, int | None, int]],
    names: Mapping[int, str],
    steps: int,
) -> list[Backlog]:
    """Return what each listener was owed over time, the longest backlog first.

    Args:
        found: (subscription, step it began in, step it ended in or None, count); a step
            of -1 is before the first.
        names: the listeners' names by subscription.
        steps: how many steps there are.
    """
    changes: dict[str, list[int]] = {}
    for subscription, began, ended, how_many in found:
        name = names.get(subscription, f"listener {subscription}")
        row = changes.setdefault(name, [0] * steps)
        row[min(max(began, 0), steps - 1)] += how_many
        if ended is not None:
            row[min(max(ended, 0), steps - 1)] -= how_many
    rows = [Backlog(name, list(accumulate(row))) for name, row in changes.items()]
    return sorted(rows, key=lambda each: (-each.peak, each.listener))


def say_length(micros: float | None) -> str:
    """Return a length of time in one short unit, as "1.2 s"."""
    if micros is None:
        return ""
    seconds = micros / SECOND
    if seconds < 0.001:
        return "under 1 ms"
    for unit, size, most in (
        ("ms", 0.001, 1_000), ("s", 1, 60), ("min", 60, 60), ("h", 3_600, 48),
    ):  # fmt: skip
        if (value := seconds / size) < most and round(value) < most:
            return f"{_short(value)} {unit}"
    return f"{_short(seconds / 86_400)} days"


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if value < 10 else f"{value:,.0f}"
