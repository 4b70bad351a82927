"""jobs.command: what a program prints becomes events, and no program is left behind."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from jobs.command import command
from jobs.command_process import Lines
from py_agent import Agent, Event, timeout
from py_agent.clock import SystemClock
from py_agent.errors import ConfigError
from py_agent.registry import FOR_JOBS
from py_agent.settings.conversion import convert_arguments
from py_agent.testing import AgentUnderTest
from py_agent.timeouts import clock_of_call

SECRET = "canary-4711-secret"
LIMIT = 10.0  # seconds, far above what anything takes; only a hang meets it


def sh(script: str) -> list[str]:
    """Return the words of a shell script: a program that starts at once."""
    return ["/bin/sh", "-c", script]


def printing(*lines: str, then: str = "") -> list[str]:
    """Return the words of a program that prints lines."""
    return [*sh(f'printf "%s\\n" "$@"\n{then}'), "sh", *lines]


@contextmanager
def nothing_left() -> Iterator[None]:
    """Check that no descriptor, thread or child is left behind, whatever is raised."""
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    try:
        yield
    finally:
        assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)


def run(agent: Agent, argv: Any, **arguments: Any) -> list[str]:
    """Run a program; return the identifiers of all events of the type `line` so far."""
    given: dict[str, Any] = {"event_type": "line", "identifier": "id"}
    agent.handler.publish("store", "open")  # its descriptors are not the program's
    with nothing_left():
        command(agent.handler, argv, **given | arguments)
    return names(agent)


def names(agent: Agent) -> list[str]:
    return [event.identifier for event in events(agent)]


def events(agent: Agent, event_type: str = "line") -> list[Event]:
    return agent.handler.query_events({"event_type": ("==", event_type)})


def is_gone(pid: int) -> bool:
    """Return whether a process ends within the time that only a hang would take."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            if "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]:
                return True  # whoever has inherited it takes its time
        except (FileNotFoundError, ProcessLookupError):
            return True
    return False


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


# Lines and events


def test_each_line_is_an_event_once(agent: Agent) -> None:
    """Given lines of JSON, When it runs twice, Then each is one event as it is."""
    argv = printing('{"id": 7, "free": 12}', "", '{"id": "b"}')
    assert run(agent, argv) == ["7", "b"]
    assert run(agent, argv) == ["7", "b"]
    assert events(agent)[0].data == {"id": 7, "free": 12}


@pytest.mark.parametrize(
    ("identifier", "line", "expected"),
    [
        ("id", '{"id": 1.5}', "1.5"),
        ("meta.key", '{"meta": {"key": "a b"}}', "a b"),
        (["id", "at"], '{"id": 7, "at": "x"}', "7@x"),
        ([], "17", "4523540f1504cd17100c4835e85b7eefd49911580f8efff0599a8f283be6b9e3"),
    ],
)
def test_the_identifier_is_found_by_a_path(
    agent: Agent, identifier: Any, line: str, expected: str
) -> None:
    """Given a path, several or none, Then it is the field, all of them, or the content."""
    assert run(agent, printing(line), identifier=identifier) == [expected]


def test_a_line_may_name_its_own_type(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    """Given no type, Then the line's is taken, and one without is left out."""
    lines = ['{"event_type": "disk", "id": 1}', '{"id": 2}', '{"event_type": 3, "id": 4}']
    run(agent, printing(*lines), event_type=None)
    assert [event.identifier for event in events(agent, "disk")] == ["1"]
    said = "left out, as it has no 'event_type', and the job has none either"
    assert warnings(caplog) == [f"/bin/sh: line {n} is {said}" for n in (2, 3)]


def test_the_last_line_needs_no_end(agent: Agent) -> None:
    """Given an end in the middle, Then the line counts if the program succeeded only."""
    whole = 'printf \'{"id": 1}\\n{"id": 2}\''
    with pytest.raises(RuntimeError, match="exit code 3"):
        run(agent, sh(f"{whole}; exit 3"))
    assert names(agent) == ["1"]
    assert run(agent, sh(whole)) == ["1", "2"]


def test_lines_are_published_as_they_come(running: AgentUnderTest, tmp_path: Path) -> None:
    """Given a program that waits for its first line to be noticed, Then it is."""
    fifo = tmp_path / "noticed"
    os.mkfifo(fifo)

    def notice(event: Event) -> None:
        fifo.write_text("go")

    running.add_listener(notice, {"data.id": ("==", 1)}, name="notice")
    running.start()
    argv = printing('{"id": 1}', then=f"read word < {fifo}; echo '[2]'")
    running.run_job(command, argv=argv, event_type="line")
    assert [event.data for event in running.published("line")] == [{"id": 1}, [2]]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([b"a\nb", b"c\n", b"d"], [(1, b"a"), (2, b"bc"), (3, b"d")]),
        ([b"\n\na"], [(1, b""), (2, b""), (3, b"a")]),
        ([b"12345\n123456\n1\n"], [(1, b"12345"), (2, None), (3, b"1"), (4, b"")]),
        ([b"123", b"456", b"789" * 9, b"\n1"], [(1, None), (2, b"1")]),
        ([b"123", b"456"], [(1, None)]),
        ([b"123\r\n"], [(1, b"123\r"), (2, b"")]),
    ],
)
def test_lines_are_cut_wherever_the_pipe_cuts(
    chunks: list[bytes], expected: list[tuple[int, bytes | None]]
) -> None:
    """Given pieces of output, Then lines are whole, numbered, and none is too long."""
    lines = Lines(5)
    found = [each for chunk in chunks for each in lines.feed(chunk)]
    assert [*found, lines.end()] == expected


# Lines that are none


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("text", "it is no JSON"),
        ("{'id': 1}", "it is no JSON"),
        ("[" * 50_000, "it is no JSON"),
        ('{"id": null}', "it has no 'id'"),
        ("[]", "it has no 'id'"),
        ('{"id": 1, "x": NaN}', "data.x"),
        ('{"id": 1, "x": "' + "y" * 2_000 + '"}', "it is longer than max_line"),
    ],
)
def test_a_bad_line_is_left_out_with_its_number(
    agent: Agent, caplog: pytest.LogCaptureFixture, bad: str, why: str
) -> None:
    """Given one bad line of three, Then it is told by its number, and not shown."""
    limit = 60_000 if bad[0] == "[" else 1_000
    argv = printing('{"id": "a"}', bad, '{"id": "c"}')
    assert run(agent, argv, max_line=limit) == ["a", "c"]
    [told] = warnings(caplog)
    assert told.startswith("/bin/sh: line 2 is left out, as ")
    assert why in told and bad not in told


def test_a_line_that_is_no_text_is_left_out(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    """Given bytes that are no UTF-8, Then the next line is read all the same."""
    assert run(agent, sh('printf \'"\\377"\\n{"id": 1}\\n\'')) == ["1"]
    assert warnings(caplog) == ["/bin/sh: line 1 is left out, as it is not UTF-8 text"]


def test_many_bad_lines_are_told_in_short(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    """Given thousands of bad lines, Then ten are told, and how many there are."""
    argv = sh(
        "i=0; while [ $i -lt 2000 ]; do echo bad; i=$((i+1)); done; echo '{\"id\":1}'"
    )
    assert run(agent, argv) == ["1"]
    assert len(warnings(caplog)) == 11
    assert warnings(caplog)[-1] == "/bin/sh: 2000 of 2001 lines are left out"


def test_nothing_but_bad_lines_fails_the_run(agent: Agent) -> None:
    """Given no usable line, Then the run fails; given no line at all, it does not."""
    with pytest.raises(ValueError) as caught:
        run(agent, printing("a", "b"))
    assert str(caught.value) == (
        "/bin/sh: none of the 2 lines could be published, the last one as it is no JSON"
    )
    assert run(agent, sh("true")) == []


# Programs that fail


def test_a_failed_program_keeps_what_it_published(agent: Agent) -> None:
    """Given a line and exit code 3, Then the line stays, and the error has the code and
    the last lines of stderr.
    """
    script = 'echo first >&2; printf "a\\033b\\n\\nlast\\n" >&2; exit 3'
    with pytest.raises(RuntimeError) as caught:
        run(agent, printing('{"id": 1}', then=script))
    assert str(caught.value) == (
        "/bin/sh failed with exit code 3; the last it said: first | a\\x1bb | last"
    )
    assert names(agent) == ["1"]


def test_a_program_that_was_killed_is_told_by_the_signal(agent: Agent) -> None:
    """Given a program that is killed, Then the signal is named."""
    with pytest.raises(RuntimeError, match="^/bin/sh was ended by SIGKILL$"):
        run(agent, sh("kill -9 $$"))


def test_a_long_complaint_is_shortened(agent: Agent) -> None:
    """Given megabytes on both pipes, Then nothing hangs, and the end is told."""
    noise = "head -c 1000000 /dev/zero | tr '\\0' x"
    script = f"{noise} >&2; {noise}; echo; echo >&2; echo last >&2; exit 1"
    with pytest.raises(RuntimeError) as caught:
        run(agent, sh(script), max_bytes=2_000_000)
    assert str(caught.value).endswith("xxx | last")
    assert len(str(caught.value)) < 600


def test_too_much_output_ends_the_program(agent: Agent, tmp_path: Path) -> None:
    """Given a program that prints for ever, Then it is ended at the limit."""
    with pytest.raises(RuntimeError, match="ended, as it printed more than 10,000 bytes"):
        run(agent, sh(f"echo $$ > {tmp_path}/pid; exec yes"), max_bytes=10_000)
    assert is_gone(int((tmp_path / "pid").read_text()))


# Programs that do not start


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("ls -l", 'write a list of the program and its arguments, as ["ls", "-l", "/tmp"]'),
        (b"ls", "write a list of the program"),
        ([], "argv: it names no program"),
        ([""], "argv: it names no program"),
        (["ls", 5], "argv: word 2 is no text that a program can be given"),
        (["ls", "a\0b"], "argv: word 2 is no text that a program can be given"),
        (None, "argv: it is NoneType"),
    ],
)
def test_words_that_are_no_command_are_refused(agent: Agent, argv: Any, said: str) -> None:
    """Given a text or worse, Then one line shows the form of a list."""
    with pytest.raises(ValueError) as caught:
        run(agent, argv)
    assert said in str(caught.value) and '["ls", "-l", "/tmp"]' in str(caught.value)


def test_agent_toml_refuses_a_text_at_start() -> None:
    """Given arguments as agent.toml has them, Then a text is a mistake, secrets are kept
    as such, and a folder is relative to the file.
    """
    good = {"argv": ["ls"], "env": {"KEY": SECRET}, "cwd": "data"}
    made = convert_arguments(command, good, FOR_JOBS, Path("/site"))
    assert made["env"]["KEY"].get_secret_value() == SECRET
    assert (SECRET in repr(made), made["cwd"]) == (False, Path("/site/data"))
    with pytest.raises(ConfigError) as caught:
        convert_arguments(
            command, {"argv": f"ls {SECRET}", "env": {"A": [SECRET]}}, FOR_JOBS
        )
    first, second = caught.value.problems
    assert first.startswith("argument 'argv': write a list of the program")
    assert second == "argument 'env': input should be a valid string"


def test_a_program_that_cannot_be_started_is_one_line(agent: Agent, tmp_path: Path) -> None:
    """Given what is not there, may not be run or is no program, Then it says which."""
    plain, torn = tmp_path / "plain", tmp_path / "torn"
    plain.write_text("echo")
    torn.write_text("#!/nowhere/sh\n")
    torn.chmod(0o755)
    for argv, kind, said in (
        (
            ["no-such-program"],
            FileNotFoundError,
            "there is no program no-such-program; PATH",
        ),
        (["/nowhere/x"], FileNotFoundError, "there is no program /nowhere/x"),
        (
            [str(plain)],
            PermissionError,
            f"{plain} may not be executed; chmod +x it, or name",
        ),
        ([str(tmp_path)], PermissionError, f"{tmp_path} may not be executed"),
        ([str(torn)], FileNotFoundError, f"{torn} names an interpreter that is not there"),
        (["x" * 300], OSError, "x cannot be started: File name too long"),
    ):
        with pytest.raises(kind) as caught:
            run(agent, argv)
        assert said in str(caught.value)
        assert (len(str(caught.value).splitlines()), caught.value.__context__) == (1, None)
    plain.chmod(0o755)
    with pytest.raises(OSError, match="plain cannot be started: Exec format error"):
        run(agent, [str(plain)])
    with pytest.raises(NotADirectoryError, match="there is no folder .*plain to run ls in"):
        run(agent, ["ls"], cwd=plain)


# What it is given


def test_a_program_gets_a_small_environment(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given secrets of the agent, Then the program gets none but those in env."""
    for name in ("GITHUB_TOKEN", "PY_AGENT_SECRETS_DIR", "CREDENTIALS_DIRECTORY", "DK_X"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    monkeypatch.setenv("LC_TIME", "C")
    show = "import os, json; print(json.dumps(dict(os.environ)))"
    run(agent, [sys.executable, "-S", "-c", show], identifier=None,
        env={"LANG": SecretStr("C"), "MINE": SecretStr(SECRET)})  # fmt: skip
    [event] = events(agent)
    assert event.data.pop("MINE") == SECRET
    assert SECRET not in json.dumps(event.data)
    assert event.data["PATH"] == os.environ["PATH"]
    kept = {"HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "PATH", "TMPDIR", "TZ"}
    rest = {name for name in event.data if not name.startswith("LC_")}
    assert rest <= kept and event.data["LANG"] == "C"
    assert (event.data["TZ"], event.data["LC_TIME"]) == ("Europe/Berlin", "C")


def test_a_secret_is_in_no_error_and_no_log(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a program that complains about its secret, Then stars are shown for it."""
    caplog.set_level(logging.DEBUG)
    argv = printing("bad", then='echo "no $KEY, $KEY" >&2; exit 1')
    with pytest.raises(RuntimeError, match=r"said: no \*\*\*, \*\*\*$") as caught:
        run(agent, argv, env={"KEY": SecretStr(SECRET)})
    assert SECRET not in str(caught.value) + caplog.text


@pytest.mark.parametrize("count", range(4_096 - 30, 4_096, 3))
def test_half_a_secret_is_not_shown_either(agent: Agent, count: int) -> None:
    """Given a complaint of which only the end is kept, Then no part of a secret is."""
    blank = f"printf '%s' \"$KEY\" >&2; printf '%{count}s' '' >&2; exit 1"
    with pytest.raises(RuntimeError) as caught:
        run(agent, sh(blank), env={"KEY": SecretStr(SECRET)})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "A=B", "A\0B"])
def test_a_variable_that_cannot_be_is_refused(agent: Agent, name: str) -> None:
    """Given a wrong name or value, Then one line says so and shows no value."""
    with pytest.raises(ValueError, match="cannot be a variable") as caught:
        run(agent, ["ls"], env={name: SecretStr(SECRET)})
    with pytest.raises(ValueError, match="'KEY' cannot be a variable"):
        run(agent, ["ls"], env={"KEY": SecretStr(f"{SECRET}\0")})
    assert SECRET not in str(caught.value)


def test_it_runs_in_the_folder_without_input_or_shell(agent: Agent, tmp_path: Path) -> None:
    """Given a folder and words with meaning to a shell, Then they are just words."""
    script = 'read x; printf \'{"id": "%s", "in": "%s%s"}\' "$1" "$(pwd)" "$x"'
    run(agent, [*sh(script), "sh", "$(id); > *"], cwd=tmp_path)
    assert events(agent)[0].data == {"id": "$(id); > *", "in": str(tmp_path.resolve())}


# Programs that do not end


# A program that writes down its number and that of its child, and waits for ever.
GROUP = "echo $$ > {0}/pid; sleep 1000 & echo $! > {0}/child; {1} wait"


def started(folder: Path) -> float:
    """Return 0, and an hour more as soon as a program and its child run: time is up."""
    child = folder / "child"
    return 3_600.0 if child.exists() and child.read_text().endswith("\n") else 0.0


@pytest.fixture
def hour(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Lets an hour pass for the program when it and its child run.

    The first moment that is asked for is the start, whatever runs by then.
    """
    real, asked = time.monotonic, count()
    made = SimpleNamespace(
        monotonic=lambda: real() + (started(tmp_path) if next(asked) else 0.0)
    )
    monkeypatch.setattr("jobs.command_process.time", made)


class Hurried(SystemClock):
    """A clock on which an hour passes when a program and its child run.

    Args:
        folder: where they say so.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def boot(self) -> float:
        return super().boot() + started(self._folder)


def both_gone(folder: Path) -> bool:
    return all(is_gone(int((folder / each).read_text())) for each in ("pid", "child"))


def test_the_time_of_a_program_is_limited(agent: Agent, tmp_path: Path, hour: None) -> None:
    """Given a program and its child that do not end, Then both are ended in time."""
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="^/bin/sh did not end within 900 s$"):
        run(agent, sh(GROUP.format(tmp_path, "")), timeout=900)
    assert both_gone(tmp_path)
    assert time.monotonic() - began < LIMIT


def test_one_that_does_not_listen_is_killed(
    agent: Agent, tmp_path: Path, hour: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a program that ignores SIGTERM, Then it is killed after the grace time."""
    monkeypatch.setattr("jobs.command_process.GRACE", 0.05)
    with pytest.raises(TimeoutError):
        run(agent, sh("trap '' TERM;" + GROUP.format(tmp_path, "wait; wait;")))
    assert both_gone(tmp_path)


def test_a_program_ends_with_the_scope_of_a_timeout(agent: Agent, tmp_path: Path) -> None:
    """Given timeout(...) around it, When that time is up, Then the program is ended."""
    token = clock_of_call.set(Hurried(tmp_path))
    with pytest.raises(TimeoutError, match="ended, as the time for this step is up"):
        with timeout(900, "all of it"):
            run(agent, sh(GROUP.format(tmp_path, "")))
    clock_of_call.reset(token)
    assert both_gone(tmp_path)


def test_a_program_ends_when_the_agent_stops(
    running: AgentUnderTest, tmp_path: Path
) -> None:
    """Given a program that runs, When the agent stops, Then it is ended."""
    began = threading.Event()

    def see(event: Event) -> None:
        began.set()

    argv = sh(GROUP.format(tmp_path, "echo '{\"id\": 1}';"))
    running.add_listener(see, {"event_type": ("==", "line")}, name="see")
    running.add_job(command, every="1 hour", at_start=True, argv=argv, event_type="line")
    running.start()
    assert began.wait(LIMIT)
    running.stop()
    assert both_gone(tmp_path)


def test_what_keeps_the_pipes_open_does_not_hang_the_run(
    agent: Agent, tmp_path: Path
) -> None:
    """Given a child that outlives its program with both pipes, Then the run ends at once,
    with all lines, and the child is ended with it.
    """
    script = f"sleep 1000 & echo $! > {tmp_path}/child; echo '{{\"id\": 1}}'"
    began = time.monotonic()
    assert run(agent, sh(script)) == ["1"]
    assert time.monotonic() - began < LIMIT
    assert is_gone(int((tmp_path / "child").read_text()))


def test_a_child_in_a_session_of_its_own_is_left_alone(
    agent: Agent, tmp_path: Path
) -> None:
    """Given a child that writes for ever and has left the group, Then the run ends."""
    script = (
        "import os\n"
        "away, gone = os.pipe()\n"
        "if os.fork(): os._exit(os.read(away, 1) != b'x')\n"
        "os.setsid()\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(os.getpid()))\n"
        "os.write(1, b'{\"id\": 1}\\n'); os.write(gone, b'x')\n"
        "while True: os.write(1, b'\\n' * 1000)\n"
    )
    assert run(agent, [sys.executable, "-S", "-c", script]) == ["1"]
    assert is_gone(int((tmp_path / "child").read_text()))  # of the closed pipe


def test_a_program_that_closes_its_pipes_is_waited_for(agent: Agent) -> None:
    """Given pipes that are closed before the end, Then the exit code counts."""
    with pytest.raises(RuntimeError, match="exit code 4"):
        run(agent, sh("exec >&- 2>&-; sleep 0.05; exit 4"))


def test_a_store_that_fails_ends_the_program(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a publication that fails, Then nothing is left running."""

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    agent.handler.publish("store", "open")
    monkeypatch.setattr(agent.handler, "publish", fail)
    argv = sh(GROUP.format(tmp_path, "echo '{\"id\": 1}';"))
    with nothing_left(), pytest.raises(OSError, match="disk full"):
        command(agent.handler, argv, "line", "id")
    assert both_gone(tmp_path)


def test_signals_of_the_agent_do_not_reach_it(agent: Agent) -> None:
    """Given Ctrl-C for the agent's group, Then the program is in a group of its own."""
    show = "import os; print('{\"id\": %d}' % (os.getpgrp() == os.getpid()))"
    assert run(agent, [sys.executable, "-S", "-c", show]) == ["1"]
