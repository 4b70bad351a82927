"""One life of an agent whose guarded job floods: flood.py STORE [published before a kill].

The job publishes 500 events; told to, it kills the process in the middle of its run.
Prints what the listeners were called with.
"""

import os
import signal
import sys

from py_agent import Agent, Event, Handler

kill_after = int(sys.argv[2]) if sys.argv[2:] else None
agent = Agent(sys.argv[1], durability="fast")
seen: list[str] = []


def poll(handler: Handler) -> None:
    for number in range(500):
        if number == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        handler.publish("t", str(number))


def listener(event: Event) -> None:
    seen.append(f"{event.event_type} {event.data}")


agent.add_job(poll, every="1 hour", name="poll", hold_above=50)
agent.add_listener(listener, {"event_type": ("in", ["t", "job.held"])}, name="l")
agent.run_once()
print("\n".join(seen))
