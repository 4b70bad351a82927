"""`agent backup`: a copy of the store, beside a running agent."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from py_agent.cli.options import Common, common

from py_agent.errors import StoreMissingError, StoreRefusedError, UsageError


@click.command()
@click.argument("target", metavar="FILE|FOLDER", type=click.Path(path_type=Path))
@click.option("--keep", type=click.IntRange(1), metavar="COUNT",
              help="Remove all but the newest copies in FOLDER.")  # fmt: skip
@common
def backup(target: Path, keep: int | None, common: Common) -> None:
    """Copy the store to FILE, or to FOLDER under a name with the time.

    The copy is whole, however busy the agent is meanwhile, and takes the place of an
    older one of its name only after it was checked. To restore one: stop the agent, move
    the store and its -wal and -shm away, and copy the backup to its place.
    """
    from py_agent.store import backups, schema

    store = common.store()
    schema.verify(store, writing=False)
    folder = target if target.is_dir() else None
    if keep is not None and folder is None:
        raise UsageError(f"--keep needs a folder, and {target} is none")
    if folder is not None:
        target = folder / backups.name_of(store, datetime.now(UTC))
    _check_target(store, target)
    backups.write(store, target, thorough=True)
    click.echo(f"{store} is copied to {target}")
    for old in backups.prune(store, folder, keep) if folder and keep else []:
        click.echo(f"{old} is removed")


def _check_target(store: Path, target: Path) -> None:
    """Refuse to replace what is no backup.

    Raises:
        UsageError: a file of this name is something else.
    """
    from py_agent.store import schema
    from py_agent.store.lock import holder

    try:
        schema.verify(target, writing=False)
    except StoreMissingError:
        if not target.parent.is_dir():
            raise UsageError(f"{target.parent} is no folder") from None
        return
    except StoreRefusedError:
        raise UsageError(f"{target} exists and is no backup; name another file") from None
    if target.samefile(store):
        raise UsageError(f"{target} is the store itself; name another file")
    if holder(target) is not None:
        raise UsageError(f"{target} is the store of a running agent; name another file")
