"""Credentials: sent as they should be, fetched once, renewed in time, never shown."""

from __future__ import annotations

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from py_agent.errors import HttpError, UsageError
from py_agent.http.auth import (
    BearerAuth,
    ClientCredentials,
    HeaderAuth,
    PasswordCredentials,
)
from py_agent.http.session import Http

from .conftest import NOW, MakeHttp, MakeServer
from .support import PATIENCE, SHORT, Server, Talk, Waits, moved, reply


def token(text: str = "t1", **more: Any) -> bytes:
    """Return the answer of a token server."""
    body = {"access_token": text, "token_type": "Bearer", **more}
    return reply(body=json.dumps(body).encode(), Content_Type="application/json")


@pytest.fixture
def issuer(make_server: MakeServer) -> Server:
    """A server that gives out one token."""
    return make_server(token(expires_in=3600))


@pytest.fixture
def oauth(issuer: Server) -> ClientCredentials:
    """Credentials for it."""
    return ClientCredentials(issuer.url("/token"), "me", SecretStr("canary"), "read write")


def sent(server: Server, name: str = "authorization") -> list[str | None]:
    """Return a header of each request that came."""
    return [request.headers.get(name) for request in server.seen]


@pytest.mark.parametrize("secret", ["key", SecretStr("key"), "key\n"])
def test_a_bearer_token_is_sent(http: Http, server: Server, secret: Any) -> None:
    """From text or a secret setting; the line break of a file does no harm."""
    http.get(server.url(), auth=BearerAuth(secret))
    assert sent(server) == ["Bearer key"]


def test_a_header_of_ones_own_is_sent(http: Http, server: Server) -> None:
    """As many services want it."""
    http.get(server.url(), auth=HeaderAuth("X-Api-Key", SecretStr("key")))
    assert sent(server, "x-api-key") == ["key"]


def test_basic_authentication_is_requests_own(http: Http, server: Server) -> None:
    """As a pair of user and password."""
    http.get(server.url(), auth=("user", "key"))
    assert sent(server) == ["Basic " + base64.b64encode(b"user:key").decode()]


@pytest.mark.parametrize("secret", ["", "a\nb", "a\r\nX: y", "schlüssel", None, 5, b"key"])
@pytest.mark.parametrize(
    "make",
    [
        BearerAuth,
        lambda secret: HeaderAuth("X", secret),
        lambda secret: ClientCredentials("http://127.0.0.1/", "me", secret),
    ],
)
def test_a_secret_that_cannot_be_sent_is_refused(make: Any, secret: Any) -> None:
    """When it is given, and without showing it."""
    with pytest.raises(UsageError, match="must be printable ASCII") as caught:
        make(secret)
    assert "schl" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "X Y", "X:", "X\r\nY", None])
def test_what_is_no_header_is_refused(name: Any) -> None:
    """When it is written, not when it is sent."""
    with pytest.raises(UsageError, match="cannot be the name of a header"):
        HeaderAuth(name, "key")


def test_no_credential_shows_its_secret(oauth: ClientCredentials) -> None:
    """Whoever logs or prints one shows stars."""
    every = [BearerAuth("canary"), HeaderAuth("X-Api-Key", "canary"), oauth]
    assert "canary" not in f"{every} {every[0]} {every[1]} {every[2]}"
    assert all("***" in repr(each) for each in every)


def test_a_token_is_fetched_and_sent(
    http: Http, server: Server, issuer: Server, oauth: ClientCredentials
) -> None:
    """As RFC 6749, section 4.4, has it."""
    http.get(server.url(), auth=oauth)
    asked = issuer.seen[0]
    assert sent(server) == ["Bearer t1"]
    assert asked.method == "POST"
    assert asked.body == b"grant_type=client_credentials&scope=read+write"
    assert sent(issuer) == ["Basic " + base64.b64encode(b"me:canary").decode()]


def test_the_secret_may_go_in_the_form(http: Http, server: Server, issuer: Server) -> None:
    """For servers that want it so."""
    oauth = ClientCredentials(issuer.url(), "me", "can&ary", in_body=True)
    http.get(server.url(), auth=oauth)
    assert issuer.seen[0].body.endswith(b"client_id=me&client_secret=can%26ary")
    assert sent(issuer) == [None]


def test_id_and_secret_are_encoded_before_they_are_joined(
    http: Http, server: Server, issuer: Server
) -> None:
    """A colon in either would be misread (section 2.3.1)."""
    http.get(server.url(), auth=ClientCredentials(issuer.url(), "a:b", "c d%"))
    assert sent(issuer) == ["Basic " + base64.b64encode(b"a%3Ab:c+d%25").decode()]


@pytest.mark.parametrize(
    ("life", "passed", "fetches"),
    [
        (3600, 3539, 1), (3600, 3541, 2), (100, 89, 1), (100, 91, 2), ("3600", 3539, 1),
        (None, 10**6, 1), (0, 0, 2), (-5, 0, 2), ("soon", 0, 2), (10**400, 0, 2),
        ([], 0, 2), (float("1e300"), 10**6, 1),
    ],
)  # fmt: skip
def test_a_token_is_replaced_shortly_before_its_end(
    make_http: MakeHttp, server: Server, issuer: Server, oauth: ClientCredentials,
    life: Any, passed: float, fetches: int,
) -> None:  # fmt: skip
    """A minute or a tenth of its life before, and not sooner."""
    moments = {"now": NOW}
    issuer.say(token() if life is None else token(expires_in=life))
    http = make_http(now=lambda: moments["now"])
    http.get(server.url(), auth=oauth)
    moments["now"] += timedelta(seconds=passed)
    http.get(server.url(), auth=oauth)
    assert len(issuer.seen) == fetches


def test_many_callers_fetch_one_token(
    make_http: MakeHttp, server: Server, issuer: Server, oauth: ClientCredentials
) -> None:
    """Jobs on several threads share it."""
    start = threading.Barrier(8)
    sessions = [make_http() for _ in range(8)]

    def call(http: Http) -> int:
        start.wait(PATIENCE)
        return http.get(server.url(), auth=oauth).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, sessions)) == [200] * 8
    assert len(issuer.seen) == 1


def test_a_refused_token_is_replaced_once(
    http: Http, server: Server, issuer: Server, oauth: ClientCredentials
) -> None:
    """It may have been withdrawn; the body is sent again, too."""
    issuer.say(token("t1"), token("t2"))
    server.say(reply(401), reply(body=b"in"))
    assert http.post(server.url(), data=b"body", auth=oauth).content == b"in"
    assert sent(server) == ["Bearer t1", "Bearer t2"]
    assert [request.body for request in server.seen] == [b"body", b"body"]


def test_a_second_401_is_the_answer(
    http: Http, server: Server, issuer: Server, oauth: ClientCredentials
) -> None:
    """Two tokens are enough to know."""
    server.say(reply(401))
    assert http.get(server.url(), auth=oauth).status_code == 401
    assert (len(server.seen), len(issuer.seen)) == (2, 2)


def test_many_refused_callers_fetch_one_new_token(
    make_http: MakeHttp, server: Server, issuer: Server, oauth: ClientCredentials
) -> None:
    """Whoever comes late with the old token gets the new one."""
    together = threading.Barrier(4)

    def judge(talk: Talk) -> None:
        old = talk.request.headers["authorization"] == "Bearer t1"
        if old:
            together.wait(PATIENCE)
        talk.send(reply(401 if old else 200, Connection="close"))

    issuer.say(token("t1"), token("t2"))
    server.say(judge)
    sessions = [make_http() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda h: h.get(server.url(), auth=oauth), sessions))
    assert [each.status_code for each in answers] == [200] * 4
    assert len(issuer.seen) == 2


def test_another_host_gets_no_token_for_its_401(
    http: Http, server: Server, issuer: Server, make_server: MakeServer,
    oauth: ClientCredentials,
) -> None:  # fmt: skip
    """A redirect and a 401 must not be a way to ask for the token."""
    other = make_server(reply(401))
    server.say(moved(other.url()))
    assert http.get(server.url(), auth=oauth).status_code == 401
    assert (sent(other), len(issuer.seen)) == ([None], 1)


def test_a_session_may_have_it_for_all_requests(
    http: Http, server: Server, issuer: Server, oauth: ClientCredentials
) -> None:
    """And the token itself is not asked for with it."""
    http.auth = oauth
    http.get(server.url())
    assert (sent(server), len(issuer.seen)) == (["Bearer t1"], 1)


REFUSALS = [
    reply(401, b'{"error": "invalid_client", "hint": "canary"}'),
    reply(400, b"canary"),
    reply(200, b"canary"),
    reply(200, b"[]"),
    reply(200, b'{"access_token": 5}'),
    reply(200, b'{"access_token": "a\\nb"}'),
    token(token_type="mac"),
    moved("http://127.0.0.1:1/"),
]


@pytest.mark.parametrize("answer", REFUSALS)
def test_no_token_is_an_error_without_the_secret(
    http: Http, server: Server, issuer: Server, oauth: ClientCredentials, answer: bytes
) -> None:
    """Not even where the server repeats it."""
    issuer.say(answer)
    with pytest.raises(HttpError, match=f"{issuer.url('/token')}: ") as caught:
        http.get(server.url(), auth=oauth)
    assert "canary" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert server.seen == []


def test_the_reason_of_a_refusal_is_shown(
    http: Http, server: Server, issuer: Server, oauth: ClientCredentials
) -> None:
    """The code is what the user needs."""
    issuer.say(REFUSALS[0])
    with pytest.raises(HttpError, match="status 401, invalid_client"):
        http.get(server.url(), auth=oauth)


def test_a_passing_failure_of_the_token_server_is_tried_again(
    http: Http, server: Server, issuer: Server, waits: Waits, oauth: ClientCredentials
) -> None:
    """With the waits of the request that needs the token."""
    issuer.say(reply(503, Retry_After=3), token())
    assert http.get(server.url(), auth=oauth).status_code == 200
    assert waits.seconds == [3]


def test_a_slow_token_server_ends_with_the_requests_time(
    http: Http, server: Server, issuer: Server, oauth: ClientCredentials
) -> None:
    """Its time is part of the whole."""
    issuer.say(lambda talk: talk.forever(b"H", 0.02))
    with pytest.raises(HttpError, match="no whole answer"):
        http.get(server.url(), auth=oauth, timeout=SHORT)


def test_waiting_for_anothers_token_ends_with_the_requests_time(
    make_http: MakeHttp, server: Server, issuer: Server, oauth: ClientCredentials
) -> None:
    """A thread that hangs in the token server holds up no other for long."""
    inside = threading.Event()

    def hang(talk: Talk) -> None:
        inside.set()
        talk.stopping.wait(PATIENCE)

    issuer.say(hang)
    first, second = make_http(), make_http()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(first.get, server.url(), auth=oauth, timeout=PATIENCE)
        assert inside.wait(PATIENCE)
        with pytest.raises(HttpError, match="no token in time"):
            second.get(server.url(), auth=oauth, timeout=SHORT, retries=0)
        issuer.close()
        assert isinstance(slow.exception(PATIENCE), HttpError)


def test_a_user_signs_in_for_a_token(http: Http, server: Server, issuer: Server) -> None:
    """RFC 6749, section 4.3: once, in the form, and shown nowhere."""
    who = PasswordCredentials(
        issuer.url("/token"), "me", "u@example.org", SecretStr("canary"), "read"
    )
    for _ in range(2):
        http.get(server.url(), auth=who)
    assert sent(server) == ["Bearer t1"] * 2
    (request,) = issuer.seen
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["password"], "client_id": ["me"], "username": ["u@example.org"],
        "password": ["canary"], "scope": ["read"],
    }  # fmt: skip
    assert "authorization" not in request.headers
    assert "canary" not in repr(who)
