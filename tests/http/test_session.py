"""What is as in requests, what is not, and what is never shown."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import responses

from py_agent.errors import HttpError
from py_agent.failures import failure_of
from py_agent.http.auth import HeaderAuth
from py_agent.http.session import Http

from .conftest import MakeServer
from .support import Server, Talk, head, moved, reply


@pytest.mark.parametrize("method", ["get", "options", "post", "put", "patch", "delete"])
def test_the_shortcuts_work(http: Http, server: Server, method: str) -> None:
    """As in requests, with our arguments beside its own."""
    server.say(reply(body=b"said"))
    answer = getattr(http, method)(server.url(), params={"a": "1"}, max_bytes=10)
    assert (answer.content, server.seen[0].target) == (b"said", "/?a=1")


def test_json_and_files_are_sent(http: Http, server: Server) -> None:
    """The request's own side is untouched."""
    http.post(server.url(), json={"a": 1})
    http.post(server.url(), files={"f": b"content"})
    assert json.loads(server.seen[0].body) == {"a": 1}
    assert b"content" in server.seen[1].body


def test_a_connection_is_kept(http: Http, server: Server) -> None:
    """Polling does not open one for each request."""
    for _ in range(3):
        http.get(server.url())
    assert len({id(talk.sock) for talk in server.talks}) == 1


def test_cookies_are_kept(http: Http, server: Server) -> None:
    """For the host that set them."""
    server.say(reply(Set_Cookie="a=1"), reply())
    http.get(server.url())
    http.get(server.url())
    assert server.seen[1].headers["cookie"] == "a=1"


def test_netrc_is_not_read(
    http: Http, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A credential is sent where the code says so, also after a redirect."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password canary\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.say(moved("/next"), reply())
    http.get(server.url())
    assert [request.headers.get("authorization") for request in server.seen] == [None] * 2


def test_proxies_are_those_of_the_environment(
    http: Http, make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in requests."""
    proxy = make_server(reply(body=b"proxy"))
    monkeypatch.setenv("http_proxy", proxy.url())
    assert http.get("http://example.test/p").content == b"proxy"
    assert proxy.seen[0].target == "http://example.test/p"


def test_a_slow_proxy_is_left_in_time(
    http: Http, make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it only makes a tunnel."""
    proxy = make_server(lambda talk: talk.forever(b"H", 0.02))
    monkeypatch.setenv("https_proxy", proxy.url())
    with pytest.raises(HttpError, match="no whole answer"):
        http.get("https://example.test/", timeout=0.3)


def test_many_threads_share_a_session(http: Http, make_server: MakeServer) -> None:
    """Each request has its own limits and its own answer."""

    def echo(talk: Talk) -> None:
        body = talk.request.target.encode()
        talk.send(head(Content_Length=len(body), Connection="close") + body)

    server = make_server(echo)
    with ThreadPoolExecutor(8) as pool:
        paths = [f"/{n}" for n in range(100)]
        found = list(pool.map(lambda path: http.get(server.url(path)).text, paths))
    assert found == paths


@responses.activate
def test_the_fake_of_responses_works(http: Http) -> None:
    """Users test their jobs with it, and get our answers and errors."""
    responses.get("http://example.test/", json={"a": 1}, headers={"ETag": '"1"'})
    responses.get("http://broken.test/", body=ConnectionError("reset"))
    assert http.get("http://example.test/").json() == {"a": 1}
    assert http.get_if_changed("http://example.test/") is not None
    assert http.get_if_changed("http://example.test/") is None
    with pytest.raises(HttpError, match="reset"):
        http.get("http://broken.test/")


@responses.activate
def test_what_responses_does_not_know_is_an_error(http: Http) -> None:
    """No test reaches the network by mistake."""
    with pytest.raises(HttpError, match="GET http://unknown.test/"):
        http.get("http://unknown.test/", retries=0)


FAILING = ["refused", "reset", "slow", "long", "redirects", "to file", "json", "status"]


def provoke(http: Http, server: Server, kind: str) -> Exception:
    """Make a request with secrets everywhere fail in some way."""

    def reset(talk: Talk) -> None:
        talk.send(head(Content_Length=9))
        talk.reset()

    scripts: dict[str, Any] = {
        "reset": reset,
        "slow": lambda talk: talk.forever(b"H", 0.02),
        "long": reply(body=b"x" * 100),
        "redirects": moved("/again?key=canary"),
        "to file": moved("file:///etc/passwd?key=canary"),
        "json": reply(body=b"<html>"),
        "status": reply(500),
    }
    url = server.url("/p?key=canary#canary").replace("//", "//user:canary@")
    if kind == "refused":
        server.close()
    else:
        server.say(scripts[kind])
    options: dict[str, Any] = {"max_bytes": 50, "timeout": 0.3 if kind == "slow" else 30}
    with pytest.raises(HttpError) as caught:
        answer = http.get(
            url, auth=HeaderAuth("X-Key", "canary"), headers={"X-Other": "canary"},
            cookies={"c": "canary"}, params={"also": "canary"}, retries=1, **options,
        )  # fmt: skip
        answer.raise_for_status()
        answer.json()
    return caught.value


@pytest.mark.parametrize("kind", FAILING)
def test_no_error_tells_a_secret(http: Http, server: Server, kind: str) -> None:
    """S6: not in its line, nor in what is kept of it with all its causes."""
    error = provoke(http, server, kind)
    kept = failure_of(error)
    assert "canary" not in kept.message
    assert "canary" not in kept.traceback
    assert "\n" not in str(error)


@pytest.mark.parametrize("kind", FAILING)
def test_no_log_tells_a_secret(
    http: Http, server: Server, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """S6: neither ours nor the library's, however much is logged."""
    with caplog.at_level(logging.DEBUG):
        provoke(http, server, kind)
    assert "canary" not in caplog.text
    assert {record.levelno for record in caplog.records} <= {logging.DEBUG}


def test_a_bad_header_is_not_shown(http: Http, server: Server) -> None:
    """The library would quote its value."""
    headers = {"X-Key": "canary\n"}
    with pytest.raises(HttpError, match="malformed") as caught:
        http.get(server.url(), headers=headers)
    assert "canary" not in failure_of(caught.value).traceback


def test_a_failure_during_another_is_told_by_itself(http: Http, server: Server) -> None:
    """An error that the caller is handling does not change ours."""
    server.say(lambda talk: None)
    try:
        raise TimeoutError("of the caller")
    except TimeoutError:
        with pytest.raises(HttpError, match="connection failed"):
            http.get(server.url(), retries=0)


def test_the_debug_log_names_each_request(
    http: Http, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """At debug only."""
    with caplog.at_level(logging.DEBUG, "py_agent.http"):
        http.get(server.url("/p?key=canary"))
    assert caplog.messages == [f"GET {server.url('/p')}?..."]


@pytest.mark.parametrize("code", ["import py_agent", "from py_agent import *"])
def test_importing_py_agent_loads_no_requests(code: str, tmp_path: Path) -> None:
    """A script that polls nothing does not wait for it."""
    script = f"{code}; import sys; print('requests' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "secret", ["BEARERSECRET", "URLSECRET", "KEYSECRET", "QUERYSECRET"]
)
def test_what_a_server_quotes_of_our_secrets_is_hidden(
    http: Http, server: Server, secret: str
) -> None:
    """A refusal that repeats what it was sent ends up in logs and in the store."""
    quoted = b"bad: Bearer BEARERSECRET, user:URLSECRET, KEYSECRET, k=QUERYSECRET, page=2"
    server.say(reply(403, body=quoted))
    url = server.url().replace("//", "//user:URLSECRET@") + "?k=QUERYSECRET&page=2"
    headers = {"X-Auth": "Bearer BEARERSECRET", "X-Key": "KEYSECRET"}
    with pytest.raises(HttpError) as raised:
        http.get(url, headers=headers).raise_for_status()
    assert secret not in str(raised.value)
    assert "bad: ***" in str(raised.value) and "page=2" in str(raised.value)
