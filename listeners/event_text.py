"""Texts in which words such as `$data.title` stand for what an event says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from string import Template
from typing import Annotated, Any

from pydantic import AfterValidator

from py_agent import Event, at_path

WORDS = ("event_type", "identifier", "created", "source", "data")

_NOTHING = object()  # stands where the data has nothing


class _Text(Template):
    """A text with words and paths: names with dots between them."""

    idpattern = r"(?a:[a-z_][a-z0-9_]*(?:\.[a-z0-9_]+)*)"


def checked(text: str) -> str:
    """Return a text whose words are those that an event has.

    Raises:
        ValueError: it names what no event has.
    """
    for path in _Text(text).get_identifiers():
        word, *steps = path.split(".")
        if word not in WORDS or (steps and word != "data"):
            raise ValueError(
                f"it has ${path}, which no event has; there are {', '.join(WORDS)} and "
                f"data.path.to.value, and $$ is a dollar sign"
            )
    return text


EventText = Annotated[str, AfterValidator(checked)]  # an argument, checked at the start


def said_in(text: str, event: Event) -> dict[str, str]:
    """Return what an event says for the words of a text, without those it has nothing for.

    Args:
        text: the text, with words as `$event_type`, `$data` and `$data.items.0.name`.
        event: the event.

    Raises:
        ValueError: the text names what no event has.
    """
    said: dict[str, str] = {}
    for path in _Text(checked(text)).get_identifiers():
        word, *steps = path.split(".")
        found = at_path(getattr(event, word), ".".join(steps), _NOTHING)
        if found is not _NOTHING:
            said[path] = _written(found)
    return said


def filled(text: str, said: Mapping[str, str]) -> str:
    """Return a text with its words replaced; one for which nothing is said stays.

    Args:
        text: the text.
        said: what stands for a word.
    """
    return _Text(text).safe_substitute(said)


def _written(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return json.dumps(value, ensure_ascii=False)
