"""Servers that are ended, sessions that are closed."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from py_agent.http.session import Http
from py_agent.retry import RetryPolicy

from .support import Server, Waits

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)

MakeServer = Callable[..., Server]
MakeHttp = Callable[..., Http]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine is set up with says nothing about the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    """Start servers; they are ended in the end."""
    made: list[Server] = []

    def make(*answers: Any, **options: Any) -> Server:
        server = Server(**options)
        made.append(server)
        if answers:
            server.say(*answers)
        return server

    yield make
    for server in made:
        server.close()


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    """One server that speaks http."""
    return make_server()


@pytest.fixture
def waits() -> Waits:
    """Notes what the session waits for."""
    return Waits()


@pytest.fixture
def make_http(waits: Waits) -> Iterator[MakeHttp]:
    """Make sessions that do not really wait; they are closed in the end."""
    made: list[Http] = []

    def make(**options: Any) -> Http:
        chosen: dict[str, Any] = {
            "wait": waits, "now": lambda: NOW, "retry": RetryPolicy(first=0.1, cap=1),
        }  # fmt: skip
        made.append(Http(**chosen | options))
        return made[-1]

    yield make
    for http in made:
        http.close()


@pytest.fixture
def http(make_http: MakeHttp) -> Http:
    """One session."""
    return make_http()


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    """An authority that nobody knows."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its certificate, as the path that `verify` takes."""
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def make_tls(ca: trustme.CA) -> Callable[..., ssl.SSLContext]:
    """Make the TLS of a server, for a host and with what `issue_cert` takes."""

    def make(host: str = "127.0.0.1", **options: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(host, **options).configure_cert(context)
        return context

    return make


@pytest.fixture
def tls_server(make_server: MakeServer, make_tls: Callable[..., ssl.SSLContext]) -> Server:
    """One server that speaks https."""
    return make_server(tls=make_tls())
