"""Things that all jobs and listeners of an agent share, each made when first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Shared:
    """One thing for each function that makes it; they live as long as the agent runs."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._made: dict[Any, Any] = {}

    def put(self, make: Callable[[], T], made: T) -> None:
        """Share what has been made elsewhere in place of what `make` would return."""
        with self._lock:
            self._made[make] = made

    def get(self, make: Callable[[], T]) -> T:
        """Return what `make` returned when it was called first."""
        with self._lock:
            if make not in self._made:
                self._made[make] = make()
            found: T = self._made[make]
            return found
