"""Jobs run when they are due, one run of a job at a time, whatever the clock does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import schedule

from py_agent import Agent
from py_agent.engine import JOB_THREADS as THREADS
from py_agent.errors import AgentError, RegistrationError
from py_agent.run_queue import FRESH_SECONDS
from py_agent.testing import FakeClock

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

BERLIN = ZoneInfo("Europe/Berlin")


# The fluent API


def test_a_fluent_job_runs_after_each_interval(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """every(10).minutes runs first after ten minutes, then every ten."""
    agent.schedule.every(10).minutes.do(lambda: None, name="job")
    agent.start()

    assert pass_time(agent, clock, store, "job", 7, minutes=5) == [0, 1, 1, 2, 2, 3, 3]


def test_add_job_runs_at_the_start_and_after_each_interval(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """every= runs once when the agent starts."""
    agent.add_job(lambda: None, every="10 minutes", name="job")

    agent.start()

    await_runs(agent, store, 1)
    assert pass_time(agent, clock, store, "job", 4, minutes=5) == [1, 2, 2, 3]


def test_add_job_at_a_time_of_day_does_not_run_at_the_start(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """at= waits for its local time, and comes once a day."""
    agent.add_job(lambda: None, at="02:30", name="job")
    agent.start()

    assert pass_time(agent, clock, store, "job", 3, days=1) == [1, 2, 3]
    with pytest.raises(RegistrationError):
        agent.add_job(lambda: None, every=1, at="02:30", name="both")


def test_a_random_interval_stays_within_its_bounds(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """every(4).to(6).seconds is never due after three, always after six."""
    agent.schedule.every(4).to(6).seconds.do(lambda: None, name="job")
    agent.start()

    assert pass_time(agent, clock, store, "job", 2, seconds=3) == [0, 1]


def test_a_job_until_a_deadline_is_cancelled_after_it(
    make_agent: MakeAgent, store: StoreFile
) -> None:
    """until() ends a job; `schedule` takes that moment from the machine's clock."""
    clock = FakeClock(datetime.now(UTC))
    agent = make_agent(clock=clock)
    agent.schedule.every().hour.until(timedelta(hours=2, minutes=30)).do(
        lambda: None, name="job"
    )
    agent.start()

    assert pass_time(agent, clock, store, "job", 4, hours=1) == [1, 2, 2, 2]
    assert agent.schedule.get_jobs() != []
    assert "job" not in [each.name for each in agent.registry.jobs]


def test_a_job_that_returns_cancel_job_runs_once(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """CancelJob unregisters the job, and its name is free again."""
    agent.schedule.every().hour.do(lambda: schedule.CancelJob, name="job")
    agent.start()

    assert pass_time(agent, clock, store, "job", 3, hours=1) == [1, 1, 1]
    agent.schedule.every().hour.do(lambda: None, name="job")


def test_cancel_job_and_clear_by_tag_stop_what_they_name(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Cancelled and cleared jobs run no more; the others do."""
    one = agent.schedule.every().hour.do(lambda: None, name="one")
    agent.schedule.every().hour.do(lambda: None, name="two").tag("group")
    agent.schedule.every().hour.do(lambda: None, name="three")
    agent.start()
    agent.schedule.cancel_job(one)
    agent.schedule.clear("group")

    assert pass_time(agent, clock, store, "three", 2, hours=1) == [1, 2]
    assert (ran(store, "one"), ran(store, "two")) == (0, 0)


def test_repeat_decorates_a_job(agent: Agent, clock: FakeClock, store: StoreFile) -> None:
    """schedule's @repeat works on our schedule, and leaves the function callable."""

    @schedule.repeat(agent.schedule.every().hour, 7, name="job")  # type: ignore[no-untyped-call, untyped-decorator]
    def job(number: int) -> int:
        return number

    agent.start()

    assert pass_time(agent, clock, store, "job", 1, hours=1) == [1]
    assert job(3) == 3


@pytest.mark.parametrize(
    "plan",
    [
        lambda plan: plan.every(0).seconds,
        lambda plan: plan.every(-1).hours,
        lambda plan: plan.every().day.at("02:30", "Mars/Olympus"),
    ],
)
def test_a_schedule_that_means_nothing_is_refused(
    agent: Agent, plan: Callable[[schedule.Scheduler], schedule.Job]
) -> None:
    """The mistake is found when the job is planned."""
    with pytest.raises(AgentError):
        plan(agent.schedule).do(lambda: None, name="job")


def test_a_job_may_plan_and_cancel_jobs(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """The schedule can be changed from inside a run."""

    def parent() -> type[schedule.CancelJob]:
        agent.schedule.every().hour.do(lambda: None, name="child")
        return schedule.CancelJob

    agent.schedule.every().hour.do(parent, name="parent")
    agent.start()

    pass_time(agent, clock, store, "child", 4, hours=1)

    assert ran(store, "parent") == 1
    assert ran(store, "child") >= 3


# Failing, overlapping and hanging


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt()])
def test_a_job_that_raises_stops_nothing(
    agent: Agent, clock: FakeClock, store: StoreFile, error: BaseException
) -> None:
    """It fails each time, with its error in the run's row; the other job goes on."""

    def bad() -> None:
        raise error

    agent.schedule.every().hour.do(bad, name="bad")
    agent.schedule.every().hour.do(lambda: None, name="good")
    agent.start()

    assert pass_time(agent, clock, store, "good", 3, hours=1) == [1, 2, 3]
    until(lambda: store.outcomes("bad") == ["failed"] * 3, agent)
    ((text,),) = store.rows("SELECT DISTINCT error FROM runs WHERE job = 'bad'")
    assert text.startswith(type(error).__name__)


def test_a_job_never_overlaps_itself_and_its_skips_are_one_row(
    agent: Agent, clock: FakeClock, store: StoreFile, gate: Gate
) -> None:
    """Due five times while running: one run, and one row that counts five skips."""
    agent.schedule.every().hour.do(gate.hold, name="job")
    agent.start()
    clock.advance(hours=1)
    gate.await_entry()

    pass_time_beside(agent, clock, store, 5)
    until(lambda: store.rows("SELECT max(skips) FROM runs") == [(5,)], agent)
    gate.open()
    until(lambda: ran(store, "job") == 1, agent)
    clock.advance(hours=1)

    until(lambda: ran(store, "job") == 2, agent)
    assert gate.most == 1
    assert store.outcomes("job") == ["completed", "skipped", "completed"]


def pass_time_beside(agent: Agent, clock: FakeClock, store: StoreFile, hours: int) -> None:
    """Let hours pass while a job hangs; a second job shows that each was noticed."""
    agent.schedule.every().hour.do(lambda: None, name="beside")
    for number in range(1, hours + 1):
        clock.advance(hours=1)
        until(lambda n=number: ran(store, "beside") >= n, agent)  # type: ignore[misc]


def test_hung_jobs_do_not_stop_others(
    agent: Agent, clock: FakeClock, store: StoreFile, gate: Gate
) -> None:
    """Ten jobs that hang for ever delay another one by seconds, not for ever."""
    for number in range(10):
        agent.schedule.every().minute.do(gate.hold, name=f"hung {number}")
    agent.schedule.every().minute.do(lambda: None, name="good")
    agent.start()
    clock.advance(60)
    for number in range(10):
        gate.await_entry()
        if number % THREADS == THREADS - 1:
            clock.advance(FRESH_SECONDS)

    clock.advance(FRESH_SECONDS)

    until(lambda: ran(store, "good") >= 1, agent)
    assert gate.most == 10


def test_a_job_that_hangs_at_the_stop_has_failed(
    make_agent: MakeAgent, gate: Gate, store: StoreFile
) -> None:
    """Its run says so, and no crash is charged at the next start."""
    agent = make_agent(grace=0.05)
    agent.add_job(gate.hold, every="1 hour", name="job")
    agent.start()
    gate.await_entry()
    agent.stop()

    make_agent().drain(PATIENCE)

    assert store.rows("SELECT outcome, error FROM runs") == [
        ("failed", "NotEnded: did not end before stop")
    ]
    assert store.rows("SELECT sum(crashes) FROM jobs") in ([(None,)], [(0,)])


# Time that jumps


def test_three_days_of_suspend_become_one_run(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """Many missed runs become one, for an interval and for a time of day."""
    agent.schedule.every(10).minutes.do(lambda: None, name="interval")
    agent.schedule.every().day.at("02:30", "Europe/Berlin").do(lambda: None, name="daily")
    agent.start()

    clock.advance(days=3)

    await_runs(agent, store, 2)
    assert pass_time(agent, clock, store, "interval", 2, minutes=10) == [2, 3]
    assert ran(store, "daily") == 1


def test_a_daily_job_missed_while_the_agent_was_down_runs_once_at_the_next_start(
    make_agent: MakeAgent, clock: FakeClock, store: StoreFile
) -> None:
    """Three missed days become one run, and the next one comes at its usual time."""
    for life in range(2):
        agent = make_agent()
        agent.schedule.every().day.at("02:30", "Europe/Berlin").do(
            lambda: None, name="daily"
        )
        agent.start()
        if life == 0:
            assert pass_time(agent, clock, store, "daily", 1, days=1) == [1]
            agent.stop()
            clock.advance(days=3)

    assert pass_time(agent, clock, store, "daily", 1, hours=1) == [2]
    assert pass_time(agent, clock, store, "daily", 1, days=1) == [3]


@pytest.mark.parametrize(
    "jump", [timedelta(hours=-6), timedelta(days=365), timedelta(days=-400)], ids=str
)
def test_interval_jobs_keep_their_rhythm_when_the_wall_clock_is_set(
    agent: Agent, clock: FakeClock, store: StoreFile, jump: timedelta
) -> None:
    """No change of the wall clock makes an interval shorter or longer."""
    agent.schedule.every(10).minutes.do(lambda: None, name="job")
    agent.start()
    before = pass_time(agent, clock, store, "job", 3, minutes=5)

    clock.set_wall_clock(clock.now() + jump)

    assert before == [0, 1, 1]
    assert pass_time(agent, clock, store, "job", 4, minutes=5) == [2, 2, 3, 3]


def test_a_clock_set_back_does_not_run_a_daily_job_twice_that_day(
    make_agent: MakeAgent, store: StoreFile
) -> None:
    """Set back by six hours after its run, the job waits for the next day."""
    clock = FakeClock(datetime(2026, 1, 5, 11, 0, tzinfo=BERLIN).astimezone(UTC))
    agent = make_agent(clock=clock)
    agent.schedule.every().day.at("11:30", "Europe/Berlin").do(lambda: None, name="job")
    agent.start()
    first = pass_time(agent, clock, store, "job", 1, hours=1)

    clock.set_wall_clock(clock.now() - timedelta(hours=6))

    assert first == [1]
    assert pass_time(agent, clock, store, "job", 24, hours=1) == [1] * 24
    assert pass_time(agent, clock, store, "job", 6, hours=1)[-1] == 2


def test_a_clock_set_forward_a_year_runs_a_daily_job_once(
    agent: Agent, clock: FakeClock, store: StoreFile
) -> None:
    """The year that was jumped over is one missed run; the next is tomorrow's."""
    agent.schedule.every().day.at("02:30", "Europe/Berlin").do(lambda: None, name="job")
    agent.start()
    pass_time(agent, clock, store, "job", 1, hours=1)

    clock.set_wall_clock(clock.now() + timedelta(days=365))

    assert pass_time(agent, clock, store, "job", 2, hours=1) == [1, 1]
    assert pass_time(agent, clock, store, "job", 1, days=1) == [2]


@pytest.mark.parametrize("start", [(2026, 3, 27), (2026, 10, 23)], ids=["spring", "autumn"])
@pytest.mark.parametrize("at", ["02:00", "02:30", "03:00", "00:00"])
def test_a_daily_job_runs_once_per_local_day_around_daylight_saving(
    make_agent: MakeAgent, store: StoreFile, start: tuple[int, int, int], at: str
) -> None:
    """The hour that is skipped and the hour that comes twice change nothing."""
    clock = FakeClock(datetime(*start, 12, 0, tzinfo=BERLIN).astimezone(UTC))
    agent = make_agent(clock=clock)
    agent.schedule.every().day.at(at, "Europe/Berlin").do(lambda: None, name="job")
    agent.start()

    pass_time(agent, clock, store, "job", 192, minutes=30)

    days = [
        datetime.fromtimestamp(micros / 1_000_000, BERLIN).day
        for (micros,) in store.rows("SELECT started FROM runs WHERE job = 'job'")
    ]
    assert days == [start[2] + number for number in range(1, 5)]


def test_a_daily_job_found_late_after_midnight_does_not_cost_the_new_day(
    make_agent: MakeAgent, store: StoreFile
) -> None:
    """Due at 23:59 and run at 00:10, the next run is due at 23:59 of that day."""
    clock = FakeClock(datetime(2026, 1, 5, 23, 50, tzinfo=BERLIN).astimezone(UTC))
    agent = make_agent(clock=clock)
    agent.schedule.every().day.at("23:59", "Europe/Berlin").do(lambda: None, name="job")
    agent.start()

    assert pass_time(agent, clock, store, "job", 1, minutes=20) == [1]
    assert pass_time(agent, clock, store, "job", 1, days=1) == [2]


def test_runs_are_rows(agent: Agent, clock: FakeClock, store: StoreFile) -> None:
    """A run's row says when it began and ended, and what it published."""

    def job(handler: object) -> None:
        clock.advance(2)
        for identifier in ("1", "1", "2"):
            handler.publish("t", identifier)  # type: ignore[attr-defined]

    agent.add_job(job, every="1 hour", name="job")
    agent.start()

    await_runs(agent, store, 1)
    assert store.rows(
        "SELECT job, outcome, finished - started, published, duplicates FROM runs"
    ) == [("job", "completed", 2_000_000, 2, 1)]


def test_run_once_runs_every_job_and_says_whether_all_went_well(
    make_agent: MakeAgent, store: StoreFile
) -> None:
    """One failing job makes it false; every job has run once."""
    agent = make_agent()
    calls = Calls()
    agent.add_job(lambda: calls.note("a"), every="1 hour", name="a")
    agent.schedule.every().day.at("02:30").do(lambda: calls.note("b"), name="b")
    well = agent.run_once()
    agent.add_job(lambda: 1 / 0, every="1 hour", name="c")

    assert well is True
    assert agent.run_once() is False
    assert sorted(calls.seen) == ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (lambda every: every(1).day.at("25:00"), "at('25:00')"),
        (lambda every: every(1).day.at("02:30", "Mars/Olympus"), "no time zone"),
        (lambda every: every(1).day.until("yesterday"), "until('yesterday')"),
        (lambda every: every(0).seconds.do(print), "every(0)"),
        (lambda every: every(5).to(2).seconds.do(print), "every(5)"),
        (lambda every: every(5).seconds.do(lambda: None), "give it name="),
        (lambda every: every(5).seconds.do(print, 1, nme=2, name="x"), "x: "),
    ],
)
def test_a_plan_that_cannot_be(agent: Agent, plan: Callable[[Any], Any], said: str) -> None:
    """A mistake in the fluent API is one of our errors, and plans nothing."""
    with pytest.raises(RegistrationError) as caught:
        plan(agent.schedule.every)
    assert said in str(caught.value)
    assert agent.schedule.jobs == []
    assert agent.registry.jobs == []
