"""Where the JSON file of a dashboard is, and what it holds."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from listeners.whole_file import AGAIN, target_of
from py_agent import Pause

MODE = 0o644  # of a new file: what shows it often runs as another user
MAX_BYTES = 10_000_000  # of a file that may be ours


def place_of(file: Path, is_ours: Callable[[Any], bool]) -> Path:
    """Return where a file is in the end, when all links are followed.

    Others may write in the folder, and put a link to some other file there. Such a link
    leads to a file of ours, or nowhere else than into its own folder.

    Args:
        file: the file, or a link to it.
        is_ours: tells whether its JSON is ours.

    Raises:
        Pause: there is no such folder, or a link leads to something else.
        OSError: it cannot be looked at.
    """
    target = target_of(file)
    if not target.parent.is_dir():
        text = f"there is no such folder for the dashboard: {target.parent}; make it"
        raise Pause(f"{text}; it is looked for every {AGAIN:g} s", after=AGAIN)
    elsewhere = target.parent != Path(os.path.realpath(file.parent))
    if elsewhere and content_of(target, is_ours)[0] is None:
        raise Pause(
            f"{file} is a link to {target}, which is no dashboard, and is left alone; "
            f"remove the link, or set file = {str(target)!r} if you mean that one",
            after=AGAIN,
        )
    return target


def content_of(
    file: Path, is_ours: Callable[[Any], bool]
) -> tuple[dict[str, Any] | None, bool]:
    """Return what a file holds if it is ours, and whether it holds something else.

    Args:
        file: the file.
        is_ours: tells whether its JSON is ours.

    Raises:
        OSError: it cannot be read, or is no file.
    """
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", str(file))
        text = file.read_bytes() if found.st_size <= MAX_BYTES else b"?"
    except FileNotFoundError:
        return None, False
    with suppress(ValueError, RecursionError):
        content = json.loads(text)
        if is_ours(content):
            return content, False
    return None, bool(text.strip())  # an empty one was made to have the place
