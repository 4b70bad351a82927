"""Reads the article in a web page, in a process of its own.

A page made for it keeps lxml and what stands on it busy for minutes in a single step, in
which no other thread of the agent would go on, or takes all memory: one element with
50,000 attributes takes a minute, and twice as many more than four. So the process has
limits, and its end is no harm.
"""

from __future__ import annotations

import codecs
import json
import re
import resource
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:  # this file is also run by itself, without any of this
    from py_agent import Handler

MEMORY = 1 << 30  # bytes
MAX_TEXT = 150_000  # characters; at four bytes each, an event still holds them
MAX_LINE = 500  # characters of a title, a name and the like
MAX_SUMMARY = 600  # characters
LEAST_WORDS = 20  # fewer are a message or a form, and no article

_IN_HEADER = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
_IN_PAGE = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]+)""", re.I)
_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_NOT_OF_THE_WEB = frozenset(
    "utf-7 unicode-escape raw-unicode-escape idna punycode mbcs oem palmos".split()
)
_LOCKED = re.compile(r'"isAccessibleForFree"\s*:\s*"?false\b', re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?\u2026\u3002\uff01\uff1f])\s+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")


class NoArticle(Exception):
    """The page has none that could be read.

    Args:
        reason: why, on one line.
    """


def article_in(
    handler: Handler, body: bytes, content_type: str, url: str, seconds: float
) -> dict[str, Any]:
    """Return the article in a page.

    Args:
        handler: knows when the agent stops.
        body: the page.
        content_type: what its server calls it, with the charset.
        url: where it was found.
        seconds: how long reading it may take.

    Returns:
        title, author, published, site, language, text, truncated, words, summary and
        paywall, in the words of `jobs.reading_list`.

    Raises:
        NoArticle: there is none, or reading it takes too much time or memory.
        StoppedError: the agent stops.
    """
    from jobs.command_reader import UnreadableError, read_apart

    header = _IN_HEADER.search(content_type)
    charset = header[1] if header else ""
    about = {"url": url, "charset": charset, "seconds": seconds, "memory": MEMORY}
    try:
        content = json.dumps(about).encode() + b"\n" + body
        found = read_apart(handler, ["-W", "ignore", __file__], content, seconds)
    except UnreadableError as error:
        raise NoArticle(f"it {error}") from None
    if "reason" in found:
        raise NoArticle(found["reason"])
    return found


def as_published(found: dict[str, Any], url: str) -> dict[str, Any]:
    """Return what is published of what was found in a page.

    Args:
        found: its parts, each a text or None.
        url: of the page; its host stands for a site without a name.

    Raises:
        NoArticle: there is no text worth keeping.
    """
    text = (found.get("text") or "").strip()
    words = len(text.split())
    # Chinese and its like have no spaces; two characters count as a word there.
    if max(words, len(text) // 12) < LEAST_WORDS:
        raise NoArticle(f"there is no article in it, only {words} words")
    host = urlsplit(url).hostname or ""
    date, language = found.get("date") or "", found.get("language") or ""
    title = line_of(found.get("title")) or line_of(text)[:80]
    text = text.removeprefix(f"{title}\n").lstrip()
    return {
        "title": title,
        "author": line_of(found.get("author")),
        "published": date if _DATE.fullmatch(date) else None,
        "site": line_of(found.get("site")) or host,
        "language": language if _LANGUAGE.fullmatch(language) else "",
        "summary": summary_of(found.get("description"), text),
        "text": text[:MAX_TEXT],
        "truncated": len(text) > MAX_TEXT,
        "words": words,
        "paywall": bool(found.get("paywall")),
    }


def summary_of(description: str | None, text: str) -> str:
    """Return what the page says of itself, else the first sentences of its text.

    Args:
        description: of the page, if it has one.
        text: of the article.
    """
    said = " ".join((description or "")[: MAX_SUMMARY * 4].split())
    if len(said) >= LEAST_WORDS:
        return _cut(said)
    begin = " ".join(text[: MAX_SUMMARY * 4].split())
    summary = ""
    for sentence in _SENTENCE.split(begin):
        longer = f"{summary} {sentence}".strip()
        if summary and len(longer) > MAX_SUMMARY // 2:
            break
        summary = longer
    return _cut(summary)


def _cut(text: str) -> str:
    """Return a text that is not too long, cut between two words."""
    if len(text) <= MAX_SUMMARY:
        return text
    return text[:MAX_SUMMARY].rpartition(" ")[0].rstrip(" ,;:") + "\u2026"


def line_of(text: str | None) -> str:
    """Return a text as one line that is not too long."""
    return " ".join((text or "")[: MAX_LINE * 4].split())[:MAX_LINE].strip()


# What happens in the other process


def _decoded(body: bytes, charset: str) -> str:
    """Return the text of a page: its mark, its server, itself, or a guess decides.

    A page of which a few bytes are damaged stays in its charset.
    """
    for mark, name in _MARKS.items():
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    declared = _IN_PAGE.search(body[:4096])
    said = (charset, declared[1].decode() if declared else "", "utf-8")
    known = [each for each in map(_of_the_web, said) if each]
    for each in known:
        try:
            return body.decode(each)
        except ValueError:
            continue
    for each in known:
        text = body.decode(each, "replace")
        if 2 * text.count("\ufffd") <= sum(one > "\x7f" for one in text):
            return text
    return body.decode("windows-1252", "replace")


def _of_the_web(charset: str) -> str | None:
    """Return Python's name of a charset; None if no browser reads pages in it.

    Python knows more: in `unicode_escape`, UTF-7 and the like a page would be another
    text than the one that people see.
    """
    try:
        name = codecs.lookup(charset).name
        "".encode(name)  # what makes no text of bytes, as base64, is refused here
    except (LookupError, ValueError):
        return None
    if name in _NOT_OF_THE_WEB:
        return None
    return "cp1252" if name in ("ascii", "iso8859-1") else name


def _found(text: str, url: str) -> dict[str, Any]:
    """Return what trafilatura finds in a page.

    Dates are taken where a page declares one, and never guessed from its text.
    """
    from trafilatura import bare_extraction, load_html

    tree = load_html(text)
    if tree is None:
        return {}
    language = (tree.get("lang") or "").strip()
    found = bare_extraction(
        tree,
        url=url,
        with_metadata=True,
        include_comments=False,
        date_extraction_params={"extensive_search": False, "original_date": True},
    )
    if found is None:
        return {}
    values = found if isinstance(found, dict) else found.as_dict()
    parts = {key: values.get(key) for key in ("title", "author", "date", "description")}
    parts |= {"site": values.get("sitename"), "text": values.get("text")}
    return {**parts, "language": language, "paywall": bool(_LOCKED.search(text))}


def main() -> None:
    """Read a page from stdin and write what is in it to stdout, within limits."""
    about = json.loads(sys.stdin.buffer.readline())
    seconds = int(about["seconds"]) + 1
    # Should nobody be left to end it.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (about["memory"], about["memory"]))
    text = _decoded(sys.stdin.buffer.read(), about["charset"])
    text = text.encode("utf-8", "replace").decode()  # half a pair is no character
    try:
        found = as_published(_found(text, about["url"]), about["url"])
    except NoArticle as error:
        found = {"reason": str(error)}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
