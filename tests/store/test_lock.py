"""SQLite: one agent at a time holds the lock of a store."""

from __future__ import annotations

import fcntl
import os
import resource
from pathlib import Path

import pytest

from py_agent.errors import StorageFault, StoreLockedError
from py_agent.store.lock import AgentLock, holder

from .support import in_child, in_processes

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store would be; the lock does not look at it."""
    return tmp_path / "agent.sqlite"


def _try_lock(path: Path) -> int | None:
    """Try to take the lock; return the holder's pid, None if it was free."""
    lock = AgentLock(path)
    try:
        lock.acquire()
    except StoreLockedError as error:
        return error.pid
    lock.release()
    return None


def test_a_second_holder_is_told_the_pid(path: Path) -> None:
    """Another process that wants the lock is refused, and learns who has it."""
    lock = AgentLock(path)
    lock.acquire()

    assert in_processes(1, _try_lock, path) == [os.getpid()]
    assert holder(path) == os.getpid()
    lock.release()


def test_the_refusal_names_store_and_pid(path: Path) -> None:
    """The message says which store, which process, and what to do."""
    lock = AgentLock(path)
    lock.acquire()

    with pytest.raises(StoreLockedError) as refused:
        AgentLock(path).acquire()

    lock.release()
    for part in (str(path), str(os.getpid()), "--db"):
        assert part in str(refused.value)


def test_a_released_lock_leaves_no_file(path: Path) -> None:
    """The file goes while it is held, and the next one takes the lock."""
    lock = AgentLock(path)
    lock.acquire()
    assert lock.held

    lock.release()
    lock.release()

    assert os.listdir(path.parent) == []
    assert _try_lock(path) is None


@pytest.mark.parametrize("text", ["", "1\n", "999999\n", "garbage", "0", "-1", "9" * 32])
def test_a_stale_file_is_no_lock(path: Path, text: str) -> None:
    """The lock decides and not the text that a power cut left behind."""
    Path(f"{path}.lock").write_text(text)

    assert _try_lock(path) is None


@pytest.mark.parametrize("text", ["", "garbage", "0", "-1", "9" * 32, "\u0663"])
def test_a_damaged_file_names_no_holder(path: Path, text: str) -> None:
    """A text that is no process id is nobody."""
    Path(f"{path}.lock").write_text(text)

    assert holder(path) is None


def test_another_process_of_the_same_number_is_no_holder(path: Path) -> None:
    """After a power cut, the number in the file may be that of any process."""
    Path(f"{path}.lock").write_text(f"{os.getpid()}\n")

    assert holder(path) is None


def test_a_holder_that_could_not_write_its_number_is_one(path: Path) -> None:
    """Where the disk was full, the lock alone tells that there is somebody."""
    lock = AgentLock(path)
    lock.acquire()
    lock.path.write_text("")

    assert holder(path) == 0
    lock.release()


def test_who_only_asks_keeps_nobody_from_starting(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given somebody who asks, and stands still for long, Then the lock is taken when
    they have let go of it.
    """
    asking = os.open(f"{path}.lock", os.O_RDONLY | os.O_CREAT)
    fcntl.flock(asking, fcntl.LOCK_SH)
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 100:
            fcntl.flock(asking, fcntl.LOCK_UN)

    monkeypatch.setattr("py_agent.store.lock.time.sleep", wait)

    assert _try_lock(path) is None
    assert len(waits) == 100
    os.close(asking)


def test_an_agent_is_never_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an agent that has the lock, When another one starts, Then it is told so."""
    held = AgentLock(path)
    held.acquire()
    monkeypatch.setattr("py_agent.store.lock.time.sleep", pytest.fail)
    with pytest.raises(StoreLockedError):
        AgentLock(path).acquire()
    held.release()


def test_a_process_that_ended_is_no_holder(path: Path) -> None:
    """The pid of a process that is gone names nobody."""
    with in_child(lambda: str(os.getpid())) as pid:
        Path(f"{path}.lock").write_text(f"{pid}\n")

    assert holder(path) is None


def test_no_lock_file_means_no_holder(path: Path) -> None:
    """Asking makes no file."""
    assert holder(path) is None
    assert os.listdir(path.parent) == []


def test_a_removed_file_does_not_give_the_lock_away_twice(path: Path) -> None:
    """After somebody removed the file, releasing leaves the new holder's file alone."""
    first, second = AgentLock(path), AgentLock(path)
    first.acquire()
    first.path.unlink()
    second.acquire()

    first.release()

    assert second.path.exists()
    assert _try_lock(path) == os.getpid()
    second.release()


def test_a_link_in_the_place_of_the_lock_is_refused(path: Path) -> None:
    """A planted link is not followed."""
    victim = path.parent / "victim"
    victim.write_text("precious")
    Path(f"{path}.lock").symlink_to(victim)

    with pytest.raises(StorageFault):
        AgentLock(path).acquire()

    assert victim.read_text() == "precious"


def test_a_forked_child_does_not_keep_the_lock(path: Path) -> None:
    """A child that outlives the agent holds nothing; the lock file stays the agent's."""
    lock = AgentLock(path)
    lock.acquire()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)  # lives until the parent is done
        lock.release()
        os._exit(0)
    os.close(reading)
    assert _try_lock(path) == os.getpid()

    lock.release()

    assert _try_lock(path) is None
    os.close(writing)
    os.waitpid(pid, 0)


def _lock_on_a_full_disk(path: Path) -> str:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    lock = AgentLock(path)
    lock.acquire()
    held = lock.held
    lock.release()
    return "held" if held else "free"


def test_a_full_disk_does_not_prevent_the_lock(path: Path) -> None:
    """The text in the file is only a hint, so the lock is taken without it."""
    assert in_processes(1, _lock_on_a_full_disk, path) == ["held"]
