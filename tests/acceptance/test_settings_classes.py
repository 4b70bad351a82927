"""Settings classes through the commands: handed over, checked at start, never shown."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from .conftest import Run

CANARY = "canary-4711-secret"

SHOP = """
from __future__ import annotations
import logging
from pydantic import SecretStr
from py_agent import Agent, Settings, listen_for

class ShopSettings(Settings, section="shop", env_prefix="DK_SHOP_"):
    url: str
    token: SecretStr
    pages: int = 10

class MailSettings(Settings, section="mail", env_prefix="DK_MAIL_"):
    host: str
    port: int = 25

def poll(handler, mine: ShopSettings):
    assert handler.settings(ShopSettings) is mine
    assert mine.token.get_secret_value().startswith("canary")
    logging.getLogger("shop").warning("%r %s", mine, handler.settings(ShopSettings))
    handler.publish("order", mine.url, {"pages": mine.pages})

@listen_for({"event_type": ("==", "order")})
def mail(event, settings: MailSettings):
    print(f"mail by {settings.host}: {event.identifier} {event.data['pages']}", flush=True)
"""

CODE_FIRST = """
agent = Agent()
agent.add_job(poll, every="1 hour")
agent.add_listener(mail)
agent.go()
"""

TABLES = """
[[jobs]]
run = "shop.poll"
every = "1 hour"

[[listeners]]
run = "shop.mail"
"""

GOOD = f"""
[shop]
url = "http://localhost"
token = "{CANARY}"

[mail]
host = "post"
"""

BAD = f"""
[shop]
ulr = "http://localhost"
token = ["{CANARY}"]

[mail]
host = "post"
port = "{CANARY}"
"""


@pytest.fixture
def shop(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the user's module and no variables of it."""
    for name in [each for each in os.environ if each.startswith(("DK_SHOP", "DK_MAIL"))]:
        monkeypatch.delenv(name)
    (folder / "shop.py").write_text(SHOP, encoding="utf-8")
    (folder / "first.py").write_text(SHOP + CODE_FIRST, encoding="utf-8")
    return folder


def config(folder: Path, text: str) -> None:
    (folder / "agent.toml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("app", [[], ["first.py"]], ids=["agent.toml", "file"])
def test_settings_are_handed_over(
    shop: Path, run: Run, app: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a file and variables, When it runs, Then both functions get their settings."""
    config(shop, GOOD + (TABLES if not app else ""))
    monkeypatch.setenv("DK_SHOP_PAGES", "3")
    monkeypatch.setenv("DK_MAIL_HOST", "overruled")
    done = run("agent", "go", "--once", *app)
    assert "mail by post: http://localhost 3" in done.stdout
    assert done.returncode == 0
    assert "**********" in done.stderr


def test_no_secret_is_in_what_it_writes(shop: Path, run: Run) -> None:
    """Given a secret in the file, When it runs, Then it is in no output and no store."""
    config(shop, GOOD + TABLES)
    done = run("agent", "go", "--once", "--log-level", "debug")
    assert done.returncode == 0
    assert CANARY not in done.stdout + done.stderr
    stored = [each for each in shop.glob("agent.sqlite*") if each.is_file()]
    assert stored
    assert not [each for each in stored if CANARY.encode() in each.read_bytes()]


@pytest.mark.parametrize(
    "words",
    [["agent", "go"], ["agent", "go", "first.py"], [sys.executable, "first.py"]],
    ids=["agent.toml", "agent go", "python"],
)
def test_every_mistake_is_told_at_start(shop: Path, run: Run, words: list[str]) -> None:
    """Given mistakes in two sections, When started, Then all are lines, and no store."""
    config(shop, BAD + (TABLES if len(words) == 2 and words[1] == "go" else ""))
    done = run(*words)
    assert done.returncode == 2
    for said in (
        "[shop]: there is no key 'ulr'; did you mean url?",
        "[shop] url is missing. Put it in agent.toml as [shop] url, in the variable "
        "DK_SHOP_URL, or in a file DK_SHOP_URL in the directory of secrets",
        "[shop] token: input should be a valid string",
        "[mail] port: input should be a valid integer",
    ):
        assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert not list(shop.glob("agent.sqlite*"))


def test_mistakes_of_settings_are_told_with_the_others(shop: Path, run: Run) -> None:
    """Given wrong jobs, sections and values, When started, Then each is one line."""
    wrong = TABLES.replace('"1 hour"', '"1 fortnight"') + "[maill]\n"
    config(shop, BAD + wrong)
    done = run("agent", "go")
    assert done.returncode == 2
    assert "'1 fortnight' is no length of time" in done.stderr
    assert "there is no section 'maill'; did you mean mail?" in done.stderr
    assert "[mail] port: " in done.stderr
    assert CANARY not in done.stderr


def test_a_listing_needs_no_secrets(shop: Path, run: Run) -> None:
    """Given no settings at all, When jobs are listed, Then they are."""
    config(shop, TABLES)
    assert run("agent", "go").returncode == 2
    done = run("agent", "jobs")
    assert "shop.poll" in done.stdout
    assert done.returncode == 0
