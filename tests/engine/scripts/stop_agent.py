"""An agent that a job or listener stops: stop_agent.py STORE job|listener."""

import sys

from py_agent import Agent, Event, Handler, StopAgent

agent = Agent(sys.argv[1], durability="fast")


def job(handler: Handler) -> None:
    if sys.argv[2] == "job":
        raise StopAgent("the job has seen enough")
    handler.publish("t", "1")


def listener(event: Event) -> None:
    raise StopAgent("the listener has seen enough")


agent.add_job(job, every=3600, name="j")
agent.add_listener(listener, {"event_type": ("==", "t")}, name="l")
agent.go()
