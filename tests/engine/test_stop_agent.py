"""A job or listener may end the agent: with one line, exit code 1, and nothing lost."""

from __future__ import annotations

import pytest

from .support import StoreFile, run_script


@pytest.mark.parametrize("who", ["job", "listener"])
def test_who_asks_for_it_ends_the_agent(store: StoreFile, who: str) -> None:
    """Given a function that raises StopAgent, When it runs, Then the agent ends with 1."""
    done = run_script("stop_agent.py", store.path, who, check=False)
    assert done.returncode == 1
    assert f"the {who} has seen enough" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_delivery_that_ended_the_agent_is_still_owed(store: StoreFile) -> None:
    """Given a listener that raises StopAgent, When all is over, Then no try is counted."""
    run_script("stop_agent.py", store.path, "listener", check=False)
    row = store.delivery("l")
    assert (row["state"], row["attempts"], row["crashes"]) == ("available", 0, 0)
