"""While a command imports a user's file, the file's `go()` is noted and not obeyed.

So every command can look at a file that would start an agent when it is run as a
program.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .agent import Agent

_noted: list[Agent] | None = None


@contextmanager
def noting() -> Iterator[list[Agent]]:
    """Collect the agents whose `go()` is called, instead of running them."""
    global _noted
    before, _noted = _noted, []
    try:
        yield _noted
    finally:
        _noted = before


def importing() -> bool:
    """Return whether a command is importing a user's file."""
    return _noted is not None


def note(agent: Agent) -> bool:
    """Note an agent that is asked to go; false if it should go indeed."""
    if _noted is None:
        return False
    _noted.append(agent)
    return True
