"""`agent go`: starting, stopping, and who may do what at the same time."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from py_agent.store import side_file
from py_agent.store.wakeup import wake

from .conftest import Run, Start

CONFIG = """
[agent]
db = "agent.sqlite"

[[jobs]]
run = "jobs.watch_folder:watch_folder"
name = "inbox"
every = "1 second"
[jobs.with]
path = "inbox"

[[listeners]]
run = "listeners.append_csv:append_csv"
match = { event_type = ["like", "file.*"] }
[listeners.with]
file = "seen.csv"

[[listeners]]
run = "listeners.log_event"
match = { event_type = ["==", "by.hand"] }
"""

SLOW = """
import threading
from py_agent import Agent, listen_for

agent = Agent("agent.sqlite", grace={grace})

def once(handler):
    handler.publish("a", "1")

@listen_for({{"event_type": ("==", "a")}})
def hang(event):
    print("inside", flush=True)
    threading.Event().wait()

agent.schedule.every(1).seconds.do(once)
agent.add_listener(hang)
agent.go()
"""


@pytest.fixture
def configured(folder: Path) -> Path:
    """An agent.toml with one job and two listeners, and a file in the inbox."""
    text = CONFIG.replace(
        'run = "listeners.log_event"', 'run = "listeners.log_event.log_event"'
    )
    (folder / "agent.toml").write_text(text, encoding="utf-8")
    (folder / "inbox").mkdir()
    (folder / "inbox" / "a.txt").write_text("hello", encoding="utf-8")
    return folder


def test_sigterm_ends_with_0_and_leaves_one_file(configured: Path, start: Start) -> None:
    """Given a running agent, When SIGTERM comes, Then code 0 and one file is left."""
    agent = start("agent", "go")
    agent.wait_for("New event -> file.created")
    assert agent.stop(signal.SIGTERM) == 0
    assert [each.name for each in configured.glob("agent.sqlite*")] == ["agent.sqlite"]
    assert (configured / "agent.sqlite").stat().st_mode & 0o777 == 0o600


def test_hung_call_is_left_behind(folder: Path, start: Start, run: Run) -> None:
    """Given a hung listener, When SIGTERM comes, Then the grace time is kept, code 0."""
    (folder / "slow.py").write_text(SLOW.format(grace=0.2), encoding="utf-8")
    agent = start("agent", "go", "slow.py")
    agent.wait_for("inside")
    assert agent.stop(signal.SIGTERM) == 0
    rows = json.loads(run("agent", "deliveries", "--json").stdout)
    assert [(row["state"], row["attempts"]) for row in rows] == [("retryable", 1)]
    assert "did not end before stop" in rows[0]["error"]


def test_second_ctrl_c_ends_at_once(folder: Path, start: Start, run: Run) -> None:
    """Given a stop that waits, When Ctrl-C comes again, Then 130 and nobody is blamed."""
    (folder / "slow.py").write_text(SLOW.format(grace=600), encoding="utf-8")
    agent = start("agent", "go", "slow.py")
    agent.wait_for("inside")
    agent.process.send_signal(signal.SIGINT)
    agent.wait_for("Stopping agent")
    assert agent.stop(signal.SIGINT) == 130
    assert side_file.read(folder / "agent.sqlite").deliveries == ()
    rows = json.loads(run("agent", "deliveries", "--json").stdout)
    assert [(row["state"], row["attempts"]) for row in rows] == [("available", 0)]


def test_second_agent_is_refused_and_publishing_is_not(
    configured: Path, start: Start, run: Run
) -> None:
    """Given a running agent, Then a second one ends with 3, and publish is delivered."""
    agent = start("agent", "go")
    agent.wait_for("New event -> file.created")
    second = run("agent", "go")
    assert second.returncode == 3
    assert f"pid {agent.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert run("agent", "publish", "by.hand", "7", "--data", '{"n": 1}').returncode == 0
    agent.wait_for('by.hand 7 {"n": 1}')
    assert agent.stop() == 0


def test_second_agent_as_a_program_is_refused(
    example: Path, start: Start, run: Run
) -> None:
    """Given `python example.py` twice, Then the second ends with 3 and one line."""
    agent = start(sys.executable, "example.py")
    agent.wait_for("running my listener")
    second = run(sys.executable, "example.py")
    assert second.returncode == 3
    assert f"pid {agent.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert agent.stop() == 0


def test_the_same_store_either_way(example: Path, start: Start, run: Run) -> None:
    """Given the example run by python, When run by agent go, Then nothing fires again."""
    first = start(sys.executable, "example.py")
    first.wait_for("running my listener")
    assert first.stop() == 0
    second = start("agent", "go", "example.py")
    second.wait_for("running my job", times=2)
    assert second.stop() == 0
    assert "running my listener" not in second.lines
    sources = {row["source"] for row in json.loads(run("agent", "events", "--json").stdout)}
    assert sources == {"example.my_job"}


def test_an_agent_whose_store_was_removed_ends_with_3(
    configured: Path, start: Start
) -> None:
    """Given a running agent, When its store is removed, Then it says so and ends with 3."""
    agent = start("agent", "go")
    agent.wait_for("New event ->")
    (configured / "agent.sqlite").unlink()
    wake(configured / "agent.sqlite")
    agent.wait_for("was removed or replaced")
    assert agent.process.wait(60) == 3


def test_an_agent_whose_lock_was_removed_ends_with_3(
    configured: Path, start: Start
) -> None:
    """Given a running agent, When its lock file is removed, Then it ends with 3."""
    agent = start("agent", "go")
    agent.wait_for("New event ->")
    (configured / "agent.sqlite.lock").unlink()
    wake(configured / "agent.sqlite")
    agent.wait_for("agent.sqlite.lock was removed")
    assert agent.process.wait(60) == 3


def test_an_empty_agent_says_that_nothing_will_happen(folder: Path, start: Start) -> None:
    """Given an agent.toml without jobs and listeners, When started, Then it warns."""
    (folder / "agent.toml").write_text("", encoding="utf-8")
    agent = start("agent", "go")
    agent.wait_for("nothing will happen")
    assert agent.stop() == 0


@pytest.mark.parametrize("closing", [">&-", "> /dev/full", "| true"])
def test_a_closed_stdout_fails_no_work(closing: str, example: Path, run: Run) -> None:
    """Given a stdout that takes nothing, When listeners print, Then they complete."""
    run("bash", "-c", f"agent go --once example.py {closing}")
    rows = json.loads(run("agent", "deliveries", "--json").stdout)
    assert [row["state"] for row in rows] == ["completed"]


@pytest.mark.parametrize("closing", [">&-", "> /dev/full"])
def test_a_closed_stdout_is_no_traceback(closing: str, example: Path, run: Run) -> None:
    """Given a stdout that takes nothing, When a table is shown, Then one line at most."""
    assert run("agent", "go", "--once", "example.py").returncode == 0
    done = run("bash", "-c", f"agent events {closing}")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


def test_once_ends_with_1_when_an_attempt_fails(folder: Path, run: Run) -> None:
    """Given a listener that fails, When run once, Then the code is 1 and it is said why."""
    (folder / "app.py").write_text(
        "from py_agent import Agent\n"
        "agent = Agent('agent.sqlite')\n"
        "def job(handler): handler.publish('a', '1')\n"
        "def listener(event): raise ValueError('no luck')\n"
        "agent.add_job(job, every='1 hour')\n"
        "agent.add_listener(listener, {'event_type': ('==', 'a')})\n",
        encoding="utf-8",
    )
    done = run("agent", "go", "--once", "app.py")
    assert done.returncode == 1
    assert "ValueError: no luck" in done.stderr


def test_once_ends_with_1_when_a_job_fails(folder: Path, run: Run) -> None:
    """Given a job that fails, When run once, Then the code is 1 and the run is failed."""
    (folder / "app.py").write_text(
        "from py_agent import Agent\n"
        "agent = Agent('agent.sqlite')\n"
        "def job(): raise OSError('out there it rains')\n"
        "agent.add_job(job, every='1 hour')\n",
        encoding="utf-8",
    )
    assert run("agent", "go", "app.py", "--once").returncode == 1
    rows = json.loads(run("agent", "runs", "--json").stdout)
    assert [(row["outcome"], row["error"]) for row in rows] == [
        ("failed", "OSError: out there it rains")
    ]


def test_a_program_that_ends_without_a_stop_blames_nobody(folder: Path, run: Run) -> None:
    """Given start() and no stop(), When the program ends, Then the call is no crash."""
    (folder / "short.py").write_text(
        "import threading\n"
        "from py_agent import Agent\n"
        "inside = threading.Event()\n"
        "def long(event):\n    inside.set()\n    threading.Event().wait()\n"
        "agent = Agent('agent.sqlite', grace=0.1)\n"
        "agent.add_listener(long, {'event_type': ('==', 'a')})\n"
        "agent.start()\nagent.handler.publish('a', '1')\ninside.wait()\n",
        encoding="utf-8",
    )
    assert run(sys.executable, "short.py").returncode == 0
    assert [each.name for each in folder.glob("agent.sqlite*")] == ["agent.sqlite"]
    (row,) = json.loads(run("agent", "deliveries", "--json").stdout)
    assert "did not end before stop" in row["error"]


def test_a_signal_that_another_thread_takes_still_stops(folder: Path, start: Start) -> None:
    """Given SIGTERM taken by another thread, When it comes, Then the agent ends with 0."""
    (folder / "deaf.py").write_text(
        "import signal, threading\n"
        "from py_agent import Agent\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "agent = Agent(':memory:')\n"
        "agent.schedule.every(1).seconds.do(lambda: print('awake', flush=True), name='j')\n"
        "agent.go()\n",
        encoding="utf-8",
    )
    agent = start(sys.executable, "deaf.py")
    agent.wait_for("awake")
    assert agent.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_each_stop_signal_ends_with_0(number: int, configured: Path, start: Start) -> None:
    """Given a running agent, When it is asked to stop in any way, Then code 0."""
    agent = start("agent", "go")
    agent.wait_for("New event ->")
    assert agent.stop(number) == 0


def test_module_and_name(example: Path, run: Run) -> None:
    """Given `module:name` and `module`, When run once, Then both find the agent."""
    assert run("agent", "go", "example:agent", "--once").returncode == 0
    assert run("agent", "go", "example", "--once").returncode == 0


def test_looking_at_a_file_touches_no_store(example: Path, run: Run) -> None:
    """Given the example, When its jobs are listed, Then nothing starts, no file is made."""
    done = run("agent", "jobs", "example.py", "--json")
    assert [row["name"] for row in json.loads(done.stdout)] == ["example.my_job"]
    done = run("agent", "listeners", "example.py", "--json")
    assert [row["name"] for row in json.loads(done.stdout)] == ["example.my_listener"]
    assert [each.name for each in example.parent.glob("agent.sqlite*")] == []


def test_python_m(example: Path, run: Run) -> None:
    """Given `python -m py_agent`, When asked for its version, Then it is the command."""
    done = run(sys.executable, "-m", "py_agent", "--version")
    assert done.returncode == 0
    assert "version" in done.stdout


# Ctrl-C comes with the first import of a module.
INTERRUPTED = """
import builtins, os, signal
from py_agent.cli import entry
found = builtins.__import__
def importing(name, *args, **kwargs):
    if name == "{module}":
        builtins.__import__ = found
        os.kill(os.getpid(), signal.SIGINT)
    return found(name, *args, **kwargs)
builtins.__import__ = importing
entry.{command}()
"""


@pytest.mark.parametrize("module", ["click", "py_agent.loading"])
@pytest.mark.parametrize("command", ["agent", "agent_test"])
def test_ctrl_c_before_the_work_ends_without_a_word(
    command: str, module: str, folder: Path, run: Run
) -> None:
    """Given Ctrl-C while a command imports, Then it ends with 130 and says nothing."""
    script = INTERRUPTED.format(command=command, module=module)
    arguments = ["jobs"] if command == "agent" else ["-m", "-j", "jobs.watch_folder"]
    done = run(sys.executable, "-c", script, *arguments)
    assert (done.returncode, done.stderr) == (130, "")
