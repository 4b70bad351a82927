"""A process that ends inside a function is charged to that function, and to no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from py_agent import RetryPolicy
from py_agent.clock import SystemClock
from py_agent.store.side_file import SideFile
from py_agent.testing import FakeClock

from .support import (
    PATIENCE,
    SCRIPTS,
    WANTED,
    Gate,
    MakeAgent,
    StoreFile,
    publish,
    run_script,
    until,
)


def lives(script: str, store: StoreFile, *arguments: str) -> list[str]:
    """Run a script until it lives to its end; return what each life printed."""
    told: list[str] = []
    while (done := run_script(script, store.path, *arguments, check=False)).returncode == 9:
        told.append("crashed")
        assert len(told) < 10
    assert done.returncode == 0, done.stderr
    return [*told, done.stdout.strip()]


@pytest.mark.parametrize("concurrency", ["1", "4"])
def test_one_call_that_ends_the_process_costs_three_restarts_and_itself(
    store: StoreFile, concurrency: str
) -> None:
    """Of 1,000 deliveries 999 complete, its innocent neighbours too; one is dead."""
    told = lives("crash.py", store, concurrency)

    assert told == ["crashed"] * 3 + ["drained"]
    assert store.states("l") == {"completed": 999, "discarded": 1}
    row = store.delivery("l", "500")
    assert (row["crashes"], row["reason"]) == (3, "it ended the agent 3 times in a row")
    assert store.rows(
        "SELECT count(*) FROM attempt_errors a JOIN events e ON e.id = a.event_id "
        "WHERE e.identifier = '500' AND a.kind = 'Crash'"
    ) == [(3,)]


def test_a_job_that_ends_the_process_is_paused_after_three_times(
    store: StoreFile,
) -> None:
    """The other job goes on, and the paused one says why."""
    told = lives("crash_job.py", store)

    assert told == ["crashed"] * 3 + ["lived"]
    assert store.rows("SELECT pause_reason FROM jobs WHERE paused AND name = 'bad'") == [
        ("it ended the agent 3 times in a row",)
    ]
    assert store.rows("SELECT 1 FROM jobs WHERE paused AND name = 'good'") == []
    assert store.outcomes("good")[-1] == "completed"


def test_a_job_is_not_blamed_for_the_listeners_of_what_it_publishes(
    store: StoreFile,
) -> None:
    """After two crashes the job runs while no listener does, and is cleared of it."""
    codes = [
        run_script("innocent_job.py", store.path, "crash", check=False).returncode
        for _ in range(8)
    ]

    assert 9 in codes
    assert store.rows("SELECT name FROM jobs WHERE paused") == []
    assert run_script("innocent_job.py", store.path, "live", check=False).returncode in (
        0,
        1,
    )
    assert store.outcomes("innocent")[-1] == "completed"


def begin(store: StoreFile, *arguments: str) -> subprocess.Popen[str]:
    """Start the script with the long call, and wait until it is inside."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPTS / "long_call.py"), str(store.path), *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process as an operator does with kill -9."""
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)


def test_killed_three_times_in_a_row_a_long_call_is_dead(
    store: StoreFile, make_agent: MakeAgent
) -> None:
    """Two kills leave it available; the third, without an end between, does not."""
    states = []
    for _ in range(3):
        kill(begin(store))
        agent = make_agent()
        agent.start()  # without the listener: it only charges and parks
        agent.stop()
        states.append(store.delivery("l")["state"])

    assert states == ["parked", "parked", "discarded"]
    assert store.delivery("l")["crashes"] == 3


def test_a_finished_attempt_resets_the_count_of_crashes(store: StoreFile) -> None:
    """Two kills, a failure that ended, and two more kills leave it alive."""
    for arguments in ([], [], ["end"], [], []):
        process = begin(store, *arguments)
        if arguments:
            process.communicate(timeout=PATIENCE)
            assert process.returncode == 0
        else:
            kill(process)

    process = begin(store, "end")
    process.communicate(timeout=PATIENCE)
    row = store.delivery("l")
    assert row["state"] == "retryable"
    assert row["crashes"] == 0


def test_the_same_crash_is_never_charged_twice(
    store: StoreFile, make_agent: MakeAgent, clock: FakeClock
) -> None:
    """A side file that was charged and is still there is not charged again."""
    kill(begin(store))
    left = Path(f"{store.path}.inside").read_bytes()
    for _ in range(3):
        agent = make_agent()
        agent.start()
        agent.stop()
        Path(f"{store.path}.inside").write_bytes(left)

    assert store.delivery("l")["crashes"] == 1


def crashed_twice(store: StoreFile, make_agent: MakeAgent, count: int) -> None:
    """Leave so many deliveries that ended the agent twice in a row."""
    agent = make_agent()
    agent.add_listener(lambda event: None, WANTED, name="l")
    publish(agent, count)
    agent.stop()
    store.change("UPDATE deliveries SET crashes = 2, attempts = 2")


def test_a_suspect_is_tried_before_and_apart_from_all_others(
    store: StoreFile, make_agent: MakeAgent
) -> None:
    """While a suspect is tried, nothing else is inside a function."""
    crashed_twice(store, make_agent, 2)
    inside: list[list[str]] = []
    order: list[str] = []

    def listener(event: object) -> None:
        order.append(event.identifier)  # type: ignore[attr-defined]
        content = Path(f"{store.path}.inside").read_bytes()
        inside.append(
            [each for each in ("d 1.1", "d 2.1", "j") if each.encode() in content]
        )

    agent = make_agent()
    agent.add_listener(listener, WANTED, name="l", concurrency=8)
    agent.add_job(lambda: order.append("job"), every=1, name="job")
    agent.handler.publish("t", "new")

    agent.start()

    assert order[:2] == ["1", "2"]
    assert inside[:2] == [["d 1.1"], ["d 2.1"]]
    assert agent.drain(PATIENCE)
    assert store.states("l") == {"completed": 3}
    assert store.rows("SELECT max(crashes) FROM deliveries") == [(0,)]


def test_a_suspect_that_hangs_does_not_hold_up_the_start_for_ever(
    store: StoreFile, make_agent: MakeAgent, gate: Gate
) -> None:
    """Past its timeout it is stuck; when it fails late it is tried again."""
    crashed_twice(store, make_agent, 1)
    agent = make_agent(clock=SystemClock())
    tries: list[str] = []

    def listener(event: object) -> None:
        tries.append("try")
        if len(tries) == 1:
            gate.hold()
            raise RuntimeError("late")

    agent.add_listener(listener, WANTED, name="l", timeout=0.2, retry=RetryPolicy(first=0))
    agent.start()
    agent.handler.publish("t", "new")
    until(lambda: store.states("l") == {"running": 1, "completed": 1}, agent)

    gate.open()

    until(lambda: store.states("l") == {"completed": 2}, agent)
    assert tries == ["try"] * 3


def test_a_damaged_side_file_charges_nobody(
    store: StoreFile, make_agent: MakeAgent
) -> None:
    """Garbage beside the store neither stops the start nor charges a delivery."""
    crashed_twice(store, make_agent, 1)
    Path(f"{store.path}.inside").write_bytes(os.urandom(3_000))
    agent = make_agent()
    agent.add_listener(lambda event: None, WANTED, name="l")

    assert agent.drain(PATIENCE)

    assert store.states("l") == {"completed": 1}


def test_a_side_file_outlives_only_a_crash(store: StoreFile) -> None:
    """Closing it removes it, and a thread that ends later writes nowhere."""
    side = SideFile(store.path)
    slot = side.enter_delivery(1, 1)

    side.close()
    side.leave(slot)

    assert not side.path.exists()
