"""A small machine with systemd as its first process: this one's programs, else empty."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ENTER = Path(__file__).with_name("enter")
LIMIT = 60  # seconds; only a hang meets it

FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    "etc/group": "root:x:0:\nsystemd-journal:x:101:\nnogroup:x:65534:\n",
    "etc/shadow": "root:*:19000:0:99999:7:::\n",
    "etc/hostname": "machine\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/login.defs": "SYS_UID_MAX 999\nSYS_GID_MAX 999\n",
    "usr/lib/os-release": "ID=machine\n",
}
# What it starts: nothing but systemd and its journal.
TARGET = "etc/systemd/system/test.target"


def missing() -> str:
    """Return why there can be no such machine here; "" if there can."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("systemd-nspawn", "nsenter", "setpriv"):
        if not shutil.which(program):
            return f"needs {program}"
    if not Path("/usr/bin/python3").exists() or not Path("/lib/systemd/systemd").exists():
        return "needs /usr/bin/python3 and systemd"
    return ""


class NotBootedError(Exception):
    """Where the tests run, no machine can be booted: a container may not do it."""


class Machine:
    """A booted machine.

    Args:
        root: its files; /usr is this machine's, read-only.
        process: what runs it.
    """

    def __init__(self, root: Path, process: subprocess.Popen[bytes]) -> None:
        self.root = root
        self.process = process
        self.first = 0  # its systemd, as seen from here

    def run(self, command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root in it."""
        return subprocess.run(
            [ENTER, "machine", command], env=self.environment(), capture_output=True,
            text=True, timeout=LIMIT, check=check,
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        """Return the variables with which `enter` finds it."""
        return {**os.environ, "TEST_MACHINE": str(self.first)}

    def wait_until_booted(self) -> None:
        """Wait until its systemd answers."""
        until(self._runs)

    def _runs(self) -> bool:
        assert self.process.poll() is None, (self.root.parent / "boot.log").read_text()
        self.first = self.first or first_process(self.process.pid)
        asked = ["systemctl is-system-running"] if self.first else []
        return any("running" in self.run(each, check=False).stdout for each in asked)


def until(happened: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    end = time.monotonic() + LIMIT
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def stop(process: int) -> None:
    """Ask a process to end."""
    os.kill(process, signal.SIGTERM)


def first_process(runner: int) -> int:
    """Return the process that is the first one in the machine; 0 if there is none yet."""
    for children in Path(f"/proc/{runner}/task").glob("*/children"):
        for child in children.read_text().split():
            status = Path(f"/proc/{child}/status").read_text()
            line = next(line for line in status.splitlines() if line.startswith("NSpid:"))
            if line.split()[-1] == "1" and len(line.split()) > 2:
                return int(child)
            if found := first_process(int(child)):
                return found
    return 0


def empty(root: Path) -> None:
    """Make the files of a machine without users and services; /usr is to be bound."""
    for name in ("etc/systemd/system", "usr/lib", "var/lib", "root", "tmp", "run", "proc",
                 "sys", "dev", "opt"):  # fmt: skip
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path("/", name).exists():
            (root / name).symlink_to(f"usr/{name}")
    for name, text in FILES.items():
        (root / name).write_text(text)


@contextmanager
def booted(folder: Path) -> Iterator[Machine]:
    """Boot a machine whose files are in a folder; it is off at the end."""
    root = folder / "machine"
    empty(root)
    (root / TARGET).write_text("[Unit]\nRequires=basic.target\nAfter=basic.target\n")
    with (folder / "boot.log").open("wb") as log:
        process = subprocess.Popen(
            ["systemd-nspawn", f"--directory={root}", "--boot", "--bind-ro=/usr",
             "--register=no", "--keep-unit", "--private-network", "--machine=machine",
             "--console=pipe", "--", "--unit=test.target"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    machine = Machine(root, process)
    try:
        try:
            machine.wait_until_booted()
        except AssertionError as error:
            said = str(error).strip().splitlines() or ["it says nothing"]
            raise NotBootedError(f"no machine boots here: {said[-1]}") from error
        yield machine
    finally:
        off(process)
        shutil.rmtree(root)  # hundreds of megabytes, and files of users that are not here


def off(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)  # asks for a clean end
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(LIMIT)
