"""Listeners that add tasks to Todoist: for issues, pull requests, mentions, anything.

They speak to Todoist's API v1 through `handler.http`: its own client, todoist-api-python,
can carry a request id, but knows one address only, and has no limit of time for a whole
request, none of size, and no word for when to try again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, Unpack

from jobs.todoist_account import TodoistSettings
from listeners.event_text import EventText
from listeners.todoist_api import Todoist, request_id, verdict
from listeners.todoist_texts import filled, is_url, plain
from py_agent import Event, Handler, HttpError, at_path, listen_for

__all__ = ["add_issue", "add_mention", "add_pull_request", "add_task"]

Priority = Literal["p1", "p2", "p3", "p4"]

FRESH = timedelta(minutes=1)  # for which Todoist is trusted to know a request id
MAX_CONTENT, MAX_DESCRIPTION = 500, 16_383  # characters, as Todoist's own client has them


class Options(TypedDict, total=False):
    """What each of the listeners may be told about its tasks; all of it may be left out.

    Args:
        project: its name or id; the Inbox if not given.
        section: its name or id.
        labels: names of labels.
        priority: as Todoist shows it: `p1` is the most urgent, `p4` has none.
        due: when, in English words as in Todoist: `today`, `next monday`.
    """

    project: str | None
    section: str | None
    labels: list[str] | None
    priority: Priority | None
    due: str | None


def add_task(
    handler: Handler,
    event: Event,
    settings: TodoistSettings,
    *,
    title: EventText = "$event_type: $identifier",
    description: EventText = "",
    **options: Unpack[Options],
) -> None:
    """Add a task for an event.

    In title and description stand the words `$event_type`, `$identifier`, `$created`,
    `$source` and `$data`, and paths into the data: `$data.price`, `$data.items.0.name`.
    Braces part a word from what follows, as in `${identifier}s`; `$$` is a dollar sign.
    What is not in an event's data is left as it stands there, so that it is seen. Todoist
    reads both as Markdown, so a link is `[${data.title}](${data.url})`. What an event says
    cannot make a link by itself: square brackets in it become round ones.

    Each attempt has the same `X-Request-Id`, which no other event, listener or store has.
    Of it is known what Todoist wrote about its REST API, from which v1 was made: a request
    with the id of one before is discarded, and an id has 36 bytes at most. For how long an
    id is known, and what a discarded request is answered, was never written; 204 and a
    task are taken for done. So a task with the very same texts, added since the event, is
    looked for first wherever an attempt before may have added it: if that was cut off by a
    crash or a stop, and if the event is older than a minute. That is one request more,
    made only if the texts hold the event's identifier or URL. A task that you have changed
    or completed meanwhile is not found there.

    What an answer means:

        2xx                 the task is there, if the answer is a task, or 204
        5xx, 408, 425, no   a failed attempt, tried again as the listener's `retry` says
        whole answer, 200
        without a task
        429                 all events wait as long as Todoist asks for
        401, 403            the token is refused, or there are too many tasks: the listener
                            is paused with the reason and looks again after an hour
        400, 404            tried again once if a project or section was looked up some
                            time ago, as it may be gone: it is looked up again
        404, 410, 3xx       the address of the API is wrong: paused likewise
        any other 4xx       this event is refused: a dead letter with Todoist's words

    Args:
        handler: sends.
        event: what is to be done.
        settings: the token.
        title: what the task is called; shortened to 500 characters.
        description: what stands below it; shortened to 16,383 characters.
        options: project, section, labels, priority and due; see `Options`.

    Raises:
        Retry: it may succeed later.
        Discard: it never will.
        Pause: nothing will, for now.
    """
    texts = {
        "content": " ".join(filled(title, event, MAX_CONTENT).split()),
        "description": filled(description, event, MAX_DESCRIPTION).strip(),
    }
    texts["content"] = texts["content"] or "(an event without a title)"
    priority, due = options.get("priority"), options.get("due")
    chosen = {
        "labels": options.get("labels"), "priority": priority and 5 - int(priority[1]),
        "due_string": due, "due_lang": due and "en",
    }  # fmt: skip
    todoist = Todoist(handler, settings)
    try:
        where = todoist.places(options.get("project"), options.get("section"))
        if _may_be_there(event, texts, handler.clock.now()) and todoist.has_task(
            texts, where, event.created
        ):
            return
        given = {key: value for key, value in chosen.items() if value}
        # An @ in a title from elsewhere is no label of mine.
        task = {**texts, **where, **given, "auto_parse_labels": False}
        handler.begin_effect()
        todoist.add(task, request_id(event, handler.source))
    except HttpError as error:
        if error.status in (400, 404):
            todoist.known.forget()
        raise verdict(error, todoist.trusts) from None


@listen_for({"event_type": ("==", "new_issue_assigned")})
def add_issue(
    handler: Handler,
    event: Event,
    settings: TodoistSettings,
    *,
    description: EventText | None = None,
    **options: Unpack[Options],
) -> None:
    """Add a task for an issue that was assigned to you; see `add_task`.

    It is for `new_issue_assigned` of jobs.github_notifications. The task is called
    `owner/name#8: The title`, and is a link to the issue.

    Args:
        handler: sends.
        event: the assigned issue.
        settings: the token.
        description: what stands below it, with words as in `add_task`; who it was, if
            not given.
        options: project, section, labels, priority and due; see `Options`.

    Raises:
        Retry, Discard, Pause: as `add_task` does.
    """
    add_task(
        handler, event, settings, title=_link(event),
        description=_told(event, description, "Assigned by ${data.by}", "by"),
        **options,
    )  # fmt: skip


@listen_for({"event_type": ("==", "new_pr_review")})
def add_pull_request(
    handler: Handler,
    event: Event,
    settings: TodoistSettings,
    *,
    description: EventText | None = None,
    **options: Unpack[Options],
) -> None:
    """Add a task for a review that was requested of you; see `add_task`.

    It is for `new_pr_review` of jobs.github_notifications. The task is called
    `Review owner/name#7: The title`, with a link to the pull request. If the review is
    requested again, there is a further task.

    Args:
        handler: sends.
        event: the requested review.
        settings: the token.
        description: what stands below it, with words as in `add_task`; who it was, if
            not given.
        options: project, section, labels, priority and due; see `Options`.

    Raises:
        Retry, Discard, Pause: as `add_task` does.
    """
    add_task(
        handler, event, settings, title=f"Review {_link(event)}",
        description=_told(event, description, "Requested by ${data.by}", "by"),
        **options,
    )  # fmt: skip


@listen_for({"event_type": ("==", "new_github_at_mention")})
def add_mention(
    handler: Handler,
    event: Event,
    settings: TodoistSettings,
    *,
    description: EventText | None = None,
    **options: Unpack[Options],
) -> None:
    """Add a task for a comment in which you are mentioned; see `add_task`.

    It is for `new_github_at_mention` of jobs.github_notifications. The task is called
    `Answer in owner/name#8: The title`, with a link to the comment, which stands below.

    Args:
        handler: sends.
        event: the mention.
        settings: the token.
        description: what stands below it, with words as in `add_task`; who it was, if
            not given.
        options: project, section, labels, priority and due; see `Options`.

    Raises:
        Retry, Discard, Pause: as `add_task` does.
    """
    add_task(
        handler, event, settings, title=f"Answer in {_link(event)}",
        description=_told(event, description, "${data.by}: ${data.text}", "by", "text"),
        **options,
    )  # fmt: skip


def _link(event: Event) -> str:
    """Return the template of a link; what is not in the data is left out.

    A discussion or commit has no number. What was published by hand may have nothing.
    """
    place = "${data.repo}" if _has(event, "repo") else ""
    place += "#${data.number}" if _has(event, "number") else ""
    title = "${data.title}" if _has(event, "title") else ""
    shown = ": ".join(each for each in (place, title) if each) or "$identifier"
    if _has(event, "url"):
        return f"[{shown}](${{data.url}})"
    return f"[{shown}]($identifier)" if is_url(event.identifier) else shown


def _told(event: Event, chosen: str | None, usual: str, *names: str) -> str:
    """Return the template of a description; nothing if the data has not what it needs."""
    if chosen is not None:
        return chosen
    return usual if all(_has(event, name) for name in names) else ""


def _has(event: Event, name: str) -> bool:
    return bool(at_path(event.data, name))


def _may_be_there(event: Event, texts: dict[str, Any], now: datetime) -> bool:
    """Whether an attempt before may have added the task, so that it can be looked for.

    Nobody tells an attempt that it is not the first; that an event is old may tell it.
    """
    old = now - event.created >= FRESH
    return (event.in_doubt or old) and _tells_event(texts, event)


def _tells_event(texts: dict[str, Any], event: Event) -> bool:
    """Whether texts say which event they belong to, so that no other has the same."""
    url = at_path(event.data, "url")
    marks = [each for each in (event.identifier, url) if isinstance(each, str) and each]
    return any(plain(mark) in text for mark in marks for text in texts.values())
