"""What a user configures: agent.toml, the environment, and classes of settings."""

from .classes import Settings

__all__ = ["Settings"]
