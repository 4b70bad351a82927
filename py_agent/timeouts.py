"""A time limit around some lines of a job or listener.

Async code is cancelled at its next await. A thread cannot be ended, so plain code gets a
deadline instead: `handler.http`, `handler.wait` and whoever asks `handler.time_left`
obey it, and it is checked when the lines are left.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING

from .clock import Clock, SystemClock
from .retry import Seconds, seconds

if TYPE_CHECKING:
    import asyncio

# The clock of the run or call that this code belongs to; set by the engine.
clock_of_call: ContextVar[Clock] = ContextVar("clock_of_call")
_scopes: ContextVar[tuple[timeout, ...]] = ContextVar("scopes", default=())


class timeout:  # in lower case, to be read as `with timeout(30, "fetch"):`
    """Limit the time of what stands in a `with` or `async with` block.

    Args:
        limit: seconds or timedelta.
        name: what is limited, for the error.

    Raises:
        TimeoutError: the time is up; at the next await, at the next request or wait of
            the handler, or when the block is left.
        UsageError: the limit is no duration.
    """

    def __init__(self, limit: Seconds, name: str = "this step") -> None:
        self._limit = seconds(limit, "timeout")
        self._name = name
        self._clock: Clock = SystemClock()
        self._deadline = 0.0
        self._token: Token[tuple[timeout, ...]] | None = None
        self._async: asyncio.Timeout | None = None

    def left(self) -> float:
        """Return the seconds that are left; negative when the time is up."""
        return self._deadline - self._clock.boot()

    def check(self) -> None:
        """Raise TimeoutError if the time is up."""
        if self.left() <= 0:
            raise self._error()

    def __enter__(self) -> timeout:
        self._clock = clock_of_call.get(self._clock)
        self._deadline = self._clock.boot() + self._limit
        self._token = _scopes.set((*_scopes.get(), self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._token is not None
        _scopes.reset(self._token)
        if error is None:
            self.check()

    async def __aenter__(self) -> timeout:
        import asyncio  # here, as it takes long and few need it

        self.__enter__()
        self._async = asyncio.timeout(self._limit)
        await self._async.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._async is not None and self._token is not None
        try:
            await self._async.__aexit__(kind, error, trace)
        except TimeoutError as cancelled:
            raise self._error() from cancelled
        finally:
            _scopes.reset(self._token)
        if error is None:
            self.check()  # lines without an await are never cancelled

    def _error(self) -> TimeoutError:
        return TimeoutError(f"{self._name} did not end within {self._limit:g} s")


def time_left() -> float | None:
    """Return the seconds until the nearest limit around this code; None without one."""
    return min((each.left() for each in _scopes.get()), default=None)


def check_time() -> None:
    """Raise TimeoutError if the time of any limit around this code is up."""
    for each in _scopes.get():
        each.check()
