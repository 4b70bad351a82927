"""SQLite: the side file says what is inside a function."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from py_agent.arguments import MAX_NAME
from py_agent.errors import StorageFault
from py_agent.store import schema
from py_agent.store.event_store import EventStore
from py_agent.store.side_file import SLOT, Inside, SideFile, read, side_path
from py_agent.testing import FakeClock

from .support import start


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store would be."""
    return tmp_path / "agent.sqlite"


def test_what_is_inside_is_read_back(path: Path) -> None:
    """After a kill the file names the deliveries and jobs that were inside."""
    side = SideFile(path)
    side.enter_delivery(12, 3)
    side.enter_job("poll")
    side.enter_delivery(2**63 - 1, 2**63 - 1)

    inside = read(path)

    assert inside.deliveries == ((12, 3), (2**63 - 1, 2**63 - 1))
    assert inside.jobs == ("poll",)
    assert len(inside.life) == 32


@pytest.mark.parametrize(
    "name", ["a b", "module.<lambda>", "\u00e9" * (MAX_NAME // 2), "x" * MAX_NAME, "d 1.2"]
)
def test_a_job_may_have_any_name(path: Path, name: str) -> None:
    """The longest name fits its slot and does not spill into the next."""
    side = SideFile(path)
    side.enter_job(name)
    side.enter_job("next")

    assert read(path).jobs == (name, "next")


def test_a_left_slot_is_clear_and_used_again(path: Path) -> None:
    """What has ended is not inside; the file does not grow with every call."""
    side = SideFile(path)
    first = side.enter_delivery(1, 1)
    side.enter_job("poll")
    side.leave(first)
    assert read(path).deliveries == ()

    assert side.enter_delivery(2, 2) == first
    assert read(path).deliveries == ((2, 2),)
    assert read(path).jobs == ("poll",)


def test_a_shorter_entry_leaves_nothing_of_a_longer_one(path: Path) -> None:
    """A reused slot holds the new entry only."""
    side = SideFile(path)
    side.leave(side.enter_job("a long name of a job"))
    side.enter_job("short")

    assert read(path).jobs == ("short",)


def test_a_cleared_file_charges_nothing(path: Path) -> None:
    """An end at once on request is nobody's crash, but still the same life."""
    side = SideFile(path)
    side.enter_delivery(1, 1)
    side.enter_job("poll")
    life = read(path).life

    side.clear()

    assert read(path) == Inside(life)


def test_a_closed_file_is_gone(path: Path) -> None:
    """A clean stop leaves no side file, and a late thread writes nowhere."""
    side = SideFile(path)
    slot = side.enter_delivery(1, 1)

    side.close()
    side.leave(slot)
    side.enter_job("late")

    assert os.listdir(path.parent) == []
    assert read(path) == Inside()


def test_each_life_has_its_own_name(path: Path) -> None:
    """A new file begins empty, under a new name."""
    SideFile(path).enter_delivery(1, 1)
    before = read(path)

    SideFile(path)

    assert read(path).life not in ("", before.life)
    assert read(path).deliveries == ()


def test_a_file_is_private(path: Path) -> None:
    """Names of jobs are nobody else's business."""
    SideFile(path)

    assert side_path(path).stat().st_mode & 0o777 == 0o600


def test_a_link_in_its_place_is_refused(path: Path) -> None:
    """A planted link is not followed, and its target stays."""
    victim = path.parent / "victim"
    victim.write_text("precious")
    side_path(path).symlink_to(victim)

    with pytest.raises(StorageFault):
        SideFile(path)

    assert victim.read_text() == "precious"


def _slots(*contents: bytes) -> bytes:
    return b"".join(each.ljust(SLOT, b"\0") for each in (b"life", *contents))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 5,
        b"\xff" * 700,
        _slots(b"d"),
        _slots(b"d 1"),
        _slots(b"d 1.2.3"),
        _slots(b"d x.y"),
        _slots(b"d " + b"9" * 40 + b".1"),
        _slots(b"d -1.-1"),
        _slots(b"d 9223372036854775808.1"),
        _slots(b"j \xff\xfe"),
        _slots(b"z 1.1"),
    ],
)
def test_a_damaged_file_does_not_stop_a_start(tmp_path: Path, content: bytes) -> None:
    """Whatever the file holds, it is read, and the store is taken over."""
    path = tmp_path / "agent.sqlite"
    schema.create(path)
    side_path(path).write_bytes(content)
    store = EventStore.open(path, FakeClock())

    found = start(store, inside=read(path))

    store.close()
    assert found.crashed == []
    assert found.dead == []


def test_random_damage_does_not_stop_a_start(tmp_path: Path) -> None:
    """Bytes of any kind are read without an error."""
    path = tmp_path / "agent.sqlite"
    schema.create(path)
    store = EventStore.open(path, FakeClock())
    dice = random.Random(20260105)
    whole = _slots(b"d 1.1", b"j poll", b"d 77.2")
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 30)):
            damaged[dice.randrange(len(damaged))] = dice.choice(b"\0 .09dj\xff\xe9-_")
        side_path(path).write_bytes(damaged[: dice.randint(1, len(damaged))])

        found = start(store, inside=read(path))

        assert found.dead == [] or found.dead == ["job poll"]
    store.close()


def test_an_effect_is_charged_and_in_doubt(path: Path) -> None:
    """A kill in the middle of an effect names the delivery for both."""
    side = SideFile(path)
    slot = side.enter_delivery(12, 3)
    side.enter_delivery(13, 3)
    side.begin_effect(slot, 12, 3)

    inside = read(path)

    assert inside.deliveries == ((12, 3), (13, 3))
    assert inside.doubtful == ((12, 3),)


def test_an_effect_that_is_not_recorded_is_in_doubt_without_blame(path: Path) -> None:
    """A kill between the end of a call and its record charges nobody."""
    side = SideFile(path)
    slot = side.enter_delivery(12, 3)
    side.begin_effect(slot, 12, 3)
    side.leave_doubt(slot)
    assert read(path).deliveries == ()
    assert read(path).doubtful == ((12, 3),)

    side.leave(slot)

    assert read(path).doubtful == ()


def test_an_effect_outlives_the_word_that_nobody_is_to_blame(path: Path) -> None:
    """A second Ctrl-C charges nothing, and what was being sent stays in doubt."""
    side = SideFile(path)
    side.enter_job("poll")
    slot = side.enter_delivery(12, 3)
    side.enter_delivery(13, 3)
    side.begin_effect(slot, 12, 3)

    side.clear()

    inside = read(path)
    assert (inside.deliveries, inside.jobs, inside.doubtful) == ((), (), ((12, 3),))


def test_a_clean_end_leaves_no_file(path: Path) -> None:
    """What has been stored is in no doubt."""
    side = SideFile(path)
    slot = side.enter_delivery(12, 3)
    side.begin_effect(slot, 12, 3)
    side.leave_doubt(slot)
    side.leave(slot)
    side.close()
    assert not side_path(path).exists()


def test_a_result_that_could_not_be_stored_outlives_the_end(path: Path) -> None:
    """A full disk at the stop costs the result, and not the doubt."""
    side = SideFile(path)
    slot = side.enter_delivery(12, 3)
    side.begin_effect(slot, 12, 3)
    side.leave_doubt(slot)
    side.close()
    assert read(path).doubtful == ((12, 3),)
