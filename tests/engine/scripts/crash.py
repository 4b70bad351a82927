"""One life of an agent that may end in the middle of a call: crash.py STORE CONCURRENCY.

The listener ends the process at the event "500"; with four slots it first waits until
two neighbours are inside as well. Prints "drained" when it lived to the end.
"""

import os
import sys
import threading
from pathlib import Path

from py_agent import Agent, Event

concurrency = int(sys.argv[2])
company = threading.Barrier(3)
agent = Agent(sys.argv[1], durability="fast")


def listener(event: Event) -> None:
    number = int(event.identifier)
    crashes = event.data == "company" and concurrency > 1
    if crashes and number in (499, 500, 501):
        try:
            company.wait(1)
        except threading.BrokenBarrierError:
            pass  # tried alone
        if number != 500:
            never = threading.Event()
            never.wait(0.2 if company.broken else 5)
    if number == 500:
        os._exit(9)


agent.add_listener(listener, {"event_type": ("==", "t")}, name="l", concurrency=concurrency)
if not Path(sys.argv[1]).exists():
    agent.handler.publish_many(
        [("t", str(number), "company" if concurrency > 1 else None)
         for number in range(1, 1001)]
    )  # fmt: skip
agent.start()
assert agent.drain(30)
agent.stop()
print("drained")
