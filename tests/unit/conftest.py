"""What several unit tests share."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

import pytest
import tzlocal

from py_agent.arguments import settings_classes

TimeZone = Callable[[str], None]


@pytest.fixture
def own_settings_classes() -> Iterator[None]:
    """No settings classes but the test's own, which are forgotten afterwards."""
    before = dict(settings_classes)
    settings_classes.clear()
    yield
    settings_classes.clear()
    settings_classes.update(before)


@pytest.fixture
def chance() -> random.Random:
    """Chance that is the same in every run."""
    return random.Random(1)


@pytest.fixture
def machine_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[TimeZone]:
    """Sets the machine's own time zone for one test."""

    def use(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        set_again()

    def set_again() -> None:
        time.tzset()
        tzlocal.reload_localzone()

    yield use
    monkeypatch.undo()
    set_again()
