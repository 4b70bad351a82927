"""A listener that fails twice and then works; one event, three attempts, done once.

Run it with `agent go --once` for the first attempt, or `agent go` to see all three.
"""

from py_agent import Agent, RetryPolicy, listen_for

agent = Agent("retry.sqlite")
doors = iter(["jammed", "jammed", "open"])


def knock(handler):
    handler.publish("visitor.came", "visitor-1", {"name": "Ada"})


@listen_for({"event_type": ("==", "visitor.came")}, retry=RetryPolicy(first=1, factor=1))
def let_in(event):
    if next(doors) == "jammed":
        raise OSError("the door is jammed")
    print(f"Welcome, {event.data['name']}")


agent.add_job(knock, every="1 hour")
agent.add_listener(let_in)
agent.go()
