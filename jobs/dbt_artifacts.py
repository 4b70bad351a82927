"""What dbt leaves behind of an invocation: `run_results.json` and `manifest.json`.

Read as versions 4 to 6 and 7 to 12 of these files have it, and with doubt: a field that
is missing or not what it should be costs no more than itself.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from py_agent.observability import safe_key

MOST = 255  # characters of a text in metadata
MOST_WORDS = 20  # of different statuses that a run's metadata counts

# dbt.artifacts.schemas.results in dbt-core; `reused` is what dbt Fusion adds.
FAILED = ("error", "fail", "runtime error")
WARNED = ("warn", "skipped", "partial success")
_TASKS = dict.fromkeys(("success", "pass", "no-op", "reused"), "COMPLETED")
_TASKS |= dict.fromkeys(WARNED, "COMPLETED_WITH_WARNINGS")
_TASKS |= dict.fromkeys(FAILED, "FAILED")
_TESTS = {"pass": "PASSED", "warn": "WARNING", "skipped": "WARNING"}
_TESTS |= dict.fromkeys(FAILED, "FAILED")
_TEST_KINDS = ("test", "unit_test")
_TABLES = ("nodes", "unit_tests", "exposures", "saved_queries", "functions", "sources")


@dataclass(frozen=True)
class Node:
    """What became of a node: a task, or a test."""

    key: str
    kind: str
    name: str
    word: str  # dbt's own status
    message: str
    result: Mapping[str, Any]
    named: Mapping[str, Any]  # what the manifest knows of it
    begun: datetime
    ended: datetime

    @property
    def is_test(self) -> bool:
        """Whether it has an outcome instead of a status."""
        return self.kind in _TEST_KINDS

    @property
    def status(self) -> str | None:
        """Its status or outcome in Observability's words; None if dbt's is unknown."""
        return (_TESTS if self.is_test else _TASKS).get(self.word)


@dataclass(frozen=True)
class Invocation:
    """What is known of one invocation of dbt."""

    nodes: list[Node]
    begun: datetime
    ended: datetime
    about: dict[str, Any]
    left_out: list[str]

    @property
    def unknown(self) -> Counter[str]:
        """How often dbt has statuses that are not known here."""
        return Counter(node.word[:MOST] for node in self.nodes if node.status is None)

    @property
    def status(self) -> str:
        """How the run ended; what is not known has no part in it."""
        words = {node.word for node in self.nodes if node.status}
        if words.intersection(FAILED):
            return "FAILED"
        return "COMPLETED_WITH_WARNINGS" if words.intersection(WARNED) else "COMPLETED"


# The files


class File(NamedTuple):
    """A file as it was when it was read."""

    stamp: list[int]  # what tells one state of the file from another
    content: dict[str, Any]  # empty for what is no JSON object, or not a whole one


def read(file: Path, known: Any = None) -> File | None:
    """Return what a file holds; None if there is none, or it is as it was."""
    try:
        with file.open("rb") as opened:
            # Before it is read: what is written meanwhile gives it another stamp.
            status = os.fstat(opened.fileno())
            stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
            if stamp == known:
                return None
            text = opened.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return File(stamp, dict_of(json.loads(text, parse_constant=lambda _: None)))
    except (ValueError, RecursionError):
        return File(stamp, {})


def run_key(content: Mapping[str, Any]) -> str | None:
    """Return what tells the invocation from others, if this is what dbt writes."""
    about = dict_of(content.get("metadata"))
    key = text_of(about.get("invocation_id")) or text_of(about.get("generated_at"))
    return key if key and isinstance(content.get("results"), list) else None


def command_of(content: Mapping[str, Any]) -> str:
    """Return the command that was given, as `build`."""
    return text_of(dict_of(content.get("args")).get("which"))


def project_of(manifest: Mapping[str, Any]) -> str:
    """Return the project's name; manifests before version 12 may have none."""
    return text_of(dict_of(manifest.get("metadata")).get("project_name"))


def must_wait(manifest: File, content: Mapping[str, Any]) -> bool:
    """Return whether a manifest is half-written, or that of a later invocation.

    An older one is as good as it gets: dbt keeps it when it has parsed nothing anew.
    """
    ours, its = (dict_of(each.get("metadata")) for each in (content, manifest.content))
    same = its.get("invocation_id") in (None, ours.get("invocation_id"))
    made, written = _moment(its.get("generated_at")), _moment(ours.get("generated_at"))
    is_older = made is not None and written is not None and made <= written
    return not manifest.content or not (same or is_older)


def invocation_of(
    content: Mapping[str, Any], names: Mapping[str, Any], now: datetime
) -> Invocation:
    """Return what the two files say; what one of them lacks costs no more than itself."""
    results = [dict_of(each) for each in content["results"]]
    keyed = {key: each for each in results if (key := text_of(each.get("unique_id")))}
    nameless = sum(not text_of(each.get("unique_id")) for each in results)
    begun, ended = _times(content, results, now)
    known: dict[str, Any] = {}
    for table in _TABLES:
        known |= dict_of(names.get(table))
    nodes = [
        _node(key, each, dict_of(known.get(key)), begun, ended)
        for key, each in keyed.items()
    ]
    metadata, args = dict_of(content.get("metadata")), dict_of(content.get("args"))
    about = few_of(metadata, ("dbt_version",)) | few_of(args, ("which", "target"))
    about |= few_of(content, ("elapsed_time",))
    about["results"] = dict(Counter(n.word[:MOST] for n in nodes).most_common(MOST_WORDS))
    return Invocation(nodes, begun, ended, about, ["a result has no unique_id"] * nameless)


def _node(
    key: str,
    result: Mapping[str, Any],
    named: Mapping[str, Any],
    start: datetime,
    end: datetime,
) -> Node:
    kind, _, rest = key.partition(".")
    rest = rest.partition(".")[2]
    # The last part of a test's unique id is a digest.
    own = rest.rpartition(".")[0] if kind == "test" and "." in rest else rest
    name = safe_key((text_of(named.get("name")) or own or key)[:MOST])
    word, message = text_of(result.get("status")).lower(), text_of(result.get("message"))
    begun, ended = _span(result, start, end)
    return Node(key, kind, name, word or "none", message, result, named, begun, ended)


# Times


def _moments(results: Iterable[Mapping[str, Any]], which: str) -> list[datetime]:
    steps = [dict_of(step) for each in results for step in _list(each.get("timing"))]
    return [at for step in steps if (at := _moment(step.get(which)))]


def _times(
    content: Mapping[str, Any], results: list[dict[str, Any]], now: datetime
) -> tuple[datetime, datetime]:
    """Return when the run began and ended, as far as can be known."""
    about = dict_of(content.get("metadata"))
    starts = _moments(results, "started_at")
    ends = [*starts, *_moments(results, "completed_at")]
    written = _moment(about.get("generated_at"))
    ended = max([*ends, *([written] if written else [])], default=now)
    if starts:
        return min(starts), ended
    begun = _moment(about.get("invocation_started_at")) or ended - _seconds(content)
    return min(begun, ended), ended


def _span(
    result: Mapping[str, Any], start: datetime, end: datetime
) -> tuple[datetime, datetime]:
    """Return when a node began and ended; what did not run did so at the run's end."""
    begun = min(_moments([result], "started_at"), default=None)
    ended = max(_moments([result], "completed_at"), default=None)
    if begun is None:
        ended = ended or end
        return ended - min(_seconds(result), max(ended - start, timedelta())), ended
    return begun, max(begun, ended or begun + min(_seconds(result), end - begun))


def _seconds(source: Mapping[str, Any]) -> timedelta:
    name = "execution_time" if "execution_time" in source else "elapsed_time"
    return timedelta(seconds=min(max(number_of(source.get(name)) or 0, 0), 31_536_000))


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # dbt writes UTC


# Values that may be anything


def dict_of(value: Any) -> dict[str, Any]:
    """Return an object as it is, and an empty one for what is none."""
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def text_of(value: Any) -> str:
    """Return a text without halves of characters, which cannot be sent."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def number_of(value: Any) -> float | None:
    """Return a number, which some databases write as text."""
    try:
        number = None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if number is None or not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else number


def few_of(source: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return some fields: a whole node of a manifest may be larger than an event."""
    found = {name: source.get(name) for name in names}
    texts = {name: text_of(value)[:MOST] for name, value in found.items() if text_of(value)}
    numbers = {
        name: number
        for name, value in found.items()
        if not isinstance(value, str) and (number := number_of(value)) is not None
    }
    return {**texts, **numbers}
