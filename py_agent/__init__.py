"""py_agent: cron + "only when something changed" + "and it really happened".

Importing this package starts nothing, reads no environment and configures no logging;
each public name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .absence import expect
    from .agent import Agent
    from .context import Handler
    from .errors import (
        AgentError,
        ContractError,
        EventError,
        FilterError,
        HttpError,
        HttpRefusedError,
        StoppedError,
        StorageFault,
        StoreError,
    )
    from .events import Event, Publication, Published
    from .http import BearerAuth as BearerAuth
    from .http import ClientCredentials as ClientCredentials
    from .http import HeaderAuth as HeaderAuth
    from .http import Http as Http
    from .http import PasswordCredentials as PasswordCredentials
    from .http.paging import pages_of as pages_of
    from .http.text import shown_url as shown_url
    from .identity import at_path, identifier_of
    from .memory import Window
    from .observation import observe
    from .registry import listen_for
    from .retry import Discard, Pause, Retry, RetryPolicy, Snooze, StopAgent
    from .service import Service
    from .settings import Settings as Settings
    from .timeouts import timeout

# Without what waits for a library: `import *` stays as light as the import itself.
__all__ = [
    "Agent",
    "AgentError",
    "ContractError",
    "Discard",
    "Event",
    "EventError",
    "FilterError",
    "Handler",
    "HttpError",
    "HttpRefusedError",
    "Pause",
    "Publication",
    "Published",
    "Retry",
    "RetryPolicy",
    "Service",
    "Snooze",
    "StopAgent",
    "StoppedError",
    "StorageFault",
    "StoreError",
    "Window",
    "at_path",
    "expect",
    "identifier_of",
    "listen_for",
    "observe",
    "timeout",
]

_HOMES = {
    "Agent": "agent",
    "AgentError": "errors",
    "BearerAuth": "http",
    "ClientCredentials": "http",
    "ContractError": "errors",
    "Discard": "retry",
    "Event": "events",
    "EventError": "errors",
    "FilterError": "errors",
    "Handler": "context",
    "HeaderAuth": "http",
    "Http": "http",
    "HttpError": "errors",
    "HttpRefusedError": "errors",
    "PasswordCredentials": "http",
    "Pause": "retry",
    "Publication": "events",
    "Published": "events",
    "Retry": "retry",
    "RetryPolicy": "retry",
    "Service": "service",
    "Settings": "settings",
    "Snooze": "retry",
    "StopAgent": "retry",
    "StoppedError": "errors",
    "StorageFault": "errors",
    "StoreError": "errors",
    "Window": "memory",
    "at_path": "identity",
    "expect": "absence",
    "identifier_of": "identity",
    "listen_for": "registry",
    "observe": "observation",
    "pages_of": "http.paging",
    "shown_url": "http.text",
    "timeout": "timeouts",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("py-agent")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*_HOMES, "__version__"]
