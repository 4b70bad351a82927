"""jobs.http_poll: what is new in a JSON answer becomes events, each once."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from pydantic import SecretStr

from jobs.http_poll import http_poll
from py_agent import HttpError
from py_agent.testing import AgentUnderTest

from ..http.support import SHORT, Server, Talk, head, moved, reply

SECRET = "canary-4711"


def page(document: Any, status: int = 200, **headers: object) -> bytes:
    """Return a JSON answer."""
    return reply(
        status, json.dumps(document).encode(), Content_Type="application/json", **headers
    )


def poll(agent: AgentUnderTest, web: Server, **arguments: Any) -> list[str]:
    """Poll once; return the identifiers of all events so far."""
    given = {"url": web.url("/items"), "event_type": "item", "identifier": "id"}
    agent.run_job(http_poll, **given | arguments)
    return names(agent)


def names(agent: AgentUnderTest) -> list[str]:
    return [event.identifier for event in agent.published("item")]


def ids(*numbers: int) -> list[dict[str, int]]:
    return [{"id": number} for number in numbers]


# Items


@pytest.mark.parametrize(
    ("document", "items"),
    [
        (ids(1, 2), ""),
        ({"items": ids(1, 2)}, "items"),
        ({"data": {"items": ids(1, 2)}}, "data.items"),
        ({"data": [{"items": ids(1, 2)}]}, "data.0.items"),
    ],
)
def test_items_are_found_by_a_path(
    running: AgentUnderTest, web: Server, document: Any, items: str
) -> None:
    """Given a list somewhere in the answer, Then each of its items is an event."""
    web.say(page(document))
    assert poll(running, web, items=items) == ["1", "2"]
    assert running.published("item", "1")[0].data == {"id": 1}


def test_a_single_object_is_an_item(running: AgentUnderTest, web: Server) -> None:
    """Given an answer that is no list, Then the object is the item."""
    web.say(page({"id": "a", "state": "on"}))
    assert poll(running, web) == ["a"]


@pytest.mark.parametrize("answer", [page([]), page(None), reply(204)])
def test_nothing_is_no_error(running: AgentUnderTest, web: Server, answer: bytes) -> None:
    """Given an empty list, null or no content, Then the run succeeds without an event."""
    web.say(answer)
    assert poll(running, web) == []


def test_what_is_known_is_published_once(running: AgentUnderTest, web: Server) -> None:
    """Given the same items and one more in the second poll, Then one event is new."""
    web.say(page(ids(1, 2)), page(ids(3, 2, 1)))
    poll(running, web)
    assert poll(running, web) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("document", "items", "problem"),
    [
        ({"error": "no"}, "data.items", "there is no 'data.items' in the answer"),
        ({"data": None}, "data.items", "there is no 'data.items' in the answer"),
        ({"data": 7}, "data", "'data' is neither a list nor an object"),
        ("text", "", "the whole answer is neither a list nor an object"),
    ],
)
def test_an_answer_of_another_form_fails_the_run(
    running: AgentUnderTest, web: Server, document: Any, items: str, problem: str
) -> None:
    """Given no list at the path, Then the error says so and where, without the query."""
    web.say(page(document))
    with pytest.raises(ValueError, match=problem) as caught:
        poll(running, web, items=items, url=web.url(f"/items?key={SECRET}"))
    assert str(caught.value).startswith(f"{web.url('/items')}?...: ")


# Identifiers


@pytest.mark.parametrize(
    ("identifier", "item", "expected"),
    [
        ("id", {"id": 7}, "7"),
        ("id", {"id": "7"}, "7"),
        ("id", {"id": 1.5}, "1.5"),
        ("id", {"id": 2**70}, str(2**70)),
        ("meta.key", {"meta": {"key": "a b"}}, "a b"),
        ("keys.0", {"keys": ["x", "y"]}, "x"),
        (["id", "at"], {"id": 7, "at": "2026-01-05"}, "7@2026-01-05"),
        (["id", "at"], {"id": 7, "at": None}, "7@null"),
        (["id", "at"], {"id": 7}, "7@null"),
        (["id", "done"], {"id": 7, "done": True}, "7@true"),
        (["id", "tags"], {"id": 7, "tags": ["a"]}, '7@["a"]'),
    ],
)
def test_the_identifier_is_made_of_fields(
    running: AgentUnderTest, web: Server, identifier: Any, item: Any, expected: str
) -> None:
    """Given a field or several, Then their values are the identifier."""
    web.say(page([item]))
    assert poll(running, web, identifier=identifier) == [expected]


def test_a_change_is_an_event(running: AgentUnderTest, web: Server) -> None:
    """Given two fields, When the second changes, Then that is a new event."""
    web.say(page([{"id": 1, "at": "a"}]), page([{"id": 1, "at": "b"}]))
    poll(running, web, identifier=["id", "at"])
    assert poll(running, web, identifier=["id", "at"]) == ["1@a", "1@b"]


def test_joined_fields_are_never_mistaken(running: AgentUnderTest, web: Server) -> None:
    """Given values that hold the separator, Then two items stay two."""
    web.say(
        page([{"a": "x@y", "b": "z"}, {"a": "x", "b": "y@z"}, {"a": "x%40y", "b": "z"}])
    )
    assert len(poll(running, web, identifier=["a", "b"])) == 3


def test_without_a_field_the_content_counts(running: AgentUnderTest, web: Server) -> None:
    """Given no identifier, Then the same content in another order is the same event."""
    web.say(page([{"a": 1, "b": "\ud800"}, "text", 7]), page([{"b": "\ud800", "a": 1}, 7]))
    poll(running, web, identifier=None)
    assert len(poll(running, web, identifier=None)) == 3


@pytest.mark.parametrize(
    "bad",
    [{}, {"id": None}, {"id": ""}, {"id": True}, {"id": {}}, {"id": []}, "text", 7, None,
     {"id": "nul\0"}, {"id": "x" * 2000}, {"id": "\ud800"}],
)  # fmt: skip
def test_an_item_without_identifier_is_left_out_alone(
    running: AgentUnderTest,
    web: Server,
    bad: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given one unusable item among others, Then the log says so and they are events."""
    web.say(page([{"id": 1}, bad, {"id": 2}]))
    assert poll(running, web) == ["1", "2"]
    assert "1 of 3 items are left out" in caplog.text


def test_an_item_that_is_too_large_is_left_out_alone(
    running: AgentUnderTest, web: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Given an item beyond the store's limit, Then the others are events."""
    web.say(page([{"id": 1, "text": "x" * 1_100_000}, {"id": 2}]))
    assert poll(running, web) == ["2"]
    assert "bytes as JSON" in caplog.text


def test_a_field_that_no_item_has_fails_the_run(
    running: AgentUnderTest, web: Server
) -> None:
    """Given a mistyped identifier, Then the run fails and is not silently empty."""
    web.say(page(ids(1, 2)))
    with pytest.raises(ValueError, match="none of the 2 items .* it has no 'ID'"):
        poll(running, web, identifier="ID")


# Pages


def paged(web: Server, number: int, following: str | None) -> bytes:
    """Return a page with one item and a link to another."""
    link: dict[str, Any] = (
        {} if following is None else {"Link": f'<{following}>; rel="prev next"'}
    )
    return page(ids(number), **link)


def test_pages_are_followed(running: AgentUnderTest, web: Server) -> None:
    """Given links in the header, relative and absolute, Then all pages are read."""
    web.say(
        paged(web, 1, "?page=2"),
        paged(web, 2, web.url("/items?page=3")),
        paged(web, 3, None),
    )
    assert poll(running, web, pages=9) == ["1", "2", "3"]
    assert [seen.target for seen in web.seen] == [
        "/items", "/items?page=2", "/items?page=3",
    ]  # fmt: skip


def test_pages_are_followed_in_the_body(running: AgentUnderTest, web: Server) -> None:
    """Given links in the answer itself, Then all pages are read until there is none."""
    web.say(
        page({"items": ids(1), "paging": {"next": "/items?page=2"}}),
        page({"items": ids(2), "paging": {"next": None}}),
    )
    found = poll(running, web, items="items", next_page="paging.next", pages=9)
    assert found == ["1", "2"]


def test_there_is_an_end_to_pages(
    running: AgentUnderTest, web: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Given more pages than allowed, Then the rest is not read, and the log says so."""
    web.say(*(paged(web, n, f"?page={n + 1}") for n in range(1, 9)))
    assert poll(running, web, pages=3) == ["1", "2", "3"]
    assert "more than pages=3" in caplog.text


def test_pages_in_a_circle_end(running: AgentUnderTest, web: Server) -> None:
    """Given a last page that names itself, Then it is read once."""
    web.say(paged(web, 1, "?page=2"), paged(web, 2, "?page=2"))
    assert poll(running, web, pages=9) == ["1", "2"]
    assert len(web.seen) == 2


@pytest.mark.parametrize(
    "link",
    ["http://localhost:{port}/", "https://127.0.0.1:{port}/", "http://127.0.0.1:1/",
     "//other.test/", "file:///etc/passwd", "http://[", "http://x:y@evil.test/"],
)  # fmt: skip
def test_a_page_at_another_host_is_not_asked_for(
    running: AgentUnderTest, web: Server, link: str
) -> None:
    """Given a link to elsewhere, Then the run fails and no credential is sent there."""
    web.say(paged(web, 1, link.format(port=web.port)))
    with pytest.raises(ValueError, match="next page cannot be followed"):
        poll(running, web, pages=9, token=SECRET)
    assert len(web.seen) == 1


@pytest.mark.parametrize("link", [5, ["/x"], {"href": "/x"}])
def test_a_link_that_is_no_text_fails_the_run(
    running: AgentUnderTest, web: Server, link: Any
) -> None:
    """Given something else where the link should be, Then the error says so."""
    web.say(page({"items": ids(1), "next": link}))
    with pytest.raises(ValueError, match="it is no text"):
        poll(running, web, items="items", next_page="next", pages=2)


@pytest.mark.parametrize("given", [{"pages": 0}, {"next_page": "next"}])
def test_too_few_pages_are_a_mistake(
    running: AgentUnderTest, web: Server, given: dict[str, Any]
) -> None:
    """Given pages that contradict, Then nothing is asked for."""
    with pytest.raises(ValueError, match="is too few"):
        poll(running, web, **given)
    assert web.seen == []


def test_a_later_page_that_fails_fails_the_run(
    running: AgentUnderTest, web: Server
) -> None:
    """Given a third page that fails, Then the first two are in the store, once."""
    broken = page(None, 404)
    web.say(paged(web, 1, "?2"), paged(web, 2, "?3"), broken)
    with pytest.raises(HttpError, match="status 404"):
        poll(running, web, pages=9)
    assert names(running) == ["1", "2"]

    web.say(paged(web, 1, "?2"), paged(web, 2, "?3"), paged(web, 3, None))
    assert poll(running, web, pages=9) == ["1", "2", "3"]


def test_a_half_page_is_not_published(running: AgentUnderTest, web: Server) -> None:
    """Given a second page whose last item cannot be had, Then none of it is an event."""

    def half(talk: Talk) -> None:
        talk.send(head(Content_Length=999, Content_Type="application/json") + b'[{"id":2},')

    web.say(paged(web, 1, "?2"), half)
    with pytest.raises(HttpError):
        poll(running, web, pages=9)
    assert names(running) == ["1"]


# What has not changed


def test_an_unchanged_answer_is_not_sent_again(
    running: AgentUnderTest, web: Server
) -> None:
    """Given an ETag, When polled again, Then the server is asked for changes only."""
    web.say(page(ids(1), ETag='"a"'), reply(304), page(ids(2), ETag='"b"'))
    poll(running, web)
    assert poll(running, web) == ["1"]
    assert web.seen[1].headers["if-none-match"] == '"a"'
    assert poll(running, web) == ["1", "2"]


def test_a_failed_run_keeps_the_old_validators(
    running: AgentUnderTest, web: Server
) -> None:
    """Given an answer that cannot be read, Then its ETag is not remembered."""
    web.say(page(ids(1), ETag='"a"'), page({"no": 1}, ETag='"b"'), reply(304))
    poll(running, web)
    with pytest.raises(ValueError, match="could be published"):
        poll(running, web)
    poll(running, web)
    assert web.seen[2].headers["if-none-match"] == '"a"'


def test_an_unchanged_first_page_hides_no_second(
    running: AgentUnderTest, web: Server
) -> None:
    """Given several pages, Then the first is asked for unconditionally."""
    first = page(ids(1), ETag='"a"')
    more = page(ids(1), ETag='"a"', Link='<?page=2>; rel="next"')
    web.say(first, more, page(ids(2)))
    poll(running, web, pages=9)
    assert poll(running, web, pages=9) == ["1", "2"]


def test_a_failed_first_run_is_no_baseline(running: AgentUnderTest, web: Server) -> None:
    """Given a baseline whose second page fails, Then the next run still fires nothing."""
    seen = running.record({"event_type": ("==", "item")})
    running.add_job(
        http_poll, every="1 hour", at_start=False, first="baseline", name="poll", pages=9,
        url=web.url("/items"), event_type="item", identifier="id",
    )  # fmt: skip
    web.say(
        paged(web, 1, "?2"), page(None, 404), paged(web, 1, "?2"),
        paged(web, 2, None), page(ids(1, 2, 3)),
    )  # fmt: skip
    with pytest.raises(HttpError):
        running.run_job("poll")
    running.run_job("poll")
    running.drain()
    assert seen == []
    running.run_job("poll")
    running.drain()
    assert [event.identifier for event in seen] == ["3"]


# Bad days


def trickle(talk: Talk) -> None:
    """Send the body so slowly that it never ends."""
    talk.send(head(Content_Length=10**5, Content_Type="application/json"))
    talk.forever(b" ", 0.02)


def endless(talk: Talk) -> None:
    """Send a body without an end."""
    talk.send(head(Content_Type="application/json"))
    talk.forever(b" " * 65536)


BAD: list[tuple[Any, str]] = [
    (reply(404, b"gone"), "status 404 .*gone"),
    (reply(503, Retry_After=7200), "asks to wait 3600 s"),
    (reply(200, b"<html>Sign in</html>", Content_Type="text/html"), "is not JSON"),
    (reply(200, b'[{"id":1},{"id":'), "is not JSON"),
    (reply(200, b'[{"id":1},{"id":NaN}]'), "NaN is not JSON"),
    (reply(200, b"[" * 100_000), "nested too deeply"),
    (reply(200, b'[{"id":"\xff"}]'), "is not JSON"),
    (reply(200, b""), "is not JSON"),
    (moved("ftp://127.0.0.1/"), "only http and https"),
    (moved("/items"), "redirects"),
    (trickle, "not in time|took|time"),
    (endless, "longer than 200,000 bytes"),
]


@pytest.mark.parametrize(("answer", "problem"), BAD)
def test_a_bad_answer_fails_the_run(
    running: AgentUnderTest, web: Server, answer: Any, problem: str
) -> None:
    """Given any of the bad days, Then one clear line, no event, and no secret in it."""
    web.say(answer)
    url = web.url(f"/items?key={SECRET}").replace("//", f"//me:{SECRET}@")
    with pytest.raises(HttpError, match=problem) as caught:
        poll(running, web, url=url, timeout=SHORT, max_bytes=200_000)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert names(running) == []


def test_a_passing_failure_is_tried_again(running: AgentUnderTest, web: Server) -> None:
    """Given a 502 and a reset, Then the same run goes on to the answer."""
    web.say(reply(502), lambda talk: talk.reset(), page(ids(1)))
    assert poll(running, web) == ["1"]


def test_byte_order_mark_and_charset_are_read(running: AgentUnderTest, web: Server) -> None:
    """Given JSON with a mark or in another charset, Then it is read as it is meant."""
    latin = '[{"id": "ü"}]'.encode("latin-1")
    web.say(
        reply(200, b'\xef\xbb\xbf[{"id": "a"}]'),
        reply(200, latin, Content_Type="application/json; charset=latin-1"),
    )
    poll(running, web)
    assert poll(running, web) == ["a", "ü"]


# Who asks


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"token": SECRET}, "authorization", f"Bearer {SECRET}"),
        ({"token": SecretStr(SECRET)}, "authorization", f"Bearer {SECRET}"),
        ({"auth": ["me", "pass"]}, "authorization", "Basic bWU6cGFzcw=="),
        ({"auth": ("me", SecretStr("pass"))}, "authorization", "Basic bWU6cGFzcw=="),
        ({"headers": {"X-Key": SECRET}}, "x-key", SECRET),
    ],
)
def test_credentials_are_sent(
    running: AgentUnderTest,
    web: Server,
    given: dict[str, Any],
    name: str,
    value: str,
) -> None:
    """Given a token, a pair or a header, Then the server gets it, on every page."""
    web.say(paged(web, 1, "?2"), paged(web, 2, None))
    poll(running, web, pages=2, **given)
    assert [seen.headers[name] for seen in web.seen] == [value, value]


def test_user_and_password_of_the_url_are_sent_on_every_page(
    running: AgentUnderTest, web: Server
) -> None:
    """Given credentials in the URL, Then the link to the next page keeps them."""
    web.say(paged(web, 1, web.url("/items?2")), paged(web, 2, None))
    poll(running, web, url=web.url().replace("//", "//me:pass@"), pages=2)
    assert [seen.headers["authorization"] for seen in web.seen] == [
        "Basic bWU6cGFzcw=="
    ] * 2


def test_no_secret_is_logged(
    running: AgentUnderTest, web: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Given secrets everywhere, Then no line of the log holds one."""
    caplog.set_level(logging.DEBUG)
    web.say(page([{"id": 1}, {}], Link='<?page=2>; rel="next"'))
    url = web.url(f"/items?key={SECRET}").replace("//", f"//me:{SECRET}@")
    poll(running, web, url=url, token=SECRET, headers={"X-Key": SECRET})
    assert "left out" in caplog.text
    assert SECRET not in caplog.text
