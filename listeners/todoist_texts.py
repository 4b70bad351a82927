"""Texts of tasks: templates, filled with what events say and what is no Markdown."""

from __future__ import annotations

import re

from listeners import event_text
from listeners.event_text import said_in
from py_agent import Event, Pause

HOUR = 3600.0  # seconds until a paused listener looks whether it was mended

_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_ROUND = str.maketrans("[]", "()")
_ENCODED = {
    ord(each): f"%{ord(each):02X}" for each in "\"'()<>[\\]`{|}^"
}  # fmt: skip; what could end a link in Markdown


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
    try:
        said = {path: plain(each) for path, each in said_in(text, event).items()}
    except ValueError as error:
        raise Pause(f"the text of a task: {error}", after=HOUR) from None
    whole = event_text.filled(text, said)
    words = [path for path in said if not _URL.fullmatch(said[path])]
    if len(whole) > most and words:
        path = max(words, key=lambda each: len(said[each]))
        left = len(said[path]) - (len(whole) - most)
        whole = event_text.filled(text, said | {path: shortened(said[path], max(1, left))})
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
