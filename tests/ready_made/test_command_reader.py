"""jobs.command_reader: what reads a hostile text knows no secret and does not linger."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.command_reader import UnreadableError, read_apart
from py_agent import StoppedError

SECRET = "canary-4711-secret"
LIMIT = 10.0  # seconds, far above what anything takes; only a hang meets it


def handler(stops: bool = False) -> Any:
    """Return a handler that only knows whether the agent stops."""
    return SimpleNamespace(stop_requested=stops)


def read(script: str, content: bytes = b"", seconds: float = LIMIT) -> dict[str, Any]:
    """Return what a script prints."""
    return read_apart(handler(), ["-S", "-c", script], content, seconds)


def test_it_knows_none_of_the_agent_s_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a token in the environment, Then the process has none; its libraries it has."""
    for name in ("TODOIST_TOKEN", "CREDENTIALS_DIRECTORY", "PY_AGENT_DB_URL"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("PYTHONPATH", "/site")
    found = read("import json, os; print(json.dumps(dict(os.environ)))")
    assert SECRET not in json.dumps(found)
    assert (found["PYTHONPATH"], found["PATH"]) == ("/site", os.environ["PATH"])


def test_all_of_a_large_text_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given more than a pipe holds, and a slow beginning, Then it has all."""
    monkeypatch.setattr("jobs.command_reader.SLICE", 0.01)
    wait = "import json, sys, time; time.sleep(0.05); "
    script = f"{wait}print(json.dumps({{'n': len(sys.stdin.read())}}))"
    assert read(script, b"x" * 1_000_000) == {"n": 1_000_000}


def test_it_is_killed_when_the_agent_stops(tmp_path: Path) -> None:
    """Given a process that reads for ever, When the agent stops, Then it is gone."""
    pid = tmp_path / "pid"
    said = f"open({str(pid)!r}, 'w').write('%d ' % os.getpid())"
    script = f"import os, time; {said}; time.sleep(1000)"

    class Stopping:
        @property
        def stop_requested(self) -> bool:
            return pid.exists() and pid.read_text().endswith(" ")

    stopping: Any = Stopping()
    began = time.monotonic()
    with pytest.raises(StoppedError):
        read_apart(stopping, ["-S", "-c", script], b"", 900)
    assert time.monotonic() - began < LIMIT
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import time; time.sleep(1000)", "takes more than 0.1 s to read"),
        ("raise ValueError('bad\\033')", r"cannot be read: ValueError: bad\x1b"),
        ("import os; os.kill(os.getpid(), 9)", "cannot be read: it crashed"),
        ("print('no JSON')", "said nothing that makes sense"),
        ("print('[' * 100_000)", "said nothing that makes sense"),
        ("print('[]')", "said nothing that makes sense"),
        ("", "said nothing that makes sense"),
    ],
)
def test_whatever_it_does_is_one_sentence(script: str, reason: str) -> None:
    """Given a process that hangs, fails or prints nonsense, Then that is one sentence."""
    with pytest.raises(UnreadableError) as caught:
        read(script, seconds=0.1 if "sleep" in script else LIMIT)
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_process_that_cannot_be_started_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given a machine without room for one more process, Then that is said."""

    def full(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", full)
    with pytest.raises(UnreadableError, match="cannot be read now: Resource temporarily"):
        read("")
