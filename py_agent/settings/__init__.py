"""What a user configures: agent.toml, the environment, and classes of settings."""

from ..arguments import checked_by
from .classes import Settings
from .kinds import SocketUrl, Token, WebUrl

__all__ = ["Settings", "SocketUrl", "Token", "WebUrl", "checked_by"]
