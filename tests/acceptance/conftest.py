"""What acceptance tests share: the installed commands, run in an empty folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
LIMIT = 60  # seconds, far above what any command takes; only a hang meets it


class Running:
    """A command that runs in the background, and what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until a text has been printed so often."""
        with self._changed:
            came = self._changed.wait_for(
                lambda: sum(text in line for line in self.lines) >= times, LIMIT
            )
        assert came, f"{text!r} never came; it printed {self.lines}"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(LIMIT)
        self._reader.join(LIMIT)
        return code


@pytest.fixture(autouse=True)
def default_signals() -> Iterator[None]:
    """Commands start with default signals, also where the tests run under nohup."""
    before = {
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a cache of its own."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("PY_AGENT_DB_PATH", raising=False)
    return place


Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., Running]


@pytest.fixture
def run(folder: Path) -> Run:
    """Run a command to its end; stdout and stderr are kept apart."""

    def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, input=stdin, capture_output=True, text=True, timeout=LIMIT, check=False
        )

    return run


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start a command in the background; what still runs at the end is killed."""
    started: list[Running] = []

    def start(*words: str) -> Running:
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(Running(process))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait(LIMIT)
        if each.process.stdout is not None:
            each._reader.join(LIMIT)
            each.process.stdout.close()


EXAMPLE = (
    (ROOT / "examples" / "hello.py").read_text(encoding="utf-8").split('"""\n\n', 1)[1]
)


@pytest.fixture
def example(folder: Path) -> Path:
    """The ten-line example as example.py in the working directory."""
    file = folder / "example.py"
    file.write_text(EXAMPLE, encoding="utf-8")
    return file
