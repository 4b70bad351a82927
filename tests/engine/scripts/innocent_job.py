"""A job publishes, and the listener of what it publishes ends the process each time."""

from __future__ import annotations

import os
import sys
import threading

from py_agent import Agent, Event, Handler

agent = Agent(sys.argv[1])
crashing = sys.argv[2] == "crash"
inside = threading.Event()


def publish_and_linger(handler: Handler) -> None:
    handler.publish("a", os.urandom(8).hex())
    if crashing:
        inside.wait(1)  # the listener is entered meanwhile, unless it is held


def end_the_process(event: Event) -> None:
    inside.set()
    if crashing:
        os._exit(9)


agent.add_job(publish_and_linger, every="1 hour", name="innocent")
agent.add_listener(end_the_process, {"event_type": ("==", "a")}, name="guilty")
sys.exit(0 if agent.run_once() else 1)
