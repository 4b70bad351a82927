"""docs/automations.md: what stands there can be copied, and nothing is left out."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from py_agent.loading import agent_of_config, load_function

from .conftest import ROOT

PAGE = (ROOT / "docs" / "automations.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^## (.+?)\n.*?```toml\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
TOKENS = '[github]\ntoken = "t"\n[todoist]\ntoken = "t"\n'


@pytest.mark.parametrize(("title", "block"), SECTIONS, ids=[t for t, _ in SECTIONS])
def test_a_section_is_an_agent(
    title: str, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the agent.toml of a section, When it is read, Then there is no mistake."""
    monkeypatch.chdir(tmp_path)
    needs = re.search(r"github|todoist|reading_list", block)
    file = tmp_path / "agent.toml"
    file.write_text(block + (TOKENS if needs else ""), encoding="utf-8")
    load_function("jobs.github_notifications")  # so that the section has an owner
    load_function("listeners.todoist.add_task")
    registry = agent_of_config(file).registry
    assert len(registry.jobs) + len(registry.listeners) == block.count("\nrun = ")


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Given the links into the page itself, Then each has its section."""
    anchors = {re.sub(r"[^\w]+", "-", title.lower()) for title, _ in SECTIONS}
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= anchors


@pytest.mark.parametrize("names", re.findall(r"^\| \[(`[^|]+`)\]\(#", PAGE, re.MULTILINE))
def test_what_the_page_lists_is_there(names: str) -> None:
    """Given a row of its tables, When its first name is loaded, Then it is a function."""
    name, *others = re.findall(r"`(\w+)`", names)
    home = "jobs" if find_spec(f"jobs.{name}") else "listeners"
    inside = others or [{"todoist": "add_task"}.get(name, name)]
    for each in inside:
        assert load_function(f"{home}.{name}.{each}").__module__ == f"{home}.{name}"
