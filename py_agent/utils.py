"""One re-export: `from py_agent.utils import listen_for` is the first spelling of it."""

from .registry import listen_for

__all__ = ["listen_for"]
