"""The commands, installed as `py_agent.cli`."""
