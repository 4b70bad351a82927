"""The `agent-test` command: try one job, or some listeners, while you write them."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any

import click
from py_agent.cli import output
from py_agent.cli.interruptible import Interruptible
from py_agent.cli.options import Common, common
from py_agent.cli.output import text


def _refuse_rm(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        raise click.UsageError(
            "-rm could mean -r -m: write -r to drop the test store first, "
            "or -m for a store in memory"
        )


@click.command(cls=Interruptible, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="py-agent", prog_name="agent-test")
@click.option("-j", "--job", metavar="JOB", help="Run this job once: module.job.")
@click.option(
    "-l", "--listener", "listeners", metavar="LISTENER", multiple=True,
    help="Subscribe this listener for the run: module.listener. Repeatable.",
)  # fmt: skip
@click.option(
    "-t", "--type", "--emit-type", "event_type", metavar="TYPE",
    help="Emit stored events of this type again.",
)  # fmt: skip
@click.option(
    "-id", "--emit-id", "identifier", metavar="ID",
    help="Emit stored events with this identifier again.",
)  # fmt: skip
@click.option("-r", "--rm-db", is_flag=True, help="Drop the test store first.")
@click.option("-rm", is_flag=True, hidden=True, callback=_refuse_rm, expose_value=False)
@click.option("-m", "--memory", is_flag=True, help="A store that is gone afterwards.")
@click.option("--db-file", metavar="FILE", help="Use this store; it is never dropped.")
@click.option(
    "--for", "limit", metavar="TIME", help="Ask the job to end after so long: 10s, 2min."
)
@click.option("--retries", is_flag=True, help="Retry as the listener does, to the end.")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
@common
def main(
    job: str | None, listeners: tuple[str, ...], event_type: str | None,
    identifier: str | None, rm_db: bool, memory: bool, db_file: str | None,
    limit: str | None, retries: bool, as_json: bool, common: Common,
) -> None:  # fmt: skip
    """Run a job once, and deliver what it publishes to listeners, on a test store.

    The test store belongs to the working directory and is kept between runs, so that
    what was published is known the next time, as it is in the real agent.

    Exit codes: 0 all went well, 1 a job or listener failed, 2 something is not found,
    3 the store was refused.
    """
    _check(job, listeners, bool(event_type or identifier), common)
    if rm_db and (memory or db_file):
        raise click.UsageError(
            "-r drops the test store, so it cannot go with -m or --db-file"
        )
    if memory and db_file:
        raise click.UsageError("-m and --db-file exclude each other")
    from py_agent.cli.trial import Trial, trial_store

    from py_agent.lengths import parse_length
    from py_agent.own_log import OWN

    longest = None
    if limit is not None:
        longest = float(limit) if limit.isdecimal() else parse_length(limit, "--for")
    common.prepare("error")
    if common.log_level is None:
        OWN.setLevel(logging.INFO)  # what is being written is to be heard
    trial = Trial(job, listeners, retries, common.config)
    # With --json, stdout is one object; what functions print goes to stderr.
    printed = contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout)
    with trial_store(memory, db_file, rm_db) as path, printed:
        result = trial.run(path, event_type, identifier, longest)
    if as_json:
        click.echo(output.as_json(result))
    else:
        _tell(result)
    sys.exit(0 if result["ok"] else 1)


def _check(
    job: str | None, listeners: tuple[str, ...], emits: bool, common: Common
) -> None:
    if job is None and not listeners:
        raise click.UsageError("name a job with -j, a listener with -l, or both")
    if emits and not listeners:
        raise click.UsageError("-t and -id emit events to listeners; name one with -l")
    if listeners and not emits and job is None:
        raise click.UsageError(
            "the listeners need events: run a job with -j, or emit stored ones: -t, -id"
        )
    if common.db is not None:
        raise click.UsageError("agent-test has a store of its own; --db-file names another")


def _tell(result: dict[str, Any]) -> None:
    """Print what happened, in the order in which it did."""
    click.echo(f"Test store: {result['store']}")
    if (run := result["run"]) is not None:
        click.echo(f"Job {run['job']}: {run['outcome']}")
        if run["error"]:
            click.echo(f"    {text(run['error'])}")
    for row in result["published"]:
        new = "new      " if row["new"] else "duplicate"
        click.echo(f"Published: {new} {text(row['event_type'])}: {text(row['identifier'])}")
    if run is not None and not result["published"]:
        click.echo("Published: nothing")
    for row in result["deliveries"]:
        event = f"{text(row['event_type'])}: {text(row['identifier'])}"
        reason = f" ({text(row['reason'])})" if row["reason"] and not row["error"] else ""
        click.echo(f"Listener {row['listener']} on {event}: {row['state']}{reason}")
        if row["error"]:
            click.echo(f"    {text(row['error'])}")
    if not result["deliveries"]:
        click.echo("Listeners: none fired")
