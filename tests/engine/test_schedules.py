"""Schedules over bad days: missed runs, failing jobs, restarts, and many due at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from py_agent import Agent, Retry
from py_agent.errors import HttpError, NotFoundError, RegistrationError
from py_agent.testing import AgentUnderTest, FakeClock

from .support import (
    PATIENCE,
    Calls,
    Gate,
    MakeAgent,
    StoreFile,
    await_runs,
    pass_time,
    ran,
    until,
)

MORNING = datetime(2026, 1, 5, 9, tzinfo=UTC)


@pytest.fixture
def clock() -> FakeClock:
    """Nine in the morning, UTC."""
    return FakeClock(MORNING)


def fail() -> None:
    """Do what a broken job does."""
    raise ValueError("broken")


# Missed runs


@pytest.mark.parametrize(
    ("options", "runs", "outcomes"),
    [
        ({}, [2, 3, 3], ["completed"] * 3),
        ({"grace": "1 hour"}, [1, 2, 2], ["completed", "skipped", "completed"]),
        ({"grace": "3 hours"}, [2, 3, 3], ["completed"] * 3),
        ({"misfire": "skip"}, [1, 2, 2], ["completed", "skipped", "completed"]),
        ({"misfire": "skip", "grace": "3 hours"}, [2, 3, 3], ["completed"] * 3),
    ],
    ids=str,
)
@pytest.mark.parametrize("plan", [{"at": "10:00", "tz": "UTC"}, {"cron": "0 10 * * *"}])
def test_a_run_that_was_missed_while_down(
    make_agent: MakeAgent, clock: FakeClock, store: StoreFile,
    plan: dict[str, Any], options: dict[str, Any], runs: list[int], outcomes: list[str],
) -> None:  # fmt: skip
    """Given three days down until noon, When it starts, Then one run or one skip."""
    for life in range(2):
        agent = make_agent()
        agent.add_job(lambda: None, name="job", **plan | {"tz": "UTC"}, **options)
        agent.start()
        if life == 0:
            assert pass_time(agent, clock, store, "job", 1, hours=1) == [1]
            agent.stop()
            clock.advance(days=3, hours=2)

    assert pass_time(agent, clock, store, "job", 3, hours=11) == runs
    assert store.outcomes("job") == outcomes


def test_a_run_that_was_slept_over_is_skipped_if_asked(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Given misfire="skip", When a night was slept over, Then the skip is a row."""
    agent.add_job(lambda: None, at="10:00", tz="UTC", misfire="skip", name="skips")
    agent.add_job(lambda: None, at="10:00", tz="UTC", name="makes up")
    agent.start()

    clock.advance(hours=8)

    until(lambda: ran(store, "makes up") == 1, agent)
    until(lambda: store.outcomes("skips") == ["skipped"], agent)
    assert pass_time(agent, clock, store, "skips", 2, hours=8) == [0, 0]
    assert pass_time(agent, clock, store, "skips", 1, hours=1) == [1]


def test_skips_in_a_row_are_one_row_and_a_run_begins_a_new_one(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Given skips, a run, and skips again, Then there are two rows with their counts."""
    gates = [Gate(), Gate()]
    following = iter(gates)
    agent.add_job(lambda: next(following).hold(), every="1 hour", name="job")
    agent.start()
    for number, gate in enumerate(gates):
        if number:
            clock.advance(hours=1)
            # Or that hour's run beside it would be taken for the next hour's.
            until(lambda: ran(store, "beside") == 4, agent)
        gate.await_entry()
        pass_beside(agent, clock, store, 3)
        wanted = [(3,)] * (number + 1)
        until(lambda rows=wanted: skips_of(store) == rows, agent)  # type: ignore[misc]
        gate.open()
        until(lambda n=number: ran(store, "job") == n + 1, agent)  # type: ignore[misc]
    agent.stop()

    assert store.outcomes("job") == ["completed", "skipped"] * 2


def skips_of(store: StoreFile) -> list[tuple[int, ...]]:
    """Return the counts of the job's skip rows, oldest first."""
    return store.rows(
        "SELECT skips FROM runs WHERE job = 'job' AND outcome = 'skipped' ORDER BY id"
    )


def pass_beside(agent: Agent, clock: FakeClock, store: StoreFile, hours: int) -> None:
    """Let hours pass while a job hangs; a second job shows that each was noticed."""
    if "beside" not in {each.name for each in agent.registry.jobs}:
        agent.add_job(lambda: None, every="1 hour", at_start=False, name="beside")
    before = ran(store, "beside")
    for number in range(1, hours + 1):
        clock.advance(hours=1)
        until(lambda n=before + number: ran(store, "beside") >= n, agent)  # type: ignore[misc]


# Starts and restarts


@pytest.mark.parametrize(
    ("plan", "runs"),
    [
        ({"every": "1 hour"}, 1), ({"every": "1 hour", "at_start": False}, 0),
        ({"at": "10:00"}, 0), ({"at": "10:00", "at_start": True}, 1),
        ({"cron": "0 10 * * *"}, 0), ({"cron": "0 10 * * *", "at_start": True}, 1),
    ],
    ids=str,
)  # fmt: skip
def test_what_runs_at_the_start(
    agent: Agent, clock: FakeClock, store: StoreFile, plan: dict[str, Any], runs: int
) -> None:
    """Given a new store, When the agent starts, Then `every` runs unless told."""
    agent.add_job(lambda: None, name="job", **plan)
    agent.start()
    assert pass_time(agent, clock, store, "job", 1, seconds=1) == [runs]


def test_an_interval_keeps_its_rhythm_over_restarts(
    make_agent: MakeAgent, clock: FakeClock, store: StoreFile
) -> None:
    """Given a restart every 20 minutes, When at_start is off, Then it runs each hour."""
    for life in range(7):
        agent = make_agent()
        agent.add_job(lambda: None, every="1 hour", at_start=False, name="job")
        agent.start()
        pass_time(agent, clock, store, "job", 6 if life == 0 else 2, minutes=10)
        agent.stop()

    started = store.rows("SELECT started FROM runs WHERE job = 'job' ORDER BY id")
    hour = 3_600_000_000
    assert [each - started[0][0] for (each,) in started] == [0, hour, 2 * hour]


def test_a_machine_without_a_clock_runs_a_daily_job_once_that_day(
    make_agent: MakeAgent, clock: FakeClock, store: StoreFile
) -> None:
    """Given a run today, When it restarts in 1970 and is set right, Then no second run."""
    for life in range(2):
        agent = make_agent()
        agent.add_job(lambda: None, at="10:00", tz="UTC", name="job")
        agent.start()
        if life == 0:
            assert pass_time(agent, clock, store, "job", 1, hours=1) == [1]
            agent.stop()
            clock.set_wall_clock(datetime(1970, 1, 1, 9, 30, tzinfo=UTC))
    assert pass_time(agent, clock, store, "job", 2, hours=1) == [2, 2]

    clock.set_wall_clock(MORNING + timedelta(hours=4))

    assert pass_time(agent, clock, store, "job", 2, hours=1) == [2, 2]
    assert pass_time(agent, clock, store, "job", 1, days=1) == [3]


def test_a_crontab_line_runs_as_it_says(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Given both ways to write a line, When an hour passes, Then both run alike."""
    agent.add_job(lambda: None, cron="*/20 * * * *", tz="Asia/Kolkata", name="job")
    agent.schedule.cron("*/20 * * * *", tz="Asia/Kolkata").do(lambda: None, name="fluent")
    agent.start()

    found = pass_time(agent, clock, store, "job", 6, minutes=10)

    assert found == [1, 1, 2, 2, 3, 3]
    until(lambda: ran(store, "fluent") == 3, agent)


@pytest.mark.parametrize(("line", "tz"), [("* * *", None), ("* * * * *", "Mars/Olympus")])
def test_a_wrong_crontab_line_is_found_when_it_is_planned(
    agent: Agent, line: str, tz: str | None
) -> None:
    """Given a mistake, When the line is planned, Then nothing is registered."""
    with pytest.raises(RegistrationError):
        agent.schedule.cron(line, tz=tz).do(lambda: None, name="job")
    assert agent.registry.jobs == []


# Failing


def test_a_job_that_fails_backs_off_alone(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Given a job each ten seconds that fails, When time passes, Then only it waits."""
    agent.add_job(fail, every=10, name="bad")
    agent.add_job(lambda: None, every=10, at_start=False, name="good")
    agent.start()

    found = []
    for number in range(1, 181):
        found += pass_time(agent, clock, store, "bad", 1, seconds=10)
        until(lambda n=number: ran(store, "good") == n, agent)  # type: ignore[misc]

    assert 5 <= found[-1] <= 90


def test_a_failing_job_is_never_given_up(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Given a job that fails every hour, When a day passes, Then it was tried each hour."""
    agent.add_job(fail, every="1 hour", at_start=False, name="bad")
    agent.start()
    assert pass_time(agent, clock, store, "bad", 24, hours=1) == list(range(1, 25))


def test_a_success_ends_the_back_off(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Given a job that failed for long, When it succeeds, Then its rhythm is back."""
    broken = threading.Event()
    broken.set()
    agent.add_job(lambda: fail() if broken.is_set() else None, every=10, name="job")
    agent.start()
    pass_time(agent, clock, store, "job", 60, seconds=10)
    broken.clear()
    pass_time(agent, clock, store, "job", 1, minutes=6)

    found = pass_time(agent, clock, store, "job", 5, seconds=10)

    assert found == list(range(found[0], found[0] + 5))


def test_a_job_may_ask_when_it_is_tried_again(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Given Retry(after=60) from an hourly job, When a minute passes, Then it runs."""
    answers = iter([Retry(after=60, reason="not ready"), None, None])

    def job() -> None:
        if (error := next(answers)) is not None:
            raise error

    agent.add_job(job, every="1 hour", name="job")
    agent.start()

    await_runs(agent, store, 1)
    found = pass_time(agent, clock, store, "job", 3, seconds=30)
    assert found == [1, 2, 2]
    assert store.outcomes("job") == ["failed", "completed"]
    assert pass_time(agent, clock, store, "job", 1, hours=1) == [3]


def test_a_daily_job_may_ask_to_be_tried_again_today(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Given Retry(after=600) from a daily job, When it is over, Then again tomorrow."""
    answers = iter([Retry(after=600), None, None])

    def job() -> None:
        if (error := next(answers)) is not None:
            raise error

    agent.add_job(job, at="10:00", tz="UTC", name="job")
    agent.start()

    assert pass_time(agent, clock, store, "job", 4, minutes=30) == [0, 1, 2, 2]
    assert pass_time(agent, clock, store, "job", 1, days=1) == [3]


# Being asked for


def test_a_job_may_be_asked_for(agent: Agent, clock: FakeClock, store: StoreFile) -> None:
    """Given a daily job, When another asks for it, Then it runs at once and as planned."""
    agent.add_job(lambda: None, at="10:00", tz="UTC", name="poll")
    agent.add_job(lambda handler: handler.run_soon("poll"), every="1 day", name="asks")
    agent.start()

    until(lambda: ran(store, "poll") == 1, agent)
    assert pass_time(agent, clock, store, "poll", 2, hours=1) == [2, 2]


def test_a_running_job_that_is_asked_for_runs_once_more(
    agent: Agent, clock: FakeClock, store: StoreFile, gate: Gate
) -> None:
    """Given a run in progress, When it is asked for three times, Then one run follows."""
    agent.add_job(gate.hold, every="1 day", name="job")
    agent.start()
    gate.await_entry()
    for _ in range(3):
        agent.handler.run_soon("job")
    gate.open()

    await_runs(agent, store, 2)
    assert pass_time(agent, clock, store, "job", 2, hours=1) == [2, 2]
    assert gate.most == 1


def test_asking_for_an_unknown_job_is_an_error(agent: Agent) -> None:
    """Given no such job, When it is asked for, Then one line names it."""
    agent.add_job(lambda: None, every="1 day", name="job")
    agent.start()
    with pytest.raises(NotFoundError, match="'nobody'"):
        agent.handler.run_soon("nobody")


# Many at once


def test_ten_thousand_jobs_at_once_take_turns(
    make_agent: MakeAgent, clock: FakeClock, store: StoreFile
) -> None:
    """Given 10,000 due jobs on two threads, Then each runs before any runs again."""
    agent = make_agent(job_threads=2)
    calls = Calls()
    most = Most()
    for number in range(10_000):
        agent.add_job(
            note(calls, most, str(number)), every="1 hour", at_start=False, name=str(number)
        )
    agent.start()

    clock.advance(hours=1)
    calls.await_count(5_000)
    agent.add_job(note(calls, most, "short"), every="1 day", name="short")
    clock.advance(hours=1)  # all are due again while half of them still wait
    seen = calls.await_count(12_000)

    assert sorted(seen[:10_001]) == sorted([*map(str, range(10_000)), "short"])
    assert most.most <= 2


class Most:
    """Counts how many are inside at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1


def note(calls: Calls, most: Most, name: str) -> Callable[[], None]:
    """Return a job that notes its name."""

    def job() -> None:
        with most:
            calls.note(name)

    return job


def test_a_short_job_does_not_wait_for_long_ones(
    make_agent: MakeAgent, clock: FakeClock, store: StoreFile, gate: Gate
) -> None:
    """Given two threads full of long runs, When they are old, Then others go on."""
    agent = make_agent(job_threads=2)
    done = threading.Event()
    for number in range(2):
        agent.add_job(gate.hold, every="1 day", name=f"long {number}")
    agent.start()
    gate.await_entry()
    gate.await_entry()
    agent.add_job(done.set, every="1 day", name="short")

    clock.advance(seconds=10)

    assert done.wait(PATIENCE)
    assert gate.most == 2


def test_restarts_do_not_put_off_a_job_that_never_ran(
    clock: FakeClock, store: StoreFile
) -> None:
    """Given a job each two hours and a restart each hour, Then it runs each two hours."""
    for _ in range(7):
        agent = AgentUnderTest(store.path, clock=clock)
        agent.schedule.every(2).hours.do(lambda: None, name="job")
        agent.advance(minutes=1)
        agent.stop()
        clock.advance(minutes=59)

    assert ran(store, "job") == 3


def test_a_retry_after_holds_between_runs(clock: FakeClock, store: StoreFile) -> None:
    """Given a server that asks to wait an hour, When polled each minute, Then it waits."""
    agent = AgentUnderTest(store.path, clock=clock)

    def poll() -> None:
        raise HttpError("too many requests", status=429, retry_after=3600)

    agent.add_job(poll, every="1 minute", name="poll")
    agent.advance(minutes=59)
    before = ran(store, "poll")
    agent.advance(minutes=2)
    agent.stop()

    assert (before, ran(store, "poll")) == (1, 2)


def test_a_service_that_ended_the_agent_is_put_off_and_not_paused(
    clock: FakeClock, store: StoreFile
) -> None:
    """Given a service inside at four crashes, When started, Then it runs a while later."""

    def serving() -> AgentUnderTest:
        agent = AgentUnderTest(store.path, clock=clock)
        agent.add_job(lambda handler: handler.wait(10**6), keep=True, name="serve")
        agent.advance(0)
        return agent

    serving().stop()
    assert store.outcomes("serve") == ["completed"]
    store.change("UPDATE jobs SET crashes = 4 WHERE name = 'serve'")
    agent = serving()
    at_once = len(store.outcomes("serve"))
    agent.advance(minutes=1)
    later = len(store.outcomes("serve"))
    agent.advance(minutes=2)
    agent.stop()

    assert (at_once, later) == (1, 2)
    assert store.rows("SELECT crashes FROM jobs WHERE name = 'serve'") == [(0,)]
