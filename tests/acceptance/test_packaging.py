"""What is installed, and from where."""

from __future__ import annotations

import os
import sys
import sysconfig
from importlib.metadata import distribution
from pathlib import Path

import pytest

import py_agent

from .conftest import Run

ON_THE_WHEEL = pytest.mark.skipif(
    "PY_AGENT_TEST_WHEEL" not in os.environ, reason="only where the wheel is installed"
)


def test_entry_points() -> None:
    """Given the distribution, When asked, Then it has two commands and a pytest plugin."""
    found = {
        (each.group, each.name): each.value
        for each in distribution("py-agent").entry_points
    }
    assert found == {
        ("console_scripts", "agent"): "py_agent.cli.entry:agent",
        ("console_scripts", "agent-test"): "py_agent.cli.entry:agent_test",
        ("pytest11", "py_agent"): "py_agent.pytest_plugin",
    }


@pytest.mark.parametrize("command", ["agent", "agent-test"])
def test_versions(command: str, run: Run) -> None:
    """Given a command, When asked for its version, Then it is the distribution's."""
    done = run(command, "--version")
    assert (
        done.stdout.split()[-1] == py_agent.__version__ == distribution("py-agent").version
    )


@ON_THE_WHEEL
def test_what_is_tested_is_the_wheel() -> None:
    """Given the wheel run, Then the package comes from site-packages."""
    site = Path(sysconfig.get_paths()["purelib"])
    assert Path(py_agent.__file__).is_relative_to(site)


@ON_THE_WHEEL
def test_the_wheel_adds_three_names() -> None:
    """Given the installed files, Then only our packages stand at the top level."""
    files = distribution("py-agent").files or []
    top = {each.parts[0] for each in files if each.parts[0] != ".."}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "jobs", "listeners", "py_agent",
    }  # fmt: skip
    names = {str(each) for each in files}
    assert "py_agent/py.typed" in names
    assert "py_agent/cli/agent.py" in names
    assert "py_agent/migrations/versions/0001_first_store.py" in names
    assert not {"jobs/__init__.py", "listeners/__init__.py"} & names


def test_a_users_jobs_folder_merges_with_ours(folder: Path, run: Run) -> None:
    """Given a jobs/ folder of one's own, When used, Then its jobs and ours are found."""
    (folder / "jobs").mkdir()
    (folder / "jobs" / "mine.py").write_text(
        "def hello(handler):\n    handler.publish('hello', 'world')\n", encoding="utf-8"
    )
    (folder / "inbox").mkdir()
    (folder / "agent.toml").write_text(
        "[[jobs]]\nrun = 'jobs.mine:hello'\nevery = '1 hour'\n"
        "[[jobs]]\nrun = 'jobs.watch_folder.watch_folder'\nevery = '1 hour'\n"
        "[jobs.with]\npath = 'inbox'\n",
        encoding="utf-8",
    )
    done = run("agent", "go", "--once")
    assert done.returncode == 0, done.stderr
    assert "New event -> hello: world" in done.stderr


def test_help_is_quick(run: Run) -> None:
    """Given --help and --version, When shown, Then no heavy library is imported."""
    code = (
        "import sys\nsys.argv = ['agent', sys.argv[1]]\n"
        "from py_agent.cli.agent import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'sqlalchemy', 'alembic', 'pydantic', 'schedule', 'rich'}\n"
        "print('heavy:', sorted(heavy & sys.modules.keys()))\n"
    )
    for option in ("--help", "--version"):
        done = run(sys.executable, "-c", code, option)
        assert done.stdout.splitlines()[-1] == "heavy: []"
