"""One lifecycle for everything that runs beside the user's code."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Service(Protocol):
    """A thing with a start and a stop.

    `stop` asks; `join` waits. Both may be called twice, and before `start`. An agent
    starts its services in order and stops them in reverse.
    """

    def start(self) -> None:
        """Begin to work, on threads of its own."""
        ...

    def stop(self) -> None:
        """Ask it to take no more work."""
        ...

    def join(self, deadline: float) -> None:
        """Wait until it has ended, or monotonic time has reached the deadline."""
        ...
