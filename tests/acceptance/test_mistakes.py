"""Every mistake that a user can make is one clear line, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Run

BROKEN = """
[agent]
bd = "agent.sqlite"
durability = "slow"

[[jobs]]
run = "jobs.watch_folder:watch_folder"
every = "1 fortnight"
[jobs.with]
path = "inbox"

[[jobs]]
run = "jobs.watch_folder:watch_foldr"
every = "1 minute"

[[jobs]]
run = "jobs.watch_folder:watch_folder"
evry = "1 minute"

[[listeners]]
run = "listeners.append_csv:append_csv"
match = { event_typ = ["==", "file.created"] }
[listeners.with]
file = "seen.csv"
"""


def mistakes(stderr: str) -> list[str]:
    assert "Traceback" not in stderr
    return [line for line in stderr.splitlines() if line.startswith("Error: ")]


def test_wrong_keys_are_told_all_at_once(folder: Path, run: Run) -> None:
    """Given three wrong keys, When started, Then each is one line with its nearest key."""
    (folder / "agent.toml").write_text(BROKEN, encoding="utf-8")
    done = run("agent", "go")
    lines = mistakes(done.stderr)
    assert done.returncode == 2
    assert any("'bd'" in line and "did you mean db?" in line for line in lines)
    assert any("durability" in line for line in lines)
    assert any("'evry'" in line and "did you mean every?" in line for line in lines)
    assert not list(folder.glob("agent.sqlite*"))


def test_wrong_values_are_told_all_at_once(folder: Path, run: Run) -> None:
    """Given wrong interval, function, argument and field, Then each is one line."""
    text = BROKEN.replace('bd = "agent.sqlite"\ndurability = "slow"\n', "")
    text = text.replace("evry = ", "every = ").replace('file = "seen.csv"', "")
    (folder / "agent.toml").write_text(text, encoding="utf-8")
    done = run("agent", "go")
    lines = mistakes(done.stderr)
    assert done.returncode == 2
    assert any("'1 fortnight' is no length of time" in line for line in lines)
    assert any("did you mean watch_folder?" in line for line in lines)
    assert any("[[jobs]] 3" in line and "path" in line for line in lines)
    assert any("'event_typ'" in line or "file" in line for line in lines)
    assert not list(folder.glob("agent.sqlite*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["agent", "go"], "no agent.toml"),
        (["agent", "go", "nowhere.py"], "there is no file nowhere.py"),
        (["agent", "go", "nowhere:agent"], "no module 'nowhere'"),
        (["agent", "go", "example:agnt"], "did you mean agent?"),
        (["agent", "go", "--config", "nowhere.toml"], "there is no file nowhere.toml"),
        (["agent", "events"], "there is no store at"),
        (["agent", "publish", "a", "1"], "there is no store at"),
        (["agent", "go", "broken.py"], "broken.py:2: ZeroDivisionError"),
        (["agent", "go", "starts.py"], "start() cannot be called while"),
        (["agent", "go", "unsaid.py"], "does not say which events it wants"),
        (["agent", "go", "misfit.py"], "misfit.job: "),
        (["agent", "go", "twice.py"], "already a job named twice.job"),
        (["agent-test", "-j", "example.nothing"], "no function 'nothing'"),
        (["agent-test", "-j", "nothing"], "is no function; write module.function"),
        (["agent-test", "-l", "example.my_job", "-t", "a"], "which events it wants"),
        (["agent-test"], "name a job with -j"),
        (["agent-test", "-rm", "-j", "example.my_job"], "-rm could mean -r -m"),
        (["agent-test", "-r", "--db-file", "x", "-j", "example.my_job"], "-r drops the"),
        (["agent-test", "--db-file", "x", "-j", "example.my_job"], "there is no store at"),
        (["agent-test", "-l", "example.my_listener", "-t", "a"], "has no event with"),
    ],
)
def test_one_line_and_code_2(words: list[str], said: str, example: Path, run: Run) -> None:
    """Given a mistake on the command line, When run, Then code 2 and a line that helps."""
    folder = example.parent
    begin = "from py_agent import Agent\nagent = Agent()\n"
    files = {
        "broken": "x = 1\ny = x / 0\n",
        "starts": begin + "agent.start()\n",
        "unsaid": begin + "def f(event): pass\nagent.add_listener(f)\n",
        "misfit": begin + "def job(path): pass\nagent.add_job(job, every='1 hour')\n",
        "twice": begin
        + "def job(): pass\nagent.add_job(job, every=1)\nagent.add_job(job, every=2)\n",
    }
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    done = run(*words)
    assert said in done.stderr
    assert done.returncode == 2
    assert mistakes(done.stderr)
    assert not list(folder.glob("agent.sqlite*"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[jobs]\nrun = 'x'\n", "write [[jobs]], in double brackets"),
        (
            "[[listeners]]\nrun = 'a:b'\nmatch = { event_type = 'x' }\n",
            "write [operator, value]",
        ),
        ("[[jobs]]\nrun = 'jobs.mine:f'\nevery = 1\n", "hides the ready-made jobs"),
        (
            "[[jobs]]\nrun = 'listeners.log_event:log_evnt'\nevery = 1\n",
            "did you mean log_event?",
        ),
        ("not = toml = 1", "this is not TOML"),
    ],
)  # fmt: skip
def test_hints_for_common_slips(text: str, said: str, folder: Path, run: Run) -> None:
    """Given a common slip in agent.toml, When started, Then the line says what to write."""
    (folder / "jobs").mkdir()
    (folder / "jobs" / "__init__.py").write_text("", encoding="utf-8")
    (folder / "agent.toml").write_text(text, encoding="utf-8")
    done = run("agent", "go")
    assert said in done.stderr
    assert done.returncode == 2
    assert mistakes(done.stderr)


@pytest.mark.parametrize("data", ["{", "nan", "text", "@nowhere.json"])
def test_data_that_is_no_json(data: str, example: Path, run: Run) -> None:
    """Given a store, When publish is given no JSON, Then code 2 and nothing is stored."""
    assert run("agent", "go", "--once", "example.py").returncode == 0
    done = run("agent", "publish", "a", "1", "--data", data)
    assert done.returncode == 2
    assert "--data" in done.stderr
    assert "Traceback" not in done.stderr
    assert run("agent", "events", "--type", "a", "--json").stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["redeliver", "99.1"], "no delivery 99.1"),
        (["redeliver", "x"], "'x' is no delivery"),
        (["redeliver"], "name deliveries by id"),
        (["discard", "1.1", "--all"], "name deliveries by id"),
        (["discard", "1.1"], "is completed; there is nothing to discard"),
        (["resume", "nobody"], "no listener or job named nobody is paused"),
        (["forget-listener", "nobody"], "no listener named nobody"),
        (["replay", "nobody"], "no listener named nobody"),
        (["replay", "example.my_listener", "--since", "soon"], "is not a moment"),
    ],
)
def test_changes_of_what_is_not_there(
    words: list[str], said: str, example: Path, run: Run
) -> None:
    """Given a store, When something unknown is to be changed, Then code 2 and one line."""
    assert run("agent", "go", "--once", "example.py").returncode == 0
    done = run("agent", *words)
    assert said in done.stderr
    assert done.returncode == 2
    assert len(mistakes(done.stderr)) == 1


@pytest.mark.parametrize("command", ["go", "events", "publish"])
def test_a_file_that_is_no_store_is_refused(command: str, example: Path, run: Run) -> None:
    """Given a text file as the store, When any command opens it, Then code 3, unchanged."""
    file = example.parent / "notes.txt"
    file.write_text("shopping: tea, bread " * 100, encoding="utf-8")
    before = file.read_bytes()
    words = {"go": ["example.py"], "events": [], "publish": ["a", "1"]}[command]
    done = run("agent", command, *words, "--db", str(file))
    assert done.returncode == 3
    assert "not a py_agent store" in done.stderr
    assert "Traceback" not in done.stderr
    assert file.read_bytes() == before
    assert [each.name for each in example.parent.glob("notes.txt*")] == ["notes.txt"]


@pytest.mark.parametrize(
    ("job", "arguments", "told"),
    [
        ("http_poll:http_poll", 'url = "127.0.0.1:80/x", event_type = "t"', "http"),
        ("feed:feed", 'url = "ftp://a.example/"', "http"),
        ("websocket_reader:websocket_reader", 'url = "http://a/", event_type = "t"', "ws"),
    ],
)
def test_a_wrong_url_is_told_at_the_start(
    job: str, arguments: str, told: str, folder: Path, run: Run
) -> None:
    """Given a URL that cannot be meant, When the agent starts, Then it says so at once."""
    (folder / "agent.toml").write_text(
        f'[[jobs]]\nrun = "jobs.{job}"\nevery = "1 hour"\nwith = {{ {arguments} }}\n',
        encoding="utf-8",
    )
    done = run("agent", "go")
    assert done.returncode == 2
    assert f"argument 'url': it must be a URL like {told}" in done.stderr
