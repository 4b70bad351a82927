"""docs/deploying.md and the head of deploy.yaml: what they say is so."""

from __future__ import annotations

import re

from .conftest import ROOT, Played, Site


def text(name: str) -> str:
    """Return a file of the checkout."""
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_variable_is_documented_and_used() -> None:
    """Given the playbook, When its head is compared, Then no variable is missing there."""
    playbook = text("deploy.yaml")
    head = set(re.findall(r"^#   (agent_\w+)", playbook, re.MULTILINE))
    used = set(re.findall(r"\{\{ (agent_\w+) \| default", playbook))
    assert head == used
    told = text("docs/deploying.md") + text("inventory.example")
    assert set(re.findall(r"\bagent_[a-z_]+", told)) <= used


def test_a_backup_is_restored_as_the_page_says(site: Site, deployed: Played) -> None:
    """Given a backup, When restored, Then it knows what it knew, and no more."""
    assert "New event" in site.agent("publish restored before")
    site.machine.run("systemctl start py_agent-backup.service")
    daily = "/var/lib/py_agent/backups/daily"
    name = site.machine.run(f"ls {daily} | tail -1").stdout.strip()
    assert "New event" in site.agent("publish restored after")

    page = text("docs/deploying.md")
    (commands,) = re.findall(r"```console\n(sudo systemctl stop.*?)```", page, re.DOTALL)
    site.machine.run(
        "set -e\n" + commands.replace("sudo ", "").replace("NAME.backup", name)
    )

    assert site.shown("ActiveState") == "active"
    assert "Duplicate" in site.agent("publish restored before")
    assert "New event" in site.agent("publish restored after")
    assert "Duplicate" in site.agent("publish seen 1")
    site.machine.run("rm -r /var/lib/py_agent/aside")
