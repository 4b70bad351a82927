"""The README's code and commands are run as they stand there."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from .conftest import ROOT, Run, Start

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
INSTALLS = "python3 -m venv "  # only a real machine runs these; see .ci/run


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


def commands(containing: str) -> list[str]:
    """Return the lines of the shell blocks in which a text occurs."""
    found = [block for block in blocks("sh") if containing in block]
    assert found, f"the README has no command with {containing}"
    return found[0].strip().splitlines()


def prepare(folder: Path) -> None:
    """Write the README's files into the working directory."""
    (folder / "example.py").write_text(blocks("python")[0], encoding="utf-8")
    (folder / "agent.toml").write_text(blocks("toml")[0], encoding="utf-8")
    (folder / "inbox").mkdir()
    (folder / "inbox" / "a.txt").write_text("hello", encoding="utf-8")


def test_every_block_is_known_to_a_test() -> None:
    """Given the README, When its blocks are counted, Then each kind is one that is run."""
    kinds = [kind for kind, _ in BLOCKS]
    assert sorted(set(kinds)) == ["python", "sh", "toml"]
    assert kinds.count("python") == 3
    assert kinds.count("toml") == 1
    assert kinds.count("sh") == 6


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


def test_the_agent_test_commands_do_what_is_said(folder: Path, run: Run) -> None:
    """Given the example, When the agent-test lines run, Then each does its part."""
    prepare(folder)
    results = [run(*shlex.split(line)) for line in commands("agent-test")]
    assert [each.returncode for each in results] == [0] * 6, [r.stderr for r in results]
    first, second, by_type, by_id, dropped, in_memory = [each.stdout for each in results]
    assert "new" in first and "hello world" in first
    assert "duplicate" in second and "hello world" not in second
    assert "hello world" in by_type and "hello world" in by_id
    assert "new" in dropped
    assert '"new": true' in in_memory
    assert not (folder / "agent.sqlite").exists()


def test_a_listener_is_called_plainly(folder: Path, run: Run) -> None:
    """Given the README's plain test, When it runs, Then the listener says its line."""
    prepare(folder)
    (folder / "test_it.py").write_text(blocks("python")[1], encoding="utf-8")
    # The example starts its agent when it is imported by python itself, so without that.
    source = (folder / "example.py").read_text(encoding="utf-8")
    (folder / "example.py").write_text(source.replace("agent.go()", ""), encoding="utf-8")
    done = run(sys.executable, "test_it.py")
    assert (done.returncode, done.stdout) == (0, "running my listener\nhello world\n")


def test_the_listener_example_runs(folder: Path, run: Run) -> None:
    """Given the README's listener with every option, When run, Then its asserts hold."""
    (folder / "options.py").write_text(blocks("python")[2], encoding="utf-8")
    done = run(sys.executable, "options.py")
    assert (done.returncode, done.stderr) == (0, "")


def test_agent_toml_runs(folder: Path, run: Run, start: Start) -> None:
    """Given the README's agent.toml, When its two commands run, Then the file is found."""
    prepare(folder)
    tomllib.loads(blocks("toml")[0])
    forever, once = [shlex.split(line) for line in commands("agent go --once")]
    agent = start(*forever)
    agent.wait_for("file.created")
    assert agent.stop() == 0
    assert len((folder / "seen.csv").read_text().splitlines()) == 2
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
    """Given all commands and settings, When the README is searched, Then each is there."""
    from py_agent.cli.agent import main

    from py_agent.settings import EngineSettings

    for command in main.list_commands(click.Context(main)):
        assert f"agent {command}" in README
    for name in EngineSettings.model_fields:
        assert f"| `{name}` |" in README
