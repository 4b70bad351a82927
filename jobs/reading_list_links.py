"""Where the links of a reading list come from, and the one spelling that each has."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_plus, urlsplit, urlunsplit

from jobs.todoist_account import WHERE, Known, TodoistSettings, listed, place
from py_agent import Handler, HttpError, at_path

MAX_IDENTIFIER = 1024  # characters; what the store takes
MAX_LINK = 4_000  # characters; a longer one is refused by most servers
MAX_FILE = 5 * 1024 * 1024  # bytes of a file of links
MAX_TAGS = 50
UNREADABLE = "\ufffd"  # what stands for bytes that are no text

# It ends where the next one begins, if something stands between them that may end it.
_LINK = re.compile(
    r"https?://(?:(?![,;(]{1,4}https?://)[^\s<>\[\]{}|\\^`\"\x00-\x20\x7f])+", re.IGNORECASE
)
_AFTER = ".,;:!?'*_~)\u2026\u201d\u2019"  # stands after a link more often than in it
_COMMENT = re.compile(r"(?:^|\s)#.*")
_USER = re.compile(r"(https?://)[^/?#\s@]+@", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
# Written out here and not a library's, as a link must have one identifier for ever.
_TRACKING = re.compile(
    r"utm_.*|mtm_.*|pk_(campaign|kwd|source|medium|content)|hsa_.*|_hs(enc|mi)|mc_[ce]id"
    r"|fbclid|gclid|gclsrc|dclid|gbraid|wbraid|msclkid|twclid|ttclid|yclid|igshid|igsh"
    r"|vero_id|oly_(anon|enc)_id|mkt_tok|ref_src|_ga|_gl|wt_mc|srsltid",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Found:
    """A link and where it was found.

    Args:
        url: in its normal form.
        task: the task of Todoist, as published.
        tags: its labels.
    """

    url: str
    task: dict[str, Any] | None = None
    tags: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What tells it from all other links."""
        return self.url if len(self.url) <= MAX_IDENTIFIER else digest(self.url)

    @property
    def host(self) -> str:
        """Its host."""
        return urlsplit(self.url).netloc


def of_file(handler: Handler, file: Path) -> Iterator[Found]:
    """Yield the links in a text file.

    Args:
        handler: warns of lines without one.
        file: the file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large to be a list of links.
    """
    content = _content(file)
    if len(content) > MAX_FILE:
        raise ValueError(f"{file} has more than {MAX_FILE:,} bytes; is it a list of links?")
    for number, line in enumerate(_decoded(content).splitlines(), 1):
        said = _COMMENT.sub("", line).strip()
        if UNREADABLE in said:
            text = "%s, line %d is left out, as it is not UTF-8; save the file as UTF-8"
            handler.log.warning(text, file, number)
            continue
        links = links_in(said)
        if said and not links:
            handler.log.warning("%s, line %d: there is no usable link", file, number)
        yield from map(Found, links)


def _content(file: Path) -> bytes:
    """Return what a file holds, up to a byte too much.

    Raises:
        OSError: it cannot be read; the message says what to do.
    """
    try:
        with file.open("rb") as lines:
            return lines.read(MAX_FILE + 1)
    except FileNotFoundError:
        said = "there is no file {}; make it, with one link per line, or name another"
        why: OSError = FileNotFoundError(said.format(file.absolute()))
    except OSError as error:
        why = type(error)(f"{file.absolute()} cannot be read: {error.strerror}")
    raise why


def _decoded(content: bytes) -> str:
    """Return the text of a file; an editor that writes UTF-16 begins it with a mark."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    return content.decode("utf-8-sig", "replace")


def of_project(
    handler: Handler, settings: TodoistSettings, project: str
) -> Iterator[Found]:
    """Yield the links in the open tasks of a project of Todoist.

    Args:
        handler: fetches.
        settings: the account.
        project: its name or id.

    Raises:
        HttpError: the tasks cannot be had.
        ValueError: there is no such project, or there are several.
    """
    try:
        found = place(handler, settings, "project", project)
        tasks = [*listed(handler, settings, "tasks", project_id=found)]
    except HttpError as error:
        if error.status in (400, 404):
            handler.shared(Known).forget()  # it may be gone, or made anew
        if error.status in (401, 403):
            said = f"{error}; Todoist refuses the token: {WHERE}"
            raise HttpError(said, error.status) from None
        raise
    for task in tasks:
        texts = [at_path(task, "content"), at_path(task, "description")]
        labels = at_path(task, "labels")
        about = {
            "id": _short(at_path(task, "id", "")),
            "project_id": _short(at_path(task, "project_id", found)),
            "content": _short(_USER.sub(r"\1***@", str(at_path(task, "content", ""))), 500),
        }
        labels = labels[:MAX_TAGS] if isinstance(labels, list) else []
        tags = [_short(each) for each in labels]
        for text in texts:
            for link in links_in(text) if isinstance(text, str) else ():
                yield Found(link, about, tags)


def _short(value: Any, most: int = 100) -> str:
    """Return a text of Todoist as an event can hold it."""
    return str(value)[:most].encode("utf-8", "replace").decode()


def links_in(text: str) -> list[str]:
    """Return the links in a text, be it Markdown, in their normal form.

    Args:
        text: what a person wrote.
    """
    text = text.replace("&amp;", "&")  # as in what was copied from the text of a page
    found = [normal(_trimmed(each)) for each in _LINK.findall(text)]
    return list(dict.fromkeys(link for link in found if link is not None))


def _trimmed(link: str) -> str:
    """Return a link without what follows it in a sentence."""
    while link and link[-1] in _AFTER:
        if link[-1] == ")" and link.count("(") >= link.count(")"):
            break
        link = link[:-1]
    return link


def normal(link: str) -> str | None:
    """Return the one spelling of a link.

    Fragment, tracking parameters, the port that goes without saying and capitals in the
    host are left out; what is no ASCII is escaped.

    Args:
        link: http or https.

    Returns:
        None if it is no link that can be followed, or has a user or password in it,
        which would become known to every listener.
    """
    if len(link) > MAX_LINK:
        return None
    try:
        parts = urlsplit(link.strip())
        host, port = (parts.hostname or "")[:300], parts.port
        host = host if ":" in host else host.encode("idna").decode()
    except (ValueError, UnicodeError):
        return None
    if parts.scheme not in _PORTS or not host.strip(".") or "@" in parts.netloc:
        return None
    place = f"[{host}]" if ":" in host else host
    if port not in (None, _PORTS[parts.scheme]):
        place = f"{place}:{port}"
    return urlunsplit(
        (parts.scheme, place, _escaped(parts.path) or "/", _untracked(parts.query), "")
    )


def _untracked(query: str) -> str:
    """Return a query without the parameters that only track its readers."""
    kept = [
        each
        for each in query.split("&")
        if not _TRACKING.fullmatch(unquote_plus(each.partition("=")[0]))
    ]
    return _escaped("&".join(kept))


def _escaped(text: str) -> str:
    return quote(text, safe="/%:@!$&'()*+,;=~-._?[]", errors="replace")


def digest(text: str) -> str:
    """Return what stands for a text that is too long."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
