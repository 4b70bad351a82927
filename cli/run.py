"""`agent go`: run an agent."""

from __future__ import annotations

import sys

import click
from py_agent.cli.options import Common, common, tell
from py_agent.cli.output import Unbroken


@click.command()
@click.argument("app", required=False)
@click.option("--once", is_flag=True, help="Run each job once, deliver, and end.")
@common
def go(app: str | None, once: bool, common: Common) -> None:
    """Run an agent until it is stopped.

    APP is a file (example.py), module:name, or nothing for agent.toml.
    """
    common.prepare()
    sys.stdout = Unbroken(sys.stdout)
    agent = common.agent(app)
    if not once:
        agent.go()
    elif not agent.run_once():
        tell("a job or an attempt failed; see above")
        sys.exit(1)
