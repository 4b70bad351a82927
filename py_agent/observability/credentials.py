"""How to sign in to the tool that is watched: the first complete set of credentials."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..http import BearerAuth, ClientCredentials, PasswordCredentials
from .settings import ApiToken, AzureServicePrincipal, AzureUser, UsernamePassword

if TYPE_CHECKING:
    from ..context import Handler

MISSING = (
    "there are no complete credentials for the tool that is watched: set DK_AGENT_USERNAME "
    "and DK_AGENT_PASSWORD, or DK_AGENT_TOKEN, or DK_AZURE_CLIENT_ID, "
    "DK_AZURE_CLIENT_SECRET and DK_AZURE_TENANT_ID"
)


class _SignedIn:
    """What signs requests, by scope: made once, since some of it keeps a token."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made: dict[str, Any] = {}


def sign_in(handler: Handler, scope: str = "", needed: bool = True) -> Any:
    """Return what `auth=` of a request takes, made of what is configured.

    User and password come first, then a token, a service principal and a user of
    Microsoft Entra; the first of which everything is there is taken, and kept.

    Args:
        handler: has the settings.
        scope: what a token of Microsoft Entra is for, where the settings do not say.
        needed: whether there must be credentials.

    Returns:
        It; None if nothing is configured, and nothing needed.

    Raises:
        ConfigError: none is complete.
    """
    known = handler.shared(_SignedIn)
    with known.lock:
        if scope not in known.made:
            known.made[scope] = _made(handler, scope, needed)
        return known.made[scope]


def _made(handler: Handler, scope: str, needed: bool) -> Any:
    find = handler.settings
    kinds = (UsernamePassword, ApiToken, AzureServicePrincipal, AzureUser)
    if not needed and not any(find(each).model_fields_set for each in kinds):
        return None
    for found in (
        _user(find(UsernamePassword)),
        _token(find(ApiToken)),
        _principal(find(AzureServicePrincipal), scope),
        _azure_user(find(AzureUser), scope),
    ):
        if found is not None:
            return found
    raise ConfigError(MISSING)


def _user(user: UsernamePassword) -> tuple[str, str] | None:
    if not user.agent_username or user.agent_password is None:
        return None
    return user.agent_username, user.agent_password.get_secret_value()


def _token(token: ApiToken) -> BearerAuth | None:
    given = token.agent_token
    return BearerAuth(given) if given and given.get_secret_value() else None


def _principal(who: AzureServicePrincipal, scope: str) -> ClientCredentials | None:
    if not (who.client_id and who.tenant_id and who.client_secret):
        return None
    return ClientCredentials(
        _token_url(who.authority, who.tenant_id), who.client_id, who.client_secret,
        who.scope or scope or None, in_body=True,
    )  # fmt: skip


def _azure_user(who: AzureUser, scope: str) -> PasswordCredentials | None:
    if not (who.client_id and who.tenant_id and who.username and who.password):
        return None
    return PasswordCredentials(
        _token_url(who.authority, who.tenant_id), who.client_id, who.username,
        who.password, who.scope or scope or None,
    )  # fmt: skip


def _token_url(authority: str, tenant: str) -> str:
    # Microsoft's token endpoint, version 2.0; `authorize` beside it is for browsers.
    return f"{authority.rstrip('/')}/{tenant}/oauth2/v2.0/token"
