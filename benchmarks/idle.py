"""W8: what does an agent cost that has nothing to do? (Linux only: it reads /proc)"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .measure import Plan, Row

SETTLE_SECONDS = 12  # until the threads of the first run have ended

AGENT = """
from py_agent import Agent

def job(handler): handler.publish("ticked", "once")
def listener(event): pass

agent = Agent("agent.sqlite")
agent.add_job(job, every="1 hour")
agent.add_listener(listener, {"event_type": ("==", "ticked")})
agent.go()
"""
ASLEEP = "import signal; signal.pause()"


@dataclass(frozen=True)
class Cost:
    """What a process has cost so far.

    Args:
        wake_ups: how often each of its threads went to sleep and was woken.
        cpu: seconds of processor time.
        memory: MiB of resident memory.
    """

    wake_ups: dict[str, int]
    cpu: float
    memory: float


def measure(plan: Plan) -> Iterator[Row]:
    """Watch a started agent and a sleeping Python at the same time."""
    if not Path("/proc/self/task").exists():
        return
    seconds = 30.0 if plan.share >= 1 else 5.0
    with tempfile.TemporaryDirectory(dir=plan.folder) as folder:
        started = [_start(code, folder) for code in (ASLEEP, AGENT)]
        try:
            time.sleep(SETTLE_SECONDS)
            before = [cost(each.pid) for each in started]
            time.sleep(seconds)
            after = [cost(each.pid) for each in started]
        finally:
            for each in started:
                each.terminate()
            for each in started:
                each.wait()
    asleep, agent = (_passed(a, b) for a, b in zip(before, after, strict=True))
    for what, unit, raw, ours, target in (
        ("wake-ups", "per s", sum(asleep.wake_ups.values()) / seconds,
         sum(agent.wake_ups.values()) / seconds, "<= 0.2 per s"),
        ("processor time", "%", asleep.cpu / seconds * 100, agent.cpu / seconds * 100,
         "< 0.05 %"),
        ("memory", "MiB", asleep.memory, agent.memory, "<= 64 MiB"),
    ):  # fmt: skip
        question = f"idle {what}, beside a Python that sleeps"
        yield Row(question, unit, raw, ours, target=target)


def _passed(before: Cost, after: Cost) -> Cost:
    woken = {
        task: count - before.wake_ups.get(task, 0) for task, count in after.wake_ups.items()
    }
    return Cost(woken, after.cpu - before.cpu, after.memory)


def cost(pid: int) -> Cost:
    """Return what a process has cost, all its threads together."""
    wake_ups = {
        task.name: _number((task / "status").read_text(), "voluntary_ctxt_switches")
        for task in Path(f"/proc/{pid}/task").iterdir()
    }
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    memory = _number(Path(f"/proc/{pid}/status").read_text(), "VmRSS")
    return Cost(wake_ups, ticks / os.sysconf("SC_CLK_TCK"), memory / 1024)


def _number(status: str, field: str) -> int:
    lines = (line.split() for line in status.splitlines())
    return next(int(words[1]) for words in lines if words[0] == f"{field}:")


def _start(code: str, folder: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stderr=subprocess.DEVNULL
    )
