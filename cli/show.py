"""Commands that read: jobs, listeners, events, deliveries, dead, runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
from py_agent.cli.options import Common, common
from py_agent.cli.output import Row, show

F = TypeVar("F", bound=Callable[..., Any])

STATES = ("available", "running", "retryable", "completed", "discarded", "parked")
OUTCOMES = ("running", "completed", "failed", "skipped", "crashed")

DELIVERY = (
    "id",
    "event_type",
    "identifier",
    "listener",
    "state",
    "attempts",
    "reason",
    "error",
)


def _listing(function: F) -> F:
    limit = click.option(
        "--limit", type=click.IntRange(1), default=100, show_default=True,
        help="How many rows at most, the newest first.",
    )  # fmt: skip
    as_json = click.option("--json", "as_json", is_flag=True, help="An array of objects.")
    return limit(as_json(common(function)))


@click.command()
@click.option("--type", "event_type", metavar="TYPE", help="Only this event type.")
@click.option("--identifier", "--id", metavar="ID", help="Only this identifier.")
@click.option("--source", metavar="NAME", help="Only what this job or listener published.")
@_listing
def events(
    event_type: str | None, identifier: str | None, source: str | None, limit: int,
    as_json: bool, common: Common,
) -> None:  # fmt: skip
    """Show stored events."""
    from py_agent.store.listing import reading

    with reading(common.store()) as listing:
        rows = listing.events(
            limit, event_type=event_type, identifier=identifier, source=source
        )
    columns = ("id", "event_type", "identifier", "created", "source", "data")
    show(rows, columns, as_json, "There are no such events.")


@click.command()
@click.option("--listener", metavar="NAME", help="Only this listener's.")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--type", "event_type", metavar="TYPE", help="Only of this event type.")
@click.option("--identifier", "--id", metavar="ID", help="Only of this identifier.")
@_listing
def deliveries(
    listener: str | None, state: str | None, event_type: str | None,
    identifier: str | None, limit: int, as_json: bool, common: Common,
) -> None:  # fmt: skip
    """Show deliveries: one event owed to one listener."""
    from py_agent.store.listing import reading

    with reading(common.store()) as listing:
        rows = listing.deliveries(
            limit, listener=listener, state=state, event_type=event_type,
            identifier=identifier,
        )  # fmt: skip
    show(rows, DELIVERY, as_json, "There are no such deliveries.")


@click.command()
@click.option("--listener", metavar="NAME", help="Only this listener's.")
@click.option("--errors", is_flag=True, help="Show every error of each, with tracebacks.")
@_listing
def dead(
    listener: str | None, errors: bool, limit: int, as_json: bool, common: Common
) -> None:
    """Show dead letters: deliveries that are not tried again unless asked.

    Retry one with `agent redeliver ID`, or drop it from this list with
    `agent discard ID`.
    """
    from py_agent.store.listing import reading

    with reading(common.store()) as listing:
        rows = listing.deliveries(limit, dead=True, listener=listener)
        if errors:
            for row in rows:
                event_id, _, subscription_id = row["id"].partition(".")
                row["errors"] = listing.errors(int(event_id), int(subscription_id))
    columns = ("id", "event_type", "identifier", "listener", "attempts", "reason", "error")
    show(rows, columns, as_json, "There are no dead letters.")
    if errors and not as_json:
        for row in rows:
            for each in row["errors"]:
                click.echo(f"\n{row['id']}, attempt {each['attempt']}, {each['at']}")
                click.echo(each["traceback"] or each["error"])


@click.command()
@click.option("--job", metavar="NAME", help="Only this job's.")
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only those that ended so.")
@_listing
def runs(
    job: str | None, outcome: str | None, limit: int, as_json: bool, common: Common
) -> None:
    """Show runs: executions of jobs."""
    from py_agent.store.listing import reading

    with reading(common.store()) as listing:
        rows = listing.runs(limit, job=job, outcome=outcome)
    columns = (
        "id",
        "job",
        "started",
        "outcome",
        "published",
        "duplicates",
        "skips",
        "error",
    )
    show(rows, columns, as_json, "There are no such runs.")


@click.command()
@click.argument("app", required=False)
@_listing
def jobs(app: str | None, limit: int, as_json: bool, common: Common) -> None:
    """Show jobs: those of APP or agent.toml, and those that the store remembers."""
    from py_agent.store.listing import reading

    common.prepare("warning")
    agent = common.agent(app, needed=False)
    planned = {each.name: each.schedule for each in agent.registry.jobs}
    store = agent.store_path() if app else common.store()
    known: dict[str, Row] = {}
    if store.exists() or not planned:
        with reading(store) as listing:
            known = {row["name"]: row for row in listing.jobs()}
    rows = [
        {
            "name": name,
            "schedule": planned.get(name),
            "last_run": None,
            "outcome": None,
            "error": None,
            "paused": False,
            "pause_reason": None,
            "held": 0,
            **known.get(name, {}),
        }
        for name in [*planned, *sorted(known.keys() - planned.keys())]
    ]
    columns = ("name", "schedule", "last_run", "outcome", "paused", "held", "error")
    show(rows[:limit], columns, as_json, "There are no jobs.")


@click.command()
@click.argument("app", required=False)
@_listing
def listeners(app: str | None, limit: int, as_json: bool, common: Common) -> None:
    """Show listeners: those of APP or agent.toml, and those that the store knows."""
    import json

    from py_agent.clock import to_micros
    from py_agent.store.listing import reading

    common.prepare("warning")
    agent = common.agent(app, needed=False)
    coded = {each.name: each for each in agent.registry.listeners}
    store = agent.store_path() if app else common.store()
    known: dict[str, Row] = {}
    if store.exists() or not coded:
        with reading(store) as listing:
            now = to_micros(datetime.now(UTC))
            known = {row["name"]: row for row in listing.listeners(now)}
    rows: list[Row] = []
    for name in [*coded, *sorted(known.keys() - coded.keys())]:
        row: Row = {
            "name": name, "filter": {}, "ordered_by": [], "owed": 0, "held": 0, "parked": 0,
            "dead": 0, "in_code": True, "paused": False, "paused_until": None,
            "pause_reason": None, **known.get(name, {}),
        }  # fmt: skip
        if name in coded:
            row["filter"] = json.loads(coded[name].filter.to_json())
            row["ordered_by"] = list(coded[name].ordered_by)
        rows.append(row)
    columns = (
        "name", "filter", "owed", "held", "parked", "dead", "paused", "pause_reason",
    )  # fmt: skip
    show(rows[:limit], columns, as_json, "There are no listeners.")
