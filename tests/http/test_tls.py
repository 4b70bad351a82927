"""S7: a server's certificate is always verified."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from py_agent.errors import HttpError, UsageError
from py_agent.http.session import Http

from .conftest import MakeServer
from .support import Server

MakeTls = Callable[..., ssl.SSLContext]


def test_an_unknown_certificate_is_refused(http: Http, tls_server: Server) -> None:
    """And the error says how to make it known."""
    with pytest.raises(HttpError, match=r'verify="/path/to/ca.pem"') as caught:
        http.get(tls_server.url())
    assert (caught.value.transient, tls_server.seen) == (False, [])


def test_a_known_certificate_is_trusted(
    http: Http, tls_server: Server, ca_file: str
) -> None:
    """With the authority's file, for one request or for the session."""
    http.verify = ca_file
    assert http.get(tls_server.url()).status_code == 200


def test_the_authority_may_come_from_the_environment(
    http: Http, tls_server: Server, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As requests has it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_file)
    assert http.get(tls_server.url()).status_code == 200


def test_a_certificate_of_another_host_is_refused(
    http: Http, make_server: MakeServer, make_tls: MakeTls, ca_file: str
) -> None:
    """A known authority does not make every host the right one."""
    server = make_server(tls=make_tls("other.test"))
    with pytest.raises(HttpError, match="not trusted"):
        http.get(server.url(), verify=ca_file)
    assert server.seen == []


def test_an_expired_certificate_is_refused(
    http: Http, make_server: MakeServer, make_tls: MakeTls, ca_file: str
) -> None:
    """The error names the reason."""
    past = datetime(2020, 1, 1, tzinfo=UTC)
    server = make_server(tls=make_tls(not_before=past, not_after=past.replace(month=2)))
    with pytest.raises(HttpError, match="expired"):
        http.get(server.url(), verify=ca_file)


@pytest.mark.parametrize("verify", [False, 0, ""])
def test_verification_cannot_be_turned_off(
    http: Http, tls_server: Server, verify: Any
) -> None:
    """The error says what to do instead."""
    with pytest.raises(UsageError, match=r'pass verify="/path/to/ca.pem"'):
        http.get(tls_server.url(), verify=verify)
    assert tls_server.seen == []


def test_verification_cannot_be_turned_off_for_the_session(
    http: Http, tls_server: Server
) -> None:
    """There is no global switch."""
    http.verify = False
    with pytest.raises(UsageError, match="verify=False"):
        http.get(tls_server.url())


def test_a_missing_authority_file_is_named(
    http: Http, tls_server: Server, tmp_path: Path
) -> None:
    """It is the caller's mistake, not the server's."""
    with pytest.raises(UsageError, match="nowhere.pem"):
        http.get(tls_server.url(), verify=str(tmp_path / "nowhere.pem"))


def test_a_damaged_authority_file_is_an_error(
    http: Http, tls_server: Server, tmp_path: Path
) -> None:
    """Nothing is sent."""
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    with pytest.raises(HttpError):
        http.get(tls_server.url(), verify=str(path), retries=0)
    assert tls_server.seen == []


def test_plain_http_on_a_tls_port_is_an_error(
    http: Http, tls_server: Server, server: Server
) -> None:
    """Both ways round."""
    for url in (
        server.url().replace("http:", "https:"),
        tls_server.url().replace("https:", "http:"),
    ):
        with pytest.raises(HttpError):
            http.get(url, retries=0)
