"""A job that reads an RSS or Atom feed and publishes its new entries."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
import sys
from calendar import timegm
from datetime import UTC, datetime
from email.utils import parsedate_tz
from importlib.util import find_spec
from typing import Any
from urllib.parse import urljoin, urlsplit

from jobs.command_reader import UnreadableError, read_apart
from py_agent import EventError, Handler, shown_url
from py_agent.settings import WebUrl

if find_spec("feedparser") is None:
    raise ImportError("jobs.feed needs: pip install 'py-agent[feeds]'")

MAX_BYTES = 5 * 1024 * 1024
MAX_IDENTIFIER = 1024  # characters; what the store takes

# Codecs of Python that are no charsets of texts: some take forever on purpose-made input.
_NO_CHARSETS = frozenset(
    "idna punycode raw-unicode-escape undefined unicode-escape utf-7".split()
)
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}  # fmt: skip; UTF-32 first, as its mark begins with that of UTF-16
_IN_HEADER = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
_IN_XML = re.compile(rb"""\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]+)""")
_BEFORE_ROOT = re.compile(r"\s+|<\?.*?\?>|<!--.*?-->", re.DOTALL)
_ROOT = re.compile(r"<([A-Za-z_][\w.:-]*)")
_UNIQUE = re.compile(r"[a-z][a-z0-9+.-]*://|tag:|urn:", re.IGNORECASE)
_REFERENCE = re.compile("&#(?:[xX]0*([0-9a-fA-F]+)|0*([0-9]+));?")

# What reads a feed, in a process of its own: a feed made for it keeps feedparser busy
# for hours in a single step, in which no other thread of the agent would go on. HTML is
# not sanitised there: that takes longest of all, and leaves the titles out.
_READER = """
import json, resource, sys
import feedparser

seconds = int(sys.argv[1])  # should nobody be left to end it
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
if sys.platform == "linux":
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
found = feedparser.parse(
    sys.stdin.buffer,
    response_headers={"content-type": "application/xml; charset=utf-8"},
    sanitize_html=False,
    resolve_relative_uris=False,
)
parts = {key: found.get(key) for key in ("version", "bozo", "feed", "entries")}
json.dump(parts, sys.stdout, default=str)
"""


def feed(
    handler: Handler,
    url: WebUrl,
    event_type: str = "feed.entry",
    *,
    headers: dict[str, str] | None = None,
    auth: Any = None,
    timeout: float = 30.0,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Publish an event for each new entry of an RSS or Atom feed, oldest first.

    The feed is fetched only if it has changed (ETag, Last-Modified). To begin with
    what comes next, register the job with `first="baseline"`.

    Publishes:
        `feed.entry`, identifier: the entry's own id if that is a URI, as Atom demands;
        an id like `123`, which another feed may have, too, follows the feed's address:
        `example.org/feed.xml 123`. An entry without an id is known by its link, one
        without both by a digest of its title, date and text.

        The data is, for example, `{"id": "tag:example.org,2026:7", "title": "News",
        "link": "https://example.org/7", "summary": "<p>It happened.</p>",
        "published": "2026-01-05T12:00:00+00:00", "updated": null, "author": "Ann",
        "categories": ["world"], "enclosures": [], "feed": "Example"}`. Dates are UTC,
        null if they cannot be read; a date without a zone counts as UTC, and a leap
        second as the second after it. The texts are the feed's own, HTML and scripts
        included: escape them before a browser sees them.

    Args:
        handler: fetches and publishes.
        url: http or https.
        event_type: the type of the events; two feeds with the same entries publish
            them twice if they have two types.
        headers: sent along.
        auth: what `requests` takes as `auth`.
        timeout: seconds to fetch it, and again to read it.
        max_bytes: of the feed at most.

    Raises:
        HttpError: it could not be had.
        ValueError: it is no feed, breaks off, or declares entities or a DTD, which is
            how an XML file attacks its reader.
    """
    auth = tuple(auth) if isinstance(auth, list) else auth
    answer = handler.http.get_if_changed(
        url, headers=headers, auth=auth, timeout=timeout, max_bytes=max_bytes
    )
    if answer is None:
        return
    answer.raise_for_status()
    where = shown_url(url)
    text = _decoded(answer.content, answer.headers.get("Content-Type", ""))
    found = _parsed(handler, text, where, _seconds(handler, timeout))
    if found["bozo"]:
        handler.log.warning("%s is not well-formed; it is read as far as it goes", where)
    title, base, address = _text(found["feed"], "title"), _bare(answer.url), _address(url)
    # A feed begins with the newest; listeners get the oldest first.
    triples = []
    for entry in reversed(found["entries"]):
        data = {**_data(entry, base), "feed": title}
        triples.append((event_type, _identifier(entry, data["link"], address), data))
    _publish(handler, where, triples)


def _publish(handler: Handler, where: str, triples: list[tuple[str, str, Any]]) -> None:
    """Publish all entries but those that the store refuses.

    Raises:
        ValueError: it refuses them all.
    """
    problems = []
    for triple in triples:
        try:
            handler.publish(*triple)
        except EventError as error:
            problems.append(str(error))
            handler.log.warning("%s: an entry is left out: %s", where, error)
    if problems and len(problems) == len(triples):
        raise ValueError(f"{where}: no entry could be published: {problems[-1]}")


# What is published of an entry


def _data(entry: Any, base: str) -> dict[str, Any]:
    links = [link for link in entry.get("links", []) if link.get("rel") == "enclosure"]
    return {
        "id": _text(entry, "id"),
        "title": _text(entry, "title"),
        "link": _absolute(base, _text(entry, "link")),
        "summary": _text(entry, "summary"),
        "published": _moment(entry, "published"),
        "updated": _moment(entry, "updated"),
        "author": _text(entry, "author"),
        "categories": [tag["term"] for tag in entry.get("tags", []) if tag.get("term")],
        "enclosures": [_absolute(base, _text(link, "href")) for link in links],
    }


def _identifier(entry: Any, link: str, address: str) -> str:
    """Return what tells an entry from all others, of other feeds, too."""
    own = _text(entry, "id")
    if own:
        name = own if _UNIQUE.match(own) else f"{address} {own}"
    elif link:
        name = link
    else:
        dated = ("title", "published", "updated", "summary")
        name = f"{address} {_digest(json.dumps([_text(entry, key) for key in dated]))}"
    return name if len(name) <= MAX_IDENTIFIER else _digest(name)


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    return value.strip() if isinstance(value, str) else ""


def _absolute(base: str, link: str) -> str:
    try:
        return urljoin(base, link) if link else ""
    except ValueError:
        return link


def _moment(entry: Any, key: str) -> str | None:
    """Return a date as ISO 8601 in UTC; None if there is none that can be read."""
    fields = entry.get(f"{key}_parsed")
    try:
        if fields is not None:
            seconds = timegm(fields)
        else:  # feedparser leaves out leap seconds and dates without a zone
            loose = parsedate_tz(_text(entry, key))
            if loose is None:
                return None
            seconds = timegm(loose[:9]) - (loose[9] or 0)
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, TypeError, IndexError, OSError):
        return None


def _address(url: str) -> str:
    """Return host and path of a feed; a query, which may hold a secret, as a digest."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    return f"{host}{parts.path}" + (f"?{_digest(parts.query)[:16]}" if parts.query else "")


def _bare(url: str) -> str:
    """Return a URL without user, password and query, to make links absolute."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# From bytes to a feed


def _parsed(handler: Handler, text: str, where: str, seconds: float) -> dict[str, Any]:
    """Return what feedparser finds in a text.

    It is given nothing of what stands before the first element, where XML has its
    declarations: no DTD, no entities, no other file.

    Raises:
        ValueError: there are such declarations, or it is no whole feed.
    """
    start = _start_of_root(text)
    begin = text[start : start + 15].lower()
    if begin.startswith(("<!doctype html", "<html")):
        raise ValueError(f"{where}: this is a web page and no feed")
    if begin.startswith("<!") and not begin.startswith("<!--"):
        raise ValueError(f"{where}: the feed declares a DTD or entities, so it is refused")
    root = _ROOT.match(text, start)
    found = _read(handler, text[start:], where, seconds) if root else {}
    if root is None or not found["version"]:
        raise ValueError(f"{where}: this is neither RSS nor Atom")
    if found["bozo"] and f"</{root[1]}" not in text:
        # Its last entry may be cut off inside, its id as well.
        raise ValueError(f"{where}: the feed breaks off before its end")
    return found


def _start_of_root(text: str) -> int:
    """Return where the first element or declaration begins."""
    start = 0
    while skipped := _BEFORE_ROOT.match(text, start):
        start = skipped.end()
    return start


def _seconds(handler: Handler, timeout: float) -> float:
    left = handler.time_left
    return timeout if left is None else max(0.0, min(timeout, left))


def _read(handler: Handler, text: str, where: str, seconds: float) -> dict[str, Any]:
    """Let a process of its own read a feed, within limits of time and memory.

    Raises:
        ValueError: it did not come to an end, or stumbled.
        StoppedError: the agent stops.
    """
    text = _REFERENCE.sub(_possible, text)
    content = f'<?xml version="1.0" encoding="utf-8"?>\n{text}'.encode("utf-8", "replace")
    try:
        arguments = ["-c", _READER, str(int(seconds) + 1)]
        return read_apart(handler, arguments, content, seconds)
    except UnreadableError as error:
        raise ValueError(f"{where}: the feed {error}") from None


def _possible(reference: re.Match[str]) -> str:
    """Return a character reference, or what stands for one that means no character.

    Some servers write an emoji as two halves; feedparser gives up the whole feed then.
    """
    digits, base = (reference[1], 16) if reference[1] else (reference[2], 10)
    number = int(digits, base) if len(digits) < 8 else 0
    exists = 0 < number <= sys.maxunicode and not 0xD800 <= number <= 0xDFFF
    return reference[0] if exists else "\ufffd"


def _decoded(body: bytes, content_type: str) -> str:
    """Return the feed's text: the byte order mark, the header, then the file decides.

    That is RFC 7303, section 3. feedparser would try what the feed names, whatever it is.
    """
    for mark, name in _MARKS.items():
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    header, declared = _IN_HEADER.search(content_type), _IN_XML.match(body)
    names = [header[1] if header else "", declared[1].decode() if declared else "", "utf-8"]
    for name in names:
        try:
            if codecs.lookup(name).name not in _NO_CHARSETS:
                return body.decode(name)
        except (LookupError, ValueError):
            continue
    return body.decode("windows-1252", "replace")
