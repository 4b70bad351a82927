"""get_if_changed: asks only for what is new, and keeps what it needs for that."""

from __future__ import annotations

from typing import Any

import pytest

from py_agent.errors import HttpError
from py_agent.http.changes import MAX_VALIDATORS
from py_agent.http.session import Http

from .conftest import MakeHttp
from .support import Server, moved, reply

CHANGED = "Mon, 05 Jan 2026 12:00:00 GMT"


def test_the_first_time_brings_the_body(http: Http, server: Server) -> None:
    """And its validators are kept."""
    server.say(reply(body=b"one", ETag='"1"', Last_Modified=CHANGED))
    answer = http.get_if_changed(server.url())
    assert answer is not None
    assert answer.content == b"one"
    assert http.validators == {server.url(): {"etag": '"1"', "last_modified": CHANGED}}


def test_an_unchanged_page_brings_none(http: Http, server: Server) -> None:
    """The server is told what is known, and answers 304."""
    server.say(reply(body=b"one", ETag='"1"', Last_Modified=CHANGED), reply(304))
    http.get_if_changed(server.url())
    assert http.get_if_changed(server.url()) is None
    assert server.seen[1].headers["if-none-match"] == '"1"'
    assert server.seen[1].headers["if-modified-since"] == CHANGED


def test_the_state_outlives_the_session(make_http: MakeHttp, server: Server) -> None:
    """It is the mapping that was handed in."""
    state: dict[str, Any] = {}
    server.say(reply(ETag='"1"'), reply(304))
    make_http(validators=state).get_if_changed(server.url())
    assert make_http(validators=state).get_if_changed(server.url()) is None


def test_a_server_that_ignores_conditions_is_noticed(http: Http, server: Server) -> None:
    """The same ETag is the same content, with or without a 304."""
    server.say(reply(body=b"one", ETag='"1"'))
    http.get_if_changed(server.url())
    assert http.get_if_changed(server.url()) is None


def test_a_changed_page_brings_its_body(http: Http, server: Server) -> None:
    """And its new validators."""
    server.say(reply(body=b"one", ETag='"1"'), reply(body=b"two", ETag='"2"'))
    http.get_if_changed(server.url())
    answer = http.get_if_changed(server.url())
    assert answer is not None
    assert (answer.content, http.validators[server.url()]) == (b"two", {"etag": '"2"'})


def test_the_same_date_alone_is_no_proof(http: Http, server: Server) -> None:
    """A page may change twice in a second; dedup absorbs the repeat."""
    server.say(reply(body=b"one", Last_Modified=CHANGED))
    http.get_if_changed(server.url())
    assert http.get_if_changed(server.url()) is not None


def test_a_page_without_validators_is_forgotten(http: Http, server: Server) -> None:
    """Old ones would suppress what is new."""
    server.say(reply(ETag='"1"'), reply())
    http.get_if_changed(server.url())
    http.get_if_changed(server.url())
    assert http.validators == {}


@pytest.mark.parametrize("status", [206, 400, 404, 500])
def test_an_error_changes_no_state(http: Http, server: Server, status: int) -> None:
    """It says nothing about the page."""
    server.say(reply(ETag='"1"'), reply(status, ETag='"error"'))
    http.get_if_changed(server.url())
    answer = http.get_if_changed(server.url(), retries=0)
    assert answer is not None
    assert http.validators[server.url()] == {"etag": '"1"'}


def test_a_failure_changes_no_state(http: Http, server: Server) -> None:
    """A body that did not arrive was not seen."""
    server.say(lambda talk: talk.send(b'HTTP/1.1 200 OK\r\nETag: "1"\r\n'))
    with pytest.raises(HttpError):
        http.get_if_changed(server.url(), retries=0)
    assert http.validators == {}


def test_each_query_is_a_page_of_its_own(http: Http, server: Server) -> None:
    """And its values are not kept: they may be keys."""
    server.say(reply(ETag='"1"'))
    http.get_if_changed(server.url("/p"), params={"key": "canary"})
    http.get_if_changed(server.url("/p?key=other"))
    http.get_if_changed(server.url("/p").replace("//", "//user:canary@"))
    assert len(http.validators) == 3
    assert "canary" not in str(http.validators)
    assert [request.headers.get("if-none-match") for request in server.seen] == [None] * 3


def test_a_redirected_page_is_known_by_where_it_was_asked_for(
    http: Http, server: Server
) -> None:
    """The condition goes along."""
    server.say(moved("/there"), reply(ETag='"1"'), moved("/there"), reply(304))
    http.get_if_changed(server.url())
    assert http.get_if_changed(server.url()) is None
    assert server.seen[3].headers["if-none-match"] == '"1"'


@pytest.mark.parametrize("etag", ["\x01", "a\tb", "ä", "x" * 1_001, ""])
def test_a_validator_that_cannot_be_sent_back_is_not_kept(
    http: Http, server: Server, etag: str
) -> None:
    """It would make every later poll fail."""
    server.say(reply(ETag=etag))
    http.get_if_changed(server.url())
    assert http.get_if_changed(server.url()) is not None


@pytest.mark.parametrize(
    "state", [None, 5, "x", [], {"etag": 5}, {"etag": "a\r\nX: y"}, {"other": "x"}]
)
def test_a_state_that_makes_no_sense_is_ignored(
    make_http: MakeHttp, server: Server, state: Any
) -> None:
    """Somebody may have edited it."""
    http = make_http(validators={server.url(): state})
    assert http.get_if_changed(server.url()) is not None
    assert "if-none-match" not in server.seen[0].headers


def test_ones_own_condition_wins(http: Http, server: Server) -> None:
    """The caller knows."""
    server.say(reply(ETag='"1"'), reply(304))
    http.get_if_changed(server.url())
    assert http.get_if_changed(server.url(), headers={"if-none-match": '"9"'}) is None
    assert server.seen[1].headers["if-none-match"] == '"9"'


def test_the_state_does_not_grow_for_ever(make_http: MakeHttp, server: Server) -> None:
    """A job whose URL changes with the day forgets the oldest."""
    state: dict[str, Any] = {f"http://old.test/{n}": {} for n in range(MAX_VALIDATORS)}
    server.say(reply(ETag='"1"'))
    make_http(validators=state).get_if_changed(server.url())
    assert len(state) == MAX_VALIDATORS
    assert server.url() in state
    assert "http://old.test/0" not in state
