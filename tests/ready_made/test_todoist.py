"""listeners.todoist: each event becomes one task, whatever happens on the way."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
import responses
from pydantic import SecretStr

import py_agent
from jobs.github_notifications import GithubSettings, github_notifications
from jobs.todoist_account import TodoistSettings, place_of
from listeners import todoist as module
from listeners.todoist import (
    add_issue,
    add_mention,
    add_pull_request,
    add_task,
)
from listeners.todoist_api import request_id, verdict
from listeners.todoist_texts import filled, plain
from py_agent import Discard, Event, HttpError, Pause, Retry
from py_agent.errors import ConfigError
from py_agent.loading import agent_of_config
from py_agent.testing import AgentUnderTest, Delivery, FakeClock

from .github_server import GithubServer
from .todoist_server import TodoistServer

TOKEN = "canary-todoist-0815"
PAGE = "https://github.com/octo/shop/issues/8"
ISSUE = {
    "repo": "octo/shop", "kind": "Issue", "number": 8, "title": "Fix it", "url": PAGE,
    "author": "ann", "state": "open", "labels": [], "by": "bob", "at": "",
}  # fmt: skip

Send = Callable[..., Delivery]


@pytest.fixture
def clock() -> FakeClock:
    """A clock that agent and servers have in common."""
    return FakeClock()


@pytest.fixture
def todoist(clock: FakeClock) -> Iterator[TodoistServer]:
    """Todoist, without a task."""
    made = TodoistServer(clock.now, TOKEN)
    yield made
    made.close()


@pytest.fixture
def agent(
    tmp_path: Path, clock: FakeClock, todoist: TodoistServer
) -> Iterator[AgentUnderTest]:
    """An agent that may add tasks."""
    made = AgentUnderTest(tmp_path / "agent.sqlite", clock=clock)
    made.settings[TodoistSettings] = settings_for(todoist)
    yield made
    made.stop()


def settings_for(todoist: TodoistServer, token: str = TOKEN) -> TodoistSettings:
    return TodoistSettings(token=SecretStr(token), api_url=todoist.host)


@pytest.fixture
def send(agent: AgentUnderTest) -> Send:
    """Deliver an issue to add_issue, and tell what became of it."""

    def deliver(identifier: str = f"{PAGE}#event-1", **arguments: Any) -> Delivery:
        if not agent.published():
            agent.add_listener(add_issue, name="todo", **arguments)
        agent.handler.publish("new_issue_assigned", identifier, ISSUE)
        agent.drain()
        (found,) = agent.deliveries("todo", identifier=identifier)
        return found

    return deliver


def event(data: Any = ISSUE, identifier: str = f"{PAGE}#event-1") -> Event:
    return Event("new_issue_assigned", identifier, data, source="job", delivery_key="1.1")


# What is added


def test_an_issue(agent: AgentUnderTest, todoist: TodoistServer, send: Send) -> None:
    """Given an assigned issue, Then its task is a link to it, where and as is asked."""
    todoist.sections = [{"id": "s1", "name": "Next", "project_id": "p1"}]
    send(project="work", section="Next", labels=["code"], priority="p1", due="today")
    (task,) = todoist.tasks
    assert {key: task[key] for key in task if key not in ("id", "added_at")} == {
        "content": f"[octo/shop#8: Fix it]({PAGE})", "description": "Assigned by bob",
        "project_id": "p1", "section_id": "s1", "labels": ["code"], "priority": 4,
        "due_string": "today", "due_lang": "en", "auto_parse_labels": False,
    }  # fmt: skip


def test_a_pull_request_and_a_mention(
    agent: AgentUnderTest, todoist: TodoistServer
) -> None:
    """Given a review and a mention, Then each has its own listener, and its own words."""
    agent.add_listener(add_issue)
    agent.add_listener(add_pull_request)
    agent.add_listener(add_mention)
    talk = {**ISSUE, "number": None, "text": "Hi @me\nlook [here](https://evil.example)"}
    agent.handler.publish("new_pr_review", "1", ISSUE)
    agent.handler.publish("new_github_at_mention", "2", talk)
    agent.handler.publish("something else", "3", ISSUE)
    agent.drain()
    found = sorted((each["content"], each["description"]) for each in todoist.tasks)
    assert found == [
        (f"Answer in [octo/shop: Fix it]({PAGE})",
         "bob: Hi @me\nlook (here)(https://evil.example)"),
        (f"Review [octo/shop#8: Fix it]({PAGE})", "Requested by bob"),
    ]  # fmt: skip


def test_any_event(agent: AgentUnderTest, todoist: TodoistServer) -> None:
    """Given an event of my own and a title, Then its words are filled in."""
    said = Event("rain", "today", {"mm": 7, "city": {"name": "Ulm"}})
    texts = {"title": "$data.city.name: ${data.mm}mm, $$", "description": "$identifier"}
    add_task(agent.handler, said, agent.settings[TodoistSettings], **texts)
    add_task(
        agent.handler, said, agent.settings[TodoistSettings], title="$data.no $data.mm"
    )
    add_task(agent.handler, said, agent.settings[TodoistSettings], title=" ")
    assert [(each["content"], each["description"]) for each in todoist.tasks] == [
        ("Ulm: 7mm, $", "today"),
    ]
    assert len(todoist.posts()) == 3  # with one id, as it is one event for one listener


def test_who_did_it_may_be_unknown(agent: AgentUnderTest, todoist: TodoistServer) -> None:
    """Given a notification that could not be looked up, Then nobody is named."""
    said = event({**ISSUE, "by": ""})
    add_issue(agent.handler, said, agent.settings[TodoistSettings])
    assert todoist.tasks[0]["description"] == ""


@pytest.mark.parametrize(
    ("data", "content", "description"),
    [
        ({"title": "by hand"}, f"[by hand]({PAGE}#event-1)", ""),
        ({"repo": "o/r", "url": PAGE}, f"[o/r]({PAGE})", ""),
        ({"by": "bob", "text": "Hi"}, f"[{PAGE}#event-1]({PAGE}#event-1)", "bob: Hi"),
        (None, f"[{PAGE}#event-1]({PAGE}#event-1)", ""),
        ({"by": "bob"}, f"[{PAGE}#event-1]({PAGE}#event-1)", ""),
    ],
)
def test_an_event_without_some_fields(
    agent: AgentUnderTest,
    todoist: TodoistServer,
    data: Any,
    content: str,
    description: str,
) -> None:
    """Given an event that was published by hand, Then what it has not is left out."""
    add_mention(agent.handler, event(data), agent.settings[TodoistSettings])
    (task,) = todoist.tasks
    assert task["content"] == f"Answer in {content}"
    assert task["description"] == description


def test_an_event_of_nothing(agent: AgentUnderTest, todoist: TodoistServer) -> None:
    """Given an event with no data, and an identifier that is no URL, Then it is told."""
    add_issue(agent.handler, event({}, "by hand"), agent.settings[TodoistSettings])
    assert todoist.tasks[0]["content"] == "by hand"


@pytest.mark.parametrize("title", ["", "\u200b", "x" * 2_000, "* ", "\\"])
def test_any_title_becomes_a_task(
    agent: AgentUnderTest, todoist: TodoistServer, title: str
) -> None:
    """Given titles that are empty, long or odd, Then Todoist takes what is made of them."""
    said = event({**ISSUE, "title": title, "by": "y" * 20_000})
    add_task(agent.handler, said, agent.settings[TodoistSettings], title="$data.title",
             description="$data.by")  # fmt: skip
    (task,) = todoist.tasks
    assert 1 <= len(task["content"]) <= 500
    assert len(task["description"]) == 16_383


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Fix [this](https://evil.example)", "Fix (this)(https://evil.example)"),
        ("](https://evil.example) [x", ")(https://evil.example) (x"),
        ("a\u202etxt.exe", "atxt.exe"), ("* not a heading", "not a heading"),
        ("ends \\", "ends "), ("a\tb\x07c", "a bc"), ("**bold** `x`", "**bold** `x`"),
        ("https://a.example/(x)[y]", "https://a.example/%28x%29%5By%5D"),
        ("https://a.example/?q=1&b=%20#c", "https://a.example/?q=1&b=%20#c"),
        ("HTTPS://a.example/)x", "HTTPS://a.example/%29x"),
    ],
)  # fmt: skip
def test_what_events_say_makes_no_link(given: str, shown: str) -> None:
    """Given texts from the internet, Then none becomes Markdown that leads elsewhere."""
    assert plain(given) == shown


def test_a_long_title_keeps_its_link() -> None:
    """Given a title that is too long for a task, Then it is cut, and the link is whole."""
    said = event({**ISSUE, "title": "x" * 2_000})
    found = filled("[${data.title}](${data.url})", said, 500)
    assert len(found) == 500
    assert found.endswith(f"xx…]({PAGE})")
    assert filled("x" * 600, said, 500) == "x" * 499 + "…"


def test_a_word_that_no_event_has() -> None:
    """Given a wrong word in a title, Then the listener is paused with the right ones."""
    with pytest.raises(Pause, match=r"has \$titel.*event_type, identifier"):
        filled("$titel", event(), 500)


# Once


def test_a_failed_attempt_is_repeated_with_the_same_id(
    agent: AgentUnderTest, todoist: TodoistServer, send: Send
) -> None:
    """Given Todoist that adds the task and answers 500, Then there is one task."""
    todoist.then = [(500, {}, "oops")]
    assert send().state == "retryable"
    agent.advance(hours=1)
    assert [each.state for each in agent.deliveries("todo")] == ["completed"]
    assert len(todoist.tasks) == 1
    ids = [headers["x-request-id"] for headers in todoist.posts()]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    assert str(uuid.UUID(ids[0])) == ids[0]


@pytest.mark.parametrize(
    "answer", [(503, {}, "down"), (200, {"Content-Type": "application/json"}, '{"id')]
)
def test_a_task_whose_request_was_forgotten(
    agent: AgentUnderTest, todoist: TodoistServer, send: Send, answer: Any
) -> None:
    """Given Todoist that adds the task, says that it did not, and is down until it has
    forgotten the request, Then there is one task.
    """
    todoist.then = [answer]
    todoist.refuse = []
    assert send().state == "retryable"
    todoist.refuse = [(429, {"Retry-After": "3600"}, "")]
    agent.advance(60)
    todoist.known.clear()
    agent.advance(hours=2)
    assert [each.state for each in agent.deliveries("todo")] == ["completed"]
    assert len(todoist.tasks) == 1
    assert todoist.paths()[-1] == "GET /tasks"


def test_a_new_event_costs_one_request(todoist: TodoistServer, send: Send) -> None:
    """Given an event of just now, Then nothing is looked for before its task is added."""
    send()
    assert todoist.paths() == ["POST /tasks"]


def test_the_clock_of_todoist_may_be_behind(
    agent: AgentUnderTest, todoist: TodoistServer, send: Send, clock: FakeClock
) -> None:
    """Given Todoist's clock some seconds behind ours, Then the task is found anyway."""
    todoist.now = lambda: clock.now() - timedelta(seconds=20)
    todoist.then = [(503, {}, "down")]
    send()
    todoist.refuse = [(429, {"Retry-After": "3600"}, "")]
    agent.advance(60)
    todoist.known.clear()
    agent.advance(hours=2)
    assert len(todoist.tasks) == 1


def test_ids_differ_between_events_listeners_and_stores(clock: FakeClock) -> None:
    """Given other events, listeners or stores, Then the request id is another."""
    one = Event("t", "1", created=clock.now())
    later = Event("t", "1", created=clock.now() + timedelta(microseconds=1))
    other = Event("t", "2", created=clock.now())
    of_type = Event("u", "1", created=clock.now())
    found = [request_id(each, "a") for each in (one, later, other, of_type)]
    found.append(request_id(one, "b"))
    assert len(set(found)) == 5
    assert request_id(one.delivered("7.7"), "a") == found[0]
    assert max(map(len, found)) == 36


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("forgotten", [False, True])
def test_a_delivery_in_doubt(
    agent: AgentUnderTest, todoist: TodoistServer, changed: bool, forgotten: bool
) -> None:
    """Given an attempt that was cut off after it had added the task, Then the next one
    finds it, or Todoist knows the id. Only where both fail is there a second one.
    """
    todoist.size = 1
    settings, said = agent.settings[TodoistSettings], event()
    created = Event(said.event_type, said.identifier, said.data, created=agent.clock.now())
    add_task(agent.handler, event(), settings, title="another")
    add_issue(agent.handler, created, settings)
    if changed:
        todoist.tasks[1]["content"] = "the user wrote something else"
    if forgotten:
        todoist.known.clear()
    before = len(todoist.posts())
    add_issue(agent.handler, created.delivered("1.1", in_doubt=True), settings)
    assert len(todoist.posts()) - before == (1 if changed else 0)
    assert len(todoist.tasks) == (3 if changed and forgotten else 2)


def test_a_task_of_an_earlier_event_is_another(
    agent: AgentUnderTest, todoist: TodoistServer
) -> None:
    """Given a task that was there before the event, Then the one in doubt is added."""
    settings = agent.settings[TodoistSettings]
    add_issue(agent.handler, event(), settings)
    agent.clock.advance(60)
    again = Event("new_issue_assigned", f"{PAGE}#event-2", ISSUE, created=agent.clock.now())
    add_issue(agent.handler, again.delivered("2.1", in_doubt=True), settings)
    assert len(todoist.tasks) == 2


def test_texts_that_do_not_name_their_event_are_not_looked_for(
    agent: AgentUnderTest, todoist: TodoistServer
) -> None:
    """Given a title that many events have, Then doubt is left to the request id."""
    settings = agent.settings[TodoistSettings]
    said = Event("rain", "monday", created=agent.clock.now())
    for name in ("monday", "tuesday"):
        said = Event("rain", name, created=agent.clock.now()).delivered("1.1", True)
        add_task(agent.handler, said, settings, title="Take an umbrella")
    assert len(todoist.tasks) == 2
    assert "GET /tasks" not in todoist.paths()


# Projects and sections


def test_a_project_is_looked_up_once(todoist: TodoistServer, send: Send) -> None:
    """Given several events and pages of projects, Then they are read once."""
    todoist.size = 1
    send(project="Work")
    send("another")
    assert [path for path in todoist.paths() if "projects" in path] == ["GET /projects"] * 2
    assert [each["project_id"] for each in todoist.tasks] == ["p1", "p1"]


def test_a_project_by_its_id(todoist: TodoistServer, send: Send) -> None:
    """Given an id, Then it is that project, even if another has it as its name."""
    todoist.projects.append({"id": "p2", "name": "p1"})
    send(project="p1")
    assert todoist.tasks[0]["project_id"] == "p1"


def test_a_project_that_was_deleted_is_looked_up_again(
    agent: AgentUnderTest, todoist: TodoistServer, send: Send
) -> None:
    """Given a project that was made anew, When a task comes, Then it goes there."""
    send(project="Work")
    todoist.projects[1] = {"id": "p9", "name": "Work"}
    assert send("another").state == "retryable"
    agent.advance(hours=1)
    assert [each["project_id"] for each in todoist.tasks] == ["p1", "p9"]


def test_an_unknown_project_pauses_with_one_line(
    agent: AgentUnderTest,
    todoist: TodoistServer,
    send: Send,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given a project that does not exist, Then all wait, and go on when it is there."""
    assert send(project="Wrok").state == "available"
    assert "Todoist has no project 'Wrok'; it has 'Inbox', 'Work'\n" in caplog.text
    todoist.projects.append({"id": "p3", "name": "Wrok"})
    agent.advance(hours=1.1)
    assert len(todoist.tasks) == 1


def test_places_with_the_same_name() -> None:
    """Given two of one name, Then the error has their ids; the case of letters counts
    where it tells them apart.
    """
    items = [
        {"id": "a", "name": "Next"}, {"id": "b", "name": "Next"}, {"id": 1}, None,
        {"id": "c", "name": "NEXT"}, {"name": "x"}, {"id": "d", "name": []},
    ]  # fmt: skip
    assert place_of("section", "NEXT", items) == "c"
    assert place_of("section", "a", items) == "a"
    with pytest.raises(ValueError, match="2 sections in Todoist are named 'Next'.*a, b"):
        place_of("section", "Next", items)
    with pytest.raises(ValueError, match="3 sections"):
        place_of("section", "next", items)
    with pytest.raises(ValueError, match="no project 'x'; it has none"):
        place_of("project", "x", [])


# What answers mean


@pytest.mark.parametrize(
    ("status", "headers", "body", "state", "said"),
    [
        (401, {}, "Forbidden", "available", "TODOIST_TOKEN"),
        (403, {}, '{"error": "Maximum number of items"}', "available", "Maximum number"),
        (429, {"Retry-After": "90"}, "", "available", "429"),
        (429, {}, '{"error_extra": {"retry_after": 90}}', "available", "429"),
        (302, {"Location": "https://x.example"}, "", "available", "api_url"),
        (410, {}, "gone", "available", "api_url"),
        (404, {}, "no such path", "available", "api_url"),
        (400, {}, '{"error": "Invalid date format"}', "discarded", "Invalid date format"),
        (413, {}, "too long", "discarded", "too long"),
        (503, {}, "", "retryable", "503"),
        (200, {"Content-Type": "text/html"}, "<p>Sign in!", "retryable", "web page"),
        (200, {}, '{"id": "t1", "cont', "retryable", "not JSON"),
        (200, {}, "", "retryable", "not JSON"),
        (200, {}, '{"id": null}', "retryable", "names no task"),
        (200, {}, "[]", "retryable", "names no task"),
    ],
)  # fmt: skip
def test_what_an_answer_means(
    agent: AgentUnderTest,
    todoist: TodoistServer,
    send: Send,
    caplog: pytest.LogCaptureFixture,
    status: int,
    headers: dict[str, str],
    body: str,
    state: str,
    said: str,
) -> None:
    """Given an answer, Then the delivery waits, is tried again, or is a dead letter; and
    what is not dead is done when Todoist is well again.
    """
    todoist.refuse = [(status, headers, body)]
    found = send()
    assert found.state == state
    assert said in f"{found.reason} {found.error} {caplog.text}"
    agent.advance(hours=1.1)
    (found,) = agent.deliveries("todo")
    assert found.state == ("discarded" if state == "discarded" else "completed")


def test_a_rate_limit_lasts_as_long_as_is_asked(
    agent: AgentUnderTest, todoist: TodoistServer, send: Send
) -> None:
    """Given 429 and 90 seconds, Then nothing is asked before, and then it is done."""
    todoist.refuse = [(429, {"Retry-After": "90"}, "")]
    send()
    agent.advance(89)
    assert len(todoist.asked) == 1
    agent.advance(2)
    assert len(todoist.tasks) == 1


@pytest.mark.parametrize("body", ["null", "[]", '{"results": 7}', "<html>"])
def test_garbage_for_a_list(todoist: TodoistServer, send: Send, body: str) -> None:
    """Given a list of projects that is none, Then the attempt fails, as it may pass."""
    todoist.refuse = [(200, {}, body)]
    assert send(project="Work").state == "retryable"


def test_a_server_that_is_away_is_tried_again(agent: AgentUnderTest) -> None:
    """Given nobody at the address, Then the attempt fails and is tried again."""
    settings = TodoistSettings(token=SecretStr(TOKEN), api_url="http://127.0.0.1:1")
    with pytest.raises(Retry):
        add_issue(agent.handler, event(), settings)


def test_verdicts_on_what_was_looked_up_before() -> None:
    """Given a refusal, Then an id of long ago is looked up again before all is given up."""
    assert isinstance(verdict(HttpError("x", 404), trusts=True), Retry)
    assert isinstance(verdict(HttpError("x", 400), trusts=True), Retry)
    assert isinstance(verdict(HttpError("x", 404)), Pause)
    assert isinstance(verdict(HttpError("x", 400)), Discard)
    assert isinstance(verdict(HttpError("x")), Pause)
    assert isinstance(verdict(HttpError("x", 429, transient=True)), Retry)


# The token


def test_the_token_is_nowhere(
    agent: AgentUnderTest,
    todoist: TodoistServer,
    send: Send,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given a server that repeats the token, Then neither log nor store nor task has it."""
    caplog.set_level(logging.DEBUG)
    todoist.refuse = [(400, {}, f"Bearer {TOKEN} is wrong")]
    found = send()
    agent.stop()
    store = b"".join(each.read_bytes() for each in tmp_path.glob("agent.sqlite*"))
    assert found.state == "discarded"
    assert TOKEN not in f"{found} {caplog.text}"
    assert TOKEN.encode() not in store


@pytest.mark.parametrize("token", ["", " ", "canary ü-token", "canary x", "canary\ny"])
def test_a_token_that_cannot_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """Given a token that is empty or holds what none has, Then one line says so at start,
    with the setting, and without the token.
    """
    path = tmp_path / "agent.toml"
    run = '[[listeners]]\nrun = "listeners.todoist.add_issue"\n'
    path.write_text(f"{run}[todoist]\ntoken = {json.dumps(token)}\n")
    with pytest.raises(
        ConfigError, match=r"\[todoist\] token: it is (empty|no token)"
    ) as caught:
        agent_of_config(str(path))._settings(TodoistSettings)
    path.write_text(run)
    monkeypatch.setenv("TODOIST_TOKEN", token)
    with pytest.raises(ConfigError, match="TODOIST_TOKEN") as of_variable:
        agent_of_config(str(path))._settings(TodoistSettings)
    for said in (str(caught.value), str(of_variable.value)):
        assert "the API token of Todoist, from Settings > Integrations" in said
        assert "canary" not in said
        assert "\n" not in said


def test_it_is_configured_in_agent_toml(tmp_path: Path) -> None:
    """Given one line for each listener, Then it listens to what it is for."""
    path = tmp_path / "agent.toml"
    names = ("add_issue", "add_pull_request", "add_mention")
    path.write_text(
        '[todoist]\ntoken = "x"\n'
        + "".join(f'[[listeners]]\nrun = "listeners.todoist.{name}"\n' for name in names)
        + '[listeners.with]\nproject = "Work"\npriority = "p2"\n'
    )
    agent = agent_of_config(str(path))
    found = {each.name: str(each.filter) for each in agent._registry.listeners}
    assert found == {
        "listeners.todoist.add_issue": 'event_type == "new_issue_assigned"',
        "listeners.todoist.add_pull_request": 'event_type == "new_pr_review"',
        "listeners.todoist.add_mention": 'event_type == "new_github_at_mention"',
    }
    assert "API token" in (TodoistSettings.model_fields["token"].description or "")


@responses.activate
def test_what_is_asked_of_todoist_itself(agent: AgentUnderTest) -> None:
    """Given no other address, Then it is Todoist's API v1 that is asked, as documented."""
    responses.post("https://api.todoist.com/api/v1/tasks", json={"id": "1"})
    settings = TodoistSettings(token=SecretStr(TOKEN))
    add_issue(agent.handler, event(), settings)
    sent = responses.calls[0].request
    assert sent.headers["Authorization"] == f"Bearer {TOKEN}"
    assert sent.headers["Content-Type"] == "application/json"
    assert len(sent.headers["X-Request-Id"]) == 36
    assert module.__doc__ is not None


# From GitHub to Todoist


@pytest.fixture
def github(clock: FakeClock, agent: AgentUnderTest) -> Iterator[GithubServer]:
    """GitHub, that the agent may ask, too."""
    made = GithubServer(clock.now, TOKEN)
    given = GithubSettings(token=SecretStr(TOKEN), api_url=made.host)
    agent.settings[GithubSettings] = given
    yield made
    made.close()


def test_from_an_assignment_to_a_task(
    agent: AgentUnderTest, github: GithubServer, todoist: TodoistServer
) -> None:
    """Given an issue that is assigned, commented, and polled again, Then it is one task."""
    agent.add_listener(add_issue)
    key = github.open_issue(8, title="Fix [it](https://evil.example)")
    github.assign(key)
    todoist.then = [(500, {}, "oops")]
    for _ in range(3):
        agent.clock.advance(60)
        agent.run_job(github_notifications)
        github.comment(key, "talk")
        agent.drain()
    (task,) = todoist.tasks
    assert task["content"] == (
        "[octo/shop#8: Fix (it)(https://evil.example)]"
        "(https://github.example/octo/shop/issues/8)"
    )
    assert task["description"] == "Assigned by bob"


def test_a_process_that_is_killed_before_it_hears_the_answer(
    agent: AgentUnderTest, github: GithubServer, todoist: TodoistServer, tmp_path: Path
) -> None:
    """Given a kill between the post and its acknowledgement, When the agent is started
    again, Then there is one task, though it was changed meanwhile; the id tells.
    """
    github.assign(github.open_issue(8))
    script = Path(__file__).with_name("github_to_todoist.py")
    life = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "agent.sqlite"), TOKEN,
         github.host, todoist.host],
        env={**os.environ, "PYTHONPATH": str(Path(py_agent.__file__).parent.parent)},
    )  # fmt: skip

    def kill() -> NoReturn:
        todoist.tasks[0]["content"] = "changed by the user"
        life.kill()
        raise ConnectionAbortedError

    todoist.then = [kill]
    assert life.wait(60) == -signal.SIGKILL
    agent.add_listener(add_issue)
    agent.run_job(github_notifications)
    agent.drain()
    assert [each.state for each in agent.deliveries()] == ["completed"]
    assert len(todoist.tasks) == 1
    first, second = (headers["x-request-id"] for headers in todoist.posts())
    assert first == second
    assert "GET /tasks" in todoist.paths()


@pytest.mark.parametrize(
    ("run", "key"),
    [
        ("todoist.add_task", "title"), ("todoist.add_issue", "description"),
        ("notify", "body"),
    ],
)  # fmt: skip
def test_a_word_that_no_event_has_is_told_at_start(
    tmp_path: Path, run: str, key: str
) -> None:
    """Given a misspelt word in a text of agent.toml, Then the agent does not start."""
    path = tmp_path / "agent.toml"
    path.write_text(
        f'[[listeners]]\nrun = "listeners.{run}"\nmatch = {{ event_type = ["==", "x"] }}\n'
        f'with = {{ {key} = "$dta.title" }}\n[todoist]\ntoken = "t"\n'
    )
    said = f"argument '{key}': it has \\$dta.title, which no event has; there are event_"
    with pytest.raises(ConfigError, match=said):
        agent_of_config(str(path))
