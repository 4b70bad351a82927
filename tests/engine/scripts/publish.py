"""Publish so many events of the type "t" into a store: publish.py STORE COUNT."""

import sys

from py_agent import Agent

agent = Agent(sys.argv[1])
for number in range(int(sys.argv[2])):
    agent.handler.publish("t", f"elsewhere-{number}")
agent.stop()
