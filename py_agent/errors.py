"""Every error that py_agent raises on purpose, in one tree.

    AgentError                      exit code 1
    ├── UsageError                  exit code 2: the caller can mend it
    │   ├── ConfigError             agent.toml, the environment, arguments
    │   ├── FilterError             a field or operator that does not exist
    │   ├── LoadError               the user's code cannot be found or imported
    │   ├── RegistrationError       a job or listener that cannot be registered
    │   ├── NotFoundError           no such event, delivery, job or listener
    │   └── StoreMissingError       a command that does not create stores found none
    ├── EventError                  publish() refused an event
    │   ├── EchoError               listeners answered each other too often
    │   └── ContractError           Observability would refuse the event
    ├── HttpError                   a request got no whole, usable answer
    │   └── HttpRefusedError        it is not allowed, now and later
    ├── StoppedError                the agent that this handler belongs to has stopped
    └── StoreError                  exit code 3
        ├── StoreRefusedError       a store that we do not understand; nothing changed
        ├── StoreLockedError        another agent runs on this store
        └── StorageFault            disk full, I/O error, busy: may pass by itself

What a listener *asks for* by raising (`Retry`, `Discard`, `Pause`, `StopAgent`, see
`retry`) is a request and no error, and stands outside this tree. Errors of libraries are
mapped where the library is owned and stay on `__cause__`.
"""

from __future__ import annotations

from collections.abc import Iterable


class AgentError(Exception):
    """Something py_agent refuses; the message says what, where and what to do."""

    exit_code = 1


class UsageError(AgentError):
    """A call, argument or setting that cannot be right; mend it and run again."""

    exit_code = 2


class ConfigError(UsageError):
    """Mistakes in agent.toml, the environment or arguments; one line for each.

    Args:
        problems: one sentence per mistake, each naming its place.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        lines = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(lines))
        self.problems = lines


class FilterError(UsageError):
    """A filter names a field or operator that does not exist, or compares nonsense."""


class LoadError(UsageError):
    """The user's module, function or agent cannot be found or does not import."""


class RegistrationError(UsageError):
    """A job or listener has no usable name, a name in use, or arguments that misfit."""


class NotFoundError(UsageError):
    """The store holds no such event, delivery, job or listener."""


class StoreMissingError(UsageError):
    """There is no store at the path; only a running agent or publish() makes one."""


class EventError(AgentError):
    """publish() refused the event; the message gives the path of the bad value."""


class EchoError(EventError):
    """Listeners published in answer to each other too many times in a row."""


class ContractError(EventError):
    """Observability would refuse the event or heartbeat, or take and then lose it.

    Args:
        message: one line for the user, with everything that is wrong.
        field: the first wrong field as the server names it; `_schema` where it is about
            the whole.
    """

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class HttpError(AgentError):
    """A request got no whole, usable answer; the message never shows a URL's query.

    Args:
        message: the sentence for the user.
        status: the HTTP status, None when there was no answer.
        retry_after: seconds after which the server wants to be asked again, at most an
            hour; None when it did not say.
        transient: whether the same request may well succeed later.
        sent: whether all of the request had gone out, so that the server may have done
            what it asks for.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        retry_after: float | None = None,
        transient: bool = False,
        sent: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.transient = transient
        self.sent = sent


class HttpRefusedError(HttpError):
    """The request was not sent, and never will be: its URL or a redirect is unsafe."""


class StoppedError(AgentError):
    """The agent has stopped, so this run or delivery may not publish any more."""


class StoreError(AgentError):
    """The store cannot be used."""

    exit_code = 3


class StoreRefusedError(StoreError):
    """The file is corrupt, foreign, too new or read-only; it was left as it is."""


class StoreLockedError(StoreError):
    """Another agent holds this store's lock.

    Args:
        message: the sentence for the user.
        pid: the holder's process id, None when it could not be read.
    """

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class StorageFault(StoreError):
    """The disk is full, failed or busy; free it and publish again (it is safe to)."""
