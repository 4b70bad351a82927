"""A job that watches a folder and publishes what is new and what has changed in it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from py_agent import EventError, Handler

log = logging.getLogger(__name__)


def watch_folder(
    handler: Handler, path: Path, pattern: str = "*", recursive: bool = False
) -> None:
    """Publish an event for each new file in a folder, and for each change of one.

    It keeps no list of its own: the store knows which files it has seen. So nothing is
    missed while the agent is down, and nothing is published twice. A file that is still
    being written is new first and changed afterwards.

    Publishes:
        `file.created`, identifier: the file's full path, once for ever.
        `file.changed`, identifier: the full path, `@`, and what tells one state of the
        file from another.

        The data of both is, for example, `{"path": "/home/me/inbox/a.txt",
        "name": "a.txt", "size": 12, "modified": "2026-01-05T12:00:00+00:00",
        "state": "1767614400000000000-12"}`.

    Args:
        handler: publishes.
        path: the folder.
        pattern: which file names count, as in a shell: `*.csv`.
        recursive: whether folders inside it count too.

    Raises:
        NotADirectoryError: there is no such folder, or it is none.
    """
    folder = Path(path).resolve()
    if not folder.is_dir():
        raise NotADirectoryError(f"there is no folder {folder} to watch")
    for file in _files(folder, pattern, recursive):
        data = _describe(file)
        if data is None:
            continue
        try:
            created = handler.publish("file.created", data["path"], data)
            if not created.new and created.event.data["state"] != data["state"]:
                handler.publish("file.changed", f"{data['path']}@{data['state']}", data)
        except EventError as error:
            log.warning("%r is left out: %s", file, error)


def _files(folder: Path, pattern: str, recursive: bool) -> Iterator[Path]:
    found = folder.rglob(pattern) if recursive else folder.glob(pattern)
    return iter(sorted(found))


def _describe(file: Path) -> dict[str, Any] | None:
    """Return what is published of a file; None for what is no file or has gone."""
    try:
        status = file.stat()
    except OSError:
        return None
    if not file.is_file():
        return None
    # A name that is no Unicode has no text of its own; escapes keep it apart.
    path = os.fsencode(file).decode("utf-8", "backslashreplace")
    return {
        "path": path,
        "name": path.rpartition("/")[2],
        "size": status.st_size,
        "modified": datetime.fromtimestamp(status.st_mtime, UTC).isoformat(),
        "state": f"{status.st_mtime_ns}-{status.st_size}",
    }
