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

from .stopping import Stop

log = logging.getLogger("py_agent.threads")

NewLoop = Callable[[], asyncio.AbstractEventLoop]

IDLE_SECONDS = 10  # a thread without work for so long ends


class Threads:
    """Runs work on daemon threads; there are as many as there is work at once.

    Args:
        name: the beginning of the threads' names.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._condition = threading.Condition()
        self._work: deque[tuple[Callable[[], None], str]] = deque()
        self._at_work: dict[int, str] = {}
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._made = 0
        self._ending = False
        self.ended: Callable[[], None] = lambda: None  # told when some work is done

    def run(self, work: Callable[[], None], what: str = "") -> None:
        """Run work on an idle thread or a new one; work must not raise.

        Args:
            work: the work.
            what: what it is, for people.
        """
        with self._condition:
            self._work.append((work, what))
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

    def at_work(self) -> tuple[dict[int, str], int]:
        """Return what each thread works on, by its ident, and how much work waits."""
        with self._condition:
            return dict(self._at_work), len(self._work)

    def end(self) -> None:
        """Let the idle threads end now, and the others when their work is done."""
        with self._condition:
            self._ending = True
            self._condition.notify_all()
            free = [each for each in self._threads if each.ident not in self._at_work]
        for thread in free:
            thread.join()

    def _loop(self) -> None:
        me = threading.current_thread()
        with self._condition:
            self._threads.add(me)
        while self._do_next():
            self.ended()
        with self._condition:
            self._threads.discard(me)

    def _do_next(self) -> bool:
        """Do what comes next; false if nothing came for long."""
        me = threading.get_ident()
        with self._condition:
            if not self._work and not self._ending:
                self._idle += 1
                self._condition.wait(IDLE_SECONDS)
                self._idle -= 1
            if not self._work:
                return False
            work, self._at_work[me] = self._work.popleft()
        try:
            work()
        except BaseException:
            log.exception("a thread's work raised")
        finally:
            with self._condition:
                del self._at_work[me]
        return True


class LoopThread:
    """One thread with an event loop, started when the first coroutine comes.

    Args:
        new_loop: makes the event loop.
    """

    def __init__(self, new_loop: NewLoop = asyncio.new_event_loop) -> None:
        self._new_loop = new_loop
        self._lock = threading.Lock()
        self._callers: set[int] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, coroutine: Any, timeout: float | None, stop: Stop | None = None) -> Any:
        """Run a coroutine on the loop thread and wait for its result.

        Args:
            coroutine: the awaitable to run.
            timeout: seconds after which it is cancelled at its next await.
            stop: cancels it likewise when asked for.

        Raises:
            TimeoutError: it was cancelled for its time.
            CancelledError: it was cancelled otherwise.
        """
        loop, tasks = self._running(), list[asyncio.Task[Any] | None]()
        future = asyncio.run_coroutine_threadsafe(_bounded(coroutine, timeout, tasks), loop)
        me = threading.get_ident()
        self._callers.add(me)
        # On the loop's thread, so that who has its result is no caller for a moment.
        future.add_done_callback(lambda done: self._callers.discard(me))
        if stop is None:
            return future.result()
        with stop.calls(lambda: loop.call_soon_threadsafe(_cancel, loop, tasks)):
            return future.result()

    def callers(self) -> tuple[int | None, frozenset[int]]:
        """Return the loop's thread and those that wait for a coroutine, by ident."""
        with self._lock:
            own = None if self._thread is None else self._thread.ident
            return own, frozenset(self._callers)

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
                self._loop = self._new_loop()
                self._thread = threading.Thread(
                    target=_run_loop,
                    args=(self._loop,),
                    name="py_agent-loop",
                    daemon=True,
                )
                self._thread.start()
            return self._loop


def call(
    function: Callable[[], Any],
    loop: LoopThread,
    timeout: float | None,
    stop: Stop | None = None,
) -> Any:
    """Call a function; a coroutine that it returns is run on the loop thread.

    Args:
        function: the call, complete with its arguments.
        loop: where coroutines run.
        timeout: seconds that a coroutine may take; a plain function cannot be ended.
        stop: cancels a coroutine when asked for.
    """
    result = function()
    return loop.run(result, timeout, stop) if inspect.isawaitable(result) else result


async def _bounded(
    awaitable: Any, timeout: float | None, tasks: list[asyncio.Task[Any] | None]
) -> Any:
    tasks.append(asyncio.current_task())
    async with asyncio.timeout(timeout):
        return await awaitable


def _cancel(loop: asyncio.AbstractEventLoop, tasks: list[asyncio.Task[Any] | None]) -> None:
    """Cancel a coroutine at its next await, once it has begun."""
    for task in tasks:
        if task is not None:
            task.cancel()
    if not tasks:
        loop.call_soon(_cancel, loop, tasks)


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
