"""One life of an agent, given a store, a token, and both addresses."""

import sys

from pydantic import SecretStr

from jobs.github_notifications import GithubSettings, github_notifications
from jobs.todoist_account import TodoistSettings
from listeners.todoist import add_issue
from py_agent.testing import AgentUnderTest

store, token, github, todoist = sys.argv[1:]
secret = SecretStr(token)
agent = AgentUnderTest(store)
agent.settings[GithubSettings] = GithubSettings(token=secret, api_url=github)
agent.settings[TodoistSettings] = TodoistSettings(token=secret, api_url=todoist)
agent.add_listener(add_issue)
agent.run_job(github_notifications)
agent.drain()
agent.stop()
