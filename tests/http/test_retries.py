"""F55, F60: safe methods are tried again, as the server asks, while there is time."""

from __future__ import annotations

import socket
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from py_agent.errors import HttpError, StoppedError, UsageError
from py_agent.http.session import Http
from py_agent.retry import RetryPolicy

from .conftest import NOW, MakeHttp
from .support import Server, Waits, reply

PASSING = [429, 500, 502, 503, 504]


@pytest.mark.parametrize("status", PASSING)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "get"])
def test_a_passing_error_is_tried_again(
    http: Http, server: Server, waits: Waits, status: int, method: str
) -> None:
    """With a jittered wait before each try."""
    server.say(reply(status), reply(status), reply())
    assert http.request(method, server.url()).status_code == 200
    assert len(server.seen) == 3
    first, second = waits.seconds
    assert 0 <= first <= 0.1
    assert 0 <= second <= 0.2


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_an_unsafe_method_is_sent_once(http: Http, server: Server, method: str) -> None:
    """It may have had its effect; the listener's own retry knows better."""
    server.say(reply(503))
    assert http.request(method, server.url(), data=b"x").status_code == 503
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 501, 505])
def test_a_lasting_error_is_not_tried_again(
    http: Http, server: Server, status: int
) -> None:
    """It would be the same."""
    server.say(reply(status))
    assert http.get(server.url()).status_code == status
    assert len(server.seen) == 1


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_the_last_answer_is_returned(http: Http, server: Server, retries: int) -> None:
    """An error status is an answer, as in requests."""
    server.say(reply(503, b"later"))
    answer = http.get(server.url(), retries=retries)
    assert (answer.status_code, answer.ok) == (503, False)
    assert len(server.seen) == retries + 1


@pytest.mark.parametrize(
    ("value", "wait"),
    [("7", 7), ("0", 0), (format_datetime(NOW + timedelta(seconds=9), usegmt=True), 9)],
)
def test_retry_after_is_obeyed(
    http: Http, server: Server, waits: Waits, value: str, wait: float
) -> None:
    """In seconds or as a date."""
    server.say(reply(503, Retry_After=value), reply())
    assert http.get(server.url()).status_code == 200
    assert wait <= waits.seconds[0] <= max(wait, 0.1)


@pytest.mark.parametrize(
    "value", ["-5", "soon", "", "1e3", "NaN", "Mon, 99 Foo 2026", "٣", "9" * 400 + "x"]
)
def test_a_senseless_retry_after_is_as_none(
    http: Http, server: Server, waits: Waits, value: str
) -> None:
    """The own backoff remains."""
    server.say(reply(503, Retry_After=value.encode().decode("latin-1")), reply())
    assert http.get(server.url()).status_code == 200
    assert waits.seconds[0] <= 0.1


@pytest.mark.parametrize(
    ("value", "capped"),
    [
        ("60", 60),
        ("7200", 3600),
        ("9" * 400, 3600),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
    ],
)
def test_a_wait_that_is_too_long_gives_up_at_once(
    http: Http, server: Server, waits: Waits, value: str, capped: float
) -> None:
    """The caller learns when to come back, an hour at most."""
    server.say(reply(429, Retry_After=value))
    with pytest.raises(HttpError, match="asks to wait") as caught:
        http.get(server.url(), timeout=30)
    assert (caught.value.status, caught.value.retry_after) == (429, capped)
    assert (caught.value.transient, waits.seconds, len(server.seen)) == (True, [], 1)


RESET = int(NOW.timestamp()) + 8


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize(
    "headers",
    [
        {"X_RateLimit_Remaining": 0, "X_RateLimit_Reset": RESET},
        {"X_RateLimit_Remaining": 0, "X_RateLimit_Reset": 8},
        {"X_RateLimit_Remaining": 0, "X_RateLimit_Reset": RESET * 1_000},
        {"x_rate_limit_remaining": 0, "x_rate_limit_reset": RESET},
        {"RateLimit_Remaining": 0, "RateLimit_Reset": 8},
        {"Retry_After": 8, "X_RateLimit_Remaining": 0, "X_RateLimit_Reset": 99},
    ],
)
def test_a_used_up_rate_limit_is_waited_for(
    http: Http, server: Server, waits: Waits, status: int, headers: dict[str, Any]
) -> None:
    """In the words of the services that people poll."""
    server.say(reply(status, **headers), reply())
    assert http.get(server.url()).status_code == 200
    assert waits.seconds == [8]


@pytest.mark.parametrize(
    "headers",
    [
        {"X_RateLimit_Remaining": 5, "X_RateLimit_Reset": RESET},
        {"X_RateLimit_Remaining": 0, "X_RateLimit_Reset": "never"},
        {"X_RateLimit_Remaining": 0, "X_RateLimit_Reset": -8},
        {"X_RateLimit_Remaining": 0},
        {"X_RateLimit_Reset": RESET},
    ],
)
def test_a_plain_403_is_final(http: Http, server: Server, headers: dict[str, Any]) -> None:
    """Forbidden is forbidden, unless the limit is the reason."""
    server.say(reply(403, **headers))
    assert http.get(server.url()).status_code == 403
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "headers",
    [{"Retry_After": 5}, {"X_RateLimit_Remaining": 0, "X_RateLimit_Reset": RESET}],
)
def test_a_success_is_never_sent_again(
    http: Http, server: Server, waits: Waits, headers: dict[str, Any]
) -> None:
    """The last request of a limit is a good one."""
    server.say(reply(200, **headers))
    assert http.get(server.url()).status_code == 200
    assert (len(server.seen), waits.seconds) == (1, [])


def test_a_stop_ends_the_waiting(make_http: MakeHttp, server: Server) -> None:
    """An agent that stops does not wait for a server."""
    server.say(reply(503))
    http = make_http(wait=Waits(stop_at=1))
    with pytest.raises(StoppedError):
        http.get(server.url())
    assert len(server.seen) == 1


def test_the_waits_are_those_of_the_policy(make_http: MakeHttp, server: Server) -> None:
    """`retry` says how the waits grow."""
    waits = Waits()
    server.say(reply(503))
    http = make_http(wait=waits, retry=RetryPolicy(first=0))
    http.get(server.url(), retries=5)
    assert waits.seconds == [0] * 5


@pytest.mark.parametrize("value", [-1, 1.5, None, True])
def test_a_senseless_number_of_retries_is_refused(
    http: Http, server: Server, value: Any
) -> None:
    """The mistake is named."""
    with pytest.raises(UsageError, match="retries must be"):
        http.get(server.url(), retries=value)


def test_raise_for_status_tells_what_the_server_said(http: Http, server: Server) -> None:
    """The beginning of the body, printable and on one line."""
    server.say(reply(422, b"no\n\x1b[31m" + b"x" * 500))
    with pytest.raises(HttpError, match=r": status 422 Said: no\\n\\x1b\[31mxxx") as caught:
        http.get(server.url("/p?q=canary")).raise_for_status()
    assert (caught.value.status, caught.value.transient) == (422, False)
    assert len(str(caught.value)) < 350
    assert "canary" not in str(caught.value)


def test_raise_for_status_tells_when_to_come_back(http: Http, server: Server) -> None:
    """For a request that is not tried again by itself."""
    server.say(reply(503, Retry_After=60))
    with pytest.raises(HttpError) as caught:
        http.post(server.url()).raise_for_status()
    assert (caught.value.retry_after, caught.value.transient) == (60, True)


@pytest.mark.parametrize("status", [200, 204, 304])
def test_a_good_status_raises_nothing(http: Http, server: Server, status: int) -> None:
    """As in requests."""
    server.say(reply(status))
    answer = http.get(server.url())
    answer.raise_for_status()
    assert answer.ok


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_statuses_of_ones_own_are_tried_again(
    http: Http, server: Server, method: str
) -> None:
    """Whoever knows what the server means by them may repeat any method."""
    server.say(reply(418), reply(418), reply())
    assert http.request(method, server.url(), retry_on=[418]).status_code == 200
    assert len(server.seen) == 3


def test_statuses_of_ones_own_are_the_only_ones(http: Http, server: Server) -> None:
    """A post is not repeated for another status, nor for a connection that broke."""
    server.say(reply(503))
    assert http.post(server.url(), data=b"x", retry_on=[418]).status_code == 503
    server.say(lambda talk: talk.reset())
    with pytest.raises(HttpError):
        http.post(server.url(), data=b"x", retry_on=[503])
    assert len(server.seen) == 2


def test_an_error_says_whether_the_request_was_sent(
    http: Http, server: Server, make_http: MakeHttp
) -> None:
    """What never left cannot have had an effect; what did may have had one."""
    server.say(lambda talk: talk.reset())
    with pytest.raises(HttpError) as lost:
        http.post(server.url(), data=b"x")
    server.say(lambda talk: talk.stopping.wait(5))
    with pytest.raises(HttpError) as late:
        http.post(server.url(), data=b"x", timeout=0.2)
    server.say(reply(400))
    with pytest.raises(HttpError) as refused:
        http.post(server.url(), data=b"x").raise_for_status()
    url = server.url()
    server.close()
    with pytest.raises(HttpError) as away:
        http.post(url, data=b"x")
    found = [each.value.sent for each in (lost, late, refused, away)]
    assert found == [True, True, True, False]


def test_a_body_that_did_not_go_out_was_not_sent(make_http: MakeHttp) -> None:
    """A server that ends the connection in the middle cannot have understood it."""

    def end(sock: socket.socket, stopping: object) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()

    server = Server(greet=end)
    try:
        with pytest.raises(HttpError) as caught:
            make_http().post(server.url(), data=b"x" * 50_000_000)
    finally:
        server.close()
    assert caught.value.sent is False
