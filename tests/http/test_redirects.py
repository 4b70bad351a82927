"""F62: redirects are followed five times, and never take a credential elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from py_agent.errors import HttpError, HttpRefusedError
from py_agent.http.auth import BearerAuth, HeaderAuth
from py_agent.http.session import Http

from .conftest import MakeServer
from .support import Server, moved, reply

CREDENTIALS: dict[str, dict[str, Any]] = {
    "basic": {"auth": ("user", "canary")},
    "bearer": {"auth": BearerAuth("canary")},
    "own header": {"auth": HeaderAuth("X-Api-Key", "canary")},
    "plain header": {"headers": {"X-Token": "canary"}},
    "authorization header": {"headers": {"authorization": "Bearer canary"}},
    "cookie": {"cookies": {"session": "canary"}},
    "cookie header": {"headers": {"Cookie": "session=canary"}},
}


def holds(server: Server, secret: str = "canary") -> list[bool]:
    """Return for each request that came whether a secret was in its headers."""
    import base64

    forms = [secret, base64.b64encode(f"user:{secret}".encode()).decode()]
    return [
        any(form in str(request.headers) + request.target for form in forms)
        for request in server.seen
    ]


@pytest.fixture
def other(make_server: MakeServer) -> Server:
    """Another host, as its port is another one."""
    return make_server(reply(body=b"other"))


@pytest.mark.parametrize("kind", CREDENTIALS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_credential_stays_with_its_host(
    http: Http, server: Server, other: Server, kind: str, status: int
) -> None:
    """Whichever way it was given."""
    server.say(moved(other.url(), status))
    answer = http.get(server.url(), **CREDENTIALS[kind])
    assert answer.content == b"other"
    assert (holds(server), holds(other)) == ([True], [False])


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_a_credential_stays_away_at_the_next_hop(
    http: Http, server: Server, other: Server, kind: str
) -> None:
    """A redirect of the other host to itself does not bring it back."""
    server.say(moved(other.url()))
    other.say(moved("/next"), reply())
    http.get(server.url(), **CREDENTIALS[kind])
    assert holds(other) == [False, False]


@pytest.mark.parametrize("kind", ["basic", "bearer", "own header", "plain header"])
def test_a_credential_goes_along_at_home(http: Http, server: Server, kind: str) -> None:
    """The same host may know it."""
    server.say(moved("/next"), reply())
    http.get(server.url(), **CREDENTIALS[kind])
    assert holds(server) == [True, True]


def test_a_credential_of_the_session_stays_with_its_host(
    http: Http, server: Server, other: Server
) -> None:
    """Set once for all requests, it is a credential all the same."""
    http.headers["X-Api-Key"] = "canary"
    http.cookies.set("session", "canary")
    server.say(moved(other.url()))
    http.get(server.url())
    assert (holds(server), holds(other)) == ([True], [False])


def test_a_cookie_that_a_host_sets_stays_there(
    http: Http, server: Server, other: Server
) -> None:
    """Cookies know no ports, but credentials do."""
    server.say(moved(other.url(), Set_Cookie="session=canary"))
    http.get(server.url())
    assert holds(other) == [False]


def test_a_user_in_the_url_stays_with_its_host(
    http: Http, server: Server, other: Server
) -> None:
    """It is basic authentication."""
    server.say(moved(other.url()))
    http.get(server.url().replace("http://", "http://user:canary@"))
    assert (holds(server), holds(other)) == ([True], [False])


def test_https_to_http_with_a_credential_is_refused(
    http: Http, tls_server: Server, server: Server, ca_file: str
) -> None:
    """What was asked for in secret is not asked for again in the open."""
    tls_server.say(moved(server.url("/?token=x")))
    with pytest.raises(HttpRefusedError, match="from https to http"):
        http.get(tls_server.url(), auth=BearerAuth("canary"), verify=ca_file)
    assert server.seen == []


def test_https_to_http_without_a_credential_is_followed(
    http: Http, tls_server: Server, server: Server, ca_file: str
) -> None:
    """As browsers and requests do."""
    tls_server.say(moved(server.url()))
    assert http.get(tls_server.url(), verify=ca_file).status_code == 200


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "data:,x",
     "javascript:alert(1)", "http://[::1", "http://", "//", "http://127.0.0.1:x/",
     "http://a b/", "\xff\xfe://", "http://\xe4\xff/", "http://" + "a" * 70 + "/"],
)  # fmt: skip
def test_a_redirect_to_anything_else_is_an_error(
    http: Http, server: Server, location: str
) -> None:
    """A server cannot make us read a file, nor raise what nobody expects."""
    server.say(moved(location))
    with pytest.raises(HttpError):
        http.get(server.url(), retries=0)


def test_five_redirects_are_followed(http: Http, server: Server) -> None:
    """More are no way to somewhere."""
    server.say(*[moved(f"/{n}") for n in range(5)], reply(body=b"there"))
    assert http.get(server.url()).content == b"there"
    assert len(server.seen) == 6


def test_a_redirect_loop_ends(http: Http, server: Server) -> None:
    """After five, and without trying again."""
    server.say(moved("/again"))
    with pytest.raises(HttpError, match="more than 5 redirects"):
        http.get(server.url())
    assert len(server.seen) == 6


def test_a_redirect_need_not_be_followed(http: Http, server: Server) -> None:
    """As in requests; even one that would be refused can be looked at."""
    server.say(moved("file:///etc/passwd"))
    answer = http.get(server.url(), allow_redirects=False, auth=BearerAuth("canary"))
    assert (answer.status_code, answer.is_redirect) == (302, True)
