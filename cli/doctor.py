"""`agent doctor`: what needs a person."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from py_agent.cli import output
from py_agent.cli.options import Common, common

Row = dict[str, Any]

HEARTBEAT = "observability.heartbeat"
LONG = timedelta(hours=1)  # a delivery that is owed for longer is not just busy


@click.command()
@click.option("--json", "as_json", is_flag=True, help="An array of objects.")
@common
def doctor(as_json: bool, common: Common) -> None:
    """Look at the store and the agent on it, and say what needs a person.

    Told are: no agent on the store, jobs that are paused, silent or failing, listeners
    that are paused, parked, failing or long behind, and dead letters. Exit code 1 if
    there is anything.
    """
    from py_agent.clock import to_micros
    from py_agent.store.listing import reading
    from py_agent.store.lock import holder

    path = common.store()
    now = datetime.now(UTC)
    with reading(path) as listing:
        jobs, listeners = listing.jobs(), listing.listeners(to_micros(now))
        silent = [job["name"] for job in jobs if is_silent(listing, job["name"])]
    pid = holder(path)
    found = list(findings(pid, jobs, listeners, silent, now))
    if as_json:
        click.echo(output.as_json(found))
    for each in [] if as_json else found:
        click.echo(f"{each['about']}: {output.text(each['problem'])}")
    if not found and not as_json:
        click.echo(f"All is well: agent {pid} runs on {path}, with {len(listeners)} "
                   f"listeners, and nothing waits for a person")  # fmt: skip
    sys.exit(1 if found else 0)


def findings(
    pid: int | None,
    jobs: list[Row],
    listeners: list[Row],
    silent: list[str],
    now: datetime,
) -> Iterator[Row]:
    """Yield what needs a person, as rows of `about` and `problem`.

    Args:
        pid: the process of the agent that runs on the store; None without one.
        jobs: rows as `Listing.jobs` returns them.
        listeners: rows as `Listing.listeners` returns them.
        silent: the jobs that have not succeeded for longer than expected.
        now: the present moment, aware.
    """
    if pid is None:
        yield _problem("agent", "none runs on this store")
    for job in jobs:
        about = f"job {job['name']}"
        if job["paused"]:
            reason = f"{job['pause_reason']}; agent resume {job['name']} lets it go on"
            yield _problem(about, f"it is paused: {reason}")
        elif job["outcome"] in ("failed", "crashed"):
            yield _problem(about, f"its last run {job['outcome']}: {job['error']}")
        if job["name"] == HEARTBEAT and (trouble := _trouble(job)):
            yield _problem(about, f"no heartbeat arrives: {trouble}")
        if job["name"] in silent:
            yield _problem(about, "it has not succeeded for longer than expected")
    for listener in listeners:
        yield from _of_listener(listener, now)


def _trouble(job: Row) -> Any:
    """Return what the heartbeat has left of its last trouble."""
    try:
        return json.loads(job.get("state") or "{}").get("trouble")
    except (ValueError, AttributeError):
        return None


def _of_listener(listener: Row, now: datetime) -> Iterator[Row]:
    about = f"listener {listener['name']}"
    owed, since = listener["owed"], listener["oldest_owed"]
    waiting = f"; {owed} owed, the oldest since {since}" if since else ""
    if listener["paused"]:
        yield _problem(about, f"it is paused: {listener['pause_reason']}{waiting}")
    elif since and now - datetime.fromisoformat(since) > LONG:
        yield _problem(about, f"it is behind{waiting}")
    elif listener["failing"]:
        count = listener["failing"]
        yield _problem(about, f"{count} of its deliveries fail again and again{waiting}; "
                              f"see agent deliveries --state retryable")  # fmt: skip
    if listener["parked"]:
        yield _problem(
            about, f"it is not in the code, and {listener['parked']} wait for it; "
            f"agent forget-listener {listener['name']} gives them up",
        )  # fmt: skip
    if listener["dead"]:
        yield _problem(about, f"it has {listener['dead']} dead letters; see agent dead")


def _problem(about: str, problem: str) -> Row:
    return {"about": about, "problem": problem}


def is_silent(listing: Any, job: str) -> bool:
    """Return whether the last that was told of a job is that it is silent."""
    told = [
        row
        for event_type in ("job.silent", "job.recovered")
        for row in listing.events(1, event_type=event_type, source=job)
    ]
    last = max(told, key=lambda row: row["id"], default=None)
    return last is not None and last["event_type"] == "job.silent"
