"""jobs.github_notifications: what GitHub wants of somebody becomes events, each once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import responses
from pydantic import SecretStr

from jobs.github_notifications import GithubSettings, github_notifications
from jobs.github_notifications_names import mentions
from jobs.github_notifications_threads import bare_news, is_wanted, thread_of
from jobs.github_notifications_tries import Tries
from py_agent import HttpError
from py_agent.errors import ConfigError
from py_agent.loading import agent_of_config
from py_agent.testing import AgentUnderTest, FakeClock, JobRun

from .github_server import WEB, GithubServer

TOKEN = "canary-ghp-0815"


@pytest.fixture
def clock() -> FakeClock:
    """A clock that agent and server have in common."""
    return FakeClock()


@pytest.fixture
def github(clock: FakeClock) -> Iterator[GithubServer]:
    """GitHub, where nothing has happened yet."""
    made = GithubServer(clock.now, TOKEN)
    yield made
    made.close()


@pytest.fixture
def agent(
    tmp_path: Path, clock: FakeClock, github: GithubServer
) -> Iterator[AgentUnderTest]:
    """An agent that may ask that GitHub."""
    made = AgentUnderTest(tmp_path / "agent.sqlite", clock=clock)
    configure(made, github)
    yield made
    made.stop()


def configure(agent: AgentUnderTest, github: GithubServer, token: str = TOKEN) -> None:
    agent.settings[GithubSettings] = GithubSettings(
        token=SecretStr(token), api_url=github.host
    )


def poll(agent: AgentUnderTest, after: float = 60, **arguments: Any) -> list[str]:
    """Let some time pass and poll; return what was told anew, in order."""
    before = len(agent.published())
    agent.clock.advance(after)
    run(agent, **arguments)
    return [f"{each.event_type} {each.identifier}" for each in agent.published()[before:]]


def run(agent: AgentUnderTest, **arguments: Any) -> JobRun:
    return agent.run_job(github_notifications, **arguments)


def data_of(agent: AgentUnderTest, event_type: str) -> Any:
    (event,) = agent.published(event_type)
    return event.data


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.levelno >= logging.WARNING]


# What is told


def test_a_requested_review(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given a review that is requested of me, Then it is told with all that is known."""
    key = github.open_pull(7, body="please @all")
    number = github.request_review(key)
    at = github.at()
    assert poll(agent) == [f"new_pr_review {WEB}/octo/shop/pull/7#event-{number}"]
    assert data_of(agent, "new_pr_review") == {
        "repo": "octo/shop", "kind": "PullRequest", "number": 7, "title": "Add a basket",
        "url": f"{WEB}/octo/shop/pull/7", "author": "ann", "state": "open",
        "labels": ["bug"], "by": "bob", "at": at,
    }  # fmt: skip
    assert poll(agent) == []


def test_an_assigned_issue(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given an issue that is assigned to me, Then it is told, and by whom."""
    key = github.open_issue(8)
    github.assign(key, to="somebody-else")
    number = github.assign(key, by="carl")
    assert poll(agent) == [f"new_issue_assigned {WEB}/octo/shop/issues/8#event-{number}"]
    assert data_of(agent, "new_issue_assigned")["by"] == "carl"


def test_a_mention(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given a comment with my name, Then it is told with its text and its own link."""
    key = github.open_issue(8)
    github.comment(key, "I do not know")
    url = github.comment(key, "@ME, do you know?" + "x" * 2_000)
    github.comment(key, "@me2 and me@me.example are others")
    assert poll(agent) == [f"new_github_at_mention {url}"]
    data = data_of(agent, "new_github_at_mention")
    assert data["url"] == url
    assert data["by"] == "bob"
    assert data["text"].startswith("@ME, do you know?")
    assert len(data["text"]) == 1_000


def test_all_places_of_a_mention(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given my name in the text, a review and a line of code, Then each is told."""
    key = github.open_pull(7, body="for @me")
    found = [github.review(key, "ask @me"), github.comment_in_code(key, "@me?")]
    github.comment(key, "I am @me", by="Me")
    urls = {f"{WEB}/octo/shop/pull/7", *found}
    assert set(poll(agent)) == {f"new_github_at_mention {url}" for url in urls}


def test_a_commit_or_discussion_is_told_once(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given a mention where there is no timeline, When talk goes on, Then it is one."""
    thread = github.notify("octo/shop#talk", "mention")
    place = f"{WEB}/octo/shop/discussions#thread-{thread['id']}"
    assert poll(agent) == [f"new_github_at_mention {place}"]
    agent.clock.advance(5)
    github.notify("octo/shop#talk", "mention")
    assert poll(agent) == []
    assert data_of(agent, "new_github_at_mention")["title"] == "A question"


def test_what_concerns_others_is_not_told(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given news with other reasons, and one about somebody else, Then none is told."""
    issue, pull = github.open_issue(8), github.open_pull(7)
    github.event(issue, "closed", "author")
    github.request_review(pull, of="somebody-else")
    assert poll(agent) == []


def test_several_news_of_one_thread(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given an assignment and a mention between two polls, Then both are told, though
    the notification has the last reason only.
    """
    key = github.open_issue(8)
    number = github.assign(key)
    url = github.comment(key, "have a look, @me")
    assert poll(agent) == [
        f"new_issue_assigned {WEB}/octo/shop/issues/8#event-{number}",
        f"new_github_at_mention {url}",
    ]


@pytest.mark.parametrize("reason", ["comment", "state_change", "author", "manual"])
def test_news_that_hide_a_request(
    agent: AgentUnderTest, github: GithubServer, reason: str
) -> None:
    """Given other news after a request and an assignment, before the next poll, Then both
    are told, though the notifications have other reasons.
    """
    pull, issue = github.open_pull(7), github.open_issue(8)
    review, assigned = github.request_review(pull), github.assign(issue)
    for key in (pull, issue):
        github.event(key, "closed", reason)
    assert set(poll(agent)) == {
        f"new_pr_review {WEB}/octo/shop/pull/7#event-{review}",
        f"new_issue_assigned {WEB}/octo/shop/issues/8#event-{assigned}",
    }


def test_what_is_only_watched_costs_nothing(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given news of a repository that I watch, and reasons that a kind of subject cannot
    have, Then none is looked up.
    """
    github.comment(github.open_issue(8), "talk", reason="subscribed")
    assert poll(agent) == []
    github.comment(github.open_pull(7), "talk", reason="comment")
    assert poll(agent, reasons=["assign"]) == []
    assert github.paths() == ["/notifications"] * 2


# Told once


def test_comments_make_no_new_request(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given a told request, When others comment, Then GitHub tells it again, we do not."""
    key = github.open_pull(7)
    github.request_review(key)
    assert len(poll(agent)) == 1
    for text in ("one", "two"):
        github.comment(key, text)
        assert github.threads[key]["reason"] == "review_requested"
        assert poll(agent) == []


def test_a_review_requested_again_is_new(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given a told request, When it is made again, Then that is an event of its own."""
    key = github.open_pull(7)
    first = github.request_review(key)
    assert poll(agent) == [f"new_pr_review {WEB}/octo/shop/pull/7#event-{first}"]
    again = github.request_review(key)
    assert poll(agent) == [f"new_pr_review {WEB}/octo/shop/pull/7#event-{again}"]


def test_requests_of_long_ago_are_no_news(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given a request of last week, When somebody comments today, Then it is not told."""
    key = github.open_pull(7, body="@me")
    github.request_review(key)
    agent.clock.advance(7 * 86_400)
    github.comment(key, "any news?")
    assert poll(agent) == []


def test_a_restart_changes_nothing(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given a told request, When the agent is started anew, Then it asks for news only."""
    github.request_review(github.open_pull(7))
    assert len(poll(agent)) == 1
    agent.stop()
    github.asked.clear()
    assert poll(agent) == []
    assert github.paths() == ["/notifications"]


# Nothing is lost


def test_what_was_read_in_the_browser_is_found(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given a notification that was read before the poll, Then it is told nevertheless."""
    github.request_review(github.open_pull(7))
    github.read_all()
    assert len(poll(agent)) == 1


def test_a_clock_that_is_wrong_loses_nothing(
    agent: AgentUnderTest, github: GithubServer, clock: FakeClock
) -> None:
    """Given a clock that is two days fast, When something happens, Then it is told."""
    github.now = lambda: clock.now() - timedelta(days=2)
    poll(agent, lookback=7 * 86_400)
    github.request_review(github.open_pull(7))
    assert len(poll(agent, lookback=60)) == 1


def test_what_comes_late_is_found(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given a notification that appears hours after its time, Then it is told."""
    key = github.open_pull(7)
    github.request_review(key)
    late = github.threads.pop(key)
    assert poll(agent) == []
    for _ in range(3):
        assert poll(agent, 3_600) == []
    github.threads[key] = late
    assert len(poll(agent)) == 1


@pytest.mark.parametrize("has_etags", [True, False])
def test_news_of_the_second_of_a_poll(
    agent: AgentUnderTest, github: GithubServer, has_etags: bool
) -> None:
    """Given GitHub's dates in whole seconds, When more happens in the second of a poll, in
    another thread and in the same one, Then it is told.
    """
    github.has_etags = has_etags
    poll(agent)
    agent.clock.advance(60)
    key = github.open_issue(1)
    github.assign(key)
    assert len(poll(agent, 0)) == 1
    github.assign(github.open_issue(2))
    github.comment(key, "@me")
    assert len(poll(agent)) == 2


def test_what_comes_late_is_found_by_its_date_alone(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given GitHub that compares dates only, When a notification appears that is older
    than the newest, Then it is told within the hour.
    """
    github.has_etags = False
    github.assign(github.open_issue(1))
    late = github.threads.pop("octo/shop#1")
    agent.clock.advance(60)
    github.assign(github.open_issue(2))
    assert len(poll(agent)) == 1
    github.threads = {"octo/shop#1": late, **github.threads}
    assert poll(agent) == []
    assert len(poll(agent, 3_600)) == 1


def test_all_pages_are_read(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given more notifications and a longer timeline than a page, Then all is found."""
    github.size = 2
    for number in range(1, 6):
        key = github.open_issue(number)
        for _ in range(4):
            github.comment(key, "talk")
        github.assign(key)
    assert len(poll(agent)) == 5
    github.asked.clear()
    github.comment("octo/shop#3", "@me")
    assert len(poll(agent)) == 1


def test_only_the_end_of_a_long_timeline_is_read(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given a timeline of fifty pages, Then its first, and the recent ones are read."""
    github.size = 2
    key = github.open_issue(8)
    for _ in range(97):
        github.comment(key, "talk")
    agent.clock.advance(7 * 86_400)
    github.comment(key, "talk")
    github.comment(key, "talk")
    number = github.assign(key)
    assert poll(agent) == [f"new_issue_assigned {WEB}/octo/shop/issues/8#event-{number}"]
    read = [query.get("page") for path, query, _ in github.asked if "timeline" in path]
    assert read == [None, "50", "49"]


# Polite


def test_an_unchanged_list_is_one_free_request(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given nothing new, When polled, Then there is one request, answered with 304."""
    github.request_review(github.open_pull(7))
    poll(agent)
    github.asked.clear()
    assert poll(agent) == []
    ((path, query, headers),) = github.asked
    assert path == "/notifications"
    assert query["all"] == "true"
    assert {"if-none-match", "if-modified-since"} <= headers.keys()
    assert agent.runs()[-1].outcome == "completed"


def test_a_subject_is_looked_up_once(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given two changed threads, When one changes again, Then only that is looked up."""
    github.request_review(github.open_pull(7))
    github.assign(github.open_issue(8))
    poll(agent)
    assert github.paths() == [
        "/notifications", "/user",
        "/repos/octo/shop/issues/7/timeline", "/repos/octo/shop/pulls/7/comments",
        "/repos/octo/shop/pulls/7",
        "/repos/octo/shop/issues/8/timeline", "/repos/octo/shop/issues/8",
    ]  # fmt: skip
    github.asked.clear()
    github.comment("octo/shop#8", "thanks")
    poll(agent)
    assert [path for path in github.paths() if "pulls" in path] == []
    assert len(github.paths()) == 3


def test_my_name_is_asked_for_once_a_day(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given changes all the time, Then my name is kept, but not for another token."""
    key = github.open_issue(8)
    for hours, asked in ((0, 1), (1, 1), (24, 2)):
        agent.clock.advance(3_600 * hours)
        github.comment(key, "talk", reason="author")
        poll(agent)
        assert github.paths().count("/user") == asked
    github.token = "another"
    configure(agent, github, "another")
    github.comment(key, "talk")
    poll(agent)
    assert github.paths().count("/user") == 3


def test_the_poll_interval_is_obeyed_over_a_restart(
    agent: AgentUnderTest, github: GithubServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a server that asks for two minutes, When run each minute, Then every other
    run asks it, and the log says why the others do not.
    """
    caplog.set_level(logging.INFO)
    github.poll_interval = 120
    asked = []
    for _ in range(4):
        poll(agent)
        agent.stop()
        asked.append(len(github.asked))
    assert asked == [1, 1, 2, 2]
    assert caplog.text.count("GitHub asks not to be asked before 12:0") == 2


def test_the_regular_rhythm_is_kept(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given the usual sixty seconds, When run each minute, Then each run asks."""
    for _ in range(3):
        poll(agent, 59.9)
    assert len(github.asked) == 3


@pytest.mark.parametrize(
    ("status", "headers", "body", "wait"),
    [
        (429, {"Retry-After": "300"}, "", 300),
        (403, {"Retry-After": "300"}, "", 300),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "+900"}, "", 900),
        (403, {}, '{"message": "You have exceeded a secondary rate limit."}', 60),
    ],
)
def test_rate_limits_are_obeyed(
    agent: AgentUnderTest,
    github: GithubServer,
    status: int,
    headers: dict[str, str],
    body: str,
    wait: float,
) -> None:
    """Given a rate limit within a poll, Then the next run waits as long as is asked, and
    what was told stays told.
    """
    if "X-RateLimit-Reset" in headers:
        reset = github.now().timestamp() + 60 + wait
        headers = {**headers, "X-RateLimit-Reset": f"{reset:.0f}"}
    github.request_review(github.open_pull(7))
    github.assign(github.open_issue(8))
    github.of_paths["/repos/octo/shop/issues/8/timeline"] = status, headers, body
    with pytest.raises(HttpError) as caught:
        poll(agent)
    assert caught.value.retry_after == pytest.approx(wait, abs=1)
    assert len(agent.published("new_pr_review")) == 1
    github.of_paths.clear()
    github.asked.clear()
    assert len(poll(agent, wait)) == 1
    assert [path for path in github.paths() if "7" in path] == []


# What goes wrong


def test_a_refused_token_is_one_clear_line(
    agent: AgentUnderTest, github: GithubServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a wrong token, Then the error says where to make another one."""
    configure(agent, github, "canary-wrong")
    with pytest.raises(
        HttpError, match="refused the token.*classic.*notifications"
    ) as caught:
        poll(agent)
    assert caught.value.status == 401
    assert "\n" not in str(caught.value)
    assert "canary" not in str(caught.value) + caplog.text


def test_a_token_without_the_scope(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given a token that may not read notifications, Then the error names the scope."""
    github.of_paths["/notifications"] = 403, {}, '{"message": "Resource not accessible"}'
    with pytest.raises(HttpError, match="may not read notifications.*fine-grained"):
        poll(agent)


def test_an_address_that_is_no_api(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given an api_url of one's own that has no notifications, Then the error asks."""
    github.of_paths["/notifications"] = 404, {}, '{"message": "Not Found"}'
    with pytest.raises(HttpError, match=r"or is api_url in \[github\] wrong\?$"):
        poll(agent)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_private_or_deleted_subject_is_told_once(
    agent: AgentUnderTest,
    github: GithubServer,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    """Given a subject that may not be seen, Then what the notification says is told, with
    a warning, and not again when it changes.
    """
    key = github.open_pull(7)
    github.request_review(key)
    github.of_paths["/repos/octo/shop/issues/7/timeline"] = status, {}, "{}"
    assert poll(agent) == [f"new_pr_review {WEB}/octo/shop/pull/7"]
    (line,) = warnings(caplog)
    assert "octo/shop#7" in line
    assert "`repo`" in line
    assert data_of(agent, "new_pr_review")["title"] == "Add a basket"
    github.comment(key, "talk")
    assert poll(agent) == []


@pytest.mark.parametrize(
    ("status", "body"), [(502, "bad gateway"), (422, "{}"), (200, "<html>")]
)
def test_one_that_fails_does_not_stop_the_others(
    agent: AgentUnderTest, github: GithubServer, status: int, body: str
) -> None:
    """Given an old subject that fails, Then the run says so, and the others are told; it
    is told in full when it is well again.
    """
    number = github.assign(github.open_issue(8))
    agent.clock.advance(1)
    github.of_paths["/repos/octo/shop/issues/8/timeline"] = status, {}, body
    github.request_review(github.open_pull(7))
    with pytest.raises(HttpError, match="issues/8"):
        poll(agent)
    assert len(agent.published("new_pr_review")) == 1
    github.of_paths.clear()
    assert poll(agent) == [f"new_issue_assigned {WEB}/octo/shop/issues/8#event-{number}"]


def test_one_that_fails_for_hours(
    agent: AgentUnderTest, github: GithubServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a subject that fails for hours, Then it is asked for ever more seldom, and in
    the end told as its notification has it, once, also when it is well again.
    """
    key = github.open_pull(7)
    github.request_review(key)
    path = "/repos/octo/shop/issues/7/timeline"
    github.of_paths[path] = 422, {}, "{}"
    for wait in (1, 1, 2, 4, 8, 16, 32, 64):
        if wait > 1:
            assert poll(agent, (wait - 1) * 60) == []
        with pytest.raises(HttpError, match="422"):
            poll(agent)
    assert github.paths().count(path) == 8
    assert len(poll(agent, 128 * 60)) == 1
    assert github.paths().count(path) == 9
    assert [each.identifier for each in agent.published()] == [f"{WEB}/octo/shop/pull/7"]
    assert "octo/shop#7 is told with what its notification says" in caplog.text
    github.of_paths.clear()
    github.comment(key, "any news?")
    assert poll(agent) == []
    again = github.request_review(key)
    assert poll(agent) == [f"new_pr_review {WEB}/octo/shop/pull/7#event-{again}"]


def test_what_was_told_bare_hides_nothing_else(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given a mention that could not be looked up, When it can, Then it is not told again,
    but the assignment before it is.
    """
    key = github.open_issue(8)
    number = github.assign(key)
    github.comment(key, "@me")
    github.of_paths["/repos/octo/shop/issues/8/timeline"] = 403, {}, "{}"
    assert poll(agent) == [f"new_github_at_mention {WEB}/octo/shop/issues/8"]
    github.of_paths.clear()
    github.comment(key, "talk")
    assert poll(agent) == [f"new_issue_assigned {WEB}/octo/shop/issues/8#event-{number}"]


def test_a_subject_too_long_for_one_answer(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given an issue with comments of many megabytes, Then it is read in smaller pages."""
    key = github.open_issue(8)
    url = github.comment(key, "@me")
    for _ in range(15):
        github.comment(key, "\U0001f600" * 64_000)
    assert poll(agent) == [f"new_github_at_mention {url}"]


def test_what_does_not_reach_github_uses_up_no_tries(clock: FakeClock) -> None:
    """Given failures while offline, Then a subject is not given up for them; a timeout or
    an answer that is too long counts, as does any status but those about us.
    """
    offline = HttpError("x", transient=True)
    slow, long = HttpError("x", transient=True, sent=True), HttpError("x", sent=True)
    kept = dict[str, Any]()
    for _ in range(20):
        tries = Tries(kept, clock.now())
        assert not tries.is_last("1", offline)
        tries.note("1", offline)
        tries.note("2", slow)
        for ours in (
            HttpError("x", 401),
            HttpError("x", 403, 60.0),
            HttpError("x", 429, 9.0),
        ):
            tries.note("3", ours)
            assert not tries.is_last("2", ours)
    assert not tries.is_last("1", long)
    assert tries.is_last("2", long)
    assert not tries.has("3")
    assert tries.is_last("3", HttpError("x", 404))


@pytest.mark.parametrize("kept", [3, None, {"tried": "x", "after": 7}, {"tried": True}])
def test_tries_that_make_no_sense_are_none(clock: FakeClock, kept: Any) -> None:
    """Given what an earlier version or somebody else left, Then a subject begins anew."""
    tries = Tries({"1": kept}, clock.now())
    assert tries.is_due("1")
    assert not tries.is_last("1", HttpError("x", 502))
    tries.note("1", HttpError("x", 502))
    assert not tries.is_due("1")


def test_a_wait_that_one_subject_asks_for(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given a subject that always says 503 and when to come back, Then the poll ends, and
    the next one tells the others first.
    """
    github.assign(github.open_issue(1))
    agent.clock.advance(1)
    github.assign(github.open_issue(2))
    github.of_paths["/repos/octo/shop/issues/1/timeline"] = 503, {"Retry-After": "300"}, ""
    with pytest.raises(HttpError) as caught:
        poll(agent)
    assert caught.value.retry_after == 300
    with pytest.raises(HttpError, match="issues/1"):
        poll(agent, 300)
    assert len(agent.published()) == 1


def test_a_server_that_is_ill_is_not_asked_for_everything(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given many subjects that answer 501, Then a poll gives up; all come in the end."""
    numbers = range(1, 8)
    for number in numbers:
        github.assign(github.open_issue(number))
        github.of_paths[f"/repos/octo/shop/issues/{number}/timeline"] = 501, {}, ""
    with pytest.raises(HttpError, match="501"):
        poll(agent)
    assert len([path for path in github.paths() if "timeline" in path]) == 3
    github.of_paths.clear()
    assert len(poll(agent)) == len(numbers)


def test_one_that_failed_for_a_while_is_told_in_full(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given a subject that answers 502 once, Then the next poll tells all of it."""
    number = github.assign(github.open_issue(8))
    github.of_paths["/repos/octo/shop/issues/8"] = 502, {}, "bad gateway"
    with pytest.raises(HttpError, match="502"):
        poll(agent)
    github.of_paths.clear()
    assert poll(agent) == [f"new_issue_assigned {WEB}/octo/shop/issues/8#event-{number}"]


@pytest.mark.parametrize(
    "body", ["<html>", "[1, null, {}]", '{"a": 1}', "null", '[{"event": 7, "id": []}]']
)
def test_garbage_about_a_subject(
    agent: AgentUnderTest, github: GithubServer, body: str
) -> None:
    """Given a timeline and a subject that are garbage, Then it is no error of ours; where
    nothing can be read, it is tried again.
    """
    number = github.assign(github.open_issue(8))
    for path in ("/repos/octo/shop/issues/8/timeline", "/repos/octo/shop/issues/8"):
        github.of_paths[path] = 200, {}, body
    if body.startswith("["):
        assert poll(agent) == []
        return
    with pytest.raises(HttpError, match=r"not JSON|no list"):
        poll(agent)
    github.of_paths.clear()
    assert poll(agent) == [f"new_issue_assigned {WEB}/octo/shop/issues/8#event-{number}"]


@pytest.mark.parametrize("body", ["7", "<html>"])
def test_garbage_about_comments(
    agent: AgentUnderTest, github: GithubServer, body: str
) -> None:
    """Given comments in the code that are garbage, Then the others are told anyway."""
    github.request_review(github.open_pull(7))
    github.assign(github.open_issue(8))
    github.of_paths["/repos/octo/shop/pulls/7/comments"] = 200, {}, body
    with pytest.raises(HttpError, match="pulls/7/comments"):
        poll(agent)
    assert len(agent.published("new_issue_assigned")) == 1
    github.of_paths.clear()
    assert len(poll(agent)) == 1


@pytest.mark.parametrize(
    "item",
    [None, 7, {"id": 1}, {"subject": None}, {"repository": {"full_name": "../x"}},
     {"updated_at": "soon"}, {"reason": ["mention"]}],
)  # fmt: skip
def test_a_malformed_notification_is_left_out(
    agent: AgentUnderTest,
    github: GithubServer,
    caplog: pytest.LogCaptureFixture,
    item: Any,
) -> None:
    """Given one notification that is none, Then the log says so, and others are told."""
    github.request_review(github.open_pull(7))
    whole = github.notify("octo/shop#7")
    github.threads["broken"] = {**whole, **item} if isinstance(item, dict) else item
    assert len(poll(agent)) == 1
    problems = [line for line in warnings(caplog) if "1 of 2 notifications" in line]
    assert len(problems) == 1


def test_no_list_at_all(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given an answer that holds no notification, Then the run fails and says so."""
    for body in ('{"message": "hello"}', "[7]"):
        github.of_paths["/notifications"] = 200, {}, body
        with pytest.raises(ValueError, match="1 of 1 notifications cannot be read"):
            poll(agent)
    github.of_paths["/notifications"] = 200, {}, "<html>"
    with pytest.raises(HttpError, match="not JSON"):
        poll(agent)


def test_the_token_goes_to_its_host_only(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given a notification with addresses elsewhere, Then nobody there is asked."""
    key = github.open_pull(7)
    github.request_review(key)
    subject = github.threads[key]["subject"]
    subject["url"] = "https://evil.example/repos/octo/shop/pulls/7"
    subject["latest_comment_url"] = "https://evil.example/"
    assert len(poll(agent)) == 1
    assert {headers["host"] for _, _, headers in github.asked} == {
        github.host.removeprefix("http://")
    }


def test_the_token_is_nowhere(
    agent: AgentUnderTest,
    github: GithubServer,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """Given a server that repeats the token in its answers, Then nobody else sees it."""
    caplog.set_level(logging.DEBUG)
    github.request_review(github.open_pull(7))
    github.of_paths["/user"] = 500, {}, f"your token {TOKEN} is fine"
    with pytest.raises(HttpError) as caught:
        poll(agent)
    github.of_paths.clear()
    poll(agent)
    agent.stop()
    store = b"".join(each.read_bytes() for each in tmp_path.glob("agent.sqlite*"))
    assert TOKEN not in str(caught.value) + caplog.text
    assert TOKEN.encode() not in store


# Teams


def test_a_request_of_my_team(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given teams, Then the request of mine is told, of one above it too, of no other."""
    github.teams = [{
        "slug": "web", "organization": {"login": "octo"}, "parent": {"slug": "makers"},
    }]  # fmt: skip
    for number, team in enumerate(("octo/web", "octo/makers", "octo/legal"), 1):
        github.request_review(github.open_pull(number), of=team)
    github.notify("octo/shop#3", "author")
    told = poll(agent)
    assert sorted(each[14:].partition("#")[0] for each in told) == [
        f"{WEB}/octo/shop/pull/1", f"{WEB}/octo/shop/pull/2",
    ]  # fmt: skip
    assert github.paths().count("/user/teams") == 1


@pytest.mark.parametrize(("parent", "told"), [({"slug": "makers"}, 2), (None, 0)])
def test_a_team_two_levels_above_mine(
    agent: AgentUnderTest, github: GithubServer, parent: Any, told: int
) -> None:
    """Given a request and a mention of a team that I am notified of, and that GitHub does
    not list, Then they are told if there may be one that high above mine.
    """
    github.teams = [{"slug": "web", "organization": {"login": "octo"}, "parent": parent}]
    github.request_review(github.open_pull(7), of="octo/all")
    github.comment(github.open_issue(8), "dear @octo/all", reason="team_mention")
    assert len(poll(agent)) == told


def test_a_token_that_may_not_know_teams(
    agent: AgentUnderTest, github: GithubServer
) -> None:
    """Given teams that nobody tells, Then one that I was notified of counts as mine."""
    github.teams = None
    github.request_review(github.open_pull(7), of="octo/web")
    url = github.comment(github.open_issue(8), "dear @octo/web", reason="team_mention")
    assert [each.split("#")[0] for each in poll(agent)] == [
        f"new_pr_review {WEB}/octo/shop/pull/7",
        f"new_github_at_mention {url}".split("#")[0],
    ]


def test_a_mention_of_my_team(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given a comment to my team and one to another, Then the first is told."""
    github.teams = [{"slug": "web", "organization": {"login": "octo"}}]
    key = github.open_issue(8)
    url = github.comment(key, "dear @Octo/Web.", reason="team_mention")
    github.comment(key, "dear @octo/legal")
    assert poll(agent) == [f"new_github_at_mention {url}"]


# Arguments


def test_only_some_reasons(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given one reason, Then the others are not told, and their comments not read."""
    key = github.open_pull(7, body="@me")
    github.request_review(key)
    github.assign(github.open_issue(8))
    github.notify("octo/shop#talk", "mention")
    assert len(poll(agent, reasons=["review_requested"])) == 1
    assert "/repos/octo/shop/pulls/7/comments" not in github.paths()


def test_only_some_repositories(agent: AgentUnderTest, github: GithubServer) -> None:
    """Given patterns, Then others are neither told nor looked up."""
    for repo in ("octo/shop", "octo/Secret", "else/where"):
        github.assign(github.open_issue(8, repo))
    told = poll(agent, repos=["OCTO/*"], ignore_repos=["*/secret"])
    assert [each.partition("#")[0] for each in told] == [
        f"new_issue_assigned {WEB}/octo/shop/issues/8"
    ]
    assert [path for path in github.paths() if "where" in path or "Secret" in path] == []


@pytest.mark.parametrize("lookback", ["1e15", "2592001", "-1", "inf", "nan"])
def test_how_far_it_may_look_back(tmp_path: Path, lookback: str) -> None:
    """Given a lookback that makes no sense, Then that is one line at start."""
    path = tmp_path / "agent.toml"
    path.write_text(
        '[[jobs]]\nrun = "jobs.github_notifications.github_notifications"\n'
        f'every = "1 minute"\nwith = {{ lookback = {lookback} }}\n'
    )
    with pytest.raises(ConfigError, match="lookback"):
        agent_of_config(str(path))


@pytest.mark.parametrize("token", ["", " ", "canary ü-token", "canary x", "canary\ny"])
def test_a_token_that_cannot_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """Given a token that is empty or holds what none has, Then one line says so at start,
    with the setting, and without the token.
    """
    path = tmp_path / "agent.toml"
    run = '[[jobs]]\nrun = "jobs.github_notifications"\nevery = "1 minute"\n'
    path.write_text(f"{run}[github]\ntoken = {json.dumps(token)}\n")
    with pytest.raises(
        ConfigError, match=r"\[github\] token: it is (empty|no token)"
    ) as caught:
        agent_of_config(str(path))._settings(GithubSettings)
    path.write_text(run)
    monkeypatch.setenv("GITHUB_TOKEN", token)
    with pytest.raises(ConfigError, match="GITHUB_TOKEN") as of_variable:
        agent_of_config(str(path))._settings(GithubSettings)
    for said in (str(caught.value), str(of_variable.value)):
        assert "canary" not in said
        assert "\n" not in said


def test_it_is_configured_in_agent_toml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an agent.toml and the token in the environment, Then the agent is complete."""
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    path = tmp_path / "agent.toml"
    path.write_text(
        '[[jobs]]\nrun = "jobs.github_notifications.github_notifications"\n'
        'every = "1 minute"\nfirst = "baseline"\n[jobs.with]\nignore_repos = ["octo/*"]\n'
    )
    agent = agent_of_config(str(path))
    (job,) = agent._registry.jobs
    assert job.arguments["ignore_repos"] == ["octo/*"]
    settings = agent._settings(GithubSettings)
    assert settings.token.get_secret_value() == TOKEN
    assert settings.api_url == "https://api.github.com"
    assert "scope" in (GithubSettings.model_fields["token"].description or "")


# Values


@responses.activate
def test_what_is_asked_of_github_itself(tmp_path: Path) -> None:
    """Given no other address, Then it is GitHub's API that is asked, as documented."""
    responses.get("https://api.github.com/notifications", json=[])
    agent = AgentUnderTest(tmp_path / "agent.sqlite")
    agent.settings[GithubSettings] = GithubSettings(token=SecretStr(TOKEN))
    try:
        agent.run_job(github_notifications)
    finally:
        agent.stop()
    sent = responses.calls[0].request
    assert sent.headers["Authorization"] == f"Bearer {TOKEN}"
    assert sent.headers["Accept"] == "application/vnd.github+json"
    assert sent.headers["X-GitHub-Api-Version"] == "2022-11-28"


def notification(kind: str, url: str | None, reason: str = "mention") -> dict[str, Any]:
    return {
        "id": "5", "updated_at": "2026-01-05T12:00:00Z", "reason": reason,
        "subject": {"type": kind, "title": "T", "url": url},
        "repository": {"full_name": "o/r", "html_url": "javascript:alert()"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "url", "identifier"),
    [
        ("Issue", "https://x/repos/o/r/issues/1", "https://github.com/o/r/issues/1"),
        ("Issue", None, "https://github.com/o/r#thread-5"),
        ("Commit", "https://x/commits/0123abc", "https://github.com/o/r/commit/0123abc#thread-5"),
        ("Release", "https://x/releases/1", "https://github.com/o/r#thread-5"),
    ],
)  # fmt: skip
def test_what_a_notification_alone_tells(
    kind: str, url: str | None, identifier: str
) -> None:
    """Given kinds of subjects, Then each has a page and an identifier of its own."""
    thread = thread_of(notification(kind, url))
    assert thread is not None
    news = bare_news(thread, ["mention"])
    assert news is not None
    assert news.identifier == identifier
    assert bare_news(thread, ["assign"]) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("@me", True), ("Hi @ME!", True), ("(@me)", True), ("@me.", True), ("", False),
        ("a@me", False), ("@me-too", False), ("@me/team", False), ("`@me`", False),
        ("@meme", False), ("ü @me", True),
        ("```\n@me\n```", False), ("``` py\n@me\n```\nfor @me", True), ("~~~\n@me", False),
        ("`a @me`", False), ("`a` @me `b`", True), ("a ` b @me", True),
        ("`a\n\n@me`", True), ("``a` @me`` b", False), ("```@me``` x", False),
        ("> ```\n> @me\nand @me", True),
    ],
)  # fmt: skip
def test_who_is_mentioned(text: str, found: bool) -> None:
    """Given texts, Then a name after an @ is a mention, and part of a word is none."""
    assert mentions(text, "me") is found


def test_patterns_of_repositories() -> None:
    """Given patterns, Then those to ignore win over those that are wanted."""
    assert is_wanted("o/r", [], [])
    assert is_wanted("o/r", ["o/*"], ["o/x"])
    assert not is_wanted("o/r", ["x/*"], [])
    assert not is_wanted("o/r", ["o/*"], ["*/R"])


def test_the_server_is_what_it_claims(github: GithubServer) -> None:
    """Given a time, Then the server's own time is written as GitHub writes it."""
    moment = datetime.fromisoformat(github.at())
    assert moment.tzinfo == UTC
    assert json.loads(github.answer("/user", {}, {})[2])["message"] == "Bad credentials"
