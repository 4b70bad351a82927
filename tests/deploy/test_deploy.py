"""deploy.yaml: installed, left alone, upgraded, and rolled back, under a real systemd."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import CANARY, ROOT, SECRET, Played, Site, program


@contextmanager
def changed(file: Path, old: str, new: str) -> Iterator[None]:
    """Change a file for a while."""
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(text, encoding="utf-8")


def test_a_rehearsal_tells_what_a_fresh_machine_would_get(rehearsed: Played) -> None:
    """Given a fresh machine, When --check is given, Then it tells and changes nothing."""
    assert rehearsed.code == 0, rehearsed.output
    assert "nothing -> 0.1.0-" in rehearsed.output
    assert rehearsed.changed > 0


def test_the_agent_runs_and_is_well(site: Site, deployed: Played) -> None:
    """Given a fresh machine, When deployed, Then the agent runs, also after a reboot."""
    assert deployed.code == 0, deployed.output
    assert deployed.changed > 0
    assert site.shown("ActiveState") == "active"
    assert site.shown("Type") == "notify"
    assert "on /var/lib/py_agent/agent.sqlite" in site.shown("StatusText")
    assert site.shown("UnitFileState") == "enabled"
    assert site.shown("WatchdogUSec") == "5min"
    assert "All is well" in site.agent("doctor")


def test_the_agent_may_do_its_work_and_nothing_else(site: Site, deployed: Played) -> None:
    """Given the unit, When a job looks around, Then it can write to its folder only."""
    assert deployed.code == 0, deployed.output
    seen = site.events()["seen 1"]
    assert seen["writable"] == ["."]
    assert seen["greeting"] == '100% "quoted" text'
    assert seen["user"] != 0
    code = site.machine.run("ls -A /opt/py_agent/current/jobs").stdout.split()
    assert code == ["look.py", "places.py"]
    judged = site.machine.run(
        "systemd-analyze security --offline=yes --threshold=25 "
        "/etc/systemd/system/py_agent.service", False,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout
    verified = site.machine.run(
        "systemd-analyze verify /etc/systemd/system/py_agent*.service "
        "/etc/systemd/system/py_agent*.timer", False,
    )  # fmt: skip
    told = [line for line in verified.stderr.splitlines() if "py_agent" in line]
    assert (verified.returncode, told) == (0, [])


def test_a_secret_reaches_the_agent_and_nobody_else(site: Site, deployed: Played) -> None:
    """Given a secret, When deployed, Then only root's file and the agent have it."""
    assert site.events()["seen 1"]["secret"] == hashlib.sha256(SECRET.encode()).hexdigest()
    stated = site.machine.run("stat -c '%a %U' /etc/py_agent/credentials/*").stdout
    assert stated == "600 root\n"
    assert CANARY not in "".join(site.plays)
    found = site.machine.run(
        f"grep -rlF {CANARY} /etc /opt /var /tmp /proc/{site.shown('MainPID')}/environ "
        f"/proc/{site.shown('MainPID')}/cmdline", False,
    )  # fmt: skip
    assert found.stdout.split() == ["/etc/py_agent/credentials/SHOP_TOKEN"]


def test_a_second_deployment_changes_nothing(site: Site, deployed: Played) -> None:
    """Given a deployed agent, When deployed again, Then it is not even restarted."""
    before = site.shown("MainPID")

    again = site.play()

    assert (again.code, again.changed) == (0, 0), again.output
    assert site.shown("MainPID") == before


def test_a_rehearsal_tells_what_would_change(site: Site, deployed: Played) -> None:
    """Given a new job and a deployed agent, When rehearsed, Then it tells, and no more."""
    before = site.shown("MainPID")

    with changed(site.folder / "jobs/look.py", "around", "about"):
        rehearsed = site.play("--check")

    assert rehearsed.code == 0, rehearsed.output
    release = site.machine.run("basename $(readlink /opt/py_agent/current)").stdout.strip()
    assert f"{release} -> 0.1.0-" in rehearsed.output
    assert site.shown("MainPID") == before
    assert site.machine.run("ls /opt/py_agent/releases").stdout.split().count(release) == 1


def test_a_release_that_does_not_start_is_rolled_back(site: Site, deployed: Played) -> None:
    """Given a release that dies when it starts, When deployed, Then the last one is back.

    What was published before, and even what was owed meanwhile, is there.
    """
    before = site.machine.run("readlink /opt/py_agent/current").stdout
    assert "New event" in site.agent("publish order before")

    # It is fit to start, and dies only where it is to say that it is ready.
    dies = "import os\nif 'NOTIFY_SOCKET' in os.environ: os._exit(1)\n"
    with changed(site.folder / "jobs/look.py", "import os\n", dies):
        played = site.play()

    assert played.code == 2
    assert "runs again; the store is as it was left" in played.output
    assert site.machine.run("readlink /opt/py_agent/current").stdout == before
    assert site.shown("ActiveState") == "active"
    assert "New event" in site.agent("publish order after")
    site.machine.run(
        "for _ in $(seq 300); do grep -q after /var/lib/py_agent/orders && exit; "
        "sleep 0.1; done; exit 1"
    )
    orders = site.machine.run("cat /var/lib/py_agent/orders").stdout.split()
    assert [each for each in orders if each in ("before", "after")] == ["before", "after"]
    assert {"order before", "order after", "seen 1"} <= site.events().keys()
    *_, backup = site.machine.run("ls -d /var/lib/py_agent/backups/*.backup").stdout.split()
    assert '"before"' in site.agent(f"events --json --db {backup}")


def test_the_daily_backup_is_made(site: Site, deployed: Played) -> None:
    """Given the timer's service, When it is started, Then there is a backup more."""
    assert site.machine.run("systemctl is-active py_agent-backup.timer").returncode == 0

    site.machine.run("systemctl start py_agent-backup.service")

    folder = "/var/lib/py_agent/backups/daily"
    backup = site.machine.run(f"ls -d {folder}/* | tail -1").stdout.strip()
    assert '"seen"' in site.agent(f"events --json --db {backup}")


def test_a_new_schema_is_tried_on_a_copy(site: Site, deployed: Played) -> None:
    """Given a store, When a schema is tried on a copy, Then it is as before.

    It is the program that deploy.yaml runs when a release raises the oldest schema.
    """
    words = shlex.quote(program("try_upgrade"))
    user = "setpriv --reuid=py_agent --regid=py_agent --init-groups"
    before = site.machine.run("ls /var/lib/py_agent").stdout

    def tried(store: str) -> int:
        python = f"{user} venv/bin/python -Ic {words} {store}"
        return site.machine.run(f"cd /opt/py_agent/current && {python}", False).returncode

    assert tried("/var/lib/py_agent/agent.sqlite") == 0
    site.machine.run("mkdir /tmp/damaged && chmod 777 /tmp/damaged")
    site.machine.run("echo nonsense > /tmp/damaged/agent.sqlite")
    assert tried("/tmp/damaged/agent.sqlite") != 0
    assert site.machine.run("ls /var/lib/py_agent").stdout == before


def test_an_app_in_a_file_is_that_of_the_release(playbook: str, tmp_path: Path) -> None:
    """Given an app by its file, When the unit is made, Then it names the release's file."""
    yaml = pytest.importorskip("yaml")
    _, play = yaml.safe_load((ROOT / "deploy.yaml").read_text(encoding="utf-8"))
    shown = {
        "hosts": "localhost", "connection": "local", "gather_facts": False,
        "vars": play["vars"] | {"agent_app": "shop.py"},
        "tasks": [{"ansible.builtin.debug": {"msg": "{{ unit }}"}}],
    }  # fmt: skip
    (tmp_path / "play.yaml").write_text(yaml.safe_dump([shown]), encoding="utf-8")
    (tmp_path / "inventory").write_text("localhost\n", encoding="utf-8")

    done = subprocess.run(
        [playbook, "play.yaml", "-i", "inventory"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "agent go /opt/py_agent/current/shop.py " in done.stdout
