"""An agent whose listener says "inside" and does not end unless told to: STORE [end]."""

import sys
import threading

from py_agent import Agent, Event, Retry

agent = Agent(sys.argv[1], durability="fast")
ends = sys.argv[2:] == ["end"]
ended = threading.Event()


def listener(event: Event) -> None:
    print("inside", flush=True)
    if not ends:
        threading.Event().wait()
    ended.set()
    raise Retry(after=0)


agent.add_listener(listener, {"event_type": ("==", "t")}, name="l")
agent.handler.publish("t", "1")
agent.start()
if ends:
    assert ended.wait(20)
else:
    agent.drain()
agent.stop()
