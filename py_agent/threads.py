"""Threads made on demand, and the one thread on which `async def` functions run.

All threads are daemonic: a call that hangs for ever must not keep the process alive
after its stop (the threads of concurrent.futures are joined when Python exits).
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

log = logging.getLogger("py_agent.threads")

IDLE_SECONDS = 10  # a thread without work for so long ends


class Threads:
    """Runs work on daemon threads; there are as many as there is work at once.

    Args:
        name: the beginning of the threads' names.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._condition = threading.Condition()
        self._work: deque[Callable[[], None]] = deque()
        self._idle = 0
        self._made = 0

    def run(self, work: Callable[[], None]) -> None:
        """Run work on an idle thread or a new one; work must not raise."""
        with self._condition:
            self._work.append(work)
            if self._idle >= len(self._work):
                self._condition.notify()
                return
            self._made += 1
            name = f"{self._name}-{self._made}"
        try:
            threading.Thread(target=self._loop, name=name, daemon=True).start()
        except RuntimeError:
            # The machine gives no more threads; the next one that is free takes it.
            log.warning("no thread could be started; the work waits")

    def _loop(self) -> None:
        while True:
            with self._condition:
                if not self._work:
                    self._idle += 1
                    self._condition.wait(IDLE_SECONDS)
                    self._idle -= 1
                if not self._work:
                    return
                work = self._work.popleft()
            try:
                work()
            except BaseException:
                log.exception("a thread's work raised")


class LoopThread:
    """One thread with an event loop, started when the first coroutine comes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, coroutine: Any, timeout: float | None) -> Any:
        """Run a coroutine on the loop thread and wait for its result.

        Args:
            coroutine: the awaitable to run.
            timeout: seconds after which it is cancelled at its next await.

        Raises:
            TimeoutError: it was cancelled for its time.
        """
        future = asyncio.run_coroutine_threadsafe(
            _bounded(coroutine, timeout), self._running()
        )
        return future.result()

    def stop(self) -> None:
        """Cancel what runs and end the loop, unless it is blocked; safe to repeat."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_cancel_all, loop)
            self._thread.join(1)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run_loop,
                    args=(self._loop,),
                    name="py_agent-loop",
                    daemon=True,
                )
                self._thread.start()
            return self._loop


def call(function: Callable[[], Any], loop: LoopThread, timeout: float | None) -> Any:
    """Call a function; a coroutine that it returns is run on the loop thread.

    Args:
        function: the call, complete with its arguments.
        loop: where coroutines run.
        timeout: seconds that a coroutine may take; a plain function cannot be ended.
    """
    result = function()
    return loop.run(result, timeout) if inspect.isawaitable(result) else result


async def _bounded(awaitable: Any, timeout: float | None) -> Any:
    async with asyncio.timeout(timeout):
        return await awaitable


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        while not _ran_to_its_stop(loop):
            pass
    finally:
        loop.close()


def _ran_to_its_stop(loop: asyncio.AbstractEventLoop) -> bool:
    """Run a loop; false if SystemExit or Ctrl-C, raised in a coroutine, broke out of it.

    The coroutine's own future holds that error as well, so it is not lost here.
    """
    try:
        loop.run_forever()
    except BaseException as error:
        log.debug("a coroutine raised %s", type(error).__name__)
        return False
    return True


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_soon(loop.call_soon, loop.stop)
