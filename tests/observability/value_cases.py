"""Sections a4, a5, a6 and size: forms of values, heartbeats, and what harms."""

from __future__ import annotations

from collections.abc import Iterator

from .case_parts import (
    EMOJI,
    HALF,
    MAX_BYTES,
    NAMES,
    NO_DICT,
    NO_TEXT,
    OUTCOME,
    Case,
    Payload,
    field_rows,
    having,
    lacking,
    nested,
    of_size,
    outcome,
)
from .outcome_cases import ITEM_AT, item_having

MOMENTS = [
    "2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05-11:30",
    "2026-01-02T03:04:05+0530", "2026-01-02 03:04:05Z", "2026-01-02T03:04Z",
    "2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05.123456789+01:00",
    "2024-02-29T00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
]  # fmt: skip
NO_ZONE = ["2026-01-02T03:04:05", "2026-01-02 03:04", "2026-01-02T03:04:05.5"]
NO_MOMENTS: list[Payload] = [
    "", " ", "x", "2026-01-02", "2026-01-02t03:04:05Z", "2026-01-02T03:04:05z",
    "20260102T030405Z", "2026-W01-5T03:04:05Z", "2026-002T03:04Z", "2026-01-02T03:04:05,5Z",
    "2026-01-02T24:00:00Z", "2026-01-02T03:04:60Z", "2026-01-02T03:60:00Z",
    "2026-02-29T00:00Z", "2026-13-01T00:00Z", "2026-00-01T00:00Z", "0000-01-01T00:00Z",
    " 2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z ", "2026-01-02T03:04:05Z\n",
    "2026-01-02  03:04:05Z", "2026-01-02T03:04:05 Z", "2026-01-02T03:04:05.Z",
    "2026-01-02T03Z", "2026-1-2T03:04Z",
    "2026-01-02T03:04:05+25:00", "2026-01-02T03:04:05UTC",
    "\N{FULLWIDTH DIGIT TWO}026-01-02T03:04:05Z", "1767323045", 1767323045, 1767323045.5,
    True, [], {},
]  # fmt: skip
LINKS: list[Payload] = [
    "http://example.com", "https://example.com/", "ftp://example.com/a", "ftps://example.com/a",
    "HTTPS://EXAMPLE.COM/A", "http://localhost", "http://localhost:8080/a?b=c#d",
    "http://127.0.0.1", "http://10.0.0.7:8080/x", "http://[::1]/x", "http://[2001:db8::1]:80/",
    "http://a.example.com:8443/p?q=%20#f", "http://example.com?q=1", "http://xn--bcher-kva.example",
    "http://user:word@example.com/", "http://example.com/" + "x" * 5000,
    "http://example.com/\u00e9", "http://my-host.example.com/", None,
]  # fmt: skip
NO_LINKS: list[Payload] = [
    "", " ", "x", "example.com", "//example.com", "http://", "http:///x",
    "http:example.com", "s3://bucket.example.com/x", "file:///etc/x",
    "mailto:a@example.com", "javascript:alert(1)",
    "ws://example.com", "http://b\u00fccher.example/", "http://exa mple.com/",
    "http://example.com/a b", " http://example.com", "http://example.com ",
    "http://example.com/\n", "http://example.com:port/", "http://[zz]/", "http://?q=1",
    *NO_TEXT,
]  # fmt: skip


def moments_and_links() -> Iterator[Case]:
    """Yield every form of a time and a link, good and bad."""
    for event_type in ("message-log", "run-status"):
        name = "event_timestamp"
        yield from field_rows("a4", event_type, name, [*MOMENTS, *NO_ZONE], True)
        yield from field_rows("a4", event_type, name, NO_MOMENTS, False)
    yield from field_rows("a4", "message-log", "external_url", LINKS, True)
    yield from field_rows("a4", "message-log", "external_url", NO_LINKS, False)


def heartbeats() -> Iterator[Case]:
    """Yield the cases of a heartbeat."""
    kind = "heartbeat"
    for field in ("key", "tool", "version"):
        taken = ["", " ", "x", "x" * 255, "power-bi", "\N{SNOWMAN}" * 255]
        yield from field_rows("a5", kind, field, taken, True)
        yield from field_rows("a5", kind, field, ["x" * 256, None, *NO_TEXT], False)
        yield Case("a5", kind, lacking(kind, field), field)
    latest = "latest_event_timestamp"
    yield from field_rows("a5", kind, latest, [*MOMENTS, None], True)
    yield from field_rows("a5", kind, latest, NO_MOMENTS, False)
    for other in ("event_timestamp", "metadata", "external_url", "pipeline_key"):
        yield Case("a5", kind, having(kind, **{other: "x"}), other)
    for payload in NO_DICT:
        yield Case("a5", kind, payload, "_schema")


EVERY_KEY = [
    "pipeline_key",
    "dataset_key",
    "server_key",
    "stream_key",
    "run_key",
    "task_key",
]


def harmful() -> Iterator[Case]:
    """Yield what we refuse although the server answers that all is well."""
    for bad in (float("nan"), float("inf"), float("-inf")):
        for data in ({"a": bad}, {"a": [1, {"b": bad}]}):
            yield Case(
                "a6", "message-log", having("message-log", metadata=data), "metadata"
            )
            yield Case(
                "a6", "test-outcomes", outcome(metadata=data), "test_outcomes.0.metadata"
            )
    yield from field_rows("a6", "message-log", "metadata", [nested(1), nested(30)], True)
    yield from field_rows("a6", "message-log", "metadata", [nested(29, [])], True)
    deep = [nested(31), nested(30, []), nested(50), nested(5000)]
    yield from field_rows("a6", "message-log", "metadata", deep, False)
    yield Case(
        "a6", "test-outcomes", outcome(metadata=nested(31)), "test_outcomes.0.metadata"
    )
    for broken in (EMOJI, f"a{EMOJI}", HALF):
        yield from field_rows("a6", "message-log", "payload_keys", [["a"]], True)
        payload = having("message-log", payload_keys=[broken])
        yield Case("a6", "message-log", payload, "payload_keys.0")
        for field in (*EVERY_KEY, *NAMES, "run_name"):
            yield Case("a6", "message-log", having("message-log", **{field: broken}), field)
        yield from field_rows("a6", "metric-log", "metric_key", [broken], False)
        for field in ("key", "tool", "version"):
            yield from field_rows("a6", "heartbeat", field, [broken], False)
        for field in ("name", "key", "metric_name"):
            at = f"test_outcomes.0.{field}"
            yield Case("a6", "test-outcomes", outcome(**{field: broken}), at)
    yield from field_rows("a6", "message-log", "message", [HALF], False)
    yield from field_rows("a6", "message-log", "metadata", [{"a": HALF}, {HALF: 1}], False)
    at = f"{ITEM_AT}.test_parameters"
    yield Case("a6", "test-outcomes", item_having(test_parameters=None), at)
    endless = item_having(test_parameters=[{"name": "a", "value": "1e400"}])
    yield Case("a6", "test-outcomes", endless, f"{at}.0.value")


def sizes() -> Iterator[Case]:
    """Yield events around the size of a body that the server reads."""
    yield Case("size", "message-log", of_size(MAX_BYTES - 1), None)
    yield Case("size", "message-log", of_size(MAX_BYTES), None)
    yield Case("size", "message-log", of_size(MAX_BYTES + 1), "_schema")
    wide = having("message-log", message="\N{SNOWMAN}" * (MAX_BYTES // 3))
    yield Case("size", "message-log", wide, "_schema")
    yield Case(
        "size",
        "message-log",
        having("message-log", metadata={"a": "x" * MAX_BYTES}),
        "_schema",
    )
    big = having(
        "test-outcomes", test_outcomes=[{**OUTCOME, "description": "x" * 300}] * 500
    )
    yield Case("size", "test-outcomes", big, "_schema")
