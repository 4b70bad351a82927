"""`agent doctor`: what needs a person."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from shlex import quote
from typing import TYPE_CHECKING, Any

import click
from py_agent.cli import output
from py_agent.cli.options import Common, common

from py_agent.tally import HEARTBEAT_JOB

if TYPE_CHECKING:
    from py_agent.store.listing import Listing

Row = dict[str, Any]

BEHIND = "it is behind"
REST = timedelta(days=1)  # a job that rests for longer may not be in the code any more
LONG = timedelta(hours=1)  # a delivery that is owed for longer is not just busy


@click.command()
@click.option("--json", "as_json", is_flag=True, help="An array of objects.")
@common
def doctor(as_json: bool, common: Common) -> None:
    """Look at the store and the agent on it, and say what needs a person.

    Told are: no agent on the store, jobs that are paused, silent or failing, or of which
    too many events are held, listeners that are paused, parked, failing or long behind,
    and dead letters. No code of yours is run. Exit code 1 if there is anything.
    """
    from py_agent.clock import to_micros
    from py_agent.store.listing import reading
    from py_agent.store.lock import holder

    path = common.store()
    now = datetime.now(UTC)
    with reading(path) as listing:
        pid = holder(path)
        jobs, listeners = listing.jobs(), listing.listeners(to_micros(now))
        found = needs_a_person(listing, pid, jobs, listeners, now)
    if as_json:
        click.echo(output.as_json(found))
    for each in [] if as_json else found:
        click.echo(f"{each['about']}: {output.text(each['problem'])}")
    if not found and not as_json:
        who = f"agent {pid}" if pid else "an agent"
        told = f"{len(listeners)} listener{'' if len(listeners) == 1 else 's'}"
        click.echo(f"All is well: {who} runs on {path}, with {told}, "
                   f"and nothing waits for a person")  # fmt: skip
    sys.exit(1 if found else 0)


def needs_a_person(
    listing: Listing,
    pid: int | None,
    jobs: list[Row],
    listeners: list[Row],
    now: datetime,
    say: Callable[[str], str] = str,
) -> list[Row]:
    """Return what needs a person, in the order in which it is told.

    Args:
        listing: the store.
        pid: as for `findings`, and so are `jobs`, `listeners`, `now` and `say`.
    """
    silent = [job["name"] for job in jobs if is_silent(listing, job["name"])]
    return list(findings(pid, jobs, listeners, silent, now, listing.withheld(), say))


def findings(
    pid: int | None,
    jobs: list[Row],
    listeners: list[Row],
    silent: list[str],
    now: datetime,
    withheld: Sequence[Row] = (),
    say: Callable[[str], str] = str,
) -> Iterator[Row]:
    """Yield what needs a person, as rows of `about` and `problem`.

    Args:
        pid: the process of the agent that runs on the store, as `holder` returns it.
        jobs: rows as `Listing.jobs` returns them.
        listeners: rows as `Listing.listeners` returns them.
        silent: the jobs that have not succeeded for longer than expected.
        now: the present moment, aware.
        withheld: rows as `Listing.withheld` returns them.
        say: makes what is shown of a moment in ISO 8601.
    """
    if pid is None:
        yield _problem("agent", "none runs on this store")
    for job in jobs:
        about = f"job {job['name']}"
        if job["paused"]:
            reason = (
                f"{job['pause_reason']}; agent resume {quote(job['name'])} lets it go on"
            )
            yield _problem(about, f"it is paused: {reason}")
        elif job["outcome"] in ("failed", "crashed"):
            why = f"its last run {job['outcome']}: {job['error']}{_gone(job, now)}"
            yield _problem(about, why)
        if job["name"] == HEARTBEAT_JOB and (trouble := _trouble(job)):
            yield _problem(about, f"no heartbeat arrives: {trouble}")
        if job["name"] in silent:
            why = f"it has not succeeded for longer than expected{_gone(job, now)}"
            yield _problem(about, why)
    running = {job["name"] for job in jobs if job["outcome"] == "running"}
    for each in withheld:
        if each["held"] or pid is None or each["job"] not in running:
            yield _problem(f"job {each['job']}", _waits(each))
    for listener in listeners:
        yield from _of_listener(listener, now, say)


def _gone(job: Row, now: datetime) -> str:
    """Say what ends the trouble of a job that may have left the code, or ""."""
    last = job["last_run"]
    if last is None or now - datetime.fromisoformat(last) < REST:
        return ""
    name = quote(job["name"])
    return f"; it ran last on {last:.10}: agent forget-job {name}, if it is gone for good"


def _waits(row: Row) -> str:
    """Say why events of a job are withheld, and what a person can do."""
    job = quote(row["job"])
    count = f"{row['events']} of its events ({row['deliveries']} deliveries)"
    if row["held"]:
        why = f"{count} are held, as too many were new at once"
    else:
        why = f"{count} wait, as their run did not end; its next run goes on with them"
    return (
        f"{why}; agent release {job} delivers them, agent discard --held {job} drops them"
    )


def _trouble(job: Row) -> Any:
    """Return what the heartbeat has left of its last trouble."""
    try:
        return json.loads(job.get("state") or "{}").get("trouble")
    except (ValueError, AttributeError):
        return None


def _owed(listener: Row, say: Callable[[str], str]) -> str:
    """Say how much waits for a listener, and since when; "" if nothing does."""
    owed, snoozed, since = (listener[k] for k in ("owed", "snoozed", "oldest_owed"))
    if not since:
        return f"; {owed} owed, all snoozed" if owed else ""
    if not snoozed:
        return f"; {owed} owed, the oldest since {say(since)}"
    return f"; {owed} owed, {snoozed} of them snoozed, the oldest other since {say(since)}"


def _of_listener(listener: Row, now: datetime, say: Callable[[str], str]) -> Iterator[Row]:
    about = f"listener {listener['name']}"
    since, waiting = listener["oldest_owed"], _owed(listener, say)
    if listener["paused"]:
        goes_on = f"agent resume {quote(listener['name'])} lets it go on"
        reason = f"{listener['pause_reason']}{waiting}; {goes_on}"
        yield _problem(about, f"it is paused: {reason}")
    elif since and now - datetime.fromisoformat(since) > LONG:
        yield _problem(about, f"{BEHIND}{waiting}")
    elif listener["failing"]:
        count = listener["failing"]
        yield _problem(about, f"{count} of its deliveries fail again and again{waiting}; "
                              f"see agent deliveries --state retryable")  # fmt: skip
    if listener["parked"]:
        yield _problem(
            about, f"it is not in the code, and {listener['parked']} wait for it; "
            f"agent forget-listener {quote(listener['name'])} gives them up",
        )  # fmt: skip
    if listener["dead"]:
        yield _problem(about, f"it has {listener['dead']} dead letters; see agent dead")


def _problem(about: str, problem: str) -> Row:
    return {"about": about, "problem": problem}


def is_silent(listing: Listing, job: str) -> bool:
    """Return whether the last that was told of a job is that it is silent."""
    told = [
        row
        for event_type in ("job.silent", "job.recovered")
        for row in listing.events(1, event_type=event_type, source=job)
    ]
    last = max(told, key=lambda row: row["id"], default=None)
    return last is not None and last["event_type"] == "job.silent"
