"""Lanes: which deliveries of one listener may start, and that none is lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from py_agent import lanes
from py_agent.events import Event
from py_agent.filters import compile_filter
from py_agent.lanes import MAX_HELD_DATA, MAX_REPLACED, Call, Lane
from py_agent.registry import Listener
from py_agent.store.attempts import Attempt
from py_agent.store.deliveries import Backlog, Owed
from py_agent.store.subscriptions import NEVER
from py_agent.store.tables import State

NOW = 1_000_000
EMPTY = Backlog([], more=False, next_due=None, blocked=False, newest=0)


def make_lane(concurrency: int = 1, ordered: bool = False) -> Lane:
    """Return the lane of a listener for every event."""
    listener = Listener(
        "test.listener",
        print,
        compile_filter({}),
        concurrency=concurrency,
        ordered_by=("data.key",) if ordered else (),
    )
    return Lane(listener, 1)


def caught_up(concurrency: int = 1, ordered: bool = False) -> Lane:
    """Return a lane that has loaded an empty store."""
    lane = make_lane(concurrency, ordered)
    lane.begin_load()
    lane.fill(EMPTY)
    return lane


def owed(event_id: int, key: str | None = None, retried: bool = False) -> Owed:
    """Return a delivery."""
    return Owed(event_id, 1, order_key=key, retried=retried)


def take(lane: Lane, now: int = NOW) -> Call:
    """Return the lane's next call, which there must be."""
    call = lane.take(now)
    assert call is not None
    return call


COMPLETED = Attempt(State.COMPLETED, 1, NOW)
FAILED = Attempt(State.RETRYABLE, 1, NOW, due=NOW + 5)
HELD_BACK = Attempt(State.AVAILABLE, 0, NOW)


def test_a_new_lane_is_behind_and_hungry() -> None:
    """A lane knows nothing at first, so it asks for what the store holds."""
    lane = make_lane()
    assert lane.hungry(NOW)
    assert not lane.idle(NOW)


def test_a_lane_is_idle_once_it_has_loaded_an_empty_store() -> None:
    """Nothing owed means nothing to do."""
    assert caught_up().idle(NOW)


def test_what_is_offered_to_a_lane_that_is_caught_up_can_be_taken() -> None:
    """A just-committed delivery needs no look at the store."""
    lane = caught_up()
    lane.offer(owed(1))
    assert take(lane).owed.event_id == 1
    assert not lane.behind


def test_what_is_offered_to_a_lane_that_is_behind_stays_in_the_store() -> None:
    """An older delivery in the store goes first, so the new one must wait for it."""
    lane = make_lane()
    lane.offer(owed(1))
    assert lane.take(NOW) is None
    assert lane.hungry(NOW)


def test_an_offer_while_a_window_is_loaded_asks_for_another_window() -> None:
    """The window may have been read before that delivery was committed."""
    lane = make_lane()
    lane.begin_load()
    lane.offer(owed(1))
    lane.fill(EMPTY)
    assert lane.hungry(NOW)


@pytest.mark.parametrize("known", [1, 2], ids=["offered", "loaded"])
def test_a_delivery_that_is_known_is_not_taken_twice(known: int) -> None:
    """A delivery comes as an offer and in a window, and still runs once."""
    lane = make_lane(concurrency=5)
    lane.begin_load()
    lane.fill(Backlog([owed(2)], False, None, False, newest=2))
    lane.offer(owed(known))
    assert take(lane).owed.event_id == 2
    assert lane.take(NOW) is None


def test_no_more_calls_start_than_the_listener_allows() -> None:
    """Concurrency is a limit on calls at the same time."""
    lane = caught_up(concurrency=2)
    for event_id in (1, 2, 3):
        lane.offer(owed(event_id))
    first, _ = take(lane), take(lane)
    assert lane.take(NOW) is None
    lane.end(first, COMPLETED)
    assert take(lane).owed.event_id == 3


def test_equal_keys_run_one_after_the_other_and_others_beside_them() -> None:
    """Order is kept within a key only."""
    lane = caught_up(concurrency=3, ordered=True)
    for event_id, key in enumerate(["a", "a", "b"], start=1):
        lane.offer(owed(event_id, key))
    first, other = take(lane), take(lane)
    assert (first.owed.event_id, other.owed.event_id) == (1, 3)
    assert lane.take(NOW) is None
    lane.end(first, COMPLETED)
    assert take(lane).owed.event_id == 2


def test_the_followers_of_a_failed_delivery_are_left_to_the_store() -> None:
    """A key does not overtake its own failure."""
    lane = caught_up(ordered=True)
    lane.offer(owed(1, "a"))
    lane.offer(owed(2, "a"))
    lane.end(take(lane), FAILED)
    assert lane.take(NOW) is None
    assert lane.behind


def test_an_offer_between_a_failure_and_its_record_does_not_overtake_it() -> None:
    """The store does not know yet that the key is blocked, but the lane does."""
    lane = caught_up(ordered=True)
    lane.offer(owed(1, "a"))
    call = take(lane)
    lane.begin_load()
    lane.end(call, FAILED)
    lane.fill(EMPTY)
    lane.begin_load()
    lane.fill(EMPTY)
    lane.offer(owed(2, "a"))
    assert lane.take(NOW) is None


def test_an_earlier_record_of_the_key_does_not_unblock_a_failure() -> None:
    """Results of one key are recorded one by one; only the failure's own counts."""
    lane = caught_up(ordered=True)
    lane.offer(owed(1, "a"))
    lane.offer(owed(2, "a"))
    first = take(lane)
    lane.end(first, COMPLETED)
    lane.end(take(lane), FAILED)
    lane.begin_load()
    lane.recorded(first.owed, COMPLETED)
    lane.fill(Backlog([owed(3, "a")], False, None, False, newest=3))
    assert lane.take(NOW) is None


def test_a_window_read_before_a_failure_does_not_let_its_key_go_on() -> None:
    """What was read before the failure was stored knows nothing of it."""
    lane = caught_up(ordered=True)
    lane.offer(owed(1, "a"))
    call = take(lane)
    lane.begin_load()
    lane.end(call, FAILED)
    lane.recorded(call.owed, FAILED)
    lane.fill(Backlog([owed(2, "a")], False, None, False, newest=2))
    assert lane.take(NOW) is None
    assert lane.hungry(NOW)


def test_a_retry_recorded_while_a_window_is_loaded_is_not_forgotten() -> None:
    """The window was read before the retry was stored, so it cannot name its time."""
    lane = caught_up()
    lane.offer(owed(1))
    call = take(lane)
    lane.look_again()
    lane.begin_load()
    lane.end(call, FAILED)
    lane.recorded(call.owed, FAILED)
    lane.fill(EMPTY)
    assert lane.hungry(NOW) or lane.next_due == FAILED.due


def test_a_recorded_retry_says_when_it_is_due() -> None:
    """The lane wakes for the earliest retry."""
    lane = caught_up(concurrency=2)
    lane.offer(owed(1))
    lane.offer(owed(2))
    for due in (NOW + 9, NOW + 5):
        call = take(lane)
        attempt = dataclasses.replace(FAILED, due=due)
        lane.end(call, attempt)
        lane.recorded(call.owed, attempt)
    assert lane.next_due == NOW + 5


def test_a_result_that_waits_to_be_recorded_keeps_the_lane_busy() -> None:
    """Idle means that the store knows everything."""
    lane = caught_up()
    lane.offer(owed(1))
    call = take(lane)
    lane.end(call, COMPLETED)
    assert not lane.idle(NOW)
    lane.recorded(call.owed, COMPLETED)
    assert lane.idle(NOW)


def test_a_delivery_given_back_is_looked_for_again() -> None:
    """A call that could not be made leaves its delivery to the store."""
    lane = caught_up()
    lane.offer(owed(1))
    call = take(lane)
    lane.look_again()
    lane.begin_load()
    lane.fill(EMPTY)
    lane.end(call, None)
    assert lane.hungry(NOW)


def test_a_paused_lane_starts_and_loads_nothing_until_its_moment() -> None:
    """A pause holds all deliveries of a listener, then it goes on by itself."""
    lane = caught_up()
    lane.offer(owed(1))
    lane.hold(NOW + 10)
    assert (lane.take(NOW), lane.hungry(NOW), lane.idle(NOW)) == (None, False, True)
    assert lane.hungry(NOW + 10)
    assert lane.next_due == NOW + 10


def test_a_lane_that_is_resumed_looks_at_the_store() -> None:
    """What came during the pause is in the store only."""
    lane = caught_up()
    lane.hold(NEVER)
    lane.offer(owed(1))
    lane.hold(None)
    assert lane.hungry(NOW)


def test_a_window_read_before_a_pause_is_not_kept_over_it() -> None:
    """Deliveries that wait in memory over a pause would not be started at its end."""
    lane = make_lane()
    lane.begin_load()
    lane.hold(NOW + 10)
    rows = [owed(event_id) for event_id in range(1, lane.window + 1)]
    lane.fill(Backlog(rows, False, None, False, newest=lane.window))
    assert lane.hungry(NOW + 10)
    assert lane.next_due == NOW + 10


def test_a_stuck_call_gets_another_slot_up_to_the_limit() -> None:
    """A hung call does not stop its listener, but not without end."""
    lane = caught_up()
    for event_id in range(1, MAX_REPLACED + 3):
        lane.offer(owed(event_id))
    for _ in range(MAX_REPLACED):
        take(lane).stuck = True
    assert not lane.too_stuck()
    take(lane).stuck = True
    assert lane.too_stuck()
    assert lane.take(NOW) is None


def test_stuck_calls_do_not_keep_a_lane_busy() -> None:
    """Waiting for a call that hangs would never end."""
    lane = caught_up()
    lane.offer(owed(1))
    take(lane).stuck = True
    assert lane.idle(NOW)


def test_an_adopted_call_blocks_its_key() -> None:
    """A suspect that hangs still runs, so nothing of its key may run beside it."""
    lane = make_lane(concurrency=3, ordered=True)
    call = Call(owed(1, "a"))
    lane.adopt(call)
    assert lane.stuck == 1
    lane.begin_load()
    lane.fill(Backlog([owed(2, "a"), owed(3, "b")], False, None, False, newest=3))
    assert take(lane).owed.event_id == 3
    assert lane.take(NOW) is None
    lane.end(call, COMPLETED)
    assert take(lane).owed.event_id == 2


def test_large_data_is_not_kept_with_a_waiting_delivery() -> None:
    """Memory is bounded by the number of deliveries, not by the size of events."""
    lane = caught_up()
    event = Event("t", "1", "x" * (MAX_HELD_DATA + 1), id=1)
    lane.offer(Owed(1, 1, event=event))
    assert take(lane).owed.event is None


def test_a_blocked_key_leaves_room_for_the_others() -> None:
    """One slow key with many deliveries does not fill the window."""
    lane = caught_up(concurrency=2, ordered=True)
    for event_id in range(1, lane.window + 1):
        lane.offer(owed(event_id, "slow"))
    lane.begin_load()
    lane.fill(
        Backlog([owed(lane.window + 1, "other")], False, None, False, lane.window + 1)
    )
    assert take(lane).owed.order_key == "slow"
    assert take(lane).owed.order_key == "other"


def test_a_key_that_was_left_out_is_loaded_when_its_followers_are_done() -> None:
    """What did not fit is not forgotten."""
    lane = caught_up(ordered=True)
    count = lane.window // 2 + 2  # one runs, half a window follows, one is left out
    for event_id in range(1, count + 1):
        lane.offer(owed(event_id, "a"))
    assert lane.left_out == {"a"}
    for _ in range(count - 1):
        lane.end(take(lane), COMPLETED)
    assert lane.left_out == set()
    assert lane.hungry(NOW)


@dataclass
class Row:
    """One delivery as a store has it."""

    key: str | None
    state: State = State.AVAILABLE
    due: int = 0

    @property
    def is_owed(self) -> bool:
        return self.state in (State.AVAILABLE, State.RETRYABLE, State.RUNNING)


@dataclass
class Store:
    """A store of one listener's deliveries that answers like the real one."""

    rows: dict[int, Row] = field(default_factory=dict)

    def load(
        self, most: int, now: int, skip: frozenset[int], left_out: tuple[str, ...] | None
    ) -> Backlog:
        mine = [(each.due, n) for n, each in self.rows.items() if each.is_owed]
        again = [n for due, n in sorted(mine) if 0 < due <= now]
        fresh = [n for due, n in sorted(mine) if due == 0]
        blocked = {
            row.key
            for row in self.rows.values()
            if row.state is State.RETRYABLE and row.key is not None
        }
        if left_out is not None:
            fresh = [n for n in fresh if self.rows[n].key not in {*blocked, *left_out}]
        again = again[: most // 2 + len(skip)]
        fresh = fresh[: most + len(skip)]
        retried = [n for n in again if n not in skip]
        unseen = [n for n in fresh if n not in skip]
        wanted = retried[: most // 2]
        wanted += unseen[: most - len(wanted)]
        more = (
            len(again) == most // 2 + len(skip)
            or len(fresh) == most + len(skip)
            or len(retried) + len(unseen) > len(wanted)
        )
        return Backlog(
            [owed(n, self.rows[n].key, self.rows[n].due != 0) for n in wanted],
            more,
            min((due for due, _ in mine if now < due < NEVER), default=None),
            left_out is not None and bool(blocked),
            max(self.rows, default=0),
        )


KEYS = st.sampled_from([None, "a", "b", "c"])
ENDS = st.sampled_from([State.COMPLETED] * 4 + [State.DISCARDED] + [State.RETRYABLE] * 3)


class LaneMachine(RuleBasedStateMachine):
    """A lane between a store and a dispatcher whose steps come in any order.

    Commits, the callbacks after them, the reading of a window and its arrival are steps
    of their own, as they happen on different threads.
    """

    concurrency = 1
    ordered = True

    def __init__(self) -> None:
        super().__init__()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lanes, "WINDOW", 8)
            self.lane = make_lane(self.concurrency, self.ordered)
        self.store = Store()
        self.now = NOW
        self.last = 0  # the newest event that the dispatcher knows of
        self.queue: list[tuple[Owed, Attempt]] = []  # results to commit
        self.callbacks: list[Callable[[], None]] = []  # what follows the commits
        self.reading: Callable[[], Backlog] | None = None
        self.window: Backlog | None = None
        self.calls: list[Call] = []
        self.held: set[int] = set()  # started, and not yet recorded or given back
        self.finished: set[int] = set()
        self.paused = False

    # What the world does

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4))
    def publish(self, keys: list[str | None]) -> None:
        """Commit events, and what rides along; the offers follow."""
        self.commit()
        first = len(self.store.rows) + 1
        for key in keys:
            self.store.rows[len(self.store.rows) + 1] = Row(key)
        self.callbacks.append(partial(self._hand_over, first, len(self.store.rows)))

    @rule(key=KEYS)
    def publish_elsewhere(self, key: str | None) -> None:
        """Commit an event in another process, which offers nothing here."""
        self.store.rows[len(self.store.rows) + 1] = Row(key)

    @rule(seconds=st.integers(1, 10))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    # What the dispatcher does

    def _hand_over(self, first: int, last: int) -> None:
        if first != self.last + 1:
            return  # someone else published in between; `look` finds it
        self.last = last
        for event_id in range(first, last + 1):
            self.lane.offer(owed(event_id, self.store.rows[event_id].key))

    @precondition(lambda self: self.last < len(self.store.rows))
    @rule()
    def look(self) -> None:
        """Find what was published elsewhere."""
        self.last = len(self.store.rows)
        self.lane.look_again()

    @precondition(lambda self: self.queue)
    @rule()
    def commit(self) -> None:
        """Commit queued results; what follows comes later, in this order."""
        for each, attempt in self.queue:
            row = self.store.rows[each.event_id]
            row.state, row.due = attempt.state, attempt.due
            self.callbacks.append(partial(self._recorded, each, attempt))
        self.queue.clear()

    def _recorded(self, each: Owed, attempt: Attempt) -> None:
        self.held.discard(each.event_id)
        self.lane.recorded(each, attempt)

    @precondition(lambda self: self.callbacks)
    @rule()
    def call_back(self) -> None:
        self.callbacks.pop(0)()

    @precondition(lambda self: self.reading is None and self.window is None)
    @rule()
    def begin(self) -> None:
        """Begin to load a window, if the lane asks for one."""
        if self.lane.next_due is not None and self.lane.next_due <= self.now:
            self.lane.next_due = None
            self.lane.look_again()
        if not self.lane.hungry(self.now):
            return
        self.lane.begin_load()
        most = self.lane.window - self.lane.waiting
        left_out = tuple(self.lane.left_out) if self.ordered else None
        skip = frozenset(self.lane.held)
        self.reading = partial(self.store.load, most, self.now, skip, left_out)

    @precondition(lambda self: self.reading is not None)
    @rule()
    def read(self) -> None:
        assert self.reading is not None
        self.window, self.reading = self.reading(), None

    @precondition(lambda self: self.window is not None)
    @rule()
    def fill(self) -> None:
        assert self.window is not None
        self.lane.fill(self.window)
        self.window = None

    @rule()
    def take(self) -> None:
        call = self.lane.take(self.now)
        if call is None:
            return
        event_id, key = call.owed.event_id, call.owed.order_key
        assert event_id not in self.held, "started twice"
        assert event_id not in self.finished, "started after its end"
        if self.ordered and key is not None:
            running = {each.owed.order_key for each in self.calls}
            assert key not in running, "two calls of one key"
            earlier = {
                n for n in range(1, event_id) if self.store.rows[n].key == key
            } - self.finished
            assert not earlier, f"{event_id} overtook {earlier}"
        self.held.add(event_id)
        self.calls.append(call)
        assert len(self.calls) <= self.concurrency + MAX_REPLACED

    @precondition(lambda self: self.calls)
    @rule(state=ENDS, wait=st.integers(1, 8), data=st.data())
    def end(self, state: State, wait: int, data: st.DataObject) -> None:
        """Let a call return, or fail."""
        call = data.draw(st.sampled_from(self.calls))
        due = self.now + wait if state is State.RETRYABLE else 0
        self._end(call, Attempt(state, 1, self.now, due))

    def _end(self, call: Call, attempt: Attempt) -> None:
        self.calls.remove(call)
        if attempt.state in (State.COMPLETED, State.DISCARDED):
            self.finished.add(call.owed.event_id)
        self.lane.end(call, attempt)
        self.queue.append((call.owed, attempt))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), wait=st.integers(1, 8) | st.just(NEVER))
    def end_with_a_pause(self, data: st.DataObject, wait: int) -> None:
        """Let a call raise Pause."""
        call = data.draw(st.sampled_from(self.calls))
        self.lane.hold(NEVER if wait == NEVER else self.now + wait)
        self._end(call, Attempt(State.AVAILABLE, 0, self.now))

    @precondition(lambda self: self.lane.paused_until is not None)
    @rule()
    def resume(self) -> None:
        self.lane.hold(None)

    @precondition(lambda self: any(not call.stuck for call in self.calls))
    @rule(data=st.data())
    def fail_to_read_the_event(self, data: st.DataObject) -> None:
        """Give a call back before its function was entered, as the store failed."""
        call = data.draw(st.sampled_from([c for c in self.calls if not c.stuck]))
        self.calls.remove(call)
        self.held.discard(call.owed.event_id)
        self.lane.end(call, None)
        self.lane.forget()
        self.lane.look_again()

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def get_stuck(self, data: st.DataObject) -> None:
        """Let a call pass its deadline, which is recorded."""
        call = data.draw(st.sampled_from(self.calls))
        call.stuck = True
        row = self.store.rows[call.owed.event_id]
        row.state, row.due = State.RUNNING, NEVER

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.lane.waiting <= self.lane.window

    def teardown(self) -> None:
        """Let everything succeed from here: then nothing may be left owed."""
        self.lane.hold(None)
        for _ in range(20 * (len(self.store.rows) + 5)):
            if self.finished == set(self.store.rows) and self.lane.idle(self.now):
                break
            self._settle()
        left = [n for n, row in self.store.rows.items() if row.is_owed]
        assert not left, f"{left} are lost"
        assert self.finished == set(self.store.rows)
        assert self.lane.idle(self.now)

    def _settle(self) -> None:
        if self.last < len(self.store.rows):
            self.look()
        if self.reading is not None:
            self.read()
        if self.window is not None:
            self.fill()
        self.commit()
        while self.callbacks:
            self.call_back()
        self.take()
        for call in list(self.calls):
            self._end(call, Attempt(State.COMPLETED, 1, self.now))
        if self.reading is None and self.window is None:
            self.begin()
        if self.lane.next_due is not None and self.lane.idle(self.now):
            self.now = max(self.now, self.lane.next_due)


class SeveralAtOnce(LaneMachine):
    """The same, with several calls at a time."""

    concurrency = 3


class Unordered(LaneMachine):
    """The same, for a listener that keeps no order."""

    concurrency = 2
    ordered = False


STEPS = settings(max_examples=150, stateful_step_count=50, deadline=None)

TestOneAtATime = LaneMachine.TestCase
TestOneAtATime.settings = STEPS
TestSeveralAtOnce = SeveralAtOnce.TestCase
TestSeveralAtOnce.settings = STEPS
TestUnordered = Unordered.TestCase
TestUnordered.settings = STEPS
