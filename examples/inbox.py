"""Watches the folder `inbox` beside this file; two listeners hear of each file in it.

Run it with `agent go examples/inbox.py`, then put a file into the folder, or change one.
What happened is in `seen.csv`, in the folder where you started it.
"""

from pathlib import Path

from jobs.watch_folder import watch_folder
from listeners.append_csv import append_csv
from listeners.log_event import log_event
from py_agent import Agent

ANY_FILE = {"event_type": ("in", ["file.created", "file.changed"])}

agent = Agent("inbox.sqlite")

agent.add_job(watch_folder, every="2 seconds", path=Path(__file__).parent / "inbox")
agent.add_listener(append_csv, ANY_FILE, file=Path("seen.csv"))
agent.add_listener(log_event, ANY_FILE)

agent.go()
