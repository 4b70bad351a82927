"""py_agent: cron + "only when something changed" + "and it really happened".

Importing this package starts nothing, reads no environment and configures no logging;
each public name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent import Agent
    from .context import Handler
    from .errors import AgentError, EventError, FilterError, StoreError
    from .events import Event, Publication, Published
    from .registry import listen_for
    from .retry import Discard, Pause, Retry, RetryPolicy
    from .service import Service

__all__ = [
    "Agent", "AgentError", "Discard", "Event", "EventError", "FilterError", "Handler",
    "Pause", "Publication", "Published", "Retry", "RetryPolicy", "Service", "StoreError",
    "listen_for",
]  # fmt: skip

_HOMES = {
    "Agent": "agent",
    "AgentError": "errors",
    "Discard": "retry",
    "Event": "events",
    "EventError": "errors",
    "FilterError": "errors",
    "Handler": "context",
    "Pause": "retry",
    "Publication": "events",
    "Published": "events",
    "Retry": "retry",
    "RetryPolicy": "retry",
    "Service": "service",
    "StoreError": "errors",
    "listen_for": "registry",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("py-agent")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
