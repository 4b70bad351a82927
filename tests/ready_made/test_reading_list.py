"""jobs.reading_list: each link is read once, a bad one stops no other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from jobs import reading_list_page
from jobs.reading_list import link_file, reading_list
from jobs.reading_list_links import Found, links_in, normal
from jobs.reading_list_page import NoArticle, article_in, as_published, summary_of
from jobs.todoist_account import TodoistSettings
from py_agent import HttpError
from py_agent.errors import ConfigError
from py_agent.http import Http
from py_agent.registry import FOR_JOBS
from py_agent.settings.conversion import convert_arguments
from py_agent.testing import AgentUnderTest

from .reading_server import TOKEN, ReadingServer, article, page

QUIET: Any = SimpleNamespace(stop_requested=False)  # a handler whose agent does not stop


@pytest.fixture
def site() -> Iterator[ReadingServer]:
    """A site without pages."""
    made = ReadingServer()
    yield made
    made.close()


@pytest.fixture
def agent(running: AgentUnderTest, site: ReadingServer) -> AgentUnderTest:
    """An agent with an account of Todoist."""
    use_token(running, site, TOKEN)
    return running


def use_token(agent: AgentUnderTest, site: ReadingServer, token: str) -> None:
    values: Any = {"token": token, "api_url": site.url("/api/v1")}
    agent.settings[TodoistSettings] = TodoistSettings(**values)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are read in this process: what is tested is what becomes of them."""

    def read(_: Any, body: bytes, kind: str, url: str, seconds: float) -> dict[str, Any]:
        if b"<article>" not in body:
            raise NoArticle("there is no article in it, only 3 words")
        return as_published({"title": "Tea", "text": body.decode()}, url)

    monkeypatch.setattr("jobs.reading_list.article_in", read)


def poll(agent: AgentUnderTest, projects: tuple[str, ...] = ("P1",), **given: Any) -> None:
    """Read the list once."""
    agent.run_job(reading_list, projects=list(projects), allow_private=True, **given)


def names(agent: AgentUnderTest, event_type: str = "archive_article") -> list[str]:
    return [event.identifier for event in agent.published(event_type)]


# What is published


def test_an_article_is_published_with_all_that_the_page_says(
    agent: AgentUnderTest, site: ReadingServer
) -> None:
    """Given a task with a link, Then its page is an event in plain JSON."""
    head = (
        '<meta name="author" content="Ann Lee"><meta property="og:site_name" content='
        '"Example"><meta name="description" content="All about tea, and a bit more.">'
        '<meta property="article:published_time" content="2026-01-05T12:00:00Z">'
    )
    site.pages["/tea"] = page(article(head=head, inside="<script>steal()</script>"))
    site.task(f"[Tea]({site.url('/tea#top')})", labels=["drinks"])
    poll(agent)
    (event,) = agent.published("archive_article")
    text = event.data.pop("text")
    assert event.identifier == site.url("/tea")
    assert event.data == {
        "url": site.url("/tea"), "title": "Tea", "author": "Ann Lee",
        "published": "2026-01-05", "site": "Example", "language": "en-GB",
        "summary": "All about tea, and a bit more.", "truncated": False, "words": 68,
        "paywall": False, "tags": ["drinks"],
        "task": {"id": "T1", "project_id": "P1",
                 "content": f"[Tea]({site.url('/tea#top')})"},
    }  # fmt: skip
    assert text.startswith("All of it is hot. word0 word1 ")
    assert text.endswith("word59.\nAnd wet.")
    assert "steal" not in text and "Home" not in text


def test_a_page_is_fetched_once_for_ever(
    agent: AgentUnderTest, site: ReadingServer, quick: None
) -> None:
    """Given the same link in many spellings, When polled often, Then one request."""
    site.pages["/tea"] = page(article())
    for suffix in ("/tea", "/tea#a", "/tea?utm_source=x&utm_medium=y", "/tea?fbclid=1#b"):
        site.task(f"see {site.url(suffix)}.")
    for _ in range(3):
        poll(agent)
        agent.clock.advance(days=1)
    assert (site.asked, names(agent)) == (["/tea"], [site.url("/tea")])


def test_what_the_store_has_is_not_fetched_by_another_job(
    agent: AgentUnderTest, site: ReadingServer, tmp_path: Path, quick: None
) -> None:
    """Given an article from Todoist, When a file names its link, Then nothing is asked."""
    site.pages["/tea"] = page(article())
    site.task(site.url("/tea"))
    poll(agent)
    (tmp_path / "links.txt").write_text(site.url("/tea"))
    agent.run_job(link_file, file=tmp_path / "links.txt", allow_private=True)
    assert site.asked == ["/tea"]


def test_links_come_from_a_file(
    agent: AgentUnderTest,
    site: ReadingServer,
    tmp_path: Path,
    quick: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given links, comments and nonsense, Then the links are read, the rest is told."""
    site.pages = {"/a": page(article()), "/b": page(article())}
    file = tmp_path / "links.txt"
    file.write_text(
        f"\ufeff# mine\n{site.url('/a')}  # good\n\nnonsense\n{site.url('/b#c')}\n",
        encoding="utf-8",
    )
    agent.run_job(link_file, file=file, allow_private=True)
    assert names(agent) == [site.url("/a"), site.url("/b")]
    assert agent.published()[0].data["task"] is None
    assert f"{file}, line 4: there is no usable link" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_of_links_may_have_a_mark(
    agent: AgentUnderTest, site: ReadingServer, tmp_path: Path, encoding: str
) -> None:
    """Given a file as some editors write it, Then its links are read."""
    site.pages["/tea"] = page(article("Tea"))
    file = tmp_path / "links.txt"
    file.write_bytes(f"{site.url('/tea')}  # grün\n".encode(encoding))
    agent.run_job(link_file, file=file, allow_private=True)
    assert names(agent) == [site.url("/tea")]


def test_a_link_that_is_no_text_is_left_out(
    agent: AgentUnderTest,
    site: ReadingServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given a file in Latin-1, Then a comment in it does not matter, and a link in it that
    would be another one is left out, with the line and what to do.
    """
    site.pages["/tea"] = page(article("Tea"))
    file = tmp_path / "links.txt"
    written = f"# für mich\n{site.url('/tea')} # grün\n{site.url('/grün')}\n"
    file.write_bytes(written.encode("latin-1"))
    agent.run_job(link_file, file=file, allow_private=True)
    assert names(agent) == [site.url("/tea")]
    assert "links.txt, line 3 is left out, as it is not UTF-8; save the" in caplog.text
    assert caplog.text.count("is not UTF-8") == 1


def test_a_file_that_is_not_there_fails_the_run(
    running: AgentUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given no such file, or none that can be read, Then one line says where, and what
    to do.
    """
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        running.run_job(link_file, file=Path("links.txt"))
    assert str(caught.value) == (
        f"there is no file {tmp_path}/links.txt; make it, with one link per line, or name "
        f"another"
    )
    with pytest.raises(IsADirectoryError, match=f"^{tmp_path} cannot be read: Is a direct"):
        running.run_job(link_file, file=tmp_path)


# Todoist


def test_tasks_are_read_page_by_page(
    agent: AgentUnderTest, site: ReadingServer, quick: None
) -> None:
    """Given more tasks than one answer has, in two projects, Then all are read."""
    site.size = 2
    for number in range(5):
        site.pages[f"/{number}"] = page(article())
        project = "P2" if number == 4 else "P1"
        site.task("read", project, description=f"see {site.url(f'/{number}')}")
    poll(agent, ("P1", "P2"))
    assert site.asked == [f"/{number}" for number in range(5)]
    assert len(site.tokens) == 2 + 3  # projects, then tasks
    assert site.shown == [None] * 5  # the token is Todoist's alone


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((401, {}, f"no {TOKEN}".encode()), "Todoist refuses the token"),
        ((403, {}, b"Forbidden"), "Todoist refuses the token"),
        ((404, {}, b"{}"), "status 404"),
        ((500, {}, f"oops {TOKEN}".encode()), "status 500"),
        ((200, {}, b"<html>"), "is not JSON"),
        ((200, {}, b"[]"), "the answer holds no results"),
        ((200, {}, b'{"results": {}}'), "the answer holds no results"),
        ((200, {}, b'{"results": []}'), "Todoist has no project 'P1'; it has none"),
    ],
)
def test_what_is_wrong_with_todoist_is_one_line(
    agent: AgentUnderTest,
    site: ReadingServer,
    answer: Any,
    problem: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given a refusal or garbage, Then the run fails with what to do, and no secret."""
    site.refuse = [answer] * 9
    caplog.set_level("DEBUG")
    with pytest.raises((HttpError, ValueError), match=problem) as caught:
        poll(agent)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value) + caplog.text


def test_a_project_is_known_by_its_name(
    agent: AgentUnderTest, site: ReadingServer, quick: None
) -> None:
    """Given a name, When polled twice, Then it is looked up once; anew if it is gone."""
    site.pages["/a"] = page(article())
    site.task(f"see {site.url('/a')}", "P7")
    poll(agent, ("project p7",))
    poll(agent, ("project p7",))
    assert site.asked == ["/a"]
    assert len(site.tokens) == 1 + 2

    site.tasks["P8"] = site.tasks.pop("P7")
    with pytest.raises(HttpError, match="404"):
        poll(agent, ("project p7",))
    with pytest.raises(ValueError, match="no project 'project p7'; it has 'Project P8'"):
        poll(agent, ("project p7",))


def test_odd_tasks_stop_no_other(
    agent: AgentUnderTest, site: ReadingServer, quick: None
) -> None:
    """Given tasks that are none, Then those with a link are read."""
    site.pages["/a"] = page(article())
    site.tasks["P1"] = [None, 7, {}, {"content": 7, "labels": "x"}, {"description": []},
                        {"content": site.url("/a"), "labels": None}]  # fmt: skip
    poll(agent)
    assert names(agent) == [site.url("/a")]


def test_a_task_that_no_event_can_hold_is_cut(
    agent: AgentUnderTest, site: ReadingServer, quick: None
) -> None:
    """Given half a character and an endless id, Then both articles are published."""
    site.pages = {"/a": page(article()), "/b": page(article())}
    site.task(f"{site.url('/a')} \ud83d", labels=["\ud83d"])
    site.task(site.url("/b"), id="x" * 1_100_000, project_id="y" * 1_100_000)
    poll(agent)
    first, second = (event.data for event in agent.published("archive_article"))
    assert (first["tags"], first["task"]["content"][-2:]) == (["?"], " ?")
    assert (second["task"]["id"], second["task"]["project_id"]) == ("x" * 100, "y" * 100)


def test_a_failure_is_told_without_the_task_if_need_be(
    agent: AgentUnderTest, site: ReadingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a task that the store refuses, Then the failure has none, and all go on."""
    odd = [Found(site.url("/a"), {"content": float("nan")}), Found(site.url("/b"))]
    monkeypatch.setattr("jobs.reading_list.of_project", lambda *_: odd)
    poll(agent, tries=1)
    assert [event.data["task"] for event in agent.published("archive_failed")] == [None] * 2


def test_a_cursor_that_leads_in_a_circle_ends(
    agent: AgentUnderTest, site: ReadingServer
) -> None:
    """Given the same cursor again and again, Then the tasks are read to there."""
    projects = (200, {}, b'{"results": [{"id": "P1", "name": "Reading"}]}')
    site.refuse = [projects, *[(200, {}, b'{"results": [], "next_cursor": "x"}')] * 9]
    poll(agent)
    assert len(site.tokens) == 1 + 2


def test_no_secret_becomes_known(
    agent: AgentUnderTest,
    site: ReadingServer,
    quick: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given a token and a link with a password, Then neither is in an event or the log."""
    caplog.set_level("DEBUG")
    site.pages["/a"] = page(article())
    secret = site.url("/b").replace("//", f"//me:{TOKEN}@")
    site.task(f"{secret} {site.url('/a')} {site.url('/c')}")
    poll(agent, tries=1)
    assert len(agent.published()) == 2
    assert site.asked == ["/a", "/c"]
    agent.stop()
    stored = agent.store_path().read_bytes()
    assert TOKEN.encode() not in stored and TOKEN not in caplog.text


# Pages that fail


@pytest.mark.parametrize(
    "bad",
    [
        (404, {}, b"no"), (401, {}, b"sign in"), (402, {}, b"pay"), (500, {}, b"oops"),
        (429, {}, b""), page(b"<html>sign in</html>"),
    ],
)  # fmt: skip
def test_a_page_that_fails_is_given_up_at_last(
    agent: AgentUnderTest, site: ReadingServer, quick: None, bad: Any
) -> None:
    """Given a bad page, When polled for weeks, Then six requests in all and one event."""
    site.pages = {"/bad": bad, "/good": page(article())}
    site.task(site.url("/bad"), labels=["x"])
    site.task(site.url("/good"))
    asked_after, began = [], agent.clock.boot()
    for hour in (0, 0.2, 1, 1.9, 2, 5.9, 6, 21, 22, 85, 86, 300):
        agent.clock.advance_to(began + hour * 3600)
        before = len(site.asked)
        poll(agent)
        asked_after += [hour] * site.asked[before:].count("/bad")
    assert asked_after == [0, 1, 2, 6, 22, 86]
    assert names(agent) == [site.url("/good")]
    (event,) = agent.published("archive_failed")
    assert event.identifier == f"{site.url('/bad')}@2026-01-05T12:00:00+00:00"
    assert (event.data["url"], event.data["tries"]) == (site.url("/bad"), 6)
    assert event.data["task"]["id"] == "T1"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (page(b"%PDF-1.7", "application/pdf"), "it is no web page, but application/pdf"),
        ((410, {}, b""), "gone for good"),
        ((302, {"Location": "http://169.254.169.254/"}, b""), "not a public address"),
        ((302, {"Location": "ftp://example.org/"}, b""), "only http and https"),
    ],
)
def test_what_will_never_be_an_article_is_given_up_at_once(
    agent: AgentUnderTest, site: ReadingServer, bad: Any, reason: str
) -> None:
    """Given a PDF, a page that is gone or a forbidden address, Then it is asked once."""
    site.pages = {"/bad": bad}
    site.task(site.url("/bad"))
    for _ in range(3):
        poll(agent)
        agent.clock.advance(days=30)
    assert site.asked == ["/bad"]
    (event,) = agent.published("archive_failed")
    assert reason in event.data["reason"]


def test_links_into_the_own_network_are_refused(
    agent: AgentUnderTest, site: ReadingServer
) -> None:
    """Given the default, When a link leads to this machine, Then nothing is asked."""
    site.task(site.url("/admin"))
    agent.run_job(reading_list, projects=["P1"])
    assert site.asked == []
    said = "127.0.0.1 is not a public address; allow_private = true allows your own network"
    assert said in agent.published("archive_failed")[0].data["reason"]


def test_a_page_that_comes_back_is_read(
    agent: AgentUnderTest, site: ReadingServer, quick: None
) -> None:
    """Given a page that failed, When it is there the next time, Then it is an event."""
    site.task(site.url("/a"))
    poll(agent)
    site.pages["/a"] = page(article())
    agent.clock.advance(minutes=14)
    poll(agent)
    assert names(agent) == []
    agent.clock.advance(minutes=2)
    poll(agent)
    assert names(agent) == [site.url("/a")]


def test_a_link_that_is_put_back_begins_anew(
    agent: AgentUnderTest, site: ReadingServer, quick: None
) -> None:
    """Given a link that was given up, When its task is made anew, Then it is tried."""
    site.task(site.url("/a"))
    poll(agent, tries=1)
    tasks, site.tasks["P1"] = site.tasks["P1"], []
    poll(agent)
    site.tasks["P1"], site.pages["/a"] = tasks, page(article())
    poll(agent)
    assert names(agent) == [site.url("/a")]
    assert len(site.asked) == 2


def test_a_wait_that_a_host_asks_for_is_kept(
    agent: AgentUnderTest, site: ReadingServer, quick: None
) -> None:
    """Given 429 with an hour to wait, Then its other pages are left alone in this run."""
    site.pages = {"/a": (429, {"Retry-After": "3600"}, b""), "/b": page(article())}
    site.task(f"{site.url('/a')} {site.url('/b')}")
    poll(agent)
    assert site.asked == ["/a"]
    agent.clock.advance(minutes=20)
    poll(agent)
    assert site.asked == ["/a", "/b"]


def test_a_run_reads_so_many_pages_and_is_polite(
    agent: AgentUnderTest, site: ReadingServer, quick: None
) -> None:
    """Given five links to a host, Then two a run are read, a second apart."""
    for number in range(5):
        site.pages[f"/{number}"] = page(article())
        site.task(site.url(f"/{number}"))
    began = agent.clock.boot()
    poll(agent, most=2)
    assert (len(site.asked), agent.clock.boot() - began) == (2, pytest.approx(1, abs=0.01))
    poll(agent, most=2)
    poll(agent, most=2)
    assert site.asked == [f"/{number}" for number in range(5)]


# Being offline


@pytest.fixture
def file(tmp_path: Path, site: ReadingServer) -> Path:
    """Links to eight pages that are there, each on a host of its own; all are offline."""
    site.pages = {f"/{number}": page(article()) for number in range(8)}
    urls = [site.url(f"/{n}").replace("127.0.0.1", f"127.0.0.{n + 1}") for n in range(8)]
    file = tmp_path / "links.txt"
    file.write_text("\n".join(urls))
    return file


def go_offline(monkeypatch: pytest.MonkeyPatch, *online: str) -> list[str]:
    """Let only some hosts be reached; return the hosts that are asked."""
    asked: list[str] = []
    real = Http.get

    def get(http: Http, url: str, **options: Any) -> Any:
        host = urlsplit(url).hostname or ""
        asked.append(host)
        if host not in online:
            raise HttpError(f"GET {url}: no route to host", transient=True)
        return real(http, url.replace(host, "127.0.0.1"), **options)

    monkeypatch.setattr(Http, "get", get)
    return asked


def test_days_offline_use_up_no_try(
    agent: AgentUnderTest,
    file: Path,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given a laptop offline for days, Then a run asks three hosts, the next run three
    others, nothing is given up, and all is read when it is online again.
    """
    with monkeypatch.context() as patch:
        asked = go_offline(patch)
        for _ in range(9):
            agent.run_job(link_file, file=file, allow_private=True)
            agent.clock.advance(hours=12)
    assert asked[:9] == [f"127.0.0.{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 1)]
    assert len(asked) == 27
    assert "nothing could be reached, so no try is counted: GET http://127.0" in caplog.text
    go_offline(monkeypatch, *(f"127.0.0.{n}" for n in range(1, 9)))
    agent.run_job(link_file, file=file, allow_private=True)
    assert (len(names(agent)), names(agent, "archive_failed")) == (8, [])


def test_what_is_offline_beside_others_is_given_up(
    agent: AgentUnderTest, file: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given one host that answers behind seven dead ones, Then it is read by the third
    run, and what was tried in that run counts.
    """
    go_offline(monkeypatch, "127.0.0.8")
    for _ in range(3):
        agent.run_job(link_file, file=file, allow_private=True, tries=1)
        agent.clock.advance(minutes=1)
    assert len(names(agent)) == 1
    assert len(names(agent, "archive_failed")) == 7


# Hostile pages


def test_a_hostile_page_is_ended_and_stops_no_other(
    agent: AgentUnderTest, site: ReadingServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given an element with countless attributes, Then it ends in time; others are read."""
    bomb = b"<html><body><div " + b" ".join(b"a%d=1" % n for n in range(100_000)) + b">x"
    site.pages = {"/bomb": page(bomb), "/good": page(article())}
    for path in ("/bomb", "/good"):
        site.task(site.url(path))
    caplog.set_level("INFO")
    poll(agent, most=1, timeout=0.5)
    assert "it takes more than 0.5 s to read" in caplog.text
    poll(agent)
    assert names(agent) == [site.url("/good")]


def test_a_page_that_is_too_large_is_not_read(
    agent: AgentUnderTest, site: ReadingServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a page beyond the limit, Then it failed; it is no event."""
    site.pages = {"/huge": page(article(words=50_000))}
    site.task(site.url("/huge"))
    caplog.set_level("INFO")
    poll(agent, max_bytes=10_000)
    assert names(agent) == [] and "10,000 bytes" in caplog.text


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (article("Grün").decode().replace('charset="utf-8"', "x").encode("latin-1"),
         "text/html; charset=iso-8859-1"),
        (article("Grün").decode().replace("utf-8", "latin-1").encode("latin-1"),
         "text/html"),
        (article("Grün").decode().encode("utf-16"), "text/html; charset=utf-8"),
        (article("Grün"), "text/html; charset=no-such"),
        (article("Grün"), "text/html; charset=base64"),
        (article("Grün"), "text/html; charset=unicode_escape"),
        (article("Grün +AGE-"), "text/html; charset=utf-7"),
        (article("Grün"), "text/html; charset=punycode"),
        (article("Grün").replace(b"hot", b"h\xfft"), "text/html; charset=utf-8"),
        (article("Grün \u201etee\u201c").decode().encode("cp1252"),
         "text/html; charset=latin1"),
    ],
)  # fmt: skip
def test_any_charset_is_read(body: bytes, kind: str) -> None:
    """Given a charset in the header, the page or its mark, Then the title is right."""
    assert article_in(QUIET, body, kind, "https://example.org/", 20)["title"].startswith(
        "Grün"
    )


def test_memory_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a page that takes too much memory, Then it failed, and this process lives."""
    monkeypatch.setattr(reading_list_page, "MEMORY", 100_000_000)
    with pytest.raises(NoArticle, match="it cannot be read: MemoryError"):
        article_in(QUIET, article(words=900_000), "", "https://example.org/", 20)


@pytest.mark.parametrize(
    ("given", "problem"),
    [({"most": 0}, "1 is the least"), ({"tries": 0}, "1 is the least"),
     ({"projects": ()}, "projects is empty")],
)  # fmt: skip
def test_arguments_that_would_read_nothing_fail_the_run(
    agent: AgentUnderTest, given: dict[str, Any], problem: str
) -> None:
    """Given no page, no try or no project, Then the run says so."""
    with pytest.raises(ValueError, match=problem):
        poll(agent, **given)


def test_arguments_that_would_read_nothing_are_told_at_start() -> None:
    """Given the same in agent.toml, Then it is a mistake there."""
    wrong = {"projects": [], "most": 0, "tries": 0, "timeout": 0, "max_bytes": 0}
    with pytest.raises(ConfigError) as caught:
        convert_arguments(reading_list, wrong, FOR_JOBS)
    assert len(caught.value.problems) == 5
    assert caught.value.problems[0].startswith("argument 'projects': list should have at")


def test_without_trafilatura_it_says_what_to_install() -> None:
    """Given no trafilatura, When imported, Then one line says what to install."""
    script = "import sys; sys.modules['trafilatura'] = None; import jobs.reading_list"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "needs: pip install 'py-agent[articles]'" in done.stderr.splitlines()[-1]


# Pure decisions


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("https://Example.ORG", "https://example.org/"),
        ("HTTPS://example.org:443/a#b", "https://example.org/a"),
        ("http://example.org:8080/", "http://example.org:8080/"),
        ("https://example.org/?utm_source=a&id=b,c&UTM_X=1", "https://example.org/?id=b,c"),
        ("https://example.org/?utm_source=a", "https://example.org/"),
        ("https://example.org/?id=b,c", "https://example.org/?id=b,c"),
        ("https://example.org/?q=%C3%BC&flag", "https://example.org/?q=%C3%BC&flag"),
        ("https://example.org/grün?ü=ü", "https://example.org/gr%C3%BCn?%C3%BC=%C3%BC"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("http://[::1]:80/", "http://[::1]/"),
        ("https://me:secret@example.org/", None),
        ("https://example.org:port/", None),
        ("https://", None),
        ("https://./", None),
        ("https://" + "a" * 99 + ".org/", None),
        ("https://example.org/" + "a" * 5000, None),
        ("ftp://example.org/", None),
        ("http://[::1/", None),
    ],
)
def test_a_link_has_one_spelling(link: str, expected: str | None) -> None:
    """Given a link, Then all its spellings are one; what cannot be followed is none."""
    assert normal(link) == expected
    if expected:
        assert normal(expected) == expected


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("see https://e.org/a, https://e.org/b. And (https://e.org/c)!", "a b c"),
        ("[A](https://e.org/a)[B](https://e.org/b)", "a b"),
        ("https://e.org/tea_(drink)", "tea_(drink)"),
        ("(https://e.org/tea_(drink))", "tea_(drink)"),
        ("<https://e.org/a> 'https://e.org/b'", "a b"),
        ("**https://e.org/a**", "a"),
        ("https://e.org/a https://e.org/a#x", "a"),
        ("no link, http:// and https:///x", ""),
        ("https://e.org/a,https://e.org/b;https://e.org/c", "a b c"),
        ("(https://e.org/a),(https://e.org/b)(https://e.org/c)", "a b c"),
        ("https://e.org/old/https://e.org/b", "old/https://e.org/b"),
        ("https://e.org/a?b=1&amp;c=2", "a?b=1&c=2"),
    ],
)
def test_links_are_found_in_what_people_write(text: str, paths: str) -> None:
    """Given Markdown or plain text, Then links end where their readers see the end."""
    assert links_in(text) == [f"https://e.org/{path}" for path in paths.split()]


@pytest.mark.parametrize(
    ("description", "text", "expected"),
    [
        ("All about tea, really, all of it.", "Text.", "All about tea, really, all of it."),
        (None, "One. Two! Three?", "One. Two! Three?"),
        ("Short", "One.\nTwo.", "One. Two."),
        (None, "First one. " + "x" * 290 + ". Third.", "First one."),
        (None, "word " * 400, ("word " * 120).strip() + "…"),
        ("d" * 5000, "", "…"),
    ],
)
def test_a_summary_is_short(description: str | None, text: str, expected: str) -> None:
    """Given a page with or without a description, Then the summary is a few sentences."""
    assert summary_of(description, text) == expected
    assert len(expected) <= 601


def test_a_long_text_is_cut_and_says_so() -> None:
    """Given a book, Then its event is not refused, and says that it is not the whole."""
    data = as_published({"text": "😀 tea " * 100_000}, "https://e.org/")
    assert (len(data["text"]), data["truncated"]) == (150_000, True)
    assert (data["words"], data["title"]) == (200_000, ("😀 tea " * 16).strip()[:80])
    assert len(str(data).encode()) < 700_000


def test_oddities_of_a_page_are_left_out() -> None:
    """Given a date and a language that are none, Then they are empty."""
    found = {"text": "tea " * 30, "date": "soon", "language": "<b>", "title": " a\n b "}
    data = as_published(found, "https://e.org/x")
    assert (data["published"], data["language"], data["title"]) == (None, "", "a b")
    assert data["site"] == "e.org"
