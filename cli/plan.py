"""`agent plan`: what will run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from py_agent.cli.options import Common, common
from py_agent.cli.output import Row, show

from py_agent.errors import UsageError

if TYPE_CHECKING:
    from py_agent.agent import Agent
    from py_agent.timetable import Entry

MOST = 1_000  # runs of one job that are looked at


class _Known(NamedTuple):
    """What the store knows of jobs, by name."""

    last: dict[str, datetime]  # when each ran last
    since: dict[str, datetime]  # when it was registered
    paused: dict[str, str]  # the reasons of those that are


@click.command()
@click.argument("length", required=False)
@click.argument("app", required=False)
@click.option("--job", metavar="NAME", help="Each run of this job.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True,
              help="How many rows at most, the earliest first.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="An array of objects.")
@common
def plan(
    length: str | None, app: str | None, job: str | None, limit: int, as_json: bool,
    common: Common,
) -> None:  # fmt: skip
    """Show what will run within LENGTH (24h if not given), by the agent's own timetable.

    Of a running agent it shows what is to come; else, what comes once it is started now.
    Times are local. APP is a file, module:name, or nothing for agent.toml.
    """
    from py_agent.errors import NotFoundError
    from py_agent.lengths import parse_length
    from py_agent.settings.mistakes import nearest

    try:
        seconds = parse_length(length or "24h", "LENGTH")
    except UsageError:
        if app is not None or length is None or length[0].isdigit():
            raise
        seconds, app = parse_length("24h", "LENGTH"), length
    common.prepare("warning")
    agent = common.agent(app, needed=False)
    rows = _rows(agent, seconds)
    if job is None:
        found = sorted(rows, key=lambda row: (row["next"] is None, row["next"] or ""))
        columns = ("next", "runs", "job", "schedule", "paused")
        show([_without_times(row) for row in found[:limit]], columns, as_json,
             "There are no jobs; name your app: agent plan 24h example.py")  # fmt: skip
        return
    chosen = [row for row in rows if row["job"] == job]
    if not chosen:
        names = [row["job"] for row in rows]
        raise NotFoundError(f"there is no job {job!r}{nearest(job, names)}")
    times: list[Row] = [{"at": at, "job": job} for at in chosen[0]["times"][:limit]]
    show(times, ("at", "job"), as_json, f"{job} does not run within that time.")


def _rows(agent: Agent, length: float) -> list[Row]:
    """Return a row for each job, with the moments of its runs."""
    path = agent.store_path()
    known = _known(path)
    running = _agent_runs(path)
    now = datetime.now(UTC)
    rows = []
    for entry in agent.schedule.entries:
        name = entry.job.name
        found = _moments(entry, _since(entry, known), now, length, running)
        moments = (
            [] if name in known.paused else [_local(each) for each in islice(found, MOST)]
        )
        many = f"{MOST:,} or more" if len(moments) == MOST else len(moments)
        rows.append(
            {
                "job": name,
                "schedule": entry.job.schedule,
                "next": moments[0] if moments else None,
                "runs": "always" if entry.job.keep else many,
                "paused": known.paused.get(name),
                "times": moments,
            }
        )
    return rows


def _moments(
    entry: Entry, last: datetime | None, now: datetime, length: float, running: bool
) -> Iterator[datetime]:
    from py_agent.forecast import forecast

    return forecast(entry, last, now, length, at_start=not running)


def _known(path: Path) -> _Known:
    from py_agent.store.listing import reading

    if not path.exists():
        return _Known({}, {}, {})
    with reading(path) as listing:
        jobs = listing.jobs()
        paused = {row["name"]: row["pause_reason"] or "" for row in jobs if row["paused"]}
        return _Known(listing.last_started(), listing.known_since(), paused)


def _since(entry: Entry, known: _Known) -> datetime | None:
    """Return from when on a job waits, as the scheduler does; None if from now on."""
    from py_agent.timing import Interval

    last = known.last.get(entry.job.name)
    if last is None and isinstance(entry.rule, Interval) and not entry.at_start:
        return known.since.get(entry.job.name)
    return last


def _agent_runs(path: Path) -> bool:
    from py_agent.store.lock import holder

    return holder(path) is not None


def _local(moment: datetime) -> str:
    return moment.astimezone().isoformat(sep=" ", timespec="seconds")


def _without_times(row: Row) -> Row:
    return {key: value for key, value in row.items() if key != "times"}
