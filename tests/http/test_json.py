"""F64: JSON is what the standard says, or an error of ours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from py_agent.errors import HttpError
from py_agent.http.answer import Answer
from py_agent.http.session import Http

from .support import Server, reply

JSON = "application/json"


def answer_of(body: bytes, kind: str | None = JSON) -> Answer:
    """Return an answer with a body."""
    import requests

    answer = Answer()
    answer.status_code = 200
    answer.url = "http://example.test/?key=canary"
    answer.request = requests.Request("GET", answer.url).prepare()
    if kind is not None:
        answer.headers["Content-Type"] = kind
    answer.encoding = requests.utils.get_encoding_from_headers(answer.headers)
    vars(answer).update(_content=body, _content_consumed=True)
    return answer


TEXT = '{"ä": ["€", "😀", 1.5, null]}'
VALUE = {"ä": ["€", "😀", 1.5, None]}


@pytest.mark.parametrize("kind", [JSON, None, "text/plain", "text/html", "application/x"])
@pytest.mark.parametrize(
    "charset",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"],
)
def test_the_charset_is_found_without_a_header(kind: str | None, charset: str) -> None:
    """A BOM is accepted, and text/plain is no reason to take it for latin-1."""
    assert answer_of(TEXT.encode(charset), kind).json() == VALUE


@pytest.mark.parametrize(
    ("charset", "declared"),
    [("utf-8", "utf-8"), ("utf-8-sig", "UTF-8"), ("latin-1", "iso-8859-1"),
     ("utf-16", "utf-16"), ("cp1252", '"windows-1252"')],
)  # fmt: skip
def test_the_charset_of_the_header_is_obeyed(charset: str, declared: str) -> None:
    """An older server may have its reasons."""
    body = '["ä"]'.encode(charset)
    assert answer_of(body, f"{JSON}; charset={declared}").json() == ["ä"]


def test_the_charset_may_be_set_by_hand() -> None:
    """As in requests: the caller may know better."""
    answer = answer_of('["ä"]'.encode("latin-1"))
    answer.encoding = "latin-1"
    assert answer.json() == ["ä"]


BAD: list[tuple[bytes, str]] = [
    (b"", JSON), (b"{", JSON), (b"<html>login</html>", "text/html"), (b"{'a': 1}", JSON),
    (b'{"a": 1} x', JSON), (b"NaN", JSON), (b"[Infinity]", JSON),
    (b'{"a": -Infinity}', JSON),
    (b"[1e999]", JSON), (b"[-1e999]", JSON), (b"1" * 5_000, JSON), (b"[" * 200_000, JSON),
    (b'{"a":' * 200_000, JSON), ('["ä"]'.encode("latin-1"), JSON),
    ('["ä"]'.encode("latin-1"), f"{JSON}; charset=utf-8"),
    ('["ä"]'.encode(), f"{JSON}; charset=ascii"), (b"[]", f"{JSON}; charset=nonsense"),
    (b"[]", f"{JSON}; charset=rot13"), (b"[]", f"{JSON}; charset=hex"),
    (b"[]", f"{JSON}; charset=utf-16"), (b"\xef\xbb\xbf", JSON), (b"\0\0\0\0", JSON),
    (b"\xff\xfe\x00", JSON), (b"[]", f"{JSON}; charset=a\0b"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "kind"), BAD)
def test_what_is_no_json_is_an_error(body: bytes, kind: str) -> None:
    """One line that says where, and what came instead."""
    with pytest.raises(HttpError, match="is not JSON: ") as caught:
        answer_of(body, kind).json()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
    assert "canary" not in str(caught.value)


@given(st.binary(max_size=200), st.sampled_from([JSON, "text/plain", f"{JSON}; charset=x"]))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_no_body_raises_anything_else(body: bytes, kind: str) -> None:
    """Whatever a server sends."""
    try:
        value: Any = answer_of(body, kind).json()
    except HttpError:
        value = None
    assert value is None or isinstance(value, (str, int, float, list, dict, bool))


def test_the_options_of_json_work(http: Http, server: Server) -> None:
    """As in requests: whoever wants NaN can have it."""
    server.say(reply(body=b'{"a": 1.5, "b": NaN}', Content_Type=JSON))
    found = http.get(server.url()).json(parse_float=str, parse_constant=str)
    assert found == {"a": "1.5", "b": "NaN"}
