"""F63, S8: endless bodies and bombs stop at the limit, with flat memory."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from py_agent.errors import HttpError, UsageError
from py_agent.http.session import Http

from .support import PATIENCE, Server, Talk, head, reply

LIMIT = 100_000
BLOCK = b"x" * 65_536
ROOM = 8_000_000  # bytes that a test of LIMIT may take, the session's own included


def endless(talk: Talk) -> None:
    """Send a body without an end."""
    talk.send(head())
    talk.forever(BLOCK)


def endless_chunks(talk: Talk) -> None:
    """Send chunks without an end."""
    talk.send(head(Transfer_Encoding="chunked"))
    talk.forever(b"10000\r\n" + BLOCK + b"\r\n")


def tiny_chunks(talk: Talk) -> None:
    """Send chunks that are mostly frame."""
    talk.send(head(Transfer_Encoding="chunked"))
    talk.forever(b"1;" + b"e" * 100 + b"\r\nx\r\n")


def endless_chunk_line(talk: Talk) -> None:
    """Send the size of a chunk without an end."""
    talk.send(head(Transfer_Encoding="chunked"))
    talk.forever(b"0" * 65_536)


def endless_trailers(talk: Talk) -> None:
    """Send trailers without an end."""
    talk.send(head(Transfer_Encoding="chunked") + b"0\r\n")
    talk.forever(b"X: y\r\n" * 1_000)


def endless_headers(talk: Talk) -> None:
    """Send headers without an end."""
    talk.send(b"HTTP/1.1 200 OK\r\n")
    talk.forever(b"X: y\r\n" * 100)


def endless_header(talk: Talk) -> None:
    """Send one header without an end."""
    talk.send(b"HTTP/1.1 200 OK\r\nX: ")
    talk.forever(BLOCK)


def provisional(talk: Talk) -> None:
    """Send provisional answers without an end."""
    talk.forever(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000)


def five_gigabytes(talk: Talk) -> None:
    """Announce and send very much."""
    talk.send(head(Content_Length=5_000_000_000))
    talk.forever(BLOCK)


def endless_redirect(talk: Talk) -> None:
    """Send a redirect whose body has no end."""
    talk.send(head(302, Location="/there"))
    talk.forever(BLOCK)


FLOODS = [
    endless, endless_chunks, tiny_chunks, endless_chunk_line, endless_trailers,
    endless_headers, endless_header, provisional, five_gigabytes, endless_redirect,
]  # fmt: skip


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_stops_at_the_limit(
    http: Http, server: Server, flood: Callable[[Talk], None]
) -> None:
    """The server may send more only into the buffers of the network."""
    server.say(flood)
    with pytest.raises(HttpError):
        http.get(server.url(), max_bytes=LIMIT, retries=0, timeout=PATIENCE)
    assert server.over.acquire(timeout=PATIENCE)
    assert server.talks[0].sent < 16_000_000


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_takes_no_memory(
    http: Http, server: Server, flood: Callable[[Talk], None]
) -> None:
    """What is refused is not collected first."""
    server.say(flood)
    tracemalloc.start()
    try:
        with pytest.raises(HttpError):
            http.get(server.url(), max_bytes=LIMIT, retries=0, timeout=PATIENCE)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < ROOM


@pytest.mark.parametrize("size", [0, 1, LIMIT])
def test_a_body_up_to_the_limit_is_whole(http: Http, server: Server, size: int) -> None:
    """The limit is the last size that is taken."""
    server.say(reply(body=b"x" * size))
    assert http.get(server.url(), max_bytes=LIMIT).content == b"x" * size


def test_a_body_one_byte_longer_is_refused(http: Http, server: Server) -> None:
    """And the error says what may be changed."""
    server.say(reply(body=b"x" * (LIMIT + 1)))
    with pytest.raises(HttpError, match=r"longer than 100,000 bytes \(max_bytes") as caught:
        http.get(server.url(), max_bytes=LIMIT)
    assert not caught.value.transient
    assert len(server.seen) == 1


def _deflated(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
}


@pytest.mark.parametrize("encoding", PACKERS)
def test_a_packed_body_is_unpacked(http: Http, server: Server, encoding: str) -> None:
    """As requests does."""
    packed = PACKERS[encoding](b"hello" * 100)
    server.say(reply(body=packed, Content_Encoding=encoding))
    assert http.get(server.url()).content == b"hello" * 100


def test_deflate_without_its_header_is_unpacked(http: Http, server: Server) -> None:
    """Many servers have misread the standard."""
    server.say(reply(body=_deflated(b"hello" * 100), Content_Encoding="deflate"))
    assert http.get(server.url()).content == b"hello" * 100


def test_gzip_in_two_parts_is_unpacked_whole(http: Http, server: Server) -> None:
    """A gzip file may have several members (RFC 1952)."""
    body = gzip.compress(b"one") + gzip.compress(b"two")
    server.say(reply(body=body, Content_Encoding="gzip"))
    assert http.get(server.url()).content == b"onetwo"


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, _deflated])
def test_a_bomb_stops_at_the_limit(
    http: Http, server: Server, pack: Callable[[bytes], bytes]
) -> None:
    """A small body that unpacks to a hundred megabytes takes no memory."""
    bomb = pack(bytes(100_000_000))
    kind = "gzip" if pack is gzip.compress else "deflate"
    server.say(reply(body=bomb, Content_Encoding=kind))
    tracemalloc.start()
    try:
        with pytest.raises(HttpError, match="longer than 1,000,000 bytes"):
            http.get(server.url(), max_bytes=1_000_000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < ROOM


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "\xff"])
def test_an_unknown_encoding_is_refused(http: Http, server: Server, encoding: str) -> None:
    """Handing over packed bytes as if they were the content would be worse."""
    server.say(reply(body=b"packed", Content_Encoding=encoding))
    with pytest.raises(HttpError, match="not as gzip or deflate"):
        http.get(server.url())


def test_only_known_encodings_are_asked_for(http: Http, server: Server) -> None:
    """So that a good server sends no other."""
    http.get(server.url())
    assert server.seen[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"hello" * 1_000, mtime=0)[:-9]),
        ("gzip", gzip.compress(b"hello", mtime=0)[:-8] + b"\0" * 8),
        ("gzip", b"not packed at all"),
        ("deflate", zlib.compress(b"hello" * 1_000)[:-5]),
        ("deflate", b"\xff\xff not packed"),
    ],
)
def test_a_damaged_body_is_no_body(
    http: Http, server: Server, encoding: str, body: bytes
) -> None:
    """Never the part that could be read."""
    server.say(reply(body=body, Content_Encoding=encoding))
    with pytest.raises(HttpError, match="is damaged"):
        http.get(server.url(), retries=0)


def test_an_answer_without_a_body_is_not_unpacked(http: Http, server: Server) -> None:
    """HEAD tells the encoding of what GET would bring."""
    server.say(head(Content_Encoding="br", Content_Length=10**9))
    assert http.head(server.url(), max_bytes=LIMIT).content == b""


@pytest.mark.parametrize("value", [-1, 1.5, True, None, "10"])
def test_a_limit_that_is_no_number_is_refused(
    http: Http, server: Server, value: object
) -> None:
    """None is no number: there is no request without a limit."""
    with pytest.raises(UsageError, match="max_bytes must be"):
        http.get(server.url(), max_bytes=value)


def test_streaming_is_refused(http: Http, server: Server) -> None:
    """A stream would escape every limit, so the error comes first."""
    with pytest.raises(UsageError, match="stream=True has no limits"):
        http.get(server.url(), stream=True)
    assert server.seen == []
