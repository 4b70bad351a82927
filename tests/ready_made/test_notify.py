"""listeners.notify: people are told; what fails is visible, hangs little, shows nothing."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from listeners.notify import MOST_HANGING, NotSentError, filled, notify
from py_agent import Event, Pause
from py_agent.testing import AgentUnderTest, Delivery
from py_agent.timeouts import timeout

from ..http.support import PATIENCE, SHORT, Server, Talk, reply

MARK = "canary0123456789"  # stands for a credential
WANTED = {"event_type": ("==", "t")}

# One of apprise's many plugins imports a module that Python will drop.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")


def event(identifier: str = "1", data: object = None) -> Event:
    moment = datetime(2026, 1, 5, 12, tzinfo=UTC)
    return Event("t", identifier, data, created=moment, source="job", delivery_key="1.1")


def place(web: Server, rest: str = "") -> str:
    """Return the URL with which apprise posts JSON to a server."""
    return f"json://127.0.0.1:{web.port}/{rest}"


def told(web: Server) -> list[tuple[str, str]]:
    """Return the titles and texts that arrived."""
    bodies = [json.loads(each.body) for each in web.seen]
    return [(each["title"], each["message"]) for each in bodies]


def deliver(agent: AgentUnderTest, **arguments: Any) -> Delivery:
    """Deliver one event to the listener, and tell what became of it."""
    agent.add_listener(notify, WANTED, name="tell", **arguments)
    agent.handler.publish("t", "1")
    agent.drain()
    (found,) = agent.deliveries("tell")
    return found


class Hanging:
    """A server that takes requests, and answers none before it is let go."""

    def __init__(self, web: Server) -> None:
        self.web = web
        self._go_on = threading.Event()
        web.say(self._answer)

    def _answer(self, talk: Talk) -> None:
        assert self._go_on.wait(PATIENCE), "it was never let go"
        talk.send(reply())

    def let_go(self) -> None:
        """Answer all, and wait until the threads that hung have ended."""
        self._go_on.set()
        for thread in threading.enumerate():
            if thread.name.startswith("notify-"):
                thread.join(PATIENCE)


@pytest.fixture
def hanging(web: Server) -> Iterator[Hanging]:
    """A server that hangs, until the end at most."""
    made = Hanging(web)
    yield made
    made.let_go()


# What is said


def test_an_event_is_told(running: AgentUnderTest, web: Server) -> None:
    """Given a place, When an event comes, Then it gets the title and the text."""
    found = deliver(running, urls=place(web), body="$identifier by ${source}!")
    assert found.state == "completed"
    assert told(web) == [("t", "1 by !")]


def test_the_kind_is_told(running: AgentUnderTest, web: Server) -> None:
    """Given bad news, When told, Then the place knows that it is."""
    notify(running.handler, event(), place(web), kind="failure")
    assert json.loads(web.seen[0].body)["type"] == "failure"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("$event_type $identifier $source", "t 1 job"),
        ("$created", "2026-01-05T12:00:00+00:00"),
        ("$data.name is at $data.prices.1.", "tea is at 2.5."),
        ("${data.name}s for $$5 and $5", "teas for $5 and $5"),
        ("$data.prices", "[1, 2.5]"),
        ("$data.none$data.off", "false"),
        ("$data.missing or $data.prices.9", "$data.missing or $data.prices.9"),
        ("$data.name.x", "$data.name.x"),
        ("$data.tricky", "$identifier {0} %s"),
        ("$data.é", '{"name": "tea"}.é'),
    ],
)  # fmt: skip
def test_words_are_filled_in(text: str, said: str) -> None:
    """Given a text with words and paths, Then the event's values stand there."""
    data: dict[str, Any] = {
        "name": "tea", "prices": [1, 2.5], "none": None, "off": False,
        "tricky": "$identifier {0} %s",
    }  # fmt: skip
    if "é" in text:
        data = {"name": "tea"}
    assert filled(text, event("1", data)) == said


@pytest.mark.parametrize(
    "text", ["$evnt_type", "$identifier.x", "${delivery_key}", "$created.tzinfo", "$_text"]
)
def test_a_word_that_no_event_has_pauses(
    running: AgentUnderTest, web: Server, text: str
) -> None:
    """Given a mistaken word, Then it is told at once, and nothing is sent."""
    with pytest.raises(Pause, match=r"which no event has; there are event_type, "):
        notify(running.handler, event(), place(web), body=text)
    assert web.seen == []


def test_a_title_is_one_line(running: AgentUnderTest, web: Server) -> None:
    """Given line breaks in what a title is made of, Then they are not in the title."""
    notify(running.handler, event("a\r\nBcc: b"), place(web), title="$identifier")
    assert told(web)[0][0] == "a Bcc: b"


def test_text_is_no_markup(running: AgentUnderTest, web: Server) -> None:
    """Given a place that shows HTML, Then what the event says is escaped there."""
    notify(running.handler, event("<b>x</b>"), place(web, "?format=html"))
    assert "<b>" not in told(web)[0][1]
    assert "&lt;b&gt;" in told(web)[0][1]


# What fails


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_a_refusal_is_a_failed_attempt(
    running: AgentUnderTest, web: Server, status: int
) -> None:
    """Given a place that refuses once, Then it is tried again, and told why."""
    web.say(reply(status), reply())
    found = deliver(running, urls=place(web))
    assert (found.state, found.attempts) == ("retryable", 1)
    assert f"(number 1 of 1) did not take it, status {status}" in str(found.error)
    running.advance(hours=1)
    assert running.deliveries("tell")[0].state == "completed"
    assert len(web.seen) == 2


def test_one_of_two_places_fails(running: AgentUnderTest, web: Server) -> None:
    """Given two places, When the first refuses, Then the second is told all the same."""
    web.say(reply(500), reply())
    urls: list[SecretStr | str] = [place(web, "first"), SecretStr(place(web, "second"))]
    with pytest.raises(NotSentError, match=r"number 1 of 2\) did not take it, status 500$"):
        notify(running.handler, event(), urls)
    assert [each.target for each in web.seen] == ["/first", "/second"]


def test_nobody_there(running: AgentUnderTest) -> None:
    """Given a place that is away, Then the attempt has failed, without a status."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NotSentError, match=r"did not take it$"):
        notify(running.handler, event(), f"json://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "urls", ["nonsense", f"nope://{MARK}", "", [], ["good", "tgram://"]]
)
def test_a_wrong_url_pauses(running: AgentUnderTest, web: Server, urls: Any) -> None:
    """Given a URL that is none, Then nothing is sent, and the line does not show it."""
    if "good" in urls:
        urls = [place(web), *urls[1:]]
    with pytest.raises(Pause, match=r"none that apprise knows; see https://") as caught:
        notify(running.handler, event(), urls)
    assert web.seen == []
    assert MARK not in str(caught.value)


# What hangs


def test_what_hangs_is_left_in_time(running: AgentUnderTest, hanging: Hanging) -> None:
    """Given a place that does not answer, Then the attempt fails with a clear line."""
    with pytest.raises(NotSentError, match=r"it did not end within 0\.3 s"):
        notify(running.handler, event(), place(hanging.web), within=SHORT)


def test_the_scope_of_time_holds(running: AgentUnderTest, hanging: Hanging) -> None:
    """Given a scope around it, Then that one's time holds if it is shorter."""
    with pytest.raises(NotSentError, match="it did not end within"):
        with timeout(SHORT, "tell"):
            notify(running.handler, event(), place(hanging.web), within=PATIENCE)


def test_what_hangs_does_not_pile_up(running: AgentUnderTest, hanging: Hanging) -> None:
    """Given a place that never answers, Then a few threads hang, and then it pauses."""
    for _ in range(MOST_HANGING):
        with pytest.raises(NotSentError):
            notify(running.handler, event(), place(hanging.web, "?rto=1000"), within=0)
    with pytest.raises(Pause, match=f"{MOST_HANGING} earlier notifications have not ended"):
        notify(running.handler, event(), place(hanging.web))
    hanging.let_go()
    notify(running.handler, event(), place(hanging.web))
    assert len(hanging.web.seen) == MOST_HANGING + 1


def test_many_that_do_not_hang_are_sent_at_once(
    running: AgentUnderTest, hanging: Hanging
) -> None:
    """Given more calls at once than may hang, When the place answers, Then all are sent."""
    done: list[str] = []

    def send() -> None:
        notify(running.handler, event(), place(hanging.web), within=PATIENCE)
        done.append("sent")

    threads = [threading.Thread(target=send) for _ in range(2 * MOST_HANGING)]
    for thread in threads:
        thread.start()
    hanging.let_go()
    for thread in threads:
        thread.join(PATIENCE)
    assert done == ["sent"] * 2 * MOST_HANGING


def test_the_process_ends_while_one_hangs(hanging: Hanging, tmp_path: Path) -> None:
    """Given a call that hangs, When the program is at its end, Then it ends."""
    script = (
        "import sys\n"
        "from listeners.notify import NotSentError, notify\n"
        "from py_agent import Agent, Event\n"
        "try:\n"
        "    notify(Agent().handler, Event('t', '1'), sys.argv[1], within=0.3)\n"
        "except NotSentError as error:\n"
        "    print(error)\n"
    )
    # apprise gives up reading after so many seconds: far more than the test's patience
    url = place(hanging.web, "?rto=1000")
    done = subprocess.run(
        [sys.executable, "-c", script, url],
        cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    assert done.stdout == "it did not end within 0.3 s\n"


# Secrets


@pytest.mark.parametrize("status", [200, 403])
def test_no_credential_is_shown(
    running: AgentUnderTest,
    web: Server,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    """Given secrets in all parts of a URL, Then log and store have none, at any level."""
    web.say(reply(status, MARK.encode()))
    url = f"json://{MARK}u:{MARK}p@127.0.0.1:{web.port}/{MARK}?+X-Token={MARK}&-k={MARK}"
    with caplog.at_level(1):
        deliver(running, urls=[url])
    running.stop()
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert len(web.seen) == 1
    assert MARK not in caplog.text
    assert MARK.encode() not in kept


@pytest.mark.parametrize("url", [f"json://{MARK}:x:y/", f"slack://{MARK}", f"{MARK}://"])
def test_no_wrong_url_is_shown(
    running: AgentUnderTest, tmp_path: Path, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    """Given a URL that apprise complains about, Then log and store do not have it."""
    with caplog.at_level(1):
        deliver(running, urls=url)
    running.stop()
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert MARK not in caplog.text
    assert MARK.encode() not in kept


def test_others_may_use_apprise_and_its_log(
    web: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a program with apprise of its own, Then its log is as ever."""
    import apprise

    web.say(reply(500))
    own = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, service_timeout=0))
    own.add(place(web))
    with caplog.at_level(logging.WARNING):
        assert not own.notify("x")
    assert "error=500" in caplog.text


def test_without_the_library_the_error_says_what_to_install(tmp_path: Path) -> None:
    """Given no apprise, When the listener is imported, Then one line says what to do."""
    script = (
        "import sys\n"
        "sys.modules['apprise'] = None\n"
        "try:\n"
        "    import listeners.notify\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    assert 'pip install "py-agent[notify]"' in done.stdout
