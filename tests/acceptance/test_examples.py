"""Every example runs, and does what its first line says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .conftest import ROOT, Run, Start

EXAMPLES = ROOT / "examples"


@pytest.fixture
def examples(folder: Path) -> Path:
    """A copy of the examples in the working directory."""
    shutil.copytree(EXAMPLES, folder / "examples")
    return folder / "examples"


def test_every_example_has_a_test() -> None:
    """Given the folder of examples, Then each file in it is run below."""
    names = sorted(each.name for each in EXAMPLES.glob("*.py"))
    assert names == ["asynchronous.py", "hello.py", "inbox.py", "ordered.py", "retry.py"]


def test_hello(examples: Path, run: Run) -> None:
    """Given the smallest agent, When run once, Then job and listener speak."""
    done = run("agent", "go", "--once", "examples/hello.py")
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        ["running my job", "running my listener", "hello world"],
    )


def test_inbox(examples: Path, run: Run) -> None:
    """Given the inbox, When a file is added between two runs, Then only that is new."""
    assert run("agent", "go", "--once", "examples/inbox.py").returncode == 0
    assert len(Path("seen.csv").read_text(encoding="utf-8").splitlines()) == 3
    (examples / "inbox" / "new.txt").write_text("new", encoding="utf-8")
    done = run("agent", "go", "--once", "examples/inbox.py")
    assert done.stderr.count("New event -> file.created") == 1
    assert len(Path("seen.csv").read_text(encoding="utf-8").splitlines()) == 4


def test_ordered(examples: Path, run: Run) -> None:
    """Given three orders, When delivered side by side, Then each one is in order."""
    done = run("agent", "go", "--once", "examples/ordered.py")
    assert done.returncode == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    for order in "ABC":
        steps = [step for each, step in lines if each == order]
        assert steps == ["placed", "paid", "packed", "sent"]


def test_asynchronous(examples: Path, run: Run) -> None:
    """Given async functions, When run once, Then the question is answered."""
    done = run("agent", "go", "--once", "examples/asynchronous.py")
    assert (done.returncode, done.stdout) == (0, "What time is it? Time for tea.\n")


def test_retry(examples: Path, start: Start) -> None:
    """Given a jammed door, When knocked at three times, Then it opens."""
    agent = start("agent", "go", "examples/retry.py")
    agent.wait_for("Welcome, Ada")
    assert agent.stop() == 0
    assert sum("the door is jammed" in line for line in agent.lines) == 2
