"""The fixtures, in the pytest of somebody who has installed py-agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import RunPytest


def passes(run_pytest: RunPytest, source: str, **environment: str) -> bool:
    """Return whether a test file passes; what it says is shown if not."""
    done = run_pytest(source, **environment)
    print(done.stdout, done.stderr)
    return done.returncode == 0


def test_the_fixtures_are_there_without_configuration(run_pytest: RunPytest) -> None:
    """Given an installed py-agent, When pytest lists fixtures, Then ours are among them."""
    listed = run_pytest("", "--fixtures").stdout
    assert all(f"\n{name} --" in listed for name in ("agent", "make_agent", "http"))


def test_a_job_talks_to_the_fake_and_to_nobody_else(run_pytest: RunPytest) -> None:
    """Given the `http` fixture, When a URL is unknown to it, Then the job fails."""
    assert passes(
        run_pytest,
        """
import pytest
from py_agent.errors import HttpError

def test_it(agent, http):
    http.get("https://a.example/", json={"known": True})

    def poll(handler):
        handler.publish("page", "1", handler.http.get("https://a.example/").json())
        handler.http.get("https://b.example/")

    with pytest.raises(HttpError):
        agent.run_job(poll)
    assert agent.published("page", known=True)
    assert http.calls[0].request.url == "https://a.example/"
""",
    )


def test_a_page_is_fetched_again_only_if_it_changed(run_pytest: RunPytest) -> None:
    """Given an ETag, When a job runs twice, Then the second request asks with it."""
    assert passes(
        run_pytest,
        """
def test_it(agent, http):
    http.get("https://a.example/", json=[], headers={"ETag": '"1"'})

    def poll(handler):
        handler.http.get_if_changed("https://a.example/")

    agent.run_job(poll)
    agent.run_job(poll)
    assert http.calls[1].request.headers["If-None-Match"] == '"1"'
""",
    )


def test_retries_of_requests_take_no_real_time(run_pytest: RunPytest) -> None:
    """Given a server that is down at first, When a job asks, Then only its clock moves."""
    assert passes(
        run_pytest,
        """
def test_it(agent, http):
    http.get("https://a.example/", status=503, headers={"Retry-After": "20"})
    http.get("https://a.example/", json=[])
    began = agent.clock.boot()

    def poll(handler):
        handler.http.get("https://a.example/").json()

    agent.run_job(poll)
    assert agent.clock.boot() - began >= 20
""",
    )


def test_without_responses_the_fixture_says_what_to_install(run_pytest: RunPytest) -> None:
    """Given no package `responses`, When `http` is asked for, Then one line says so."""
    done = run_pytest(
        """
import sys
sys.modules["responses"] = None

def test_it(http):
    pass
"""
    )
    assert done.returncode == 1
    assert "pip install responses" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_users_own_configuration_is_left_alone(
    run_pytest: RunPytest, tmp_path: Path
) -> None:
    """Given a broken agent.toml and environment, When a test runs,
    Then nobody reads them.
    """
    (tmp_path / "agent.toml").write_text("this is no TOML", encoding="utf-8")
    assert passes(
        run_pytest,
        """
import os
from py_agent import Settings

class Shop(Settings, section="shop", env_prefix="SHOP_"):
    pages: int = 10

def test_it(agent):
    def job(handler, shop: Shop):
        handler.publish("pages", str(shop.pages))

    agent.run_job(job)
    agent.add_job(job, every=60)
    agent.advance(minutes=2)
    assert agent.published("pages", "10")
    assert not os.path.exists("agent.sqlite")
    assert str(agent.store_path()) != "/nowhere/else.sqlite"
""",
        SHOP_PAGES="none",
        PY_AGENT_DB_PATH="/nowhere/else.sqlite",
        PY_AGENT_JOB_THREADS="many",
        PY_AGENT_GRACE="-1",
    )


def test_a_file_that_is_named_is_read(run_pytest: RunPytest, tmp_path: Path) -> None:
    """Given `config=`, When a job asks for its settings, Then they come from the file."""
    (tmp_path / "mine.toml").write_text("[shop]\npages = 3\n", encoding="utf-8")
    assert passes(
        run_pytest,
        """
from py_agent import Settings

class Shop(Settings, section="shop"):
    pages: int = 10

def test_it(make_agent):
    agent = make_agent(config="mine.toml")

    def job(handler):
        handler.publish("pages", str(handler.settings(Shop).pages))

    agent.run_job(job)
    assert agent.published("pages", "3")
""",
    )


def test_nothing_is_left_after_a_test(run_pytest: RunPytest, tmp_path: Path) -> None:
    """Given agents that ran jobs of each kind, When their test is over,
    Then no thread is.
    """
    assert passes(
        run_pytest,
        """
import asyncio
import threading

async def sleeps(handler):
    await asyncio.sleep(1e6)

def waits(handler):
    while handler.wait(60):
        pass

def test_first(make_agent):
    for number in range(2):
        agent = make_agent()
        agent.add_job(sleeps, keep=True)
        agent.add_job(waits, keep=True)
        agent.record({})
        agent.handler.publish("t", "1")
        agent.advance(hours=1)

def test_second():
    ours = [t for t in threading.enumerate() if t.name.startswith("py_agent")]
    for thread in ours:
        thread.join(10)
    assert not [t.name for t in ours if t.is_alive()]
""",
        PYTEST_ADDOPTS="-p no:randomly",
    )
    assert [each.name for each in tmp_path.iterdir() if "sqlite" in each.name] == []


@pytest.mark.parametrize("module", ["sqlalchemy", "pydantic", "requests", "py_agent.agent"])
def test_who_uses_no_fixture_waits_for_nothing(module: str, run_pytest: RunPytest) -> None:
    """Given a test without our fixtures, When pytest runs,
    Then the engine is not imported.
    """
    assert passes(
        run_pytest,
        f"import sys\n\ndef test_it():\n    assert {module!r} not in sys.modules\n",
        PYTEST_ADDOPTS="-p no:hypothesispytest",
    )
