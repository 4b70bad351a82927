"""A mistake is told in a line, and the running agent does not notice."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

from .conftest import Played, Site, program
from .test_deploy import changed

AS_IT_WAS = "box is as it was: nothing has been started or stopped there."


def test_all_that_is_wrong_here_is_told_at_once(site: Site, deployed: Played) -> None:
    """Given many mistakes, When deployed, Then each is a line, and nothing happens."""
    before = site.shown("MainPID")
    wrong = {
        "agent_memory": "1G",
        "agent_secrets": {"A B": "x", "EMPTY": ""},
        "agent_environment": {"PY_AGENT_DB_PATH": "/elsewhere"},
        "agent_code": ["jobs", "nosuch"],
        "agent_app": "shop.py",
        "agent_wheel": "/nowhere/py_agent-1.whl",
    }

    with changed(site.folder / "agent.toml", "[[jobs]]", '[agent]\ndb = "x"\n[[jobs]]'):
        played = site.play("-e", json.dumps(wrong))

    assert played.code == 2
    for told in (
        "agent_memory is no variable of deploy.yaml; did you mean agent_memory_max?",
        "agent_secrets: 'A B' cannot be a name; letters, digits and _ can",
        "agent_secrets: EMPTY is empty",
        "agent_environment: PY_AGENT_DB_PATH is set by deploy.yaml",
        f"agent_code: there is no {site.folder}/nosuch",
        "agent_app: shop.py is not among agent_code",
        f"{site.folder}/agent.toml: leave db out; the store is /var/lib/py_agent/",
        "agent_wheel: /nowhere/py_agent-1.whl is no wheel of py-agent",
        AS_IT_WAS,
    ):
        assert told in played.output
    assert site.shown("MainPID") == before


def test_a_secret_that_the_vault_lacks_is_named(site: Site, deployed: Played) -> None:
    """Given a variable of no vault, When deployed, Then it is named."""
    played = site.play("-e", '{"agent_secrets": {"SHOP_TOKEN": "{{ vault_shop }}"}}')

    assert played.code == 2
    assert "'vault_shop' is undefined" in played.output
    assert AS_IT_WAS in played.output


def test_an_inventory_without_the_group_is_a_mistake(site: Site, tmp_path: Path) -> None:
    """Given a misspelt group, When deployed, Then it does not look like a success."""
    inventory = tmp_path / "inventory"
    inventory.write_text("[agent]\nbox\n", encoding="utf-8")

    played = site.play(inventory=str(inventory))

    assert played.code == 2
    assert "no machine in a group [agents]" in played.output


def test_a_unit_of_somebody_else_stays(site: Site, deployed: Played) -> None:
    """Given a unit that was written by hand, When deployed, Then it is not overwritten."""
    file = site.machine.root / "etc/systemd/system/py_agent.service"

    with changed(file, "# Written by deploy.yaml", "# By hand"):
        played = site.play()
        assert "# By hand" in file.read_text(encoding="utf-8")

    assert played.code == 2
    assert "py_agent.service on box is not of deploy.yaml" in played.output


def test_what_a_person_or_a_broken_play_left_is_put_right(
    site: Site, deployed: Played
) -> None:
    """Given a store of root and a secret not handed over, When deployed, Then all is well.

    So it is after a restore by hand, and after a play that ended between the two.
    """
    file = "/etc/py_agent/credentials/SHOP_TOKEN"
    secret = site.machine.run(f"cat {file}").stdout
    site.machine.run(f"printf before > {file} && systemctl restart py_agent")
    (site.machine.root / file.lstrip("/")).write_text(secret, encoding="utf-8")
    site.machine.run("chown root: /var/lib/py_agent/agent.sqlite")

    played = site.play()

    assert played.code == 0, played.output
    given = site.machine.run("cat /run/credentials/py_agent.service/SHOP_TOKEN").stdout
    assert given == secret
    assert "All is well" in site.agent("doctor")


def test_another_agent_on_the_store_is_told(site: Site, deployed: Played) -> None:
    """Given a process that holds the store, When one is fit to start, Then it is named."""
    words = shlex.join(
        ["-Ic", program("trial"), "/opt/py_agent/current", "/var/lib/py_agent/agent.sqlite"]
    )
    python = "setpriv --reuid=py_agent --regid=py_agent --init-groups env SHOP_TOKEN=x"

    def tried(own: str) -> str:
        command = f"{python} /opt/py_agent/current/venv/bin/python {words} {own} ''"
        return site.machine.run(command, check=False).stderr

    holder = site.shown("MainPID")
    assert tried(holder) == ""
    assert f"another agent (process {holder}) runs on /var/lib/py_agent/" in tried("0")


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    """Given a symbolic link to nothing, When the bundle is made, Then it is named."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/gone.py").symlink_to("nowhere")
    (tmp_path / "lock").write_text("# for nobody\n", encoding="utf-8")
    wheel = tmp_path / "py_agent-1-py3-none-any.whl"
    wheel.write_bytes(b"")

    done = subprocess.run(
        [sys.executable, "-c", program("write_bundle"), "bundle.tar", "lock", wheel,
         "wheels", tmp_path, "jobs"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert f"No such file or directory: '{tmp_path}/jobs/gone.py'" in done.stderr
