"""Secrets in files through the commands: read at start, never shown, modes checked."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from .conftest import Run, Start

CANARY = "canary-4711-secret"

SHOP = """
from __future__ import annotations
from pydantic import Field, SecretStr
from py_agent import Agent, Settings

class ShopSettings(Settings, section="shop", env_prefix="SHOP_"):
    token: SecretStr = Field(description="a token of the shop, from its settings page")
    pages: int = 1

def poll(handler, settings: ShopSettings):
    token = settings.token.get_secret_value()
    handler.log.warning("%r has %d characters", settings, len(token))
    handler.publish("order", "1", {"pages": settings.pages})
"""

CODE_FIRST = """
agent = Agent()
agent.add_job(poll, every="1 hour")
agent.go()
"""

TABLE = '[[jobs]]\nrun = "shop.poll"\nevery = "1 hour"\n'


@pytest.fixture
def shop(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the user's module, and systemd's directory beside it."""
    for name in [each for each in os.environ if each.startswith(("SHOP_", "PY_AGENT_"))]:
        monkeypatch.delenv(name)
    (folder / "shop.py").write_text(SHOP, encoding="utf-8")
    (folder / "first.py").write_text(SHOP + CODE_FIRST, encoding="utf-8")
    (folder / "agent.toml").write_text(TABLE, encoding="utf-8")
    secrets = folder.parent / "credentials"
    secrets.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secrets))
    return folder


def give(folder: Path, name: str, content: str) -> None:
    """Put a file into systemd's directory, as LoadCredential= does."""
    path = folder.parent / "credentials" / name
    path.write_text(content, encoding="utf-8")
    path.chmod(0o440)


@pytest.mark.parametrize("app", [[], ["first.py"]], ids=["agent.toml", "file"])
def test_a_secret_of_systemd_is_read_and_never_shown(
    shop: Path, run: Run, app: list[str]
) -> None:
    """Given a credential of the unit, When it runs, Then the job has it, and it is in no
    output and no store.
    """
    give(shop, "shop_token", CANARY + "\n")
    done = run("agent", "go", "--once", "--log-level", "debug", *app)
    assert f"has {len(CANARY)} characters" in done.stderr
    assert "**********" in done.stderr
    assert done.returncode == 0
    assert "chmod" not in done.stderr
    assert CANARY not in done.stdout + done.stderr
    stored = [each for each in shop.glob("agent.sqlite*") if each.is_file()]
    assert stored
    assert not [each for each in stored if CANARY.encode() in each.read_bytes()]


def test_agent_test_reads_the_same_places(shop: Path, run: Run) -> None:
    """Given a credential of the unit, When a job is tried, Then it has it, unseen."""
    give(shop, "SHOP_TOKEN", CANARY)
    done = run("agent-test", "-m", "-j", "shop.poll")
    assert "Published: new       order: 1" in done.stdout, done.stderr
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize("words", [["agent", "go"], [sys.executable, "first.py"]])
def test_a_missing_secret_is_one_line(shop: Path, run: Run, words: list[str]) -> None:
    """Given nothing, When started, Then one line says what, from where and where to."""
    done = run(*words)
    assert done.returncode == 2
    [line] = [each for each in done.stderr.splitlines() if "is missing" in each]
    assert line.endswith(
        "[shop] token is missing: a token of the shop, from its settings page. Put it in "
        "agent.toml as [shop] token, in the variable SHOP_TOKEN, or in a file SHOP_TOKEN "
        "in the directory of secrets"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("app", [[], ["first.py"]], ids=["agent.toml", "file"])
def test_a_file_that_others_may_read_is_told_once(
    shop: Path, run: Run, app: list[str]
) -> None:
    """Given a secret in an agent.toml for all to read, When started, Then one warning."""
    toml = shop / "agent.toml"
    text = f'[shop]\ntoken = "{CANARY}"\n' + ("" if app else TABLE)
    toml.write_text(text, encoding="utf-8")
    toml.chmod(0o644)
    told = run("agent", "go", "--once", *app)
    said = (
        "agent.toml holds secrets, and others than its owner may read it: chmod 600 agent"
    )
    assert [said in each for each in told.stderr.splitlines()].count(True) == 1
    toml.chmod(0o600)
    assert "chmod" not in run("agent", "go", "--once", *app).stderr
    assert CANARY not in told.stdout + told.stderr


def test_doctor_finds_files_that_others_may_open(
    shop: Path, run: Run, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a shared file of credentials, When asked, Then doctor says which and what to
    do, and is content when it is done.
    """
    path = shop / "shared.json"
    path.write_text(json.dumps({"shop": {"token": CANARY}}), encoding="utf-8")
    path.chmod(0o660)
    monkeypatch.setenv("PY_AGENT_CREDENTIALS_FILE", "shared.json")
    agent = start("agent", "go")
    agent.wait_for("New event -> order: 1")
    ill = run("agent", "doctor")
    assert (ill.returncode, ill.stdout) == (
        1,
        "secrets: shared.json holds secrets, and others than its owner may read and write "
        "it: chmod 600 shared.json\n",
    )
    path.chmod(0o600)
    well = run("agent", "doctor", "--json")
    assert (well.returncode, json.loads(well.stdout)) == (0, [])
    assert agent.stop() == 0
    assert CANARY not in "".join(agent.lines)


def test_doctor_does_not_mind_code_that_does_not_import(shop: Path, run: Run) -> None:
    """Given a module that prints and fails, When asked, Then doctor looks at the rest."""
    give(shop, "SHOP_TOKEN", "t")
    assert run("agent", "go", "--once").returncode == 0
    (shop / "shop.py").write_text("print('hello')\nraise SystemExit(9)", encoding="utf-8")
    done = run("agent", "doctor", "--json")
    assert [each["about"] for each in json.loads(done.stdout)] == ["agent"]
    assert done.returncode == 1
