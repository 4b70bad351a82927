"""listeners.webhook: each event arrives, signed, and each answer has its consequence."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr

from listeners.webhook import signed, webhook
from py_agent import Discard, Event, Pause, Retry, RetryPolicy
from py_agent.testing import AgentUnderTest, Delivery

from ..http.support import SHORT, Server, Talk, head, moved, reply

KEY = bytes(range(24))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OTHER_KEY = bytes(range(100, 140))
OTHER = "whsec_" + base64.b64encode(OTHER_KEY).decode()
MARK = "canary0123456789"  # stands for a credential
CREATED = datetime(2026, 1, 5, 12, 0, 0, 250_000, UTC)

Send = Callable[..., Delivery]


def event(identifier: str = "1", data: object = None) -> Event:
    return Event("t", identifier, data, created=CREATED, source="job", delivery_key="1.1")


@pytest.fixture
def send(running: AgentUnderTest, web: Server) -> Send:
    """Deliver an event to a webhook, and tell what became of it."""

    def deliver(identifier: str = "1", **arguments: Any) -> Delivery:
        if not running.published():
            arguments = {"url": web.url("/in"), **arguments}
            match = {"event_type": ("==", "t")}
            running.add_listener(webhook, match, name="hook", **arguments)
        running.handler.publish("t", identifier, {"x": "é"})
        running.drain()
        (found,) = running.deliveries("hook", identifier=identifier)
        return found

    return deliver


def paused(agent: AgentUnderTest) -> bool:
    """Whether a further event has to wait."""
    before = len(agent.deliveries("hook", state="available"))
    agent.handler.publish("t", "a further one")
    agent.drain()
    return len(agent.deliveries("hook", state="available")) == before + 1


def verified(request: Any, key: bytes) -> bool:
    """Check a signature as a receiver does."""
    stamp, name = request.headers["webhook-timestamp"], request.headers["webhook-id"]
    digest = hmac.new(key, f"{name}.{stamp}.".encode() + request.body, hashlib.sha256)
    wanted = f"v1,{base64.b64encode(digest.digest()).decode()}"
    return wanted in request.headers["webhook-signature"].split(" ")


# What arrives


def test_the_event_arrives_as_json(running: AgentUnderTest, web: Server) -> None:
    """Given an event, When posted, Then the body is that of Standard Webhooks."""
    webhook(running.handler, event("a/1", {"x": "é", "y": [1]}), web.url("/in?a=b"))
    (seen,) = web.seen
    assert (seen.method, seen.target) == ("POST", "/in?a=b")
    assert seen.headers["content-type"] == "application/json"
    assert json.loads(seen.body) == {
        "type": "t",
        "timestamp": "2026-01-05T12:00:00.250000Z",
        "data": {"x": "é", "y": [1]},
        "id": seen.headers["idempotency-key"],
        "identifier": "a/1",
        "source": "job",
    }


def test_own_headers_are_sent(running: AgentUnderTest, web: Server) -> None:
    """Given headers, When posted, Then they are there, and may set the content type."""
    headers: dict[str, SecretStr | str] = {
        "Authorization": SecretStr("Bearer x"), "content-type": "application/x",
    }  # fmt: skip
    webhook(running.handler, event(), web.url(), headers=headers)
    (seen,) = web.seen
    assert seen.headers["authorization"] == "Bearer x"
    assert seen.headers["content-type"] == "application/x"


def test_no_header_hides_the_key(running: AgentUnderTest, web: Server) -> None:
    """Given a header of the key's name, When posted, Then the key is ours."""
    webhook(running.handler, event(), web.url(), headers={"idempotency-key": "mine"})
    (seen,) = web.seen
    assert seen.headers["idempotency-key"].startswith("msg_")


def test_half_a_character_arrives(running: AgentUnderTest, web: Server) -> None:
    """Given data with a lone surrogate, When posted, Then the body is valid JSON."""
    webhook(running.handler, event("1", "\ud800"), web.url())
    assert json.loads(web.seen[0].body)["data"] == "\ud800"


# The key


def test_a_lost_answer_is_sent_again_with_the_same_key(
    send: Send, running: AgentUnderTest, web: Server
) -> None:
    """Given a server that took it and was cut off, Then the repeat has the same body."""
    half = head(200, Content_Length=10) + b"half"
    web.say(Talk.reset, lambda talk: talk.send(half), reply(204))
    assert send().state == "retryable"
    running.advance(hours=3)
    assert [each.state for each in running.deliveries("hook")] == ["completed"]
    assert len(web.seen) == 3
    assert len({each.headers["idempotency-key"] for each in web.seen}) == 1
    assert len({each.body for each in web.seen}) == 1


def test_the_key_is_the_same_after_a_restart(
    send: Send, running: AgentUnderTest, web: Server
) -> None:
    """Given a failed attempt, When the agent is started anew, Then the key is the same."""
    web.say(reply(500), reply(200))
    send()
    running.stop()
    running.advance(hours=3)
    first, second = (each.headers["idempotency-key"] for each in web.seen)
    assert first == second


def test_keys_tell_events_listeners_and_stores_apart(
    running: AgentUnderTest, web: Server, tmp_path: Path
) -> None:
    """Given several events, listeners and stores, When posted, Then no key is twice."""
    other = AgentUnderTest(tmp_path / "other.sqlite")
    other.clock.advance(0.001)  # no two stores begin in the same microsecond
    for agent in (running, other):
        for name in ("one", "two"):
            match = {"event_type": ("startswith", "")}
            agent.add_listener(webhook, match, name=name, url=web.url())
        for kind, identifier in (("a", "1"), ("a", "2"), ("b", "1")):
            agent.handler.publish(kind, identifier)
        agent.drain()
    other.stop()
    assert len({each.headers["idempotency-key"] for each in web.seen}) == 12


# The signature


def test_the_signature_is_that_of_the_reference_library() -> None:
    """Given what the library `standardwebhooks` 1.0 signed, Then ours is the same."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    moment = datetime.fromtimestamp(1614265330, UTC)
    name, body = "msg_p5jXN8AQM9LWM0D4loKWxLek", b'{"test": 2432232314}'
    assert signed(name, moment, body, [key]) == {
        "webhook-id": name,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,enRLSa8SQq0bjzfA39jRvVHj4kmZBoO5m8PEGpuQ5q0=",
    }


def test_each_attempt_is_signed_anew(
    send: Send, running: AgentUnderTest, web: Server
) -> None:
    """Given a repeated attempt, Then only its time is another, and the signature fits."""
    web.say(reply(503), reply(200))
    send(secret=SecretStr(SECRET))
    running.advance(hours=3)
    assert all(verified(each, KEY) for each in web.seen)
    assert len({each.headers["webhook-id"] for each in web.seen}) == 1
    first, second = (int(each.headers["webhook-timestamp"]) for each in web.seen)
    assert first < second


def test_the_time_is_that_of_the_attempt(
    running: AgentUnderTest, web: Server, send: Send
) -> None:
    """Given the agent's clock, Then the signature has its time as whole seconds."""
    send(secret=SECRET)
    now = running.clock.now().timestamp()
    assert web.seen[0].headers["webhook-timestamp"] == str(int(now))
    assert web.seen[0].headers["webhook-id"] == web.seen[0].headers["idempotency-key"]


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
def test_a_secret_can_be_changed(running: AgentUnderTest, web: Server, key: bytes) -> None:
    """Given the new secret and the old one, Then a receiver with either is content."""
    webhook(running.handler, event(), web.url(), secret=[SECRET, SecretStr(OTHER)])
    assert verified(web.seen[0], key)


@pytest.mark.parametrize("secret", [SECRET[6:], SECRET.rstrip("="), f" {SECRET}\n"])
def test_ways_to_write_a_secret(running: AgentUnderTest, web: Server, secret: str) -> None:
    """Given a secret without its prefix or padding, Then it means the same."""
    webhook(running.handler, event(), web.url(), secret=secret)
    assert verified(web.seen[0], KEY)


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", f"{MARK}!", "whsec_c2hvcnQ=", f"whsec_{MARK}", [], [SECRET, MARK], "é"],
)
def test_a_wrong_secret_pauses(running: AgentUnderTest, web: Server, secret: Any) -> None:
    """Given no usable secret, Then nothing is sent unsigned, and it is not shown."""
    with pytest.raises(Pause, match="'whsec_' and the base64 form") as caught:
        webhook(running.handler, event(), web.url(), secret=secret)
    assert web.seen == []
    assert MARK not in str(caught.value)


def test_without_a_secret_there_is_no_signature(
    running: AgentUnderTest, web: Server
) -> None:
    """Given no secret, Then no header pretends to a signature."""
    webhook(running.handler, event(), web.url())
    assert not any(name.startswith("webhook-") for name in web.seen[0].headers)


# What an answer means


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_success_is_done(send: Send, status: int) -> None:
    """Given a 2xx, Then the delivery is completed."""
    answer = send()
    assert answer.state == "completed"


@pytest.mark.parametrize("status", [404, 408, 425, 429, 500, 502, 503, 504, 520])
def test_what_may_pass_is_tried_again(send: Send, web: Server, status: int) -> None:
    """Given a status that may pass, Then it is a counted attempt, tried again."""
    web.say(reply(status, b"come again"))
    found = send()
    assert (found.state, found.attempts) == ("retryable", 1)
    assert f"status {status} Said: come again" in str(found.error)


@pytest.mark.parametrize("status", [400, 402, 405, 409, 413, 415, 418, 422])
def test_a_refused_event_is_a_dead_letter(
    send: Send, running: AgentUnderTest, web: Server, status: int
) -> None:
    """Given a 4xx for one event, Then it is dead with the server's words, no other is."""
    web.say(reply(status, b'{"error": "no such field"}'), reply(200))
    found = send()
    assert found.state == "discarded"
    assert "no such field" in str(found.reason)
    assert send("2").state == "completed"


@pytest.mark.parametrize("status", [401, 403, 407])
def test_who_is_not_let_in_waits_an_hour(
    send: Send, running: AgentUnderTest, web: Server, status: int
) -> None:
    """Given a 401 for an hour, Then all wait, nothing is lost, and then all is sent."""
    web.say(reply(status), reply(200))
    found = send()
    assert (found.state, found.attempts) == ("available", 0)
    assert paused(running)
    running.advance(minutes=59)
    assert len(web.seen) == 1
    running.advance(minutes=2)
    assert {each.state for each in running.deliveries("hook")} == {"completed"}
    assert len(web.seen) == 3


def test_gone_stays_paused(send: Send, running: AgentUnderTest, web: Server) -> None:
    """Given a 410, Then nothing more is sent, days later neither."""
    web.say(reply(410), reply(200))
    assert send().state == "available"
    running.advance(days=3)
    assert len(web.seen) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    running: AgentUnderTest, web: Server, status: int
) -> None:
    """Given a redirect, Then it pauses with a line that says what to do."""
    web.say(moved(web.url("/login"), status))
    with pytest.raises(Pause, match=f"status {status} is a redirect.* set the webhook's"):
        webhook(running.handler, event(), web.url("/in"))
    assert [each.target for each in web.seen] == ["/in"]


# When the server asks to wait


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120),
        ("Mon, 05 Jan 2026 12:10:00 GMT", 600),
        ("99999999999999999999", 3600),
        ("Tue, 05 Jan 2027 12:00:00 GMT", 3600),
    ],
)
def test_a_wait_that_is_asked_for_is_kept(
    send: Send, running: AgentUnderTest, web: Server, said: str, seconds: float
) -> None:
    """Given Retry-After with a 503, Then the next attempt is then, an hour at most."""
    web.say(reply(503, Retry_After=said))
    found = send()
    assert found.due is not None
    assert (found.due - running.clock.now()).total_seconds() == pytest.approx(seconds)
    assert found.attempts == 1


@pytest.mark.parametrize("said", ["-5", "soon", "0", "", "Mon, 05 Jan 1970 12:00:00 GMT"])
def test_a_wait_that_makes_no_sense_is_our_own(
    running: AgentUnderTest, web: Server, said: str
) -> None:
    """Given a Retry-After of nothing, Then the back-off of the listener holds."""
    web.say(reply(503, Retry_After=said))
    with pytest.raises(Retry) as caught:
        webhook(running.handler, event(), web.url())
    assert caught.value.after is None
    assert caught.value.count


def test_a_rate_limit_holds_all_and_costs_no_attempt(
    send: Send, running: AgentUnderTest, web: Server
) -> None:
    """Given a place that takes one event a second, Then forty arrive, none is dead."""

    def limited(talk: Talk) -> None:
        talk.send(reply(429, Retry_After=1) if len(web.seen) % 2 else reply(200))

    web.say(limited)
    send()
    for number in range(39):
        running.handler.publish("t", f"more {number}")
    running.advance(minutes=2)
    assert {each.state for each in running.deliveries("hook")} == {"completed"}
    assert len(web.seen) <= 80


# When there is no answer


def test_a_server_that_is_away_is_tried_again(
    send: Send, running: AgentUnderTest, web: Server
) -> None:
    """Given nobody who listens, Then the attempt failed, and its line says where."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = send(url=f"http://127.0.0.1:{port}/in")
    assert found.state == "retryable"
    assert f"POST http://127.0.0.1:{port}: the connection failed" in str(found.error)


def test_a_server_that_trickles_is_left_in_time(
    running: AgentUnderTest, web: Server
) -> None:
    """Given a byte now and then, Then the time holds for all of it."""
    web.say(lambda talk: talk.forever(b"H", pause=0.02))
    with pytest.raises(Retry, match="no whole answer in time"):
        webhook(running.handler, event(), web.url(), within=SHORT)


def test_an_endless_outage_ends_as_a_dead_letter(
    running: AgentUnderTest, web: Server
) -> None:
    """Given a server that always fails, Then the attempts are counted to their end."""
    web.say(reply(500))
    match = {"event_type": ("==", "t")}
    policy = RetryPolicy(attempts=3)
    running.add_listener(webhook, match, name="hook", retry=policy, url=web.url())
    running.handler.publish("t", "1")
    running.advance(hours=3)
    (found,) = running.deliveries("hook")
    assert (found.state, found.attempts, len(web.seen)) == ("discarded", 3, 3)


def test_a_certificate_of_its_own(running: AgentUnderTest, tmp_path: Path) -> None:
    """Given an unknown authority, Then it pauses; with its file, the event arrives."""
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = Server(tls=context)
    try:
        with pytest.raises(Pause, match="certificate is not trusted"):
            webhook(running.handler, event(), server.url())
        webhook(running.handler, event(), server.url(), verify=file)
        assert len(server.seen) == 1
    finally:
        server.close()


# URLs that are wrong, or not ours


@pytest.mark.parametrize(
    "url", ["", "nonsense", "file:///etc/passwd", "ftp://h/", "http://"]
)
def test_a_wrong_url_pauses(running: AgentUnderTest, url: str) -> None:
    """Given no http URL, Then every event would fail, so it pauses."""
    with pytest.raises(Pause) as caught:
        webhook(running.handler, event(), url)
    assert caught.value.after == 3600


def test_a_guarded_url_must_be_public(running: AgentUnderTest, web: Server) -> None:
    """Given an own address from an event, Then the event is refused and nothing sent."""
    with pytest.raises(Discard):
        webhook(running.handler, event(), web.url(), guard=True)
    assert web.seen == []


# Secrets


@pytest.mark.parametrize("status", [200, 301, 400, 401, 410, 429, 500])
def test_no_credential_is_shown(
    send: Send,
    running: AgentUnderTest,
    web: Server,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    """Given a server that quotes its request, Then log and store have no credential."""
    quoted = f"Cannot POST /{MARK}p/x?k={MARK}q for {MARK}u:{MARK}v with {MARK}h".encode()
    web.say(reply(status, quoted))
    with caplog.at_level(logging.INFO):
        send(
            url=web.url(f"/{MARK}p/x?k={MARK}q").replace("//", f"//{MARK}u:{MARK}v@", 1),
            headers={"X-Token": f"Bearer {MARK}h"},
            secret=f"whsec_{MARK}{MARK}{MARK}",
        )
    assert len(web.seen) == 1
    running.stop()
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert MARK not in caplog.text
    assert MARK.encode() not in kept


def test_no_credential_is_shown_without_an_answer(
    send: Send, running: AgentUnderTest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a server that is away, Then log and store have no part of the path."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with caplog.at_level(logging.INFO):
        send(url=SecretStr(f"http://{MARK}@127.0.0.1:{port}/{MARK}/x?{MARK}"))
    running.stop()
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert "the connection failed" in caplog.text
    assert MARK not in caplog.text
    assert MARK.encode() not in kept
