"""The polite poller: `handler.http`, and what proves to a server who asks."""

from .auth import BearerAuth, ClientCredentials, HeaderAuth, PasswordCredentials
from .session import Http

__all__ = ["BearerAuth", "ClientCredentials", "HeaderAuth", "Http", "PasswordCredentials"]
