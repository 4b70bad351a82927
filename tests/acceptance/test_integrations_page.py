"""docs/integrations.md: each section is one that an agent starts from."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Run

PAGE = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
CORE = """
[core]
agent_type = "{name}"
agent_key = "a1"
observability_base_url = "http://127.0.0.1:9/"
observability_service_account_key = "k"
"""


def name_of(section: str) -> str:
    """Return the integration that a section configures."""
    found = re.match(r"\[(\w+)\]", section)
    assert found
    return found[1]


@pytest.mark.parametrize("section", SECTIONS, ids=name_of)
def test_a_section_is_all_that_is_needed(section: str, folder: Path, run: Run) -> None:
    """Given a section of the page and [core], When planned, Then its job is there."""
    text = CORE.format(name=name_of(section)) + section
    (folder / "agent.toml").write_text(text, encoding="utf-8")
    done = run("agent", "plan", "1h")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"jobs.{name_of(section).replace('http_runs', 'http')}" in done.stdout
    check = "from py_agent.loading import agent_of_config; agent_of_config('agent.toml')"
    checked = run(sys.executable, "-c", check)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_every_integration_has_its_section() -> None:
    """Given what we ship, When the page is searched, Then each but the example is there."""
    from py_agent.observability.integrations import INTEGRATIONS

    examples = {"example_agent", "target_example"}
    assert {name_of(each) for each in SECTIONS} == set(INTEGRATIONS) - examples
