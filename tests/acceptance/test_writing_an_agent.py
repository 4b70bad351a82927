"""docs/writing-an-agent.md from start to end, against real servers on loopback."""

from __future__ import annotations

import re
import shlex
import socket
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Run, Start

PAGE = (ROOT / "docs" / "writing-an-agent.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
PORTS = ("8082", "8765", "8766")


def files() -> dict[str, str]:
    """Return the files that the page shows, put together."""
    found: dict[str, str] = {}
    for kind, text in BLOCKS:
        if kind in ("python", "toml"):
            name = re.match(r"# (\S+?)(, continued)?\n", text)
            assert name, f"a block without a file's name: {text[:60]}"
            found[name[1]] = found.get(name[1], "") + text
    return found


def commands() -> list[list[str]]:
    """Return the commands of the page that need no registry."""
    lines = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    return [shlex.split(line) for line in lines if "pip" not in line and "venv" not in line]


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


@pytest.fixture
def page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The page's files in the working directory, at ports that are free."""
    for name in ("DK_AGENT_KEY", "DK_OBSERVABILITY_BASE_URL", "DK_AGENT_TYPE"):
        monkeypatch.delenv(name, raising=False)
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    for name, text in files().items():
        for shown, real in ports.items():
            text = text.replace(shown, real)
        (folder / name).write_text(text, encoding="utf-8")
    return ports


def test_the_page_names_what_it_runs() -> None:
    """Given the page, When its commands are listed, Then they are those that are run."""
    assert commands() == [
        ["agent", "observability", "stand-in", "--key", "try-me"],
        ["agent", "observability", "check"],
        ["agent-test", "-m", "-j", "my_tool.poll", "-l", "my_tool.report"],
        ["agent", "go"],
        ["python", "-m", "pytest", "test_my_tool.py"],
    ]
    assert sorted(files()) == ["agent.toml", "my_tool.py", "test_my_tool.py", "tool.py"]


def test_the_page_works_from_start_to_end(
    page: dict[str, str], run: Run, start: Start
) -> None:
    """Given an empty folder, When the page is typed, Then all arrives, also what happened
    while the server was away; once, but for a status whose answer its end cut off.
    """
    stand_in, check, trial, go, _ = commands()
    stand_in = [*stand_in, "--port", page["8082"]]
    tool = start(sys.executable, "tool.py")
    server = start(*stand_in)
    server.wait_for("It listens")
    checked = run(*check)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tried = run(*trial)
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert "Published: new       my_tool.run: 2@error" in tried.stdout
    assert "Listener my_tool.report on my_tool.run: 2@error: completed" in tried.stdout

    agent = start(*go)
    server.wait_for('"status":"COMPLETED"', times=2)
    server.wait_for("/agent/v1/heartbeat")
    server.stop()
    agent.wait_for("forward is paused")
    again = start(*stand_in)
    again.wait_for('"pipeline_key":"stream"', times=3)
    assert agent.stop() == 0
    told = [
        each for each in (*server.lines, *again.lines) if each.startswith("204 /events/")
    ]
    assert len(told) <= len(set(told)) + 4
    for run_key, status in (("1", "COMPLETED"), ("2", "FAILED"), ("3", "RUNNING")):
        mine = [x for x in told if f'"run_key":"{run_key}"' in x and '"MY_TOOL"' in x]
        assert len({x for x in mine if f'"status":"{status}"' in x}) == 1
    assert any('"message":"no space"' in each for each in told)
    refused = [each for each in (*server.lines, *again.lines) if each.startswith("400")]
    assert len(refused) == 2  # what `check` posts to see whether the key is taken
    tool.stop()


def test_the_tests_of_the_page_pass(page: dict[str, str], run: Run) -> None:
    """Given the page's tests, When pytest runs them, Then all pass."""
    done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "test_my_tool.py")
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_a_mistake_in_the_settings_is_told_before_anything_starts(
    page: dict[str, str], folder: Path, run: Run
) -> None:
    """Given two mistakes in agent.toml, When started, Then both are one line each."""
    file = folder / "agent.toml"
    text = file.read_text(encoding="utf-8")
    text = text.replace("token =", "tokken =").replace('"ws://', '"http://')
    file.write_text(text, encoding="utf-8")
    done = run("agent", "go")
    assert done.returncode == 2
    assert "there is no key 'tokken'; did you mean token?" in done.stderr
    assert "[my_stream] url: it must be a URL like wss://host/path" in done.stderr
    assert "Traceback" not in done.stderr
    assert "tool-token" not in done.stderr
