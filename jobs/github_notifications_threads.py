"""What notifications, timelines and comments of GitHub say: values in, values out."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from jobs.github_notifications_names import MORE, mentions, teams_in, text_at
from py_agent import at_path

REVIEW, ASSIGNED = "new_pr_review", "new_issue_assigned"
MENTION = "new_github_at_mention"
REASONS = ("review_requested", "assign", "mention", "team_mention")
# These tell of what goes on in a repository that is watched, or in its builds. Once it
# concerns somebody, GitHub gives another reason, and never one of these again.
OF_OTHERS = frozenset({"subscribed", "ci_activity"})
LONGEST = 1_000  # characters of a comment that are told

ISSUE, PULL = "Issue", "PullRequest"
_NUMBER = re.compile(r"/(?:issues|pulls)/(\d{1,18})$")
_COMMIT = re.compile(r"/commits/([0-9a-f]{7,64})$")
_REPO = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*/(?!\.{1,2}$)[A-Za-z0-9._-]+")

Teams = Callable[[], Collection[str] | None]  # as `owner/slug`; None if nobody knows


class Thread(NamedTuple):
    """A notification: the news about one issue, pull request or other subject.

    Args:
        id: its own id, the same for all news about the subject.
        updated: when its last news was, as GitHub writes it.
        reason: why the last news is told.
        kind: what the subject is, as `Issue`.
        number: of an issue or pull request.
        title: of the subject.
        repo: as `owner/name`.
        page: where the subject is shown in a browser.
    """

    id: str
    updated: str
    reason: str
    kind: str
    number: int | None
    title: str
    repo: str
    page: str

    @property
    def owner(self) -> str:
        """To whom the repository belongs."""
        return self.repo.partition("/")[0]

    @property
    def is_discussed(self) -> bool:
        """Whether it has a timeline, as issues and pull requests have."""
        return self.kind in (ISSUE, PULL) and self.number is not None

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.repo}#{self.number}" if self.number else f"{self.repo}: {self.title}"


class News(NamedTuple):
    """Something to publish.

    Args:
        event_type: what it is.
        identifier: a URL that no other request or mention has.
        by: who did it.
        at: when.
        url: where it can be read.
        text: what was written, of a mention.
    """

    event_type: str
    identifier: str
    by: str
    at: str
    url: str
    text: str | None = None


class Me(NamedTuple):
    """Whose notifications these are.

    Args:
        login: the name.
        teams: says which teams that person belongs to.
        reasons: what is wanted, of `REASONS`.
    """

    login: str
    teams: Teams
    reasons: Collection[str]


def thread_of(item: Any) -> Thread | None:
    """Return what a notification says; None if it is none."""
    said = [text_at(item, path) for path in (
        "id", "updated_at", "reason", "subject.type", "subject.title",
        "repository.full_name",
    )]  # fmt: skip
    if not all(said) or not _REPO.fullmatch(said[5]) or moment_of(said[1]) is None:
        return None
    thread_id, updated, reason, kind, title, repo = said
    home, place = text_at(item, "repository.html_url"), text_at(item, "subject.url")
    if not home.startswith(("https://", "http://")):
        home = f"https://github.com/{repo}"
    found = _NUMBER.search(place) if kind in (ISSUE, PULL) else None
    number = int(found[1]) if found else None
    page = f"{home}{_page(kind, number, place)}"
    return Thread(thread_id, updated, reason, kind, number, title, repo, page)


def _page(kind: str, number: int | None, place: str) -> str:
    if number is not None:
        return f"/{'pull' if kind == PULL else 'issues'}/{number}"
    commit = _COMMIT.search(place)
    if commit:
        return f"/commit/{commit[1]}"
    return "/discussions" if kind == "Discussion" else ""


def is_wanted(repo: str, only: Collection[str], ignored: Collection[str]) -> bool:
    """Return whether a repository is asked for.

    Args:
        repo: as `owner/name`.
        only: patterns, as `owner/*`; one of them must match, if there are any.
        ignored: patterns; none of them may match.
    """

    def among(patterns: Collection[str]) -> bool:
        return any(fnmatchcase(repo.lower(), each.lower()) for each in patterns)

    return (not only or among(only)) and not among(ignored)


def may_tell(thread: Thread, reasons: Collection[str]) -> bool:
    """Return whether a thread is worth a look.

    Its reason is that of its last news only: there may be a request before it.

    Args:
        thread: the notification.
        reasons: what is wanted, of `REASONS`.
    """
    if not thread.is_discussed:
        return thread.reason in reasons
    own = "review_requested" if thread.kind == PULL else "assign"
    wanted = {own, "mention", "team_mention"} & {*reasons}
    return bool(wanted) and thread.reason not in OF_OTHERS


def news_of(
    thread: Thread, me: Me, items: Iterable[Any], subject: Any, since: datetime
) -> list[News]:
    """Return what is new for me about an issue or pull request.

    The reason of a notification is that of its last news only, and outlives it. So what
    happened is looked for, and each of it tells by itself whether it concerns me.

    Args:
        thread: the notification.
        me: whose it is.
        items: of the timeline, and comments in the code.
        subject: the issue or pull request itself.
        since: what is older is no news.
    """
    recent = [each for each in items if _is_recent(each, since)]
    found: list[News] = []
    if thread.kind == PULL and "review_requested" in me.reasons:
        found += _last(REVIEW, thread, _requests(recent, thread, me))
    if thread.kind == ISSUE and "assign" in me.reasons:
        assigned = [each for each in recent if text_at(each, "event") == "assigned"]
        mine = [each for each in assigned if _is(each, "assignee.login", me.login)]
        found += _last(ASSIGNED, thread, mine)
    if (moment_of(text_at(subject, "created_at")) or since) > since:
        recent.insert(0, subject)
    return [*found, *_mentions(recent, thread, me)]


def bare_news(thread: Thread, reasons: Collection[str]) -> News | None:
    """Return what a notification alone tells, without looking at its subject.

    It is told once: whether a later news concerns me cannot be known.
    """
    known = {("review_requested", PULL): REVIEW, ("assign", ISSUE): ASSIGNED}
    event_type = known.get((thread.reason, thread.kind))
    if thread.reason in ("mention", "team_mention"):
        event_type = MENTION
    if event_type is None or thread.reason not in reasons:
        return None
    identifier = thread.page if thread.number else f"{thread.page}#thread-{thread.id}"
    return News(event_type, identifier, "", thread.updated, thread.page)


def data_of(news: News, thread: Thread, subject: Any) -> dict[str, Any]:
    """Return the data of an event.

    Args:
        news: what happened.
        thread: the notification.
        subject: the issue or pull request; None if it could not be read.
    """
    labels = at_path(subject, "labels")
    state = "merged" if at_path(subject, "merged") is True else text_at(subject, "state")
    data: dict[str, Any] = {
        "repo": thread.repo, "kind": thread.kind, "number": thread.number,
        "title": text_at(subject, "title") or thread.title, "url": news.url,
        "author": text_at(subject, "user.login"), "state": state,
        "labels": [
            text_at(each, "name") for each in labels if text_at(each, "name")
        ] if isinstance(labels, list) else [],
        "by": news.by, "at": news.at,
    }  # fmt: skip
    return data if news.text is None else {**data, "text": news.text[:LONGEST]}


def moment_of(text: str) -> datetime | None:
    """Return a moment as GitHub writes it; None if it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def date_of(item: Any) -> datetime | None:
    """Return when an item of a timeline came about."""
    return moment_of(text_at(item, "created_at") or text_at(item, "submitted_at"))


def _is_recent(item: Any, since: datetime) -> bool:
    """Whether something came about, or was written anew, since then."""
    found = date_of(item), moment_of(text_at(item, "updated_at"))
    return any(each is not None and each >= since for each in found)


def _is(item: Any, path: str, login: str) -> bool:
    return text_at(item, path).lower() == login.lower()


def _requests(items: list[Any], thread: Thread, me: Me) -> list[Any]:
    """Return the requests that concern me or one of my teams.

    Where not all of my teams are known, any may be mine if that is why I was notified.
    """
    asked = [each for each in items if text_at(each, "event") == "review_requested"]
    of_teams = [each for each in asked if text_at(each, "requested_team.slug")]
    teams = me.teams() if of_teams else ()
    mine = [
        each for each in asked
        if _is(each, "requested_reviewer.login", me.login)
        or f"{thread.owner}/{text_at(each, 'requested_team.slug')}".lower() in (teams or ())
    ]  # fmt: skip
    guessed = thread.reason == "review_requested" and _may_be_mine(teams, thread)
    return mine or (of_teams if guessed else [])


def _may_be_mine(teams: Collection[str] | None, thread: Thread) -> bool:
    """Whether there may be a team of mine that is not among those that are known."""
    return teams is None or f"{thread.owner}/{MORE}".lower() in teams


def _last(event_type: str, thread: Thread, items: list[Any]) -> Iterator[News]:
    """Yield the last of some events; the others of a short time say the same."""
    known = [each for each in items if isinstance(at_path(each, "id"), int)]
    for item in sorted(known, key=lambda each: (text_at(each, "created_at"), each["id"]))[
        -1:
    ]:
        names = ("review_requester.login", "assigner.login", "actor.login")
        by = next((found for each in names if (found := text_at(item, each))), "")
        identifier = f"{thread.page}#event-{item['id']}"
        yield News(event_type, identifier, by, text_at(item, "created_at"), thread.page)


def _mentions(items: list[Any], thread: Thread, me: Me) -> Iterator[News]:
    """Yield what was written to me; what I wrote myself is none of it."""
    for item in items:
        body, url = text_at(item, "body"), text_at(item, "html_url")
        by = text_at(item, "user.login") or text_at(item, "actor.login")
        if url.startswith(("https://", "http://")) and by.lower() != me.login.lower():
            if _is_to_me(body, thread, me):
                at = text_at(item, "created_at") or text_at(item, "submitted_at")
                yield News(MENTION, url, by, at, url, body)


def _is_to_me(body: str, thread: Thread, me: Me) -> bool:
    if "mention" in me.reasons and mentions(body, me.login):
        return True
    if "team_mention" not in me.reasons:
        return False
    named = teams_in(body, thread.owner)
    teams = me.teams() if named else ()
    guessed = thread.reason == "team_mention" and _may_be_mine(teams, thread)
    return guessed or any(each in (teams or ()) for each in named)


def waits_of(headers: Mapping[str, str]) -> float:
    """Return the seconds until the next poll may be, as the server has it."""
    said = headers.get("X-Poll-Interval", "").strip()
    return min(float(said), 3600.0) if said.isascii() and said.isdigit() else 0.0
