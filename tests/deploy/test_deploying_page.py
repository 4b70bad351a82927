"""docs/deploying.md and the head of deploy.yaml: what they say is so."""

from __future__ import annotations

import json
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


def test_an_agent_installed_by_hand_is_taken_over(site: Site, deployed: Played) -> None:
    """Given an agent with a unit of its own, When the page's commands are typed and it is
    deployed, Then it goes on with its store, and fires nothing again.
    """
    here, unit = "/home/me/my-agent", "/etc/systemd/system/taken.service"
    site.machine.run(
        f"set -e; mkdir -p {here}; cd {here}\n"
        'printf \'from py_agent import Agent\\nagent = Agent("agent.sqlite")\\n'
        'agent.handler.publish("seen", "1", {"by": "hand"})\\n\' > app.py\n'
        "/opt/py_agent/current/venv/bin/python app.py\n"
        f"printf '[Service]\\nExecStart=/usr/bin/sleep infinity\\n[Install]\\n"
        f"WantedBy=multi-user.target\\n' > {unit}\n"
        "systemctl daemon-reload; systemctl enable --now taken"
    )
    (commands,) = re.findall(
        r"```console\n(sudo systemctl disable.*?)```", text("docs/deploying.md"), re.DOTALL
    )
    site.machine.run(
        "set -e\n" + commands.replace("sudo ", "").replace("py_agent", "taken")
    )
    try:
        played = site.play("-e", "agent_name=taken")
        assert played.code == 0, played.output
        (seen,) = json.loads(site.machine.run("/opt/taken/agent events --json").stdout)
        assert (seen["identifier"], seen["data"]) == ("1", {"by": "hand"})
        owner = site.machine.run("stat --format=%U /var/lib/taken/agent.sqlite").stdout
        assert owner.strip() == "taken"
    finally:
        site.machine.run("systemctl disable --now taken taken-backup.timer", check=False)
