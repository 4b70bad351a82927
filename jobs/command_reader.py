"""Lets a process of its own read what somebody else wrote, and may have made to do harm.

Such a text keeps a parser busy for minutes in a single step, in which no other thread of
the agent would go on, or makes it run what it should not. So the process has none of the
agent's secrets in its environment, limited time, and ends when the agent stops.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from tempfile import TemporaryFile
from typing import Any

from jobs.command_process import SLICE, environment
from py_agent import Handler, StoppedError

# Where Python finds itself and its libraries.
_PYTHONS = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class UnreadableError(Exception):
    """What was to be read could not be.

    Args:
        reason: why, on one line, as it stands after "it".
    """


def read_apart(
    handler: Handler, arguments: list[str], content: bytes, seconds: float
) -> dict[str, Any]:
    """Return the JSON object that a Python process prints.

    Args:
        handler: knows when the agent stops.
        arguments: for Python; the working directory is not where it finds modules.
        content: what the process reads from stdin.
        seconds: that it may take.

    Raises:
        UnreadableError: it cannot be started, took too long, or failed.
        StoppedError: the agent stops.
    """
    try:
        process = _started(arguments, content)
    except OSError as error:
        raise UnreadableError(f"cannot be read now: {error.strerror or error}") from None
    with process:
        try:
            printed, said = _output(handler, process, seconds)
        finally:
            process.kill()
    return _object(process.returncode, printed, said)


def _started(arguments: list[str], content: bytes) -> subprocess.Popen[bytes]:
    given = {name: os.environ[name] for name in _PYTHONS if name in os.environ}
    # In a file, as `communicate` that is asked twice loses the rest of its input.
    with TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        return subprocess.Popen(
            [sys.executable, "-P", *arguments], env=environment(os.environ, given),
            stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip


def _output(
    handler: Handler, process: subprocess.Popen[bytes], seconds: float
) -> tuple[bytes, bytes]:
    """Return what a process writes to stdout and stderr until it ends."""
    # Real time, whatever the agent's clock says in a test: the process is real.
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        if handler.stop_requested:
            raise StoppedError("a page or feed was not read to its end, as the agent stops")
        try:
            return process.communicate(timeout=max(0.0, min(SLICE, left)))
        except subprocess.TimeoutExpired:
            if left <= SLICE:
                raise UnreadableError(f"takes more than {seconds:g} s to read") from None


def _object(code: int, printed: bytes, said: bytes) -> dict[str, Any]:
    if code:
        lines = said.decode("utf-8", "replace").strip().splitlines() or ["it crashed"]
        raise UnreadableError(f"cannot be read: {ascii(lines[-1])[1:-1][:200]}")
    try:
        found = json.loads(printed)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UnreadableError("cannot be read: what reads it said nothing that makes sense")
    return found
