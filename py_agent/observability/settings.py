"""What is configured of Observability, under the names that installations already have.

The sections `[core]`, `[http]`, `[observability]` and `[auth_...]`, and the variables
`DK_*`, are those of DataKitchen's own agents, so that an agent.toml or an environment
which was written for them is read as it is.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FilePath,
    SecretStr,
    field_validator,
)

from ..settings import Settings, WebUrl
from .values import text

Seconds = Annotated[float, Field(gt=0, le=86_400)]
EventType = Literal[
    "run-status", "dataset-operation", "message-log", "metric-log", "test-outcomes"
]
LogLevel = Literal["debug", "info", "warning", "error"]


def _plain(value: str) -> str:
    return text(value, 1, 255, plain=True)


Word = Annotated[str, AfterValidator(_plain)]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class CoreSettings(Settings, section="core", env_prefix="DK_"):
    """Who this agent is, and where Observability is.

    Args:
        agent_type: the tool that it watches; the `tool` of its heartbeats, `py_agent` if
            not given. With the name of a ready-made integration, `agent go` without jobs
            of your own runs that one.
        agent_key: tells this agent from others of its kind.
        observability_service_account_key: of one project, for events and agents.
        observability_base_url: where the API is, with or without a slash at the end.
        log_level: how much is logged, where nothing else says so.
        max_channel_capacity: read and without effect: nothing is queued in memory.
        heartbeat_period: seconds from one heartbeat to the next.
    """

    agent_type: Word | None = None
    agent_key: Word
    observability_service_account_key: SecretStr = Field(
        min_length=1,
        description="a service account key of one project, made in Observability",
    )
    observability_base_url: WebUrl
    log_level: Annotated[LogLevel, BeforeValidator(_lower)] | None = None
    max_channel_capacity: int = Field(0, ge=0)
    heartbeat_period: Seconds = 60.0

    @field_validator("observability_service_account_key")
    @classmethod
    def _fit_for_a_header(cls, key: SecretStr) -> SecretStr:
        text = key.get_secret_value().strip()  # files end with a line break
        if not (text and text.isascii() and text.isprintable()):
            raise ValueError("it must be printable ASCII text")
        return SecretStr(text)

    @field_validator("observability_base_url")
    @classmethod
    def _with_slash(cls, url: str) -> str:
        if "?" in url or "#" in url:
            raise ValueError("it must end with a path, without ? and #")
        return url if url.endswith("/") else f"{url}/"


class _Connection(Settings):
    """How requests are made; some values of the existing agents have no effect here."""

    connection_timeout: Seconds = 10.0
    read_timeout: Seconds = 60.0
    retries: int = Field(3, ge=0, le=100)
    ssl_verify: bool = True
    ssl_cert_file: FilePath | None = None
    # Read and without effect: each request has one limit of time and one connection.
    write_timeout: float = 30.0
    pool_timeout: float = 10.0
    max_total_connections: int = 10
    max_keepalive_connections: int = 5
    keepalive_expiration: float = 10.0
    follow_redirects: bool = True
    http2: bool = False

    @field_validator("ssl_verify")
    @classmethod
    def _verified(cls, verify: bool) -> bool:
        if not verify:
            raise ValueError(
                "certificates are always verified; name the file of your own authority "
                "as ssl_cert_file"
            )
        return verify

    @property
    def verify(self) -> str | None:
        """The file of certificates to trust; None for the usual ones."""
        return None if self.ssl_cert_file is None else str(self.ssl_cert_file)

    @property
    def options(self) -> dict[str, Any]:
        """What a GET of `handler.http` is to be given."""
        return {
            "timeout": self.read_timeout,
            "verify": self.verify,
            "retries": self.retries,
        }


class HttpSettings(_Connection, section="http", env_prefix="DK_HTTP_"):
    """How the tool that is watched is asked.

    Args:
        read_timeout: seconds for each request, all in all.
        retries: tries after the first, where a request may be repeated.
        ssl_verify: always true.
        ssl_cert_file: a file of certificates to trust, for a server with one of its own.
    """


class ObservabilitySettings(
    _Connection, section="observability", env_prefix="DK_OBSERVABILITY_"
):
    """How Observability is told.

    Args:
        read_timeout: seconds for each report, all in all.
        events_per_second: how many reports are sent at most.
        report_jobs: whether runs of this agent's own jobs are reported.
        exit_on_unauthorized: whether a refused key ends the agent, instead of letting
            reports wait.
        resend: the event types that are sent again when an answer was lost, so that the
            server may have two of them; others become dead letters, `in doubt`.
        ssl_cert_file: a file of certificates to trust.
    """

    events_per_second: float = Field(5.0, gt=0, le=1_000)
    report_jobs: bool = False
    exit_on_unauthorized: bool = False
    resend: list[EventType] = ["run-status"]


class UsernamePassword(Settings, section="auth_username_password", env_prefix="DK_"):
    """A user of the tool that is watched."""

    agent_username: str | None = None
    agent_password: SecretStr | None = None


class ApiToken(Settings, section="auth_api_token", env_prefix="DK_"):
    """A token of the tool that is watched."""

    agent_token: SecretStr | None = None


class AzureServicePrincipal(Settings, section="auth_azure_spn", env_prefix="DK_AZURE_"):
    """A service principal of Microsoft Entra."""

    client_id: str | None = None
    client_secret: SecretStr | None = None
    tenant_id: str | None = None
    scope: str = ""
    authority: WebUrl = "https://login.microsoftonline.com"


class AzureUser(Settings, section="auth_azure_basic_oauth", env_prefix="DK_AZURE_"):
    """A user of Microsoft Entra."""

    client_id: str | None = None
    username: str | None = None
    password: SecretStr | None = None
    tenant_id: str | None = None
    scope: str = ""
    authority: WebUrl = "https://login.microsoftonline.com"
