"""All lanes, and which of them the dispatcher's own thread has to look after.

With a thousand listeners most are caught up and at rest: only the few that are behind,
have something due later, or may get stuck are looked at. Like a lane, a roster decides
and touches neither threads nor the store; the dispatcher's lock guards it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .lanes import Call, Lane
from .outcomes import SECOND
from .store.subscriptions import NEVER, Subscription


class Roster:
    """The lanes of an agent, by subscription."""

    def __init__(self) -> None:
        self.lanes: dict[int, Lane] = {}
        self._needy: set[Lane] = set()

    def add(self, lane: Lane) -> None:
        """Take in a lane, which at first may be owed anything."""
        self.lanes[lane.subscription_id] = lane
        self._needy.add(lane)

    def look_after(self, lane: Lane) -> bool:
        """Look after a lane as long as it needs that; return whether it does."""
        needs = (
            lane.behind or lane.next_due is not None or lane.listener.timeout is not None
        )
        if needs:
            self._needy.add(lane)
        else:
            self._needy.discard(lane)
        return needs

    def looks_after(self, lane: Lane) -> bool:
        """Return whether a lane is being looked after."""
        return lane in self._needy

    def look_again(self, subscriptions: Iterable[int]) -> None:
        """Note that the store may hold something new for some subscriptions."""
        for subscription_id in subscriptions:
            if (lane := self.lanes.get(subscription_id)) is not None:
                lane.look_again()
                self._needy.add(lane)

    def changed_by_hand(self, known: Mapping[int, Subscription]) -> None:
        """Follow changes by hand: anything may be owed, forgotten or resumed.

        Args:
            known: the subscriptions that the store has now.
        """
        self.look_again(self.lanes)
        for subscription_id, lane in self.lanes.items():
            subscription = known.get(subscription_id)
            if subscription is None:
                lane.hold(NEVER)  # forgotten, with all its deliveries
            elif subscription.paused_until is None and lane.paused_until is not None:
                lane.hold(None)

    def hungry(self, now: int) -> list[Lane]:
        """Return the lanes for which a window should be loaded at `now` (microseconds)."""
        for lane in self._needy:
            if lane.next_due is not None and lane.next_due <= now:
                lane.next_due = None
                lane.look_again()
        return [lane for lane in self._needy if lane.hungry(now)]

    def late(self, boot: float) -> list[tuple[Lane, Call]]:
        """Return the calls that are past their deadline, and not marked as stuck."""
        return [
            (lane, each)
            for lane in self._needy
            for each in lane.running.values()
            if not each.stuck and each.deadline is not None and boot >= each.deadline
        ]

    def seconds_to_wait(self, now: int, boot: float) -> float:
        """Return the seconds until a lane needs something; infinite if none will."""
        waits = [float("inf")]
        for lane in self._needy:
            if lane.hungry(now):
                return 0.0
            moments = (lane.next_due, lane.paused_until)
            waits += [(each - now) / SECOND for each in moments if each and each > now]
            if lane.next_due is not None and lane.next_due <= now:
                return 0.0
            calls = [each for each in lane.running.values() if not each.stuck]
            waits += [each.deadline - boot for each in calls if each.deadline is not None]
        return min(waits)

    def calls(self) -> Iterator[tuple[Lane, Call]]:
        """Yield every call in progress with its lane."""
        for lane in self.lanes.values():
            for each in list(lane.running.values()):
                yield lane, each

    @property
    def recording(self) -> bool:
        """Whether results are on their way to the store."""
        return any(lane.recording for lane in self.lanes.values())

    def idle(self, now: int, later: bool) -> bool:
        """Return whether no lane has anything left to do.

        Args:
            now: the present in microseconds.
            later: whether what is due later counts as well.
        """
        lanes = self.lanes.values()
        if later and any(lane.next_due for lane in lanes):
            return False
        return all(lane.idle(now) for lane in lanes)
