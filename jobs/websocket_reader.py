"""A service that reads a WebSocket and publishes an event for each of its messages.

It is also the model for services of your own: a loop that ends when a stop is requested,
waits through `handler.wait`, says each trouble once, and tries again for ever.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import operator
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from py_agent import (
    AgentError,
    EventError,
    Handler,
    RetryPolicy,
    StorageFault,
    identifier_of,
)
from py_agent.settings import SocketUrl
from py_agent.websockets import Connection, Lost, Message, Server, time_is_up

BACKOFF = RetryPolicy(attempts=None, first=1, cap=60)
FAREWELL = 0.5  # seconds that the server has to answer a close

Triple = tuple[str, str, Any]  # event type, identifier, data


def websocket_reader(
    handler: Handler,
    url: SocketUrl,
    event_type: str,
    identifier: str | None = None,
    parse: str | Callable[..., Any] | None = None,
    subscribe: Any = None,
    headers: dict[str, str] | None = None,
    repair: str | None = None,
    ca: Path | None = None,
    connect_timeout: float = 10,
    ping_every: float = 20,
    pong_timeout: float = 10,
    max_message: int = 1024 * 1024,
) -> None:
    """Read a WebSocket for ever and publish what it sends; a job with `keep=True`.

    What has come is stored before more is read, so a flood waits in the network and not
    in memory. A connection that breaks, freezes or is refused is made again for ever,
    after waits of up to a minute. What the server sends meanwhile is not seen: name a
    job that polls the same source as `repair` to fill such gaps.

    A message without the field that `identifier` names is left out; most often it
    answers a subscription. So is one that is no JSON, or not UTF-8 (for which RFC 6455
    would end the connection, at the cost of its neighbours). The log says so the first,
    tenth, hundredth... time on each connection.

    Publishes:
        `event_type`, identifier: the field that `identifier` names, else the SHA-256 of
        the data as JSON with sorted keys. The data is the message: `{"id": 7, "price":
        3}` with `identifier="id"` becomes the event "7" with just this data.

    Args:
        handler: publishes.
        url: `ws://` or `wss://`. A user and password in it are sent as basic
            authorization; they and the query are never logged. Redirects are not
            followed; a proxy is taken from the environment (`https_proxy`, `no_proxy`).
        event_type: the type of the events.
        identifier: the field whose text or number tells one message from
            another, such as `id` or `trade.id`; a number chooses from a list.
        parse: a function, or its name as `module:function`, that turns a message (a
            text, or bytes if it is binary) into `(identifier, data)` or `(event_type,
            identifier, data)`, a list of these, or None to leave it out. A message for
            which it raises is left out.
        subscribe: sent after each connect: a text, or a value to be sent as JSON; the
            items of a list are sent one by one.
        headers: HTTP headers of the handshake; their values are never logged.
        repair: the name of a job to run after each reconnect, when subscribed.
        ca: a PEM file of the authorities to trust, in place of the system's.
        connect_timeout: seconds that connecting may take.
        ping_every: seconds between two pings.
        pong_timeout: seconds of silence after a ping that end the connection.
        max_message: bytes that a message may have. Before a larger one is taken in, the
            connection is ended, and made again.

    Raises:
        ValueError: an argument is wrong, in one sentence.
        StorageFault: the disk failed, and a stop was requested before it was mended.
        TimeoutError: a `timeout(...)` scope around it has ended.
    """
    server = Server(
        url, headers or {}, ca, connect_timeout, ping_every, pong_timeout, max_message
    )
    meaning = Meaning(event_type, identifier, _function(parse))
    Reader(handler, server, meaning, _texts(subscribe), repair).run()


@dataclass
class Reader:
    """Connects, reads and publishes until a stop is requested."""

    handler: Handler
    server: Server
    meaning: Meaning
    greetings: list[str]
    repair: str | None
    chance: random.Random = field(default_factory=random.Random)
    failures: int = 0  # connections in a row that came to nothing
    said: str = ""  # the last trouble in the log, so that it is said once
    connections: int = 0
    events: int = 0  # offered since the last connect
    left_out: Counter[str] = field(default_factory=Counter)  # by kind, since then

    def run(self) -> None:
        """Make one connection after the other."""
        while self._goes_on():
            began = time.monotonic()
            self.events = 0
            try:
                self._read_one_connection()
            except Lost as lost:
                lasted = time.monotonic() - began
                self.failures = failures_after(self.failures, self.events, lasted)
                self._say(lost)
                self.handler.wait(delay(self.failures, lost.refused, self.chance))

    def _goes_on(self) -> bool:
        if time_is_up(self.handler):
            raise TimeoutError(f"the time to read {self.server.shown} is up")
        return not self.handler.stop_requested

    def _read_one_connection(self) -> None:
        with Connection(self.handler, self.server) as connection:
            self._greet(connection)
            while self._goes_on():
                self._publish(connection.arrived())
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        """Close; what the server sends before its own goodbye is still stored."""
        connection.say_goodbye()
        until = time.monotonic() + FAREWELL
        with contextlib.suppress(Lost):
            while time.monotonic() < until:
                self._publish(connection.arrived())

    def _greet(self, connection: Connection) -> None:
        """Subscribe, and then ask for what was missed: so there is no gap between."""
        for text in self.greetings:
            connection.send(text)
        self.handler.log.info("connected to %s", self.server.shown)
        self.said = ""
        self.left_out.clear()
        self.connections += 1
        if self.repair is not None and self.connections > 1:
            try:
                self.handler.run_soon(self.repair)
            except AgentError as error:
                self.handler.log.error("the gap is not repaired: %s", error)

    def _say(self, lost: Lost) -> None:
        """Log a trouble once, until a connection works again."""
        if self.said != str(lost) and not self.handler.stop_requested:
            self.said = str(lost)
            self.handler.log.warning("%s: %s; trying again", self.server.shown, lost)

    def _publish(self, messages: list[Message]) -> None:
        triples: list[Triple] = []
        for message in messages:
            try:
                triples += self.meaning.of(message)
            except LeftOut as left_out:
                self._leave_out(left_out, len(message.payload))
        self.events += len(triples)
        if triples:
            self._store(triples)

    def _store(self, triples: list[Triple]) -> None:
        """Publish all that can be: an event that is refused takes no other with it."""
        try:
            self._store_surely(triples)
        except EventError as error:
            if len(triples) == 1:
                self._leave_out(LeftOut("no event", str(error)))
                return
            middle = len(triples) // 2
            self._store(triples[:middle])
            self._store(triples[middle:])

    def _store_surely(self, triples: list[Triple]) -> None:
        """Publish until the disk takes it: the server will not send it again."""
        for failures in itertools.count(1):
            try:
                if len(triples) == 1:
                    self.handler.publish(*triples[0])
                else:
                    self.handler.publish_many(triples)
                return
            except StorageFault as fault:
                if failures == 1:
                    self.handler.log.error("%s; what was read is kept for now", fault)
                if not self.handler.wait(BACKOFF.delay(failures, self.chance)):
                    raise

    def _leave_out(self, left_out: LeftOut, size: int | None = None) -> None:
        self.left_out[left_out.kind] += 1
        count = self.left_out[left_out.kind]
        if worth_saying(count):
            what = "an event" if size is None else f"a message of {size:,} bytes"
            self.handler.log.warning(
                "%s is left out (%s, %s so far): %s",
                what, left_out.kind, f"{count:,}", left_out,
            )  # fmt: skip


# Decisions


def failures_after(failures: int, events: int, lasted: float) -> int:
    """Return how many connections in a row came to nothing, now that one more ended.

    One that brought an event, or held for longer than any wait, was a success.
    """
    return 1 if events or lasted >= BACKOFF.ceiling(10**6) else failures + 1


def delay(failures: int, refused: bool, chance: random.Random) -> float:
    """Return the seconds to wait before the next connect; long after a refusal."""
    longest = BACKOFF.ceiling(10**6)
    if refused:
        return chance.uniform(longest / 2, longest)
    return BACKOFF.delay(failures, chance)


def worth_saying(count: int) -> bool:
    """Return whether the log says it: the 1st, 10th, 100th... time."""
    return re.fullmatch("10*", str(count)) is not None


def _texts(subscribe: Any) -> list[str]:
    """Return what is sent after a connect, as texts.

    Raises:
        ValueError: it has no JSON form.
    """
    if subscribe is None:
        return []
    items = subscribe if isinstance(subscribe, list) else [subscribe]
    try:
        return [each if isinstance(each, str) else json.dumps(each) for each in items]
    except TypeError as error:
        raise ValueError(f"subscribe: it is no text and no JSON: {error}") from error


# What a message means


class LeftOut(Exception):
    """A message becomes no event, for a kind of reason that is counted."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in reason))
        self.kind = kind


@dataclass(frozen=True)
class Meaning:
    """Turns messages into events."""

    event_type: str
    identifier: str | None
    parse: Callable[..., Any] | None

    def of(self, message: Message) -> list[Triple]:
        """Return the events of a message.

        Raises:
            LeftOut: it has none, and this is worth a word.
        """
        if self.parse is not None:
            return self._parsed(self.parse, message)
        data = _json(_text(message))
        return [(self.event_type, self._identifier(data), data)]

    def _parsed(self, parse: Callable[..., Any], message: Message) -> list[Triple]:
        content = _text(message) if message.is_text else message.payload
        try:
            found = parse(content)
            several = found if isinstance(found, list) else [found]
            return [self._triple(each) for each in several if each is not None]
        except (Exception, SystemExit) as error:
            raise LeftOut("parse failed", _told(error)) from error

    def _triple(self, parsed: Any) -> Triple:
        match parsed:
            case (identifier, data):
                return self.event_type, identifier, data
            case (event_type, identifier, data):
                return event_type, identifier, data
        raise TypeError(f"it returned {parsed!r:.80}, which is no (identifier, data)")

    def _identifier(self, data: Any) -> str:
        try:
            found = identifier_of(data, self.identifier)
        except RecursionError as error:
            raise LeftOut("no event", "it is nested too deeply") from error
        if found is None:
            raise LeftOut("no identifier", f"no text or number at {self.identifier}")
        return found


def _told(error: BaseException) -> str:
    """Return what an error of the user's code says, if it can say it."""
    try:
        return f"{type(error).__name__}: {error!s:.200}"
    except Exception:
        return type(error).__name__


def _text(message: Message) -> str:
    try:
        return message.payload.decode()
    except UnicodeDecodeError as error:
        raise LeftOut("not UTF-8", f"bad byte at {error.start:,}") from error


def _json(text: str) -> Any:
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise LeftOut("no JSON", str(error)) from error


def _function(parse: str | Callable[..., Any] | None) -> Callable[..., Any] | None:
    """Return what `module:function` names.

    Raises:
        ValueError: it names nothing that can be called.
    """
    if parse is None or callable(parse):
        return parse
    module, _, name = parse.partition(":")
    try:
        found = operator.attrgetter(name)(importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"parse: {parse!r} is no module:function: {error}") from error
    if not callable(found):
        raise ValueError(f"parse: {parse!r} cannot be called")
    function: Callable[..., Any] = found
    return function
