"""One life of an agent with a job that ends the process: crash_job.py STORE.

Prints "lived" when the other job ran and the bad one was only skipped.
"""

import os
import sqlite3
import sys
import threading

from py_agent import Agent

other = threading.Event()
agent = Agent(sys.argv[1])
agent.add_job(other.set, every="1 hour", name="good")
agent.add_job(lambda: os._exit(9), every="1 hour", name="bad")
agent.start()
assert other.wait(20)


def skipped() -> bool:
    agent.drain(0.05)
    with sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True) as opened:
        found = opened.execute("SELECT 1 FROM runs WHERE job = 'bad' AND skips = 1")
        return found.fetchone() is not None


while not skipped():
    pass
agent.stop()
print("lived")
