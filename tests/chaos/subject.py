"""The agent that is killed: it publishes and delivers without a pause, and tells of it.

Each line on stdout is one fact: `try N` before publish(), `new N` or `known N` after it
returned, `call LISTENER N KEY` from a listener. Run as a program with the store's path
and the number of the first event that is still to be published.
"""

from __future__ import annotations

import os
import sys

from py_agent import Agent, Event, Handler

TYPE = "chaos.event"
LISTENERS = ("first", "second", "third")


def tell(*words: object) -> None:
    """Write one line at once, so that a kill cannot take it back."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def publish_without_end(handler: Handler, first: int) -> None:
    """Publish from the main thread: a job that is killed three times would be paused."""
    number = first
    while True:
        for offered in (number, max(0, number - 7)):  # the second one is known already
            tell("try", offered)
            done = handler.publish(TYPE, str(offered), {"number": offered})
            tell("new" if done.new else "known", offered)
        number += 1


def listen(event: Event, label: str) -> None:
    tell("call", label, event.identifier, event.delivery_key)


def main() -> None:
    path, first, finish = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "finish"
    agent = Agent(path)
    for name in LISTENERS:
        agent.add_listener(
            listen,
            {"event_type": ("==", TYPE)},
            name=name,
            concurrency=2,
            ordered_by="data.number" if name == "third" else None,
            label=name,
        )
    if finish:
        agent.drain()
        agent.stop()
        return
    agent.start()
    publish_without_end(agent.handler, first)


if __name__ == "__main__":
    main()
