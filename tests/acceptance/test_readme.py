"""The code and commands of the README and of the manual are run as they stand there."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import threading
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from responses import RequestsMock

from py_agent.testing import AgentUnderTest

from ..ready_made.github_server import GithubServer
from ..ready_made.todoist_server import TodoistServer
from .conftest import ROOT, Run, Start

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ["jobs", "listeners", "settings", "commands", "observability"]
ALL = sorted(page.stem for page in (ROOT / "docs").glob("*.md"))
MANUAL = "\n".join(
    [README, *((ROOT / "docs" / f"{page}.md").read_text("utf-8") for page in PAGES)]
)
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", MANUAL, re.DOTALL)
INSTALLS = "python3 -m venv "  # only a real machine runs these; see .ci/run


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


def commands(containing: str) -> list[str]:
    """Return the lines of the shell blocks in which a text occurs."""
    found = [block for block in blocks("sh") if containing in block]
    assert found, f"no page has a command with {containing}"
    return found[0].strip().splitlines()


def toml_with(text: str) -> str:
    """Return the agent.toml in which a text occurs."""
    (found,) = [block for block in blocks("toml") if text in block]
    return found


def prepare(folder: Path) -> None:
    """Write the README's files into the working directory."""
    (folder / "example.py").write_text(blocks("python")[0], encoding="utf-8")
    (folder / "agent.toml").write_text(toml_with("watch_folder"), encoding="utf-8")
    (folder / "inbox").mkdir()
    (folder / "inbox" / "a.txt").write_text("hello", encoding="utf-8")


def test_every_block_is_known_to_a_test() -> None:
    """Given the pages, When their blocks are counted, Then each is one that is run."""
    kinds = [kind for kind, _ in BLOCKS]
    assert sorted(set(kinds)) == ["python", "sh", "toml"]
    assert kinds.count("python") == 7
    assert kinds.count("toml") == 3
    assert kinds.count("sh") == 9  # what to see and mend by stands there twice


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{page}.md" for page in ALL)])
def test_every_link_leads_somewhere(page: str) -> None:
    """Given a page, When its links to files are followed, Then each has its place."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        name, _, anchor = target.partition("#")
        there = (ROOT / page).parent / name if name else ROOT / page
        assert there.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", there.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"\W+", "-", title.lower()) for title in titles}, (
                target
            )


def test_ten_lines_are_the_first_example() -> None:
    """Given the ten lines, When compared with examples/hello.py, Then they are the same."""
    example = (ROOT / "examples" / "hello.py").read_text(encoding="utf-8")
    assert example.endswith(blocks("python")[0])


@pytest.mark.parametrize("command", commands("python example.py"))
def test_ten_lines_run_either_way(command: str, folder: Path, start: Start) -> None:
    """Given the ten lines, When run in either way, Then the listener fires once."""
    prepare(folder)
    program = shlex.split(command.replace("python ", f"{sys.executable} ", 1))
    agent = start(*program, *(["--db", "agent.sqlite"] if "go" in program else []))
    agent.wait_for("running my job", times=2)
    assert agent.stop(signal.SIGTERM) == 0
    output = "\n".join(agent.lines)
    assert "Starting agent" in output
    assert output.count("New event -> my_event_type: 123") == 1
    assert output.count("running my listener") == 1
    assert output.count("hello world") == 1


def test_an_assigned_issue_becomes_a_task_and_a_row(
    folder: Path, run: Run, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the README's agent.toml and an issue, When its lines are typed, Then there is
    one task and one row, also after a restart.
    """

    def now() -> datetime:
        return datetime.now(UTC)

    github, todoist = GithubServer(now, "..."), TodoistServer(now, "...")
    monkeypatch.setenv("GITHUB_API_URL", github.host)
    monkeypatch.setenv("TODOIST_API_URL", todoist.host)
    (folder / "agent.toml").write_text(toml_with("add_issue"), encoding="utf-8")
    github.assign(github.open_issue(8, title="Tea is out"))
    mode, trial, forever = [shlex.split(line) for line in commands("chmod 600")]
    try:
        assert run(*mode).returncode == 0
        tried = run(*trial)
        assert "new       new_issue_assigned" in tried.stdout, tried.stderr
        assert todoist.tasks == []
        agent = start(*forever)
        agent.wait_for("New event -> new_issue_assigned")
        assert agent.stop() == 0
        assert run(*forever, "--once").returncode == 0
    finally:
        github.close()
        todoist.close()
    assert [task["labels"] for task in todoist.tasks] == [["github"]]
    rows = (folder / "issues.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["Issue", "Tea is out"]


def test_the_agent_test_commands_do_what_is_said(folder: Path, run: Run) -> None:
    """Given the example, When the agent-test lines run, Then each does its part."""
    prepare(folder)
    results = [run(*shlex.split(line)) for line in commands("agent-test -r")]
    assert [each.returncode for each in results] == [0] * 6, [r.stderr for r in results]
    first, second, by_type, by_id, dropped, in_memory = [each.stdout for each in results]
    assert "new" in first and "hello world" in first
    assert "duplicate" in second and "hello world" not in second
    assert "hello world" in by_type and "hello world" in by_id
    assert "new" in dropped
    assert '"new": true' in in_memory
    assert not (folder / "agent.sqlite").exists()


def test_the_example_is_tried_and_planned(folder: Path, run: Run) -> None:
    """Given the ten lines, When tried and planned as it says, Then nothing is started."""
    prepare(folder)
    tried, planned = [run(*shlex.split(line)) for line in commands("agent plan 24h")]
    assert (tried.returncode, planned.returncode) == (0, 0)
    assert "hello world" in tried.stdout
    assert "example.my_job" in planned.stdout
    assert not (folder / "agent.sqlite").exists()


def python_with(text: str) -> str:
    """Return the Python block in which a text occurs."""
    (found,) = [block for block in blocks("python") if text in block]
    return found


def test_the_jobs_are_planned_and_run(folder: Path, run: Run) -> None:
    """Given the page's jobs, When planned and run once, Then they do what is said."""
    (folder / "meter.py").write_text(python_with("def poll(handler)"), encoding="utf-8")
    planned = run("agent", "plan", "24h", "meter.py")
    assert (planned.returncode, planned.stderr) == (0, "")
    assert "meter.poll" in planned.stdout and "always" in planned.stdout
    assert run("agent", "go", "--once", "meter.py").returncode == 0
    assert '"kWh": 17.5' in run("agent", "events", "--json").stdout.replace("\\", "")
    tried = run("agent-test", "-m", "-j", "meter.watch", "--for", "0.1s")
    assert "Job meter.watch: completed" in tried.stdout


def test_what_is_fetched_is_published(agent: AgentUnderTest, http: RequestsMock) -> None:
    """Given the page's job that fetches, When a page is unchanged, Then it is told so."""
    names: dict[str, Any] = {}
    exec(python_with("def new_issues("), names)
    url = "https://api.example.org/issues"
    http.get(url, json=[{"id": 7}], headers={"ETag": '"1"'})
    http.get(url, status=304)
    runs = [agent.run_job(names["new_issues"], url=url, token="t") for _ in range(2)]
    assert [run.published for run in runs] == [1, 0]
    assert http.calls[1].request.headers["If-None-Match"] == '"1"'
    assert agent.published("issue.seen", id=7)


def test_the_service_of_ones_own_reads(folder: Path, run: Run) -> None:
    """Given the page's service and a server, When tried, Then its message is an event."""
    from websockets.sync.server import serve

    (folder / "mine.py").write_text(python_with("def ticks("), encoding="utf-8")
    with serve(lambda client: client.send("hello"), "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        text = (folder / "mine.py").read_text(encoding="utf-8")
        (folder / "mine.py").write_text(text.replace("ws://127.0.0.1:8001/ticks", url))
        done = run("agent-test", "-m", "-j", "mine.ticks", "--for", "2s", "--json")
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert '"identifier": "hello"' in done.stdout


def test_the_settings_are_handed_over(folder: Path, run: Run) -> None:
    """Given the page's settings and a file, When the job is tried, Then it gets them."""
    (folder / "meter.py").write_text(python_with("MeterSettings("), encoding="utf-8")
    (folder / "agent.toml").write_text(
        '[meter]\nurl = "https://meter.example.org"\ntoken = "t"\n', encoding="utf-8"
    )
    done = run("agent-test", "-m", "-j", "meter.read_meter")
    assert (done.returncode, done.stderr) == (0, "")


def test_ones_own_job_and_listener_do_what_is_said(
    agent: AgentUnderTest, http: RequestsMock
) -> None:
    """Given the README's own functions, When a pager fails once, Then it is tried again."""
    names: dict[str, Any] = {}
    exec(python_with("def page_me("), names)
    issues, pager = "https://api.example.org/issues", "https://pager.example.org/"
    urgent = {"id": 7, "title": "Smoke", "labels": ["urgent"]}
    http.get(issues, json=[urgent, {"id": 8, "title": "Dust", "labels": []}])
    http.post(pager, status=503)
    http.post(pager)
    agent.add_listener(names["page_me"], pager=pager)
    assert agent.run_job(names["poll"], url=issues).published == 2
    agent.advance(hours=1)
    assert [call.request.url for call in http.calls] == [issues, pager, pager]
    assert [each.state for each in agent.deliveries(names["page_me"])] == ["completed"]


def test_the_listener_example_runs(folder: Path, run: Run) -> None:
    """Given the page's listener with every option, When run, Then its asserts hold."""
    (folder / "options.py").write_text(
        python_with("RetryPolicy(attempts=10"), encoding="utf-8"
    )
    done = run(sys.executable, "options.py")
    assert (done.returncode, done.stderr) == (0, "")


def test_agent_toml_runs(folder: Path, run: Run, start: Start) -> None:
    """Given the page's agent.toml, When its two commands run, Then the file is found."""
    prepare(folder)
    tomllib.loads(toml_with("watch_folder"))
    forever, once = [shlex.split(line) for line in commands("agent go --once")]
    agent = start(*forever)
    agent.wait_for("file.created")
    assert agent.stop() == 0  # which may hand back what it has not begun to deliver
    for _ in range(2):
        assert run(*once).returncode == 0
        assert len((folder / "seen.csv").read_text().splitlines()) == 2


def test_the_commands_that_see_and_mend(folder: Path, run: Run) -> None:
    """Given a store with an event, When each listed command runs, Then it ends with 0."""
    prepare(folder)
    (folder / "agent.toml").unlink()
    assert run("agent", "go", "--once", "example.py").returncode == 0
    for line in commands("agent dead --errors"):
        done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
        assert (done.returncode, line) == (0, line), done.stderr
        assert "Traceback" not in done.stderr


def test_every_command_and_setting_is_mentioned() -> None:
    """Given all commands and settings, When the manual is searched, Then each is there."""
    from py_agent.cli.agent import main

    from py_agent.settings.config import EngineSettings

    for command in main.list_commands(click.Context(main)):
        assert f"agent {command}" in MANUAL
    for name in EngineSettings.model_fields:
        assert f"| `{name}` |" in MANUAL


def test_every_setting_of_observability_is_mentioned() -> None:
    """Given the settings that have an effect, When the manual is searched, Then each is
    there, with its variable.
    """
    from py_agent.observability import CoreSettings, ObservabilitySettings

    own = {"events_per_second", "report_jobs", "exit_on_unauthorized", "resend"}
    shared = {"read_timeout", "ssl_cert_file"}
    for cls, names in (
        (CoreSettings, set(CoreSettings.model_fields) - {"max_channel_capacity"}),
        (ObservabilitySettings, own | shared),
    ):
        for name in names:
            variable = f"{cls.model_config['env_prefix']}{name}".upper()
            assert f"| `{name}` | `{variable}` |" in MANUAL


def test_the_observability_example_is_understood(folder: Path, run: Run) -> None:
    """Given the page's agent.toml, When planned, Then the integration is there."""
    (folder / "agent.toml").write_text(toml_with("[core]"), encoding="utf-8")
    done = run("agent", "plan", "1h")
    assert (done.returncode, done.stderr) == (0, "")
    assert "airflow_runs" in done.stdout and "observability.heartbeat" in done.stdout
