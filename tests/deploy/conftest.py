"""The real ansible-playbook on a booted machine, deployed once for all tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from . import machine

ROOT = Path(__file__).parents[2]
CANARY = "canary-4711-of-the-vault"
SECRET = f"""{CANARY} "it's" 100% $HOME \\n {{}} ü
second line """

INVENTORY = f"""
[agents]
box ansible_ssh_executable={machine.ENTER} ansible_ssh_transfer_method=piped

[agents:vars]
ansible_become=false
ansible_pipelining=true
ansible_python_interpreter=/usr/bin/python3
agent_python=/usr/bin/python3
agent_settle=1
agent_health_delay=1
agent_health_retries=10
agent_environment={{"GREETING": "100% \\"quoted\\" text"}}
"""

TOML = """
[[jobs]]
run = "jobs.look.around"
every = "1 hour"

[[listeners]]
run = "listeners.note.note"
match = { event_type = ["==", "order"] }
"""

JOB = '''
"""Tells what an agent under systemd sees and may do."""

import hashlib
import os
from pathlib import Path

from jobs.places import FOLDERS
from py_agent import Settings
from pydantic import SecretStr


class ShopSettings(Settings, env_prefix="SHOP_"):
    token: SecretStr


def may_write(folder):
    try:
        (Path(folder) / "trace").write_text("")
    except OSError:
        return False
    return True


def around(handler, settings: ShopSettings):
    secret = settings.token.get_secret_value()
    handler.publish("seen", "1", {
        "secret": hashlib.sha256(secret.encode()).hexdigest(),
        "greeting": os.environ["GREETING"],
        "writable": [each for each in FOLDERS if may_write(each)],
        "user": os.getuid(),
    })
'''

PLACES = 'FOLDERS = ["/etc", "/opt/py_agent/current", "/var/lib", "/usr", "/root", "."]\n'

LISTENER = '''
"""Notes orders in a file beside the store."""


def note(event):
    with open("orders", "a", encoding="utf-8") as file:
        print(event.identifier, file=file)
'''


@dataclass
class Played:
    """What one call of ansible-playbook did.

    Args:
        code: its exit code.
        output: what it printed.
    """

    code: int
    output: str

    @property
    def changed(self) -> int:
        """How many tasks changed something on the machine."""
        found = re.search(r"^box .*changed=(\d+)", self.output, re.MULTILINE)
        assert found, self.output
        return int(found[1])


@dataclass
class Site:
    """A folder with an inventory and an agent's files, and the machine it is for.

    Args:
        folder: the folder.
        machine: the machine.
        playbook: the program.
        plays: what was printed by all calls.
    """

    folder: Path
    machine: machine.Machine
    playbook: str
    plays: list[str] = field(default_factory=list)

    def play(self, *words: str, inventory: str = "inventory") -> Played:
        """Run the playbook."""
        environment = self.machine.environment() | {
            "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_SSH_ARGS": "", "ANSIBLE_HOME": str(self.folder / "ansible"),
        }  # fmt: skip
        done = subprocess.run(
            [self.playbook, str(ROOT / "deploy.yaml"), "-i", inventory, "--diff",
             "-e", json.dumps({"agent_dist": str(self.folder / "dist")}), *words],
            cwd=self.folder, env=environment, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.plays.append(done.stdout)
        return Played(done.returncode, done.stdout)

    def agent(self, words: str) -> str:
        """Run the command that the deployment leaves for the person; return its output."""
        return self.machine.run(f"/opt/py_agent/agent {words}", check=False).stdout

    def events(self) -> dict[str, dict[str, object]]:
        """Return the data of the events in the store, by type and identifier."""
        rows = json.loads(self.agent("events --json"))
        return {f"{row['event_type']} {row['identifier']}": row["data"] for row in rows}

    def shown(self, name: str) -> str:
        """Return a property of the service."""
        command = f"systemctl show py_agent.service --value --property={name}"
        return self.machine.run(command).stdout.strip()


def program(name: str) -> str:
    """Return one of the small programs of deploy.yaml."""
    yaml = pytest.importorskip("yaml")
    _, play = yaml.safe_load((ROOT / "deploy.yaml").read_text(encoding="utf-8"))
    return str(play["vars"][name])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put last what leaves a store that no other test can open."""
    items.sort(key=lambda item: "test_new_schema" in item.nodeid)


@pytest.fixture(scope="session", autouse=True)
def playbook() -> str:
    """The program; PY_AGENT_TEST_DEPLOY names it, since it comes with no extra of ours."""
    found = shutil.which(os.environ.get("PY_AGENT_TEST_DEPLOY", ""))
    if not found:
        pytest.skip("PY_AGENT_TEST_DEPLOY names no ansible-playbook")
    return found


@pytest.fixture(scope="session")
def site(playbook: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A fresh machine, and an agent's files."""
    if reason := machine.missing():
        pytest.skip(reason)
    place = tmp_path_factory.mktemp("site")
    folder = place / "my agent's, 100% größer"
    secrets = json.dumps({"agent_secrets": {"SHOP_TOKEN": SECRET}})
    for name, text in {
        "inventory": INVENTORY, "group_vars/agents.yaml": secrets, "agent.toml": TOML,
        "jobs/look.py": JOB, "jobs/.hidden": "", "shared/places.py": PLACES,
        "listeners/note.py": LISTENER,
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "jobs/places.py").symlink_to("../shared/places.py")
    try:
        with machine.booted(place) as box:
            yield Site(folder, box, playbook)
    except machine.NotBootedError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def rehearsed(site: Site) -> Played:
    """What --check said of the fresh machine, where it changed nothing."""
    played = site.play("--check")
    there = site.machine.run("ls /opt /etc/systemd/system /var/lib; id py_agent", False)
    assert "py_agent" not in there.stdout
    return played


@pytest.fixture(scope="session")
def deployed(site: Site, rehearsed: Played) -> Played:
    """What the first deployment printed."""
    return site.play()
