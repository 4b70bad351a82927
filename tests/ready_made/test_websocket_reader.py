"""jobs.websocket_reader: what is sent while connected becomes events, each once."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import socket
import sqlite3
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trustme

from jobs.websocket_reader import (
    delay,
    failures_after,
    websocket_reader,
    worth_saying,
)
from py_agent import Agent, Handler, StorageFault
from py_agent.testing import FakeClock
from py_agent.timeouts import timeout

from ..engine.support import Calls
from .websocket_server import (
    PATIENCE,
    RawServer,
    ScriptedServer,
    Visits,
    close,
    drain,
    frame,
    head,
    reset,
    send,
    shake_hands,
    stay,
    then,
)

LONGEST = 60  # seconds between two tries to connect


class Reading:
    """An agent that reads a server, and a listener that notes what it was given."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.agent = Agent(path, clock=self.clock, grace=10)
        self.calls = Calls()
        self.agent.add_listener(self._note, {}, name="note")

    def _note(self, event: Any) -> None:
        self.calls(event)

    def start(self, url: str, **options: Any) -> None:
        """Begin to read."""
        options.setdefault("event_type", "message")
        self.agent.add_job(websocket_reader, keep=True, name="reader", url=url, **options)
        self.agent.start()

    def fired(self, count: int) -> list[str]:
        """Wait until so many events have fired; return their identifiers, sorted."""
        return sorted(self.calls.await_count(count))

    def visited(self, visits: Visits, count: int) -> None:
        """Let time pass until the server was visited so often."""
        for _ in range(1_000):
            if visits.reached(count, 0.05):
                return
            self.clock.advance(LONGEST)
        raise AssertionError(f"only {visits.count} of {count} visits")

    def stored(self) -> list[tuple[str, str, Any]]:
        """Return the stored events in the order of their identifiers."""
        events = self.agent.handler.query_events({})
        return sorted((each.event_type, each.identifier, each.data) for each in events)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing between the reader and its server."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that keeps to the protocol."""
    made = ScriptedServer()
    yield made
    made.close()


@pytest.fixture
def raw() -> Iterator[RawServer]:
    """A server that need not."""
    made = RawServer()
    yield made
    made.close()


class Ears(logging.Handler):
    """Listens to the log, so that a test can wait for a line."""

    def __init__(self) -> None:
        super().__init__()
        self._condition = threading.Condition()
        self._heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line in."""
        with self._condition:
            self._heard.append(record.getMessage())
            self._condition.notify_all()

    def hear(self, text: str) -> bool:
        """Wait until a line holds a text; return whether it came to that in time."""
        with self._condition:
            return self._condition.wait_for(
                lambda: any(text in line for line in self._heard), PATIENCE
            )


@pytest.fixture
def ears() -> Iterator[Ears]:
    """Ears for this test."""
    made = Ears()
    logging.getLogger().addHandler(made)
    yield made
    logging.getLogger().removeHandler(made)


@pytest.fixture
def reading(
    tmp_path: Path, server: ScriptedServer, raw: RawServer, caplog: pytest.LogCaptureFixture
) -> Iterator[Reading]:
    """A reader, not started; it is stopped before its servers are."""
    caplog.set_level(logging.INFO)
    made = Reading(tmp_path / "agent.sqlite")
    yield made
    made.agent.stop()


def said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    """Return how often the log says something."""
    return sum(text in message for message in caplog.messages)


# From message to event


def test_each_message_is_an_event(reading: Reading, server: ScriptedServer) -> None:
    """Given two messages with ids, When read, Then both are events and fire once."""
    server.script = [send({"id": "a", "x": 1}, {"id": 7})]
    reading.start(server.url, identifier="id")
    assert reading.fired(2) == ["7", "a"]
    assert reading.stored() == [
        ("message", "7", {"id": 7}),
        ("message", "a", {"id": "a", "x": 1}),
    ]


def test_what_was_seen_before_fires_nothing(
    reading: Reading, server: ScriptedServer
) -> None:
    """Given a server that repeats itself after a reconnect, Then only the new fires."""
    server.script = [close(1001, {"id": 1}, {"id": 2}), send({"id": 1}, {"id": 3})]
    reading.start(server.url, identifier="id")
    reading.visited(server.visits, 2)
    assert reading.fired(3) == ["1", "2", "3"]
    assert len(reading.stored()) == 3


def test_without_an_identifier_the_content_tells(
    reading: Reading, server: ScriptedServer
) -> None:
    """Given the same content twice in another order, When read, Then it is one event."""
    server.script = [send('{"a": 1, "b": 2}', '{"b":2,"a":1}', {"a": 2})]
    reading.start(server.url)
    reading.fired(2)
    found = {identifier: data for _, identifier, data in reading.stored()}
    assert found == {
        sha256(b'{"a":1,"b":2}').hexdigest(): {"a": 1, "b": 2},
        sha256(b'{"a":2}').hexdigest(): {"a": 2},
    }


def test_an_identifier_deep_inside(reading: Reading, server: ScriptedServer) -> None:
    """Given a path into objects and lists, When read, Then what is there identifies."""
    server.script = [send({"trades": [{"id": 5}]})]
    reading.start(server.url, identifier="trades.0.id")
    assert reading.fired(1) == ["5"]


@pytest.mark.parametrize(
    "message",
    [
        '{"no": 1}', "[]", "7", "null", '{"id": null}', '{"id": true}', '{"id": {}}',
        '{"id": ""}', '{"id": true}', "no json", "", '{"id": 1', "[" * 100_000,
        '{"id": 8, "x": NaN}', '{"id": "a\\u0000b"}', '{"id": "' + "x" * 1025 + '"}',
        '{"id": 9, "deep": ' + "[" * 300 + "]" * 300 + "}", "9" * 5_000,
        b"\xff\xfe", b"\x00",
    ],
    ids=lambda message: repr(message)[:20],
)  # fmt: skip
def test_a_message_that_is_no_event_is_left_out(
    reading: Reading, server: ScriptedServer, caplog: pytest.LogCaptureFixture, message: Any
) -> None:
    """Given a useless message among good ones, Then they are read, and the log says so."""
    server.script = [send({"id": 1}, message, {"id": 2})]
    reading.start(server.url, identifier="id")
    assert reading.fired(2) == ["1", "2"]
    assert len(reading.stored()) == 2
    assert said(caplog, "is left out") == 1
    assert server.visits.count == 1


def test_bad_utf8_is_left_out(
    reading: Reading, raw: RawServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a text that is not UTF-8, When read, Then its neighbours are events."""
    raw.script = [then(frame(b'{"id": 1}'), frame(b'{"id": "\xff"}'), frame(b'{"id": 2}'))]
    reading.start(raw.url, identifier="id")
    assert reading.fired(2) == ["1", "2"]
    assert said(caplog, "not UTF-8") == 1


def test_a_binary_message_is_json_too(reading: Reading, server: ScriptedServer) -> None:
    """Given JSON in a binary message, with a byte order mark, Then it is an event."""
    server.script = [send(b'\xef\xbb\xbf{"id": "\xc3\xa9"}')]
    reading.start(server.url, identifier="id")
    assert reading.fired(1) == ["é"]


def test_a_message_in_fragments(reading: Reading, raw: RawServer) -> None:
    """Given a message in parts and a ping between, Then it is one event, and a pong."""
    pongs: list[bytes] = []

    def act(opened: Any) -> None:
        opened.sendall(
            frame(b'{"id": "\xc3', fin=False) + frame(b"hello", 9)
            + frame(b"", 0, fin=False) + frame(b"\xa9", 0, fin=False) + frame(b'"}', 0)
        )  # fmt: skip
        pongs.append(opened.recv(100))
        drain(opened)

    raw.script = [act]
    reading.start(raw.url, identifier="id")
    assert reading.fired(1) == ["é"]
    assert len(pongs[0]) == 2 + 4 + 5 and pongs[0][0] == 0x8A


def test_the_log_does_not_repeat_itself(
    reading: Reading, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given 120 useless messages, When read, Then the log says so three times."""
    server.script = [send(*[{"no": n} for n in range(120)], {"id": 1})]
    reading.start(server.url, identifier="id")
    reading.fired(1)
    assert said(caplog, "is left out") == 3


# parse


def by_colon(text: str) -> tuple[str, Any]:
    """Read `id:text`."""
    identifier, content = text.split(":")
    return identifier, content


def test_parse_by_name(reading: Reading, server: ScriptedServer) -> None:
    """Given a function by its name, When a message is no JSON, Then it makes the event."""
    server.script = [send("7:tea")]
    reading.start(server.url, parse=f"{__name__}:by_colon")
    assert reading.fired(1) == ["7"]
    assert reading.stored() == [("message", "7", "tea")]


def test_what_parse_may_return(reading: Reading, server: ScriptedServer) -> None:
    """Given two, three, none and a list of them, When read, Then each is understood."""
    answers: dict[str | bytes, Any] = {
        "pair": ("1", None),
        "triple": ("other", "2", {"x": 1}),
        "none": None,
        "list": [("3", None), None, ("other", "4", None)],
        "empty": [],
        b"\xff": ("5", "binary"),
    }
    server.script = [send(*answers)]
    reading.start(server.url, parse=answers.__getitem__)
    assert reading.fired(5) == ["1", "2", "3", "4", "5"]
    assert reading.stored()[-2:] == [("other", "2", {"x": 1}), ("other", "4", None)]


@pytest.mark.parametrize("bad", ["text", 7, ("one",), (1, 2, 3, 4), [("9", 1), 7]])
def test_parse_that_returns_nonsense(
    reading: Reading, server: ScriptedServer, caplog: pytest.LogCaptureFixture, bad: Any
) -> None:
    """Given something else, When read, Then the message is left out and the log says it."""
    server.script = [send("bad", "good")]
    reading.start(server.url, parse=lambda text: bad if text == "bad" else (text, None))
    assert reading.fired(1) == ["good"]
    assert said(caplog, "parse failed") == 1


def test_an_error_in_parse_costs_one_message(
    reading: Reading, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a message for which it raises, Then the log has its size, and it goes on."""
    server.script = [send("no colon", "1:good")]
    reading.start(server.url, parse=by_colon)
    assert reading.fired(1) == ["1"]
    assert said(caplog, "a message of 8 bytes is left out") == 1
    assert said(caplog, "no colon") == 0


class Mute(Exception):
    """An error that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("error", [Mute(), SystemExit(3), RecursionError()])
def test_whatever_parse_raises_costs_one_message(
    reading: Reading, server: ScriptedServer, error: BaseException
) -> None:
    """Given an error of any kind, When it is raised, Then the neighbours are events."""

    def parse(text: str) -> tuple[str, None]:
        if text == "bad":
            raise error
        return text, None

    server.script = [send("1", "bad", "2")]
    reading.start(server.url, parse=parse)
    assert reading.fired(2) == ["1", "2"]


def test_an_error_of_several_lines_is_one_line(
    reading: Reading, server: ScriptedServer, ears: Ears
) -> None:
    """Given an error text with a line break, When logged, Then it is one clean line."""

    def parse(text: str) -> None:
        raise RuntimeError("two\nlines\x1b[31m")

    server.script = [send("x")]
    reading.start(server.url, parse=parse)
    assert ears.hear("RuntimeError: two\\nlines\\x1b[31m")


def test_one_refused_event_takes_no_other_with_it(
    reading: Reading, server: ScriptedServer
) -> None:
    """Given a batch with bad identifiers, When published, Then the others are stored."""
    server.script = [send("all")]
    reading.start(
        server.url, parse=lambda _: [(n if n % 7 == 0 else str(n), None) for n in range(50)]
    )
    assert len(reading.fired(42)) == 42


# What is sent to the server


@pytest.mark.parametrize(
    ("subscribe", "wanted"),
    [
        ("hello", ["hello"]),
        ({"op": "subscribe"}, ['{"op": "subscribe"}']),
        (["a", {"b": 1}], ["a", '{"b": 1}']),
    ],
)
def test_subscribe_after_each_connect(
    reading: Reading, server: ScriptedServer, subscribe: Any, wanted: list[str]
) -> None:
    """Given what to subscribe with, When connected twice, Then it is sent each time."""
    heard: list[str | bytes] = []

    def act(connection: Any) -> None:
        heard.extend(connection.recv() for _ in wanted)
        connection.send(json.dumps({"id": len(heard)}))

    server.script = [act, act, stay]
    reading.start(server.url, identifier="id", subscribe=subscribe)
    reading.visited(server.visits, 3)
    reading.fired(2)
    assert heard == wanted * 2


def test_headers_and_the_users_name(reading: Reading, server: ScriptedServer) -> None:
    """Given headers, and a user in the URL, When connecting, Then both are sent."""
    reading.start(
        server.url.replace("//", "//ada:l%3Ave@"), headers={"X-Key": "k"}, identifier="id"
    )
    assert server.visits.reached(1)
    assert server.headers[0]["X-Key"] == "k"
    assert server.headers[0]["Authorization"] == "Basic YWRhOmw6dmU="
    assert "Origin" not in server.headers[0]


def test_a_header_of_ones_own_wins(reading: Reading, server: ScriptedServer) -> None:
    """Given a user in the URL and an Authorization, Then the latter alone is sent."""
    url = server.url.replace("//", "//ada:love@")
    reading.start(url, headers={"authorization": "Bearer t"})
    assert server.visits.reached(1)
    assert server.headers[0].get_all("Authorization") == ["Bearer t"]


# Bad days


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4000])
def test_a_close_is_followed_by_a_reconnect(
    reading: Reading, server: ScriptedServer, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    """Given a server that closes, Then what came before counts, and it is tried again."""
    server.script = [close(code, {"id": 1}), send({"id": 2})]
    reading.start(server.url, identifier="id")
    reading.visited(server.visits, 2)
    assert reading.fired(2) == ["1", "2"]
    assert said(caplog, f"closed with {code} 'a reason'") == 1


BROKEN = {
    "reset": then(frame(b'{"id": 1}'), act=reset),
    "cut within a frame": then(frame(b'{"id": 1}'), frame(b'{"id": 9}')[:-3], act=reset),
    "end of file": then(frame(b'{"id": 1}'), act=lambda _: None),
    "reserved bits": then(frame(b'{"id": 1}'), frame(b'{"id": 9}', 0x41)),
    "unknown opcode": then(frame(b'{"id": 1}'), frame(b"x", 3)),
    "continuation of nothing": then(frame(b'{"id": 1}'), frame(b'{"id": 9}', 0)),
    "two at once": then(frame(b'{"id": 1}'), frame(b"[", fin=False), frame(b"]")),
    "a long ping": then(frame(b'{"id": 1}'), frame(b"x" * 126, 9)),
    "a bad close": then(frame(b'{"id": 1}'), frame(b"x", 8)),
    "an empty close": then(frame(b'{"id": 1}'), frame(b"", 8)),
    "oversize": then(frame(b'{"id": 1}'), head(1 << 40)),
    "oversize in parts": then(
        frame(b'{"id": 1}'), *[frame(b"x" * 400, n and 0, fin=False) for n in range(3)]
    ),
}


@pytest.mark.parametrize("act", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_connection_costs_nothing_that_was_whole(
    reading: Reading, raw: RawServer, caplog: pytest.LogCaptureFixture, act: Any
) -> None:
    """Given a whole message before the break, Then it is stored, nothing partial is."""
    raw.script = [act, then(frame(b'{"id": 2}'))]
    reading.start(raw.url, identifier="id", max_message=1000)
    reading.visited(raw.visits, 2)
    assert reading.fired(2) == ["1", "2"]
    assert len(reading.stored()) == 2
    assert said(caplog, "trying again") == 1


def test_a_message_of_just_the_limit(reading: Reading, raw: RawServer) -> None:
    """Given a message with as many bytes as allowed, whole or in parts, Then it is read."""
    whole, parts = b'{"id": 1}'.ljust(1000), b'{"id": 2}'.ljust(1000)
    raw.script = [
        then(
            frame(whole), frame(parts[:5], fin=False), frame(b"hi", 9), frame(parts[5:], 0)
        )
    ]
    reading.start(raw.url, identifier="id", max_message=1000)
    assert reading.fired(2) == ["1", "2"]


def test_an_oversize_message_is_said(
    reading: Reading, raw: RawServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a message over the limit, Then the server is told 1009, and the log why."""
    heard: list[bytes] = []

    def act(opened: Any) -> None:
        opened.sendall(head(1001))
        heard.append(opened.recv(100))

    raw.script = [act, drain]
    reading.start(raw.url, max_message=1000)
    reading.visited(raw.visits, 2)
    masked = heard[0]
    code = bytes(a ^ b for a, b in zip(masked[6:8], masked[2:4], strict=True))
    assert (masked[0], struct.unpack("!H", code)) == (0x88, (1009,))
    assert said(caplog, "too large") == 1


@pytest.mark.parametrize("begun", [b"", head(50) + b"half"], ids=["silent", "in a frame"])
def test_a_frozen_server_is_noticed(
    reading: Reading, raw: RawServer, caplog: pytest.LogCaptureFixture, begun: bytes
) -> None:
    """Given a server that answers no ping, When its time is up, Then it is left."""
    raw.script = [then(begun), then(frame(b'{"id": 1}'))]
    reading.start(raw.url, identifier="id", ping_every=0.05, pong_timeout=0.05)
    reading.visited(raw.visits, 2)
    assert reading.fired(1) == ["1"]
    assert said(caplog, "no answer to a ping within 0.05 s")


def test_a_server_that_answers_pings_is_kept(reading: Reading, raw: RawServer) -> None:
    """Given a server that sends pongs only, When its time passes twice, Then it is kept."""

    def act(opened: Any) -> None:
        for _ in range(12):  # one comes with each look, so this is more than two seconds
            opened.recv(6)
            opened.sendall(frame(b"", 10))
        then(frame(b'{"id": 1}'))(opened)

    raw.script = [act]
    reading.start(raw.url, identifier="id", ping_every=0.01, pong_timeout=1)
    assert reading.fired(1) == ["1"]
    assert raw.visits.count == 1


def test_refused_credentials_are_said_once(
    reading: Reading, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given four refusals, When they end, Then one line told of each kind, no secrets."""
    server.answers = [401, 401, 401, 403]
    server.script = [send({"id": 1})]
    reading.start(
        server.url.replace("//", "//ada:love@") + "path?token=hidden",
        identifier="id", headers={"X-Key": "kept"},
    )  # fmt: skip
    reading.visited(server.visits, 5)
    reading.fired(1)
    assert said(caplog, "HTTP status 401; check the credentials") == 1
    assert said(caplog, "HTTP status 403") == 1
    for secret in ("love", "ada", "hidden", "kept"):
        assert secret not in caplog.text


def test_a_refusal_after_a_good_time_is_said_again(
    reading: Reading, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given refusals before and after a connection, Then the log tells of both times."""
    server.answers = [401, 401, 101, 401, 401, 101]
    server.script = [stay, stay, close(1000), stay]
    reading.start(server.url)
    reading.visited(server.visits, 6)
    assert said(caplog, "HTTP status 401") == 2


def test_a_refusal_slows_it_down(reading: Reading, server: ScriptedServer) -> None:
    """Given a refusal, When half a minute has not passed, Then it does not knock again."""
    server.answers = [401]
    reading.start(server.url)
    assert server.visits.reached(1)
    reading.clock.advance(29)
    assert not server.visits.reached(2, 0.3)
    reading.visited(server.visits, 2)
    assert server.visits.count == 2


def test_what_has_come_is_read_though_nothing_can_be_sent(
    reading: Reading, raw: RawServer
) -> None:
    """Given pings of a server that has left already, Then the messages between count."""
    parts = [frame(b"x", 9) + frame(b'{"id": %d}' % n) for n in range(100)]

    def leave(opened: Any) -> None:
        opened.sendall(b"".join(parts))
        opened.shutdown(socket.SHUT_RDWR)

    raw.script = [leave, drain]
    reading.start(raw.url, identifier="id")
    assert len(reading.fired(100)) == 100


def test_a_redirect_is_not_followed(reading: Reading, raw: RawServer, ears: Ears) -> None:
    """Given a redirect, Then no header goes there, and the log names the reason."""
    strayed = RawServer(handshake=False)
    answer = f"HTTP/1.1 302 Found\r\nLocation: {raw.url}\r\n\r\n".encode()
    strayed.script = [then(answer)]
    try:
        reading.start(strayed.url, headers={"X-Key": "k"})
        assert ears.hear("it redirects (HTTP status 302)")
        reading.agent.stop()
    finally:
        strayed.close()
    assert raw.visits.count == 0


def test_through_a_proxy(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a proxy in the environment, When connecting, Then it is asked for the host."""
    asked: list[bytes] = []

    def tunnel(opened: Any) -> None:
        asked.append(opened.recv(4096).split(b"\r\n")[0])
        opened.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        shake_hands(opened)
        then(frame(b'{"id": 1}'))(opened)

    proxy = RawServer(handshake=False)
    proxy.script = [tunnel]
    monkeypatch.setenv("http_proxy", proxy.url.replace("ws://", "http://"))
    try:
        reading.start("ws://far.invalid/", identifier="id")
        assert reading.fired(1) == ["1"]
        reading.agent.stop()
    finally:
        proxy.close()
    assert asked == [b"CONNECT far.invalid:80 HTTP/1.1"]


@pytest.mark.parametrize("status", [200, 404, 500])
def test_other_answers_are_tried_again(
    reading: Reading, server: ScriptedServer, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """Given an answer that is no WebSocket, When it gets better, Then it is read."""
    server.answers = [status]
    server.script = [send({"id": 1})]
    reading.start(server.url, identifier="id")
    reading.visited(server.visits, 2)
    assert reading.fired(1) == ["1"]
    assert said(caplog, "trying again") == 1


def test_a_port_where_nobody_listens(reading: Reading, ears: Ears) -> None:
    """Given a server that is not up yet, When it comes, Then it is found."""
    late = RawServer(listening=False)
    late.script = [then(frame(b'{"id": 1}'))]
    try:
        reading.start(late.url, identifier="id")
        assert ears.hear("Connection refused; trying again")
        late.listen()
        reading.visited(late.visits, 1)
        assert reading.fired(1) == ["1"]
        reading.agent.stop()
    finally:
        late.close()


def test_a_handshake_that_never_ends(
    reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a server that sends header after header, Then its time is up in the end."""

    def trickle(opened: Any) -> None:
        opened.sendall(b"HTTP/1.1 101 Switching Protocols\r\n")
        while True:
            opened.sendall(b"X: y\r\n")

    endless = RawServer(handshake=False)
    endless.script = [trickle]
    try:
        reading.start(endless.url, connect_timeout=0.2)
        reading.visited(endless.visits, 2)
        reading.agent.stop()
        assert said(caplog, "it took too long") >= 1
    finally:
        endless.close()


# Speed, and the disk


def test_a_flood_is_stored_whole(reading: Reading, server: ScriptedServer) -> None:
    """Given 5,000 messages without a pause, Then each is stored and fires once."""
    server.script = [send(*[{"id": n} for n in range(5_000)])]
    reading.start(server.url, identifier="id")
    assert len(set(reading.fired(5_000))) == 5_000
    assert len(reading.calls.seen) == 5_000
    assert {int(each[1]) for each in reading.stored()} == set(range(5_000))


def test_a_fault_of_the_disk_loses_nothing(
    reading: Reading,
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given a disk that fails for a while, When mended, Then the message is stored."""
    store, tries = Handler.publish, Visits()

    def failing(self: Handler, *args: Any, **kwargs: Any) -> Any:
        if tries.note() < 3:
            raise StorageFault("the disk is full")
        return store(self, *args, **kwargs)

    monkeypatch.setattr(Handler, "publish", failing)
    server.script = [send({"id": 1})]
    reading.start(server.url, identifier="id")
    reading.visited(tries, 4)
    assert reading.fired(1) == ["1"]
    assert said(caplog, "the disk is full") == 1


# repair and stop


def test_a_gap_is_repaired_after_a_reconnect(
    reading: Reading, server: ScriptedServer
) -> None:
    """Given a job to repair gaps, When connected the second time, Then it runs once."""
    runs = Visits()

    def poll() -> None:
        runs.note()

    reading.agent.add_job(poll, every="1000 days", at_start=False, name="poll")
    first = threading.Event()

    def leave(connection: Any) -> None:
        connection.send('{"id": 1}')
        assert first.wait(PATIENCE)

    server.script = [leave, stay]
    reading.start(server.url, identifier="id", repair="poll")
    reading.fired(1)
    assert runs.count == 0
    first.set()
    reading.visited(server.visits, 2)
    assert runs.reached(1)


def test_a_job_to_repair_that_does_not_exist(
    reading: Reading, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a wrong name, When connected again, Then the log says it, and it reads on."""
    server.script = [close(1000), send({"id": 1})]
    reading.start(server.url, identifier="id", repair="pol")
    reading.visited(server.visits, 2)
    assert reading.fired(1) == ["1"]
    assert said(caplog, "the gap is not repaired") == 1


def test_a_stop_closes_properly(reading: Reading, server: ScriptedServer) -> None:
    """Given a connection, When stopped, Then the server is told so with 1000."""
    ended = threading.Event()
    codes: list[int | None] = []

    def act(connection: Any) -> None:
        connection.send('{"id": 1}')
        stay(connection)
        codes.append(connection.close_code)
        ended.set()

    server.script = [act]
    reading.start(server.url, identifier="id")
    reading.fired(1)
    reading.agent.stop()
    assert ended.wait(PATIENCE)
    assert codes == [1000]


STUCK: dict[str, Callable[[], RawServer]] = {
    "in the handshake": lambda: RawServer(handshake=False),
    "in a flood": lambda: flooding(),
    "in a frame": lambda: trickling(),
}


def flooding() -> RawServer:
    made = RawServer()

    def act(opened: Any) -> None:
        while True:
            opened.sendall(frame(b'{"id": 1}') * 1000)

    made.script = [act]
    return made


def trickling() -> RawServer:
    made = RawServer()

    def act(opened: Any) -> None:
        opened.sendall(head(1 << 30))
        while True:  # each byte comes before a wait for the next one is over
            opened.sendall(b"x")

    made.script = [act]
    return made


@pytest.mark.parametrize("make", STUCK.values(), ids=STUCK.keys())
def test_a_stop_ends_it_whatever_it_does(tmp_path: Path, make: Any) -> None:
    """Given a server that never lets it rest, When stopped, Then it ends by itself."""
    server = make()
    reading = Reading(tmp_path / "agent.sqlite")
    try:
        reading.start(server.url, identifier="id", max_message=1 << 30)
        assert server.visits.reached(1)
        reading.agent.stop()
        rows = runs(tmp_path / "agent.sqlite")
        assert rows == [("completed",)]
    finally:
        reading.agent.stop()
        server.close()


def runs(store: Path) -> list[tuple[str]]:
    with contextlib.closing(sqlite3.connect(store)) as opened:
        found: list[tuple[str]] = opened.execute("SELECT outcome FROM runs").fetchall()
    return found


def test_a_limit_of_time_around_it(tmp_path: Path, server: ScriptedServer) -> None:
    """Given a scope of time, When it is over, Then TimeoutError and a closed connection."""
    agent = Agent(tmp_path / "agent.sqlite")
    ended = threading.Event()

    def act(connection: Any) -> None:
        stay(connection)
        ended.set()

    server.script = [act]
    with pytest.raises(TimeoutError), timeout(0.5, "a while"):
        websocket_reader(agent.handler, server.url, "message")
    assert ended.wait(PATIENCE)
    agent.stop()


# TLS


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[tuple[ScriptedServer, Path]]:
    """A `wss://` server with a certificate of an authority of its own."""
    made = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path / "ca.pem"
    made.cert_pem.write_to_path(str(file))
    server = ScriptedServer(tls=context)
    yield server, file
    server.close()


def test_an_authority_of_ones_own(
    reading: Reading, authority: tuple[ScriptedServer, Path]
) -> None:
    """Given its file, When read over TLS, Then messages are events, large ones too."""
    server, file = authority
    server.script = [
        send({"id": 1, "x": "y" * 500_000}, *[{"id": n} for n in range(2, 200)])
    ]
    reading.start(server.url, identifier="id", ca=file)
    assert len(reading.fired(199)) == 199
    reading.agent.stop()


def test_an_unknown_authority_is_not_trusted(
    reading: Reading, authority: tuple[ScriptedServer, Path], ears: Ears
) -> None:
    """Given a certificate of nobody we know, Then nothing is read; the log says why."""
    server, _ = authority
    reading.start(server.url, identifier="id")
    assert ears.hear("not trusted")
    assert server.visits.count == 0


# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "http://host/"}, "must begin with ws:// or wss://"),
        ({"url": "host"}, "cannot be read"),
        ({"url": "ws://"}, "cannot be read"),
        ({"url": "ws://host:port/"}, "cannot be read"),
        ({"url": "ws://[::1/"}, "cannot be read"),
        ({"url": "ws://ho st/"}, "a space or a control character"),
        ({"url": "ws://host/\r\nX: y"}, "a space or a control character"),
        ({"ping_every": 0}, "ping_every: more than 0, not 0"),
        ({"max_message": -1}, "max_message: more than 0, not -1"),
        ({"headers": {"X": "secret\r\nY: z"}}, "forbidden character"),
        ({"headers": {"X:": "secret"}}, "forbidden character"),
        ({"ca": "nowhere.pem", "url": "wss://host/"}, "ca: nowhere.pem cannot be used"),
        ({"parse": "json"}, "'json' is no module:function"),
        ({"parse": "json:loaded"}, "'json:loaded' is no module:function"),
        ({"parse": "nowhere:f"}, "'nowhere:f' is no module:function"),
        ({"parse": "json:__name__"}, "cannot be called"),
        ({"subscribe": object()}, "no text and no JSON"),
    ],
)
def test_a_mistake_is_one_sentence(
    agent: Agent, options: dict[str, Any], message: str
) -> None:
    """Given a wrong argument, When called, Then one line says which, without secrets."""
    arguments = {"url": "ws://ada:secret@host/?secret", "event_type": "message"} | options
    with pytest.raises(ValueError, match=message) as caught:
        websocket_reader(agent.handler, **arguments)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


# Decisions


def test_waits_grow_until_something_came() -> None:
    """Given tries in vain, Then each counts; an event or a minute begins anew."""
    assert failures_after(0, events=0, lasted=1) == 1
    assert failures_after(4, events=0, lasted=59) == 5
    assert failures_after(4, events=1, lasted=0) == 1
    assert failures_after(4, events=0, lasted=60) == 1


def test_waits_are_jittered_and_capped() -> None:
    """Given many failures, Then no wait is over a minute; after a refusal none is short."""
    chance = random.Random(1)
    assert max(delay(1, False, chance) for _ in range(100)) <= 1
    waits = [delay(99, False, chance) for _ in range(1_000)]
    assert max(waits) <= LONGEST and len(set(waits)) > 900 and min(waits) < 5
    refused = [delay(1, True, chance) for _ in range(1_000)]
    assert LONGEST / 2 <= min(refused) and max(refused) <= LONGEST


def test_which_times_are_said() -> None:
    """Given counts up to 1,000, Then powers of ten are said."""
    assert [count for count in range(1, 1_001) if worth_saying(count)] == [
        1,
        10,
        100,
        1_000,
    ]
