"""Texts of tasks: templates, filled with what events say and what is no Markdown."""

from __future__ import annotations

import json
import re
from string import Template
from typing import Any

from py_agent import Event, Pause, at_path

HOUR = 3600.0  # seconds until a paused listener looks whether it was mended
WORDS = ("event_type", "identifier", "created", "source", "data")

_NOTHING = object()  # stands where the data has nothing
_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_ROUND = str.maketrans("[]", "()")
_ENCODED = {
    ord(each): f"%{ord(each):02X}" for each in "\"'()<>[\\]`{|}^"
}  # fmt: skip; what could end a link in Markdown


class _Text(Template):
    """A text with words and paths: names with dots between them."""

    idpattern = r"(?a:[a-z_][a-z0-9_]*(?:\.[a-z0-9_]+)*)"


def filled(text: str, event: Event, most: int) -> str:
    """Return a text with its words replaced by what the event says.

    Args:
        text: the text; see `listeners.todoist.add_task`.
        event: the event.
        most: characters; if there are more, the longest of what the event says is cut,
            so that a link stays whole.

    Raises:
        Pause: it names what no event has.
    """
    template = _Text(text)
    said: dict[str, str] = {}
    for path in template.get_identifiers():
        word, *steps = path.split(".")
        if word not in WORDS or (steps and word != "data"):
            raise Pause(
                f"the text of a task has ${path}, which no event has; there are "
                f"{', '.join(WORDS)} and data.path.to.value, and $$ is a dollar sign",
                after=HOUR,
            )
        found = at_path(getattr(event, word), ".".join(steps), _NOTHING)
        if found is not _NOTHING:
            said[path] = plain(_written(found))
    whole = template.safe_substitute(said)
    words = [path for path in said if not _URL.fullmatch(said[path])]
    if len(whole) > most and words:
        path = max(words, key=lambda each: len(said[each]))
        left = len(said[path]) - (len(whole) - most)
        whole = template.safe_substitute(said | {path: shortened(said[path], max(1, left))})
    return shortened(whole, most)


def plain(text: str) -> str:
    """Return a text from elsewhere as it may stand in Markdown.

    It makes no link that leads elsewhere than it says: brackets become round, and
    characters that nobody sees, or that turn the direction of writing, are left out. A
    URL stays one, and cannot end the link that it is put into.
    """
    if _URL.fullmatch(text):
        text = text.translate(_ENCODED)
    seen = "".join(
        each if each.isprintable() or each == "\n" else " " if each.isspace() else ""
        for each in text
    )
    # At the begin of a task, an asterisk means that it cannot be completed.
    return re.sub(r"\A\s*\*\s+", "", seen.translate(_ROUND).rstrip("\\"))


def is_url(text: str) -> bool:
    """Return whether a text is an address of the web, and nothing else."""
    return _URL.fullmatch(text) is not None


def shortened(text: str, most: int) -> str:
    """Return a text that is no longer than allowed."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _written(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return json.dumps(value, ensure_ascii=False)
