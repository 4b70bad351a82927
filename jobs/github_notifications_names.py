"""Who is named in comments of GitHub, and in its lists of teams."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from py_agent import at_path

MORE = "*"  # stands for teams above mine that the list does not have; no team's name

_LETTER = r"[A-Za-z0-9_/`]"  # before an @ it makes the @ part of something else
_FENCE = re.compile(r"([ >]{0,20})(?:[-*+] +)?(`{3,}(?=[^`]*$)|~{3,})(.*)")


def mentions(body: str, login: str) -> bool:
    """Return whether a text has somebody's name after an @; code does not count."""
    pattern = rf"(?<!{_LETTER}){re.escape('@' + login)}(?![A-Za-z0-9_/-])"
    return re.search(pattern, prose(body), re.IGNORECASE) is not None


def teams_in(body: str, owner: str) -> set[str]:
    """Return the teams of an owner that a text has after an @, as `owner/slug`."""
    name = rf"({re.escape(owner)}/[\w.-]*\w)"
    found = re.findall(rf"(?<!{_LETTER})@{name}", prose(body), re.IGNORECASE)
    return {each.lower() for each in found}


def teams_of(items: Iterable[Any]) -> set[str]:
    """Return the teams of an answer as `owner/slug`, in lower case.

    Who belongs to a team belongs to those above it, too. GitHub tells the next one; that
    there may be more is told by the name `MORE`.
    """
    found, above = set[str](), set[str]()
    for each in items:
        owner = text_at(each, "organization.login").lower()
        slug, parent = (text_at(each, path).lower() for path in ("slug", "parent.slug"))
        found |= {f"{owner}/{slug}"} if owner and slug else set()
        above |= {f"{owner}/{parent}"} if owner and parent else set()
    more = {f"{each.partition('/')[0]}/{MORE}" for each in above - found}
    return found | above | more


def prose(body: str) -> str:
    """Return a text in Markdown without its code: there an @ names nobody."""
    blocks = re.split(r"\n\s*\n", "\n".join(_lines(body)))
    return "\n\n".join(_without_spans(block) for block in blocks)


def _lines(body: str) -> Iterator[str]:
    """Yield the lines that are not within a fence, and an empty one for each that is."""
    fence, quoted = "", False
    for line in body.splitlines():
        found = _FENCE.match(line)
        if fence and quoted and not line.lstrip().startswith(">"):
            fence = ""  # it ends with the quotation that it stands in
        if fence:
            ends = found and found[2].startswith(fence) and not found[3].strip()
            fence = "" if ends else fence
        elif found:
            fence, quoted = found[2], ">" in found[1]
        else:
            yield line
            continue
        yield ""


def _without_spans(block: str) -> str:
    """Return a paragraph without what stands between equally many backticks."""
    parts = re.split("(`+)", block)  # each second one is backticks
    ends: dict[int, list[int]] = {}
    for place in range(len(parts) - 2, 0, -2):
        ends.setdefault(len(parts[place]), []).append(place)
    kept, place = [parts[0]], 1
    while place < len(parts):
        same = ends[len(parts[place])]
        while same and same[-1] <= place:
            same.pop()
        if same:
            place = same[-1]
            kept.append("``")
        else:
            kept.append(parts[place])
        kept.append(parts[place + 1])
        place += 2
    return "".join(kept)


def text_at(value: Any, path: str) -> str:
    """Return the text at a dotted path; empty if there is none."""
    found = at_path(value, path)
    return found if isinstance(found, str) else ""
