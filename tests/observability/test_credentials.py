"""How to sign in to the tool that is watched, and what is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from py_agent import BearerAuth, ClientCredentials, Handler, PasswordCredentials
from py_agent.errors import ConfigError
from py_agent.observability import CoreSettings, HttpSettings, sign_in
from py_agent.observability.settings import (
    ApiToken,
    AzureServicePrincipal,
    AzureUser,
    UsernamePassword,
)
from py_agent.testing import AgentUnderTest

SECRET = SecretStr("canary-4711")
USER = {"agent_username": "u", "agent_password": SECRET}
TOKEN = {"agent_token": SECRET}
PRINCIPAL = {"client_id": "c", "client_secret": SECRET, "tenant_id": "t"}
AZURE = {"client_id": "c", "username": "u", "password": SECRET, "tenant_id": "t"}
KINDS: list[tuple[type[Any], dict[str, Any], Any]] = [
    (UsernamePassword, USER, tuple),
    (ApiToken, TOKEN, BearerAuth),
    (AzureServicePrincipal, PRINCIPAL, ClientCredentials),
    (AzureUser, AZURE, PasswordCredentials),
]


def signed_in(agent: AgentUnderTest, **given: dict[str, Any]) -> Any:
    """Sign in inside a job, with the settings of some classes given by name."""
    for cls, _, _ in KINDS:
        agent.settings[cls] = cls(**given.get(cls.__name__, {}))
    found: list[Any] = []
    agent.run_job(lambda handler: found.append(sign_in(handler, "s")), name="job")
    return found[0]


@pytest.mark.parametrize("first", range(4))
def test_the_first_complete_set_is_taken(agent: AgentUnderTest, first: int) -> None:
    """Given several complete sets of credentials, Then the usual order decides."""
    given = {cls.__name__: values for cls, values, _ in KINDS[first:]}
    found = signed_in(agent, **given)
    assert isinstance(found, KINDS[first][2])
    assert "canary" not in repr(found) or first == 0


@pytest.mark.parametrize(
    "given",
    [
        {"UsernamePassword": {"agent_username": "u"}},
        {"UsernamePassword": {"agent_password": SECRET}},
        {"AzureServicePrincipal": {"client_id": "c", "tenant_id": "t"}},
        {"AzureUser": {**AZURE, "tenant_id": None}},
        {},
    ],
)
def test_half_of_a_set_is_none(agent: AgentUnderTest, given: dict[str, Any]) -> None:
    """Given a set that is not complete, Then the error names what could be set."""
    with pytest.raises(ConfigError, match="DK_AGENT_PASSWORD, or DK_AGENT_TOKEN"):
        signed_in(agent, **given)


def test_what_keeps_a_token_is_made_once(agent: AgentUnderTest) -> None:
    """Given OAuth, When two runs sign in, Then it is the same object, with its token."""
    for cls, values, _ in KINDS:
        agent.settings[cls] = cls(**(values if cls is AzureServicePrincipal else {}))
    found: list[Any] = []
    for _ in range(2):
        agent.run_job(lambda handler: found.append(sign_in(handler)), name="job")
    assert found[0] is found[1]
    assert found[0].token_url == "https://login.microsoftonline.com/t/oauth2/v2.0/token"


def test_where_none_are_needed_none_is_fine(agent: AgentUnderTest) -> None:
    """Given a tool that may be open, Then nothing is no mistake, and half of it is one."""
    for cls, _, _ in KINDS:
        agent.settings[cls] = cls()
    found: list[Any] = []

    def job(handler: Handler) -> None:
        found.append(sign_in(handler, needed=False))

    agent.run_job(job)
    agent.stop()
    agent.settings[UsernamePassword] = UsernamePassword(agent_username="u")
    with pytest.raises(ConfigError):
        agent.run_job(job)
    assert found == [None]


CORE = {
    "agent_key": "a",
    "observability_service_account_key": "k",
    "observability_base_url": "http://127.0.0.1:1/api",
}


@pytest.mark.parametrize("url", ["http://h/api", "http://h/api/"])
def test_the_base_url_ends_with_a_slash(url: str) -> None:
    """Given a base URL either way, Then what is joined to it is below it."""
    core = CoreSettings(**{**CORE, "observability_base_url": url})
    assert core.observability_base_url == "http://h/api/"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("observability_service_account_key", "caf\u00e9 canary"),
        ("observability_service_account_key", ""),
        ("observability_service_account_key", "a\nb"),
        ("observability_base_url", "ftp://host/"),
        ("heartbeat_period", 0),
        ("log_level", "loud"),
        ("agent_key", ""),
        ("agent_key", "a\U0001f642"),
        ("agent_type", "x" * 256),
    ],
)
def test_a_wrong_setting_is_refused_without_showing_it(name: str, value: Any) -> None:
    """Given a value that cannot be right, Then it is refused, and not quoted."""
    with pytest.raises(ValidationError) as caught:
        CoreSettings(**{**CORE, name: value})
    assert "canary" not in str(caught.value)


def test_a_key_from_a_file_may_end_with_a_line_break() -> None:
    """Given a key with a line break behind it, Then it is taken without."""
    core = CoreSettings(**{**CORE, "observability_service_account_key": "k1\n"})
    assert core.observability_service_account_key.get_secret_value() == "k1"


def test_the_options_of_a_request_come_from_the_settings(tmp_path: Path) -> None:
    """Given settings for HTTP, Then a request gets its limit, tries and certificates."""
    file = tmp_path / "ca.pem"
    file.touch()
    http = HttpSettings(read_timeout=7, retries=1, ssl_cert_file=file)
    assert http.options == {"timeout": 7, "verify": str(file), "retries": 1}
    with pytest.raises(ValidationError):
        HttpSettings(ssl_cert_file=tmp_path / "missing.pem")
