"""How jobs and listeners reach Todoist."""

from __future__ import annotations

from pydantic import Field, SecretStr

from py_agent.settings import Settings, WebUrl


class TodoistSettings(Settings, section="todoist", env_prefix="TODOIST_"):
    """Where Todoist is, and who asks.

    Args:
        token: an API token.
        api_url: its API, version 1.
    """

    token: SecretStr = Field(
        description="an API token of Todoist: Settings > Integrations > Developer"
    )
    api_url: WebUrl = "https://api.todoist.com/api/v1"
