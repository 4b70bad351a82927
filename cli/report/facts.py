"""What a report tells, read from the store as of one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from py_agent.cli.doctor import needs_a_person
from py_agent.cli.report.shapes import LENGTHS, SECOND
from py_agent.cli.report.window import Window, window_of

from py_agent.clock import from_micros, to_micros

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from py_agent.store.delivery_history import DeadGroup, DeadLetter, Failing
    from py_agent.store.history import Busy, RunSums, Span, Trouble, Types
    from py_agent.store.listing import Listing

Row = dict[str, Any]

MOST_TYPES = 8
MOST_DEAD = 20
MOST_GROUPS = 6
MOST_NAMED = 10
STEPS = 336  # points of a backlog: of seven days, each half hour
SHORTEST = 60  # seconds that a report is about, at least


@dataclass(frozen=True)
class Standing:
    """How things stand now.

    Args:
        store: the store's path.
        pid: the process of the agent that runs on it; None without one.
        problems: what needs a person, as `doctor.findings` tells it.
        jobs: rows as `Listing.jobs` returns them.
        listeners: rows as `Listing.listeners` returns them.
        withheld: rows as `Listing.withheld` returns them.
    """

    store: Path
    pid: int | None
    problems: list[Row]
    jobs: list[Row]
    listeners: list[Row]
    withheld: list[Row]


@dataclass(frozen=True)
class Facts:
    """What a report tells; for the parts see `History` and `DeliveryHistory`.

    Args:
        standing: how things stand now.
        window: the time that it is about.
        begins: whether it begins where the store does.
    """

    standing: Standing
    window: Window
    begins: bool
    types: Types
    events: list[tuple[str | None, int, int]]
    ahead: int
    sources: list[tuple[str | None, int]]
    busy: list[Busy]
    runs: list[tuple[str, int, str, int]]
    run_sums: list[RunSums]
    spans: list[Span]
    troubles: list[Trouble]
    names: dict[int, str]
    lengths: list[tuple[int, int, int, int]]
    owing: list[tuple[int, int, int | None, int]]
    step: int
    dead: list[DeadLetter]
    groups: list[DeadGroup]
    failing: list[Failing]


def read_facts(path: Path, since: datetime, now: datetime, zone: tzinfo | None) -> Facts:
    """Read the store, beside whatever agent runs on it.

    Args:
        path: the store.
        since: the first moment of interest.
        now: the present, aware.
        zone: the time zone of the bins; None for the machine's own.

    Raises:
        StoreMissingError: there is no store.
        StoreError: it cannot be read.
    """
    from py_agent.store.lock import holder
    from py_agent.store.stretch import first_moment, looking_back

    with looking_back(path) as (listing, connection):
        first = first_moment(connection)
        begin, begins = _begin(since, now, first)
        window = window_of(begin, now, zone)
        pid = holder(path)
        standing = _standing(path, pid, listing, window, now)
        return _facts(standing, window, begins, connection)


def _facts(
    standing: Standing, window: Window, begins: bool, connection: Connection
) -> Facts:
    from py_agent.store.delivery_history import DeliveryHistory
    from py_agent.store.history import History
    from py_agent.store.stretch import Stretch

    stretch = Stretch(connection, window.start, window.end)
    history, made = History(stretch), DeliveryHistory(stretch)
    types = history.types(MOST_TYPES)
    longest_bin = max(b - a for a, b in zip(window.edges, window.edges[1:], strict=False))
    return Facts(
        standing=standing,
        window=window,
        begins=begins,
        types=types,
        events=history.events(window.edges, [row.event_type for row in types.rows]),
        ahead=history.ahead(),
        sources=history.sources(MOST_NAMED),
        busy=history.busy(MOST_NAMED),
        runs=history.runs(window.edges),
        run_sums=history.run_sums(),
        spans=history.spans(longest_bin),
        troubles=history.troubles(),
        names=made.listeners(),
        lengths=made.latencies(LENGTHS),
        owing=made.owing(STEPS),
        step=stretch.step_length(STEPS),
        dead=made.dead_letters(MOST_DEAD),
        groups=made.dead_groups(MOST_GROUPS),
        failing=made.failing(MOST_NAMED + MOST_DEAD),
    )


def _begin(since: datetime, now: datetime, first: int | None) -> tuple[datetime, bool]:
    """Return where to begin, not long before the store does; and whether it is there."""
    if first is None or first > to_micros(now):
        return since, False
    least = min(first, to_micros(now) - SHORTEST * SECOND)
    if least <= to_micros(since):
        return since, False
    return from_micros(least), least == first


def _standing(
    path: Path, pid: int | None, listing: Listing, window: Window, now: datetime
) -> Standing:
    jobs, listeners = listing.jobs(), listing.listeners(to_micros(now))

    def local(moment: str) -> str:
        return window.say(to_micros(datetime.fromisoformat(moment)))

    problems = needs_a_person(listing, pid, jobs, listeners, now, local)
    return Standing(path, pid, problems, jobs, listeners, listing.withheld())
