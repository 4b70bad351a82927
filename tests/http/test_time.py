"""F61: the time of a request is the time of all of it, however slow the server is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from py_agent.errors import HttpError, UsageError
from py_agent.http.session import Http

from .conftest import MakeHttp, MakeServer
from .support import PATIENCE, SHORT, STEP, Server, Talk, Waits, head, moved, reply

TOO_SLOW = r"no whole answer in time \(timeout=0.3 seconds\)"


def slow_body(talk: Talk) -> None:
    """Promise much, and send a byte now and then."""
    talk.send(head(Content_Length=1_000_000))
    talk.forever(b"x", STEP)


def slow_header(talk: Talk) -> None:
    """Never come to the end of a header."""
    talk.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    talk.forever(b"x", STEP)


def slow_chunks(talk: Talk) -> None:
    """Send small chunks for ever."""
    talk.send(head(Transfer_Encoding="chunked"))
    talk.forever(b"1\r\nx\r\n", STEP)


def provisional(talk: Talk) -> None:
    """Announce an answer for ever."""
    talk.forever(b"HTTP/1.1 100 Continue\r\n\r\n", STEP)


def silent(talk: Talk) -> None:
    """Say nothing."""
    talk.stopping.wait(PATIENCE)


SLOW = [slow_body, slow_header, slow_chunks, provisional, silent]


@pytest.mark.parametrize("answer", SLOW)
def test_a_slow_server_is_left_when_the_time_is_up(
    http: Http, server: Server, answer: Callable[[Talk], None]
) -> None:
    """Reading with a limit per read would go on for ever."""
    server.say(answer)
    with pytest.raises(HttpError, match=TOO_SLOW) as caught:
        http.get(server.url(), timeout=SHORT)
    assert caught.value.transient


@pytest.mark.parametrize("answer", SLOW)
def test_a_slow_server_is_left_over_tls_too(
    http: Http, tls_server: Server, ca_file: str, answer: Callable[[Talk], None]
) -> None:
    """The sockets of TLS are others, and hold the same limit."""
    tls_server.say(answer)
    with pytest.raises(HttpError, match=TOO_SLOW):
        http.get(tls_server.url(), timeout=SHORT, verify=ca_file)


def test_a_slow_handshake_is_left(
    http: Http, make_server: MakeServer, make_tls: Any, ca_file: str
) -> None:
    """A server may be slow before it has said anything at all."""

    def slow(sock: socket.socket, stopping: threading.Event) -> None:
        sock.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KiB begins
        while not stopping.wait(STEP):
            sock.sendall(b"\x02")

    server = make_server(tls=make_tls(), greet=slow)
    with pytest.raises(HttpError, match="timeout=0.3"):
        http.get(server.url(), timeout=SHORT, verify=ca_file)


def test_a_client_that_leaves_closes_its_connection(http: Http, server: Server) -> None:
    """Otherwise a polled server would collect them."""
    server.say(slow_body)
    with pytest.raises(HttpError):
        http.get(server.url(), timeout=SHORT)
    assert server.over.acquire(timeout=PATIENCE)


def test_a_body_that_nobody_takes_ends_with_the_time(http: Http, server: Server) -> None:
    """Sending is limited like receiving."""

    def greet(sock: socket.socket, stopping: threading.Event) -> None:
        stopping.wait(PATIENCE)

    server.greet = greet
    with pytest.raises(HttpError, match=TOO_SLOW):
        http.post(server.url(), data=b"x" * 50_000_000, timeout=SHORT)


def test_redirects_share_the_time(http: Http, server: Server) -> None:
    """Each hop gets what the one before left."""
    server.say(moved("/next"), slow_body)
    with pytest.raises(HttpError, match=TOO_SLOW):
        http.get(server.url(), timeout=SHORT)
    assert len(server.seen) == 2


def test_a_kept_connection_gets_the_time_of_the_new_request(
    http: Http, server: Server
) -> None:
    """The limit belongs to the request, not to the connection."""
    server.say(reply(), silent)
    http.get(server.url(), timeout=PATIENCE)
    with pytest.raises(HttpError, match=TOO_SLOW):
        http.get(server.url(), timeout=SHORT)


def test_waits_between_tries_count(make_http: MakeHttp, server: Server) -> None:
    """Also where the clock that waits is not the one that reads."""
    waits = Waits()
    server.say(reply(503, Retry_After=4))
    with pytest.raises(HttpError) as caught:
        make_http(wait=waits).get(server.url(), timeout=10, retries=100)
    assert caught.value.retry_after == 4
    assert waits.seconds == [4, 4]


def test_a_scope_around_it_cuts_the_time(make_http: MakeHttp, server: Server) -> None:
    """`with timeout(...)` holds for the requests inside."""
    server.say(silent)
    http = make_http(time_left=lambda: 0.05)
    with pytest.raises(HttpError, match="no whole answer"):
        http.get(server.url(), timeout=PATIENCE, retries=0)


def test_nothing_is_sent_when_the_scope_is_over(
    make_http: MakeHttp, server: Server
) -> None:
    """A request that cannot end in time is not begun."""
    http = make_http(time_left=lambda: -1.0)
    with pytest.raises(HttpError, match="no whole answer"):
        http.get(server.url())
    assert server.seen == []


def test_a_hanging_name_server_is_left(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's resolver has no limit of its own that we could set."""
    leave = threading.Event()

    def hang(*_: Any) -> list[Any]:
        leave.wait(PATIENCE)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with pytest.raises(HttpError, match="no whole answer"):
            http.get("http://example.test/", timeout=SHORT, retries=0)
    finally:
        leave.set()


@pytest.mark.parametrize("value", [(3, 5), None, -1, "5", float("inf"), True])
def test_what_is_no_total_time_is_refused(http: Http, server: Server, value: Any) -> None:
    """A pair of limits, as requests takes it, would not be the total that we promise."""
    with pytest.raises(UsageError, match="timeout must"):
        http.get(server.url(), timeout=value)
    assert server.seen == []


@pytest.mark.parametrize("value", [5, 5.5, timedelta(minutes=1), timedelta.max])
def test_a_time_is_seconds_or_a_timedelta(http: Http, server: Server, value: Any) -> None:
    """As everywhere in py_agent; a century is no problem for the sockets."""
    assert http.get(server.url(), timeout=value).status_code == 200


def test_the_shortcut_send_has_a_limit_too(make_http: MakeHttp, server: Server) -> None:
    """A prepared request is no way around it."""
    server.say(silent)
    http = make_http(time_left=lambda: 0.05)
    request = http.prepare_request(_request(server.url()))
    with pytest.raises(HttpError, match="no whole answer"):
        http.send(request)


def _request(url: str) -> Any:
    import requests

    return requests.Request("GET", url)
