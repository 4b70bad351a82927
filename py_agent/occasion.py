"""What a handler is made for: its agent, and one run of a job or call of a listener."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .clock import Clock
from .memory import Memory, Window
from .shared import Shared
from .stopping import Stop

if TYPE_CHECKING:
    from .store.event_store import EventStore


@dataclass(frozen=True)
class Surroundings:
    """What all handlers of an agent have in common.

    Args:
        opened: returns the open store, opening it if need be.
        settings: returns the checked settings of a class.
        clock: tells the time.
        stop: asks running work to end.
        run_soon: lets a job, by name, run as soon as possible.
        shared: what jobs and listeners share.
    """

    opened: Callable[[], EventStore]
    settings: Callable[[type[Any]], Any]
    clock: Clock
    stop: Stop
    run_soon: Callable[[str], None]
    shared: Shared = field(default_factory=Shared)


@dataclass(eq=False)
class Hold:
    """Withholds what a run publishes until it ends, and counts it.

    Args:
        reason: what its deliveries wait for.
        new: how many new events were published that are to be delivered.
    """

    reason: str
    new: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, new: int) -> None:
        """Note new events; a run may publish on several threads."""
        with self._lock:
            self.new += new


@dataclass(frozen=True)
class Occasion:
    """What belongs to one run of a job or one call of a listener.

    Args:
        memory: what it remembers; None where none can be kept, for the reason `why`.
        why: why there is no memory.
        window: the time that a run looks at; None for a listener.
        deliver: whether what is published is delivered, or stored as seen.
        admit: waits until an event may be published.
        checkpoint: stores what is remembered so far; None where only the end does.
        begin_effect: notes that a call does what may not simply be repeated; None where
            there is no call.
        run_again: lets a job run again after so many seconds; None for a listener.
        hold: withholds what is published until the run ends; None delivers it at once.
    """

    memory: Memory | None = None
    why: str = "agent.handler belongs to no job or listener, so it has no state"
    window: Window | None = None
    deliver: bool = True
    admit: Callable[[], None] = lambda: None
    checkpoint: Callable[[], None] | None = None
    begin_effect: Callable[[], None] | None = None
    run_again: Callable[[float], None] | None = None
    hold: Hold | None = None


NO_OCCASION = Occasion()  # of agent.handler
