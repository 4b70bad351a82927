"""`agent report`: a page with plots that shows what happened."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click
from py_agent.cli.options import Common, common

from py_agent.errors import UsageError
from py_agent.failures import printable

SIDES = ("", "-wal", "-shm", ".lock", ".inside")  # what belongs to a store


@click.command()
@click.option(
    "--since", metavar="WHEN", default="7d", show_default=True,
    help="A length of time before now, as 24h or 30m, or a date.",
)  # fmt: skip
@click.option(
    "-o", "--output", metavar="FILE", default="report.html", show_default=True,
    help="Where the page is written; - is stdout.",
)  # fmt: skip
@common
def report(since: str, output: str, common: Common) -> None:
    """Write one HTML page with plots of what happened: open it in any browser.

    Events, runs, delivery times, backlogs and dead letters, and at the top whether all
    is well. The page needs no network and no script.
    """
    from py_agent.cli.report.facts import read_facts
    from py_agent.cli.report.page import page
    from py_agent.cli.report.window import parse_since

    now = datetime.now(UTC)
    begin = parse_since(since, now, None)
    store = common.store()
    text = page(read_facts(store, begin, now, None)).encode()
    if output == "-":
        click.echo(text, nl=False)
        return
    target = Path(output)
    _keep_store(target, store)
    write_whole(target, text)
    shown = printable(str(target))
    click.echo(f"{shown} is written ({len(text) / 1_000:,.0f} kB); open it in a browser")


def _keep_store(target: Path, store: Path) -> None:
    """Refuse to write over the store or a file that belongs to it."""
    taken = [f"{os.path.realpath(store)}{end}" for end in SIDES]
    if os.path.realpath(target) in taken:
        raise UsageError(f"--output: {target} is the store; name another file")


def write_whole(target: Path, content: bytes) -> None:
    """Write a file at once: who reads it sees the old one or the new one.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        if target.is_dir():
            raise UsageError(f"--output: {target} is a folder; name a file in it")
        if target.exists() and not target.is_file():
            target.write_bytes(content)  # a pipe or device is written to, not replaced
            return
        _replace(Path(os.path.realpath(target)), content)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--output: {target} cannot be written: {reason}") from error


def _replace(target: Path, content: bytes) -> None:
    descriptor, draft = tempfile.mkstemp(dir=target.parent, prefix=".report-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(draft, _mode(target))
        os.replace(draft, target)
    except BaseException:
        os.unlink(draft)
        raise


def _mode(target: Path) -> int:
    """Return the permissions of the file that is replaced, or of a new one."""
    try:
        return target.stat().st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
