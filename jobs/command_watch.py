"""Sees that a program does not outlive an agent that was killed.

The agent ends its programs itself, unless it is killed by SIGKILL or for lack of memory.
So a small process waits beside it at a pipe that only the agent holds open: when the pipe
closes, the agent is gone, and the program is to go, too. A signal of Linux for the
parent's death (`PR_SET_PDEATHSIG`) would reach the program only, and not what it started.
An agent that is killed in the very moment in which it starts a program leaves it behind.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Signals for the whole group of the agent, as systemd sends them, are none for it.
_SCRIPT = """
trap '' TERM INT HUP
read -r group || exit
read -r end
kill -TERM "-$group"
sleep 1
kill -KILL "-$group"
"""


@contextmanager
def watch() -> Iterator[Callable[[int], object]]:
    """Lend what is to be told the process group of a program as soon as it runs.

    Raises:
        OSError: /bin/sh cannot be started.
    """
    process = subprocess.Popen(
        ["/bin/sh", "-c", _SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={"PATH": os.environ.get("PATH", os.defpath)},
        cwd="/", start_new_session=True, bufsize=0,
    )  # fmt: skip
    assert process.stdin is not None
    with process.stdin as pipe:
        try:
            yield lambda group: os.write(pipe.fileno(), b"%d\n" % group)
        finally:
            process.kill()
            process.wait()
