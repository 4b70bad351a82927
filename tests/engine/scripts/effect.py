"""One life of an agent whose listener begins an effect: effect.py STORE WHERE.

WHERE is what happens: `before` and `inside` end the process there, `look` fails
before, `hang` hangs inside
until the stop is over, `fail` raises inside, `live` ends; with `dead` no call is awaited.
Each call prints whether its event is in doubt.
"""

import os
import sys
import threading

from py_agent import Agent, Event, Handler, Retry

where = sys.argv[2]
agent = Agent(sys.argv[1], durability="fast", grace=0.2)
entered = threading.Event()


def listener(handler: Handler, event: Event) -> None:
    print(event.in_doubt, flush=True)
    if where == "before":
        os._exit(9)
    if where == "look":
        entered.set()
        raise Retry(after=0)
    handler.begin_effect()
    entered.set()
    if where == "inside":
        os._exit(9)
    if where == "hang":
        threading.Event().wait()
    if where == "fail":
        raise Retry(after=0)


agent.add_listener(listener, {"event_type": ("==", "t")}, name="l")
agent.handler.publish("t", "1")
agent.start()
if where != "dead":
    assert entered.wait(30)
agent.drain(0 if where == "hang" else 30)
agent.stop()
