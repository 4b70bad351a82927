"""The `agent` command."""

from __future__ import annotations

import click
from py_agent.cli.interruptible import Interruptible

# Each command's module is imported when it is asked for, so that --help is quick.
_COMMANDS = {
    "go": "run",
    "plan": "plan",
    "jobs": "show",
    "listeners": "show",
    "events": "show",
    "deliveries": "show",
    "dead": "show",
    "runs": "show",
    "publish": "change",
    "redeliver": "change",
    "discard": "change",
    "release": "change",
    "replay": "change",
    "resume": "change",
    "forget-job": "change",
    "forget-listener": "change",
    "doctor": "doctor",
    "backup": "backup",
    "report": "report.command",
    "observability": "observability",
}


class _Group(Interruptible, click.Group):
    """Finds commands by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from importlib import import_module

        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"py_agent.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="py-agent", prog_name="agent")
def main() -> None:
    """Run jobs, store each event once, and deliver it to listeners until it is done.

    Exit codes: 0 stopped as asked, 1 work failed, 2 wrong use or configuration,
    3 the store was refused, 130 a second Ctrl-C.
    """
