"""A listener that writes each article as a Markdown file of its own."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from listeners.whole_file import replacing, unwritable
from py_agent import Discard, Event, at_path, listen_for

MAX_SLUG = 80  # bytes of a title in a file name; a name may have 255, or 143 if encrypted
MAX_WORD = 300  # characters of a value in the front matter

# YAML has no place for these in a text, or takes them for the end of a line.
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]"
)
# With a meaning in Markdown (CommonMark, GitHub, Obsidian) or in what makes sites of it.
_MARKS = re.compile(r"[\\`*_\[\]#|{}$^]|~(?=~)|(?<=~)~|=(?==)|(?<==)=|%(?=%)|(?<=%)%")
_IN_LINK = "/%:@!$&'()*+,;=~-._?#[]"
_BEGINNING = re.compile(r"^([-+=~]|\d{1,9}(?=[.)]))")


@listen_for({"event_type": ("==", "archive_article")})
def archive_markdown(event: Event, folder: Path, tags: Sequence[str] = ()) -> None:
    """Write an article as one Markdown file, with its data as front matter.

    The file is called by the day on which the article was published here, its title and
    a digest of its identifier: `2026-01-05-all-about-tea-3f1c9a0b2d4e.md`. It is the same
    on every attempt; it is there as a whole or not at all; and an article that is
    written again, even with another title, replaces its own file and no other. A file
    that you removed stays removed, one that you changed stays changed, as long as nobody
    sends the event again.

    The front matter is YAML; each value is in quotes. The texts are the web's: they are
    escaped, so that neither HTML nor Markdown in them means anything.

    Args:
        event: `archive_article` of `jobs.reading_list`, or any event whose data has a
            `text` and a `title`; `url`, `author`, `site`, `published`, `language`,
            `summary` and `tags` are used if they are there.
        folder: where; it is made if there is none.
        tags: for all articles, before those of the article.

    Raises:
        Discard: the event has no text.
        Pause: the folder cannot be written to; it is tried again after a minute.
        Retry: this one file cannot be written.
    """
    if not _said(event, "text"):
        raise Discard(f"{event.event_type} has no text that could be archived")
    content = _document(event, tags).encode("utf-8", "replace")
    file = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _own_file(folder, event)
        with replacing(file) as draft:
            draft.write(content)
    except OSError as error:
        raise unwritable(error, file) from error


def _own_file(folder: Path, event: Event) -> Path:
    """Return the article's file: the one that it has, else the one that it will have."""
    digest = hashlib.sha256(json.dumps([event.event_type, event.identifier]).encode())
    ending = f"-{digest.hexdigest()[:12]}.md"
    named = (each for each in folder.iterdir() if each.name.endswith(ending))
    known = sorted(each for each in named if re.match(r"\d{4}-\d\d-\d\d-", each.name))
    name = f"{event.created:%Y-%m-%d}-{slug(_said(event, 'title'))}{ending}"
    return known[0] if known else folder / name


def slug(title: str) -> str:
    """Return a title as a part of a file name: letters and digits of any script, and -.

    Args:
        title: any text.
    """
    text = unicodedata.normalize("NFC", title[: MAX_SLUG * 4].casefold())
    kept = "".join(each if unicodedata.category(each)[0] in "LNM" else "-" for each in text)
    short = re.sub("-+", "-", kept).strip("-").encode()[:MAX_SLUG].decode(errors="ignore")
    return short.strip("-") or "untitled"


# What is in the file


def _document(event: Event, tags: Sequence[str]) -> str:
    title, url = _said(event, "title") or "Untitled", _said(event, "url")
    parts = [_front_matter(event, title, tags), f"# {plain(title)}"]
    if url.startswith(("http://", "https://")):
        parts.append(f"<{quote(url, safe=_IN_LINK)}>")
    if summary := plain(_said(event, "summary")):
        parts.append(f"> {summary}")
    lines = _CONTROL.sub("", _said(event, "text")).splitlines()
    parts += [text for line in lines if (text := plain(line))]
    return "\n\n".join(parts) + "\n"


def _front_matter(event: Event, title: str, tags: Sequence[str]) -> str:
    values: dict[str, Any] = {"title": title}
    for key in ("url", "author", "site", "published", "language"):
        values[key] = _said(event, key)
    values["archived"] = event.created.isoformat()
    found = at_path(event.data, "tags")
    own = found if isinstance(found, list) else []
    texts = [each for each in own if isinstance(each, str)]
    values["tags"] = list(dict.fromkeys([*tags, *texts]))
    lines = [f"{key}: {_yaml(value)}" for key, value in values.items() if value]
    return "\n".join(["---", *lines, "---"])


def _yaml(value: str | list[str]) -> str:
    """Return a value in quotes: JSON, which is YAML but for a few characters."""
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    most = None if value.startswith("http") else MAX_WORD
    text = json.dumps(value[:most], ensure_ascii=False)
    return _NOT_IN_YAML.sub(lambda each: f"\\u{ord(each[0]):04x}", text)


def plain(text: str) -> str:
    """Return a text as one line of Markdown that shows just this text.

    Args:
        text: any text.
    """
    line = " ".join(_CONTROL.sub(" ", text).split())
    marked = _MARKS.sub(lambda each: f"\\{each[0]}", line)
    # Where a digit begins a list, its dot is escaped.
    first = _BEGINNING.match(marked)
    if first and first[1].isdigit():
        marked = f"{first[1]}\\{marked[first.end() :]}"
    elif first:
        marked = f"\\{marked}"
    return escape(marked, quote=False)


def _said(event: Event, key: str) -> str:
    found = at_path(event.data, key)
    return found.strip() if isinstance(found, str) else ""
