"""F60: an answer that breaks off is an error, never a part of a body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from py_agent.errors import HttpError
from py_agent.http.session import Http

from .support import Server, Talk, Waits, head, reply


def short(talk: Talk) -> None:
    """End before the promised length."""
    talk.send(head(Content_Length=10) + b"half")


def reset(talk: Talk) -> None:
    """Reset the connection in the middle of the body."""
    talk.send(head(Content_Length=10) + b"half")
    talk.reset()


def half_a_chunk(talk: Talk) -> None:
    """End inside a chunk."""
    talk.send(head(Transfer_Encoding="chunked") + b"a\r\nhalf")


def no_last_chunk(talk: Talk) -> None:
    """End between two chunks."""
    talk.send(head(Transfer_Encoding="chunked") + b"4\r\nhalf\r\n")


def bad_chunk(talk: Talk) -> None:
    """Send a size that is none."""
    talk.send(head(Transfer_Encoding="chunked") + b"4\r\nhalf\r\nzz\r\nhalf")


def half_a_header(talk: Talk) -> None:
    """End inside the headers."""
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Le")


def no_http(talk: Talk) -> None:
    """Speak another protocol."""
    talk.send(b"SSH-2.0-OpenSSH_9.2\r\n")


def nothing(talk: Talk) -> None:
    """Close at once."""


def two_lengths(talk: Talk) -> None:
    """Promise two lengths."""
    talk.send(head(Content_Length="4, 9") + b"half")


def no_length(talk: Talk) -> None:
    """Promise a length that is none."""
    talk.send(head(Content_Length="four") + b"half")


def negative_length(talk: Talk) -> None:
    """Promise less than nothing."""
    talk.send(head(Content_Length=-4) + b"half")


BROKEN = [
    short, reset, half_a_chunk, no_last_chunk, bad_chunk, half_a_header, no_http,
    nothing, two_lengths, no_length, negative_length,
]  # fmt: skip


@pytest.mark.parametrize("answer", BROKEN)
def test_a_broken_answer_is_an_error(
    http: Http, server: Server, answer: Callable[[Talk], None]
) -> None:
    """One line that says where it happened."""
    server.say(answer)
    with pytest.raises(HttpError, match=f"^GET {server.url()}: ") as caught:
        http.get(server.url(), retries=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("answer", BROKEN[:4] + [half_a_header, nothing])
def test_a_broken_answer_is_asked_for_again(
    http: Http, server: Server, waits: Waits, answer: Callable[[Talk], None]
) -> None:
    """Most breaks pass by themselves."""
    server.say(answer, reply(body=b"whole"))
    assert http.get(server.url()).content == b"whole"
    assert len(waits.seconds) == 1


def test_a_body_may_end_with_its_connection(http: Http, server: Server) -> None:
    """As it did before there were lengths."""

    def old(talk: Talk) -> None:
        talk.send(head() + b"whole")

    server.say(old)
    assert http.get(server.url()).content == b"whole"


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_that_cannot_come_is_not_waited_for(
    http: Http, server: Server, status: int
) -> None:
    """Some servers announce chunks where there is no body."""

    def announce(talk: Talk) -> None:
        talk.send(head(status, Transfer_Encoding="chunked"))
        talk.stopping.wait(30)

    server.say(announce)
    assert http.get(server.url()).status_code == status


def test_nobody_listening_is_a_passing_error(http: Http, server: Server) -> None:
    """The error names the reason, and the system's own one is its cause."""
    url = server.url()
    server.close()
    with pytest.raises(HttpError, match="Connection refused") as caught:
        http.get(url)
    assert caught.value.transient
    assert caught.value.__cause__ is not None


def test_a_name_that_does_not_exist_is_an_error(
    http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that may pass: name servers fail, too."""
    import socket

    def unknown(*_: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(HttpError, match="not known") as caught:
        http.get("http://example.test/")
    assert caught.value.transient


@pytest.mark.parametrize(
    "url",
    ["", "foo", "/path", "ftp://127.0.0.1/", "file:///etc/passwd", "data:,x", "http://",
     "http://[::1", "http://a b/", "http://127.0.0.1:99999/", "http://.../", "gopher://x",
     "http://" + "a" * 70 + ".test/", "HTTPS+UNIX://x/", "http://127.0.0.1:x/"],
)  # fmt: skip
def test_what_is_no_url_of_ours_is_refused(http: Http, url: str) -> None:
    """With one kind of error, whatever the library says."""
    with pytest.raises(HttpError) as caught:
        http.get(url, retries=0)
    assert "\n" not in str(caught.value)


def test_a_dead_kept_connection_is_replaced(http: Http, server: Server) -> None:
    """A server may close a connection between two polls."""

    def once(talk: Talk) -> None:
        talk.send(reply(body=b"one"))

    server.say(once, reply(body=b"two"))
    first = http.get(server.url())
    assert server.over.acquire(timeout=30)
    second = http.get(server.url())
    assert (first.content, second.content) == (b"one", b"two")
