"""What happens while a test lets time pass: everything at its time, and no more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from py_agent import Event, Handler, Pause, Retry, RetryPolicy, listen_for
from py_agent.errors import UsageError
from py_agent.testing import AgentUnderTest, FakeClock

MakeAgent = Callable[..., AgentUnderTest]

BERLIN = ZoneInfo("Europe/Berlin")


class Diary:
    """Notes the moments at which something happened."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._began = clock.now()
        self.moments: list[datetime] = []

    def note(self) -> None:
        """Note that it happens now."""
        self.moments.append(self._clock.now())

    @property
    def seconds(self) -> list[float]:
        """How many seconds after the beginning each was."""
        return [(each - self._began).total_seconds() for each in self.moments]


@pytest.fixture
def diary(agent: AgentUnderTest) -> Diary:
    """A diary on the agent's clock."""
    return Diary(agent.clock)


def failing(diary: Diary, attempts: int) -> Callable[..., None]:
    """Return a listener to everything that fails."""

    @listen_for({}, retry=RetryPolicy(attempts=attempts))
    def fails() -> None:
        diary.note()
        raise ValueError

    return fails


# Retries


def test_retries_come_at_their_time(agent: AgentUnderTest, diary: Diary) -> None:
    """Given a listener that fails, When an hour passes,
    Then its tries double their waits.
    """
    agent.add_listener(failing(diary, attempts=5))
    agent.handler.publish("t", "1")
    agent.advance(hours=1)
    assert diary.seconds == [0, 1, 3, 7, 15]


def test_a_day_of_failures_ends_with_a_dead_letter(
    agent: AgentUnderTest, diary: Diary
) -> None:
    """Given twenty tries in a day, When they all failed, Then waits grew up to an hour."""
    fails = failing(diary, attempts=20)
    agent.add_listener(fails)
    agent.handler.publish("t", "1")
    agent.advance(days=1)
    assert len(diary.moments) == 20
    assert diary.seconds[-1] - diary.seconds[-2] == 3600
    assert [each.attempts for each in agent.deliveries(fails, "discarded")] == [20]


def test_what_is_due_at_the_very_end_has_happened(
    agent: AgentUnderTest, diary: Diary
) -> None:
    """Given a retry after a second, When a second passes, Then it was tried twice."""
    agent.add_listener(failing(diary, attempts=9))
    agent.handler.publish("t", "1")
    agent.advance(0.999999)
    assert diary.seconds == [0]
    agent.advance(0.000001)
    assert diary.seconds == [0, 1]


def test_a_pause_ends_by_itself(agent: AgentUnderTest, diary: Diary) -> None:
    """Given a listener that asks for ten minutes, When they pass,
    Then it is called again.
    """

    def pauses() -> None:
        diary.note()
        if len(diary.moments) == 1:
            raise Pause("the shop is closed", after=600)

    agent.add_listener(pauses, {})
    agent.handler.publish("t", "1")
    agent.advance(hours=1)
    assert diary.seconds == [0, 600]
    assert [each.state for each in agent.deliveries(pauses)] == ["completed"]


def test_events_in_order_stay_in_order_over_retries(agent: AgentUnderTest) -> None:
    """Given a first event that fails twice, When time passes,
    Then the second comes after.
    """
    seen: list[str] = []

    @listen_for({}, ordered_by="data.key", retry=RetryPolicy(attempts=9))
    def book(event: Event) -> None:
        seen.append(event.identifier)
        if seen.count("1") < 3:
            raise ValueError

    agent.add_listener(book)
    agent.handler.publish("t", "1", {"key": "a"})
    agent.handler.publish("t", "2", {"key": "a"})
    agent.advance(minutes=1)
    assert seen == ["1", "1", "1", "2"]


# Jobs


def test_an_interval_job_keeps_its_rhythm(agent: AgentUnderTest, diary: Diary) -> None:
    """Given a job every ten minutes, When an hour passes, Then it ran seven times."""
    agent.add_job(diary.note, every="10 minutes", name="note")
    agent.advance(hours=1)
    assert diary.seconds == [0, 600, 1200, 1800, 2400, 3000, 3600]


def test_time_passes_in_pieces_as_at_once(agent: AgentUnderTest, diary: Diary) -> None:
    """Given an hour in pieces of seven seconds, When over,
    Then nothing came twice or late.
    """
    agent.add_job(diary.note, every="10 minutes", name="note")
    for _ in range(514):
        agent.advance(7)
    assert diary.seconds == [0, 600, 1200, 1800, 2400, 3000]


@pytest.mark.parametrize("month", [date(2026, 3, 15), date(2026, 10, 11)])
def test_a_daily_job_runs_once_per_local_day(make_agent: MakeAgent, month: date) -> None:
    """Given 02:30 in Berlin, When a clock change passes, Then each day has one run."""
    noon = datetime(month.year, month.month, month.day, 12, tzinfo=UTC)
    agent = make_agent(clock=FakeClock(noon))
    diary = Diary(agent.clock)
    agent.add_job(diary.note, at="02:30", tz="Europe/Berlin", name="note")
    agent.advance(days=31)
    local = [each.astimezone(BERLIN) for each in diary.moments]
    days = [month + timedelta(number) for number in range(1, 32)]
    assert [each.date() for each in local] == days
    ordinary = [each for each in local if each.date() != date(2026, 3, 29)]
    assert {(each.hour, each.minute, each.microsecond) for each in ordinary} == {(2, 30, 0)}


def test_a_cron_line_runs_to_the_second(agent: AgentUnderTest, diary: Diary) -> None:
    """Given a line for each quarter of an hour, When a day passes,
    Then 96 runs are exact.
    """
    agent.add_job(diary.note, cron="*/15 * * * *", tz="UTC", name="note")
    agent.advance(days=1)
    assert diary.seconds == [900.0 * number for number in range(1, 97)]


def test_a_job_that_fails_backs_off(agent: AgentUnderTest, diary: Diary) -> None:
    """Given a job every second that fails, When a minute passes, Then it ran less often."""

    def fails() -> None:
        diary.note()
        raise ValueError

    agent.add_job(fails, every="1 second")
    agent.advance(minutes=1)
    assert diary.seconds == [0, 2, 6, 14, 30]


def test_a_job_may_say_when_it_is_to_run_again(agent: AgentUnderTest, diary: Diary) -> None:
    """Given Retry(after=...), When time passes, Then the job runs at that time."""

    def limited() -> None:
        diary.note()
        if len(diary.moments) == 1:
            raise Retry(after=42)

    agent.add_job(limited, every="1 hour")
    agent.advance(minutes=5)
    assert diary.seconds == [0, 42]


def test_a_silent_job_is_told_at_its_time(agent: AgentUnderTest) -> None:
    """Given a job that stops succeeding, When an hour passes, Then one event says so."""
    broken = False

    def fragile() -> None:
        if broken:
            raise ValueError

    seen = agent.record({"event_type": ("in", ["job.silent", "job.recovered"])})
    agent.add_job(fragile, every="10 minutes", expect_every="1 hour", name="fragile")
    agent.advance(hours=1)
    broken = True
    agent.advance(hours=3)
    assert [event.event_type for event in seen] == ["job.silent"]
    broken = False
    agent.advance(hours=1)
    assert [event.event_type for event in seen] == ["job.silent", "job.recovered"]


def test_a_job_that_is_asked_for_runs_at_once(agent: AgentUnderTest, diary: Diary) -> None:
    """Given a listener that asks for a job, When an event comes, Then the job has run."""
    agent.add_job(diary.note, every="1 day", at_start=False, name="note")

    def ask(handler: Handler) -> None:
        handler.run_soon("note")

    agent.add_listener(ask, {})
    agent.advance(0)
    agent.handler.publish("t", "1")
    agent.advance(0)
    assert diary.seconds == [0]


def test_many_jobs_at_once_all_run_at_their_time(make_agent: MakeAgent) -> None:
    """Given a hundred jobs on two threads, When they are due,
    Then the clock waits for all.
    """
    agent = make_agent(job_threads=2)
    diary = Diary(agent.clock)
    for number in range(100):
        agent.add_job(diary.note, every="1 minute", at_start=False, name=f"note-{number}")
    agent.advance(minutes=2)
    assert diary.seconds == [60.0] * 100 + [120.0] * 100


def test_a_job_that_waits_for_room_goes_on(make_agent: MakeAgent) -> None:
    """Given max_owed, When a job publishes more,
    Then it ends once listeners have worked.
    """
    agent = make_agent(max_owed=5)
    seen = agent.record({})

    def flood(handler: Handler) -> None:
        for number in range(50):
            handler.publish("t", str(number))

    agent.run_job(flood)
    agent.drain()
    assert len(seen) == 50


# Services, and what does not end


def test_a_service_lives_through_the_time(agent: AgentUnderTest, diary: Diary) -> None:
    """Given a service that wakes each minute, When an hour passes,
    Then it woke sixty times.
    """

    def service(handler: Handler) -> None:
        while handler.wait(60):
            diary.note()

    agent.add_job(service, keep=True)
    agent.advance(hours=1)
    assert diary.seconds == [60.0 * number for number in range(1, 61)]


def test_a_service_that_raises_comes_back(agent: AgentUnderTest, diary: Diary) -> None:
    """Given a service that fails twice, When time passes, Then it was restarted twice."""

    def service(handler: Handler) -> None:
        diary.note()
        if len(diary.moments) < 3:
            raise ValueError
        handler.wait(1e6)

    agent.add_job(service, keep=True)
    agent.advance(hours=1)
    assert diary.seconds == [0, 2, 6]


def test_draining_does_not_wait_for_a_service(agent: AgentUnderTest) -> None:
    """Given a service that waits for an hour, When drained, Then the clock stands still."""

    def service(handler: Handler) -> None:
        handler.publish("t", "1")
        handler.wait(3600)

    seen = agent.record({})
    agent.add_job(service, keep=True)
    agent.start()
    now = agent.clock.now()
    agent.drain()
    assert (len(seen), agent.clock.now()) == (1, now)


def test_a_call_past_its_timeout_is_stuck(agent: AgentUnderTest) -> None:
    """Given a listener that waits for ever, When its timeout passes, Then others go on."""
    seen: list[str] = []

    @listen_for({}, timeout=30)
    def sticks(handler: Handler, event: Event) -> None:
        seen.append(event.identifier)
        if event.identifier == "1":
            handler.wait(1e6)

    agent.add_listener(sticks)
    agent.handler.publish("t", "1")
    agent.handler.publish("t", "2")
    agent.advance(29)
    assert seen == ["1"]
    agent.advance(1)
    assert seen == ["1", "2"]


# The wall clock


def test_an_interval_job_ignores_a_clock_that_is_set(
    agent: AgentUnderTest, diary: Diary
) -> None:
    """Given a clock set back by a year, When an hour passes, Then the job ran as before."""
    agent.add_job(diary.note, every="10 minutes", name="note")
    agent.advance(0)
    agent.clock.set_wall_clock(agent.clock.now() - timedelta(365))
    agent.advance(hours=1)
    assert len(diary.moments) == 7


def test_time_does_not_go_back(agent: AgentUnderTest) -> None:
    """Given a negative length, When time shall pass, Then it is refused."""
    with pytest.raises(UsageError, match="negative"):
        agent.advance(hours=-1)


def test_nothing_happens_to_an_agent_without_work(agent: AgentUnderTest) -> None:
    """Given an empty agent, When a year passes, Then only the clock has moved."""
    now = agent.clock.now()
    agent.advance(days=365)
    assert agent.clock.now() - now == timedelta(365)
