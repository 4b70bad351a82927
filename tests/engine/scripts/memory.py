"""One life of an agent whose job and listener remember: memory.py STORE WHERE.

WHERE is "job" or "listener": the process ends inside it, after its event was stored and
its state changed. Else it lives, and prints what each had remembered.
"""

import os
import sys
import threading
from typing import Any

from py_agent import Agent

path, where = sys.argv[1:]
agent = Agent(path)
polled = threading.Event()


def say(what: str) -> None:
    """Write one line in one piece, as job and listener speak at the same time."""
    os.write(1, f"{what}\n".encode())


def job(handler: Any) -> None:
    say(f"job {handler.state.get('page', 0)} {handler.window.since is not None}")
    page = handler.state["page"] = handler.state.get("page", 0) + 1
    handler.publish("page", str(page))
    if where == "job":
        os._exit(9)
    polled.set()


def listener(handler: Any, event: Any) -> None:
    say(f"listener {handler.state.get('seen', 0)}")
    handler.state["seen"] = handler.state.get("seen", 0) + 1
    if where == "listener":
        os._exit(9)


agent.add_job(job, every="1 hour", name="job")
agent.add_listener(listener, {"event_type": ("==", "page")}, name="listener")
agent.start()
assert polled.wait(20)
assert agent.drain(20)
agent.stop()
