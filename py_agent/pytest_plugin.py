"""Fixtures for the tests of jobs and listeners; pytest finds them by itself.

Nothing else of py_agent is imported before a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from responses import RequestsMock

    from .testing import AgentUnderTest


@pytest.fixture
def make_agent(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., AgentUnderTest]]:
    """Make agents, each with a store and a clock of its own unless they are given.

    The arguments are those of `py_agent.testing.AgentUnderTest`. All agents are stopped
    at the end of the test, the newest first.
    """
    from .testing import AgentUnderTest

    made: list[AgentUnderTest] = []

    def make(**options: Any) -> AgentUnderTest:
        if "db" not in options:
            options["db"] = tmp_path_factory.mktemp("agent") / "agent.sqlite"
        made.append(AgentUnderTest(**options))
        return made[-1]

    yield make
    for each in reversed(made):
        each.stop()


@pytest.fixture
def agent(make_agent: Callable[..., AgentUnderTest]) -> AgentUnderTest:
    """An agent with a temporary store, on a clock that stands still."""
    return make_agent()


@pytest.fixture
def http() -> Iterator[RequestsMock]:
    """A fake of all HTTP that goes through requests, `handler.http` included.

    It is a `responses.RequestsMock`: `http.get(url, json=...)` says what comes back,
    `http.calls` what was asked for. A request that nobody has described fails. One that
    was described and never sent does not, unless you set
    `http.assert_all_requests_are_fired = True`.
    """
    try:
        from responses import RequestsMock
    except ImportError:
        pytest.fail(
            "the fixture `http` needs the package responses: pip install responses",
            pytrace=False,
        )
    with RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock
