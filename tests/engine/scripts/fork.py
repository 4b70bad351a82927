"""Publish from a forked child of a running agent, then from the parent: fork.py STORE."""

import os
import queue
import sqlite3
import sys
import warnings

from py_agent import Agent

warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is the point

heard: queue.Queue[str] = queue.Queue()
agent = Agent(sys.argv[1])
agent.add_listener(
    lambda event: heard.put(event.identifier), {"event_type": ("==", "t")}, name="l"
)
agent.start()
agent.handler.publish("t", "parent-1")
print(heard.get(timeout=20))
child = os.fork()
if child == 0:
    try:
        agent.handler.publish("t", "child")
        os._exit(0)
    finally:
        os._exit(1)
_, status = os.waitpid(child, 0)
assert status == 0, status
print(heard.get(timeout=20))
agent.handler.publish("t", "parent-2")
print(heard.get(timeout=20))
drained = agent.drain(20)
agent.stop()
with sqlite3.connect(sys.argv[1]) as opened:
    print(*opened.execute("PRAGMA integrity_check").fetchone())
print(drained)
