"""`python -m py_agent`, for where another `agent` command comes first on the PATH."""

from py_agent.cli.entry import agent

agent()
