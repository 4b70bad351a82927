"""Secrets in files: where they are found, what is wrong with them, who may read them."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, Secret, SecretStr

from py_agent import Settings
from py_agent.errors import ConfigError
from py_agent.settings import config as files
from py_agent.settings.exposed import exposure, is_secret
from py_agent.settings.sections import Sections, check_settings

CANARY = "canary-4711-secret"
SYSTEMD, OWN = "CREDENTIALS_DIRECTORY", "PY_AGENT_SECRETS_DIR"
CREDENTIALS = "PY_AGENT_CREDENTIALS_FILE"

Place = Callable[..., Path]


@pytest.fixture(autouse=True)
def alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_settings_classes: None
) -> None:
    """No file and no variable but the test's own; its classes are forgotten."""
    for name in list(os.environ):
        if name.startswith(("SHOP_", "DK_", "PY_AGENT_")) or name == SYSTEMD:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "SHARED", tmp_path / "etc" / "agent.toml")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Writes files of secrets into a directory that a variable names."""

    def write(variable: str = OWN, /, **contents: str | bytes) -> Path:
        folder = tmp_path / variable.lower()
        folder.mkdir(exist_ok=True)
        monkeypatch.setenv(variable, str(folder))
        for name, content in contents.items():
            data = content if isinstance(content, bytes) else content.encode()
            (folder / name).write_bytes(data)
        return folder

    return write


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Writes the file of credentials: JSON of a value, or bytes as they are."""

    def write(content: Any) -> Path:
        path = tmp_path / "credentials.json"
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        path.write_bytes(raw)
        path.chmod(0o600)
        monkeypatch.setenv(CREDENTIALS, str(path))
        return path

    return write


def shop() -> type[Any]:
    """Return the class that most tests are about."""

    class Server(BaseModel):
        host: str = "localhost"
        port: int

    class ShopSettings(Settings, section="shop", env_prefix="SHOP_"):
        token: SecretStr
        pages: int = 10
        hosts: list[str] = []
        server: Server | None = None
        old: str = Field("", validation_alias="OLD_NAME")

    return ShopSettings


def token(path: Path | None = None) -> str:
    """Return the token that is found."""
    found: str = Sections(path).get(shop()).token.get_secret_value()
    return found


def problems(cls: type[Settings] | None = None) -> list[str]:
    """Return the mistakes in a class's settings, none of which shows the value."""
    with pytest.raises(ConfigError) as caught:
        Sections().get(cls or shop())
    error = caught.value
    assert CANARY not in "\n".join(error.problems)
    assert len(error.problems) == len(str(error).splitlines())
    assert (error.__cause__, error.__context__) == (None, None)
    return error.problems


# Where they are found


@pytest.mark.parametrize("variable", [SYSTEMD, OWN])
@pytest.mark.parametrize("name", ["SHOP_TOKEN", "shop_token", "Shop_Token"])
def test_a_file_has_the_name_of_the_variable(
    directory: Place, variable: str, name: str
) -> None:
    """Given a file in either directory, in any case, Then its content is the value."""
    directory(variable, **{name: "t"})
    assert token() == "t"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("t", "t"),
        ("t\n", "t"),
        ("t\r\n", "t"),
        (" t \n", " t "),
        ("a\nb\n", "a\nb"),
        ("", ""),
    ],
)
def test_only_the_line_break_at_the_end_is_cut_off(
    directory: Place, content: str, expected: str
) -> None:
    """Given what an editor adds, Then it is no part of the secret; spaces are."""
    directory(SHOP_TOKEN=content)
    assert token() == expected


def test_all_kinds_of_values_are_read_from_files(directory: Place) -> None:
    """Given numbers, JSON and an alias, Then they are read as from variables."""
    directory(
        SHOP_TOKEN="t", SHOP_PAGES="3\n", SHOP_HOSTS='["a"]', SHOP_SERVER='{"port": 1}',
        old_name="o",
    )  # fmt: skip
    found = Sections().get(shop())
    assert (found.pages, found.hosts, found.server.port, found.old) == (3, ["a"], 1, "o")


@pytest.mark.parametrize(
    "content",
    [
        {"shop": {"token": "t", "pages": 3, "hosts": ["a"], "server": {"port": 1}}},
        {"SHOP_TOKEN": "t", "shop_pages": 3, "SHOP_HOSTS": ["a"],
         "SHOP_SERVER": {"port": 1}},
        {"SHOP_TOKEN": "t", "SHOP_PAGES": "3", "SHOP_HOSTS": '["a"]',
         "shop": {"server": {"port": 1}}},
    ],
    ids=["by section", "by variable", "both"],
)  # fmt: skip
def test_the_file_of_credentials_has_either_form(
    credentials: Place, content: dict[str, Any]
) -> None:
    """Given sections or variables, Then all kinds of values are read; others are not."""
    credentials({**content, "other": {"token": "x"}, "X": [1], "null": None})
    found = Sections().get(shop())
    assert (found.pages, found.hosts, found.server.port) == (3, ["a"], 1)
    assert found.token.get_secret_value() == "t"


def test_unknown_keys_of_a_section_are_left_alone(credentials: Place) -> None:
    """Given a shared file, Then what nobody knows is no mistake; null is nothing."""
    credentials({"shop": {"token": "t", "user": "u", "pages": None}, "SHOP_PAGES": None})
    assert Sections().get(shop()).pages == 10


def test_classes_without_prefix_or_section_find_theirs(
    directory: Place, credentials: Place
) -> None:
    """Given an alias, a section or a prefix only, Then that is what is looked for."""

    class Alias(Settings, section="alias"):
        key: SecretStr = Field(validation_alias="OLD_KEY")
        path: str = "default"

    class Prefix(Settings, env_prefix="PRE_"):
        key: str

    directory(old_key="a", PATH="by chance", path="by chance")
    credentials({"PRE_KEY": "b", "path": "by chance", "alias": {"path": "p"}})
    found = Sections().get(Alias)
    assert (found.key.get_secret_value(), found.path) == ("a", "p")
    assert Sections().get(Prefix).key == "b"


def test_a_section_may_be_called_as_a_variable(credentials: Place) -> None:
    """Given `token` as both, Then a text is the variable, and an object the section."""

    class Both(Settings, section="token"):
        value: str = Field(validation_alias="TOKEN")

    credentials({"token": "t"})
    assert Sections().get(Both).value == "t"
    credentials({"token": {"value": "s"}})
    assert Sections().get(Both).value == "s"


def test_cases_count_where_the_class_says_so(directory: Place) -> None:
    """Given case_sensitive, Then only the exact name is read."""

    class Exact(Settings, env_prefix="Shop_", case_sensitive=True):
        token: str

    directory(SHOP_TOKEN="x")
    assert problems(Exact)[0].startswith("Shop_token is missing")
    directory(Shop_token="y")
    assert Sections().get(Exact).token == "y"


def test_parts_of_values_have_files_of_their_own(directory: Place) -> None:
    """Given a delimiter, Then the part is read, and a mistake names its file."""

    class Inner(BaseModel):
        port: int

    class Nested(Settings, env_prefix="SHOP_", env_nested_delimiter="__"):
        server: Inner

    directory(SHOP_SERVER__PORT="80")
    assert Sections().get(Nested).server.port == 80
    folder = directory(SHOP_SERVER__PORT=CANARY)
    assert problems(Nested)[0].startswith(f"{folder}/SHOP_SERVER__PORT: input should be")


def test_the_settings_of_observability_are_found(
    directory: Place, credentials: Place
) -> None:
    """Given a key and a login in files, Then the engine's own classes have them."""
    from py_agent.observability.settings import ApiToken, CoreSettings
    from py_agent.observability.settings import UsernamePassword as User

    directory(SYSTEMD, dk_observability_service_account_key="k\n", DK_AGENT_TOKEN="t")
    credentials({"core": {"agent_key": "a", "observability_base_url": "http://x"},
                 "DK_AGENT_PASSWORD": "p"})  # fmt: skip
    sections = Sections()
    core = sections.get(CoreSettings)
    assert core.observability_service_account_key.get_secret_value() == "k"
    given = (
        sections.get(ApiToken).agent_token,
        sections.get(User).agent_password,
    )
    assert [each and each.get_secret_value() for each in given] == ["t", "p"]


def test_observability_is_configured_by_the_agents_own_files_only(
    directory: Place, credentials: Place
) -> None:
    """Given a key in a shared file, Then it is not; given a file of its own, it is."""
    credentials({"DK_AGENT_KEY": "k", "core": {"agent_key": "k"}})
    assert not Sections().has_observability()
    directory(SYSTEMD, dk_agent_key="k")
    assert Sections().has_observability()


# Which one wins


def test_each_place_wins_over_those_after_it(
    directory: Place, credentials: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Given all places, When the first is emptied in turn, Then the next one holds."""
    toml = tmp_path / "agent.toml"
    toml.write_text("[shop]\ntoken = 'toml'")
    monkeypatch.setenv("SHOP_TOKEN", "environment")
    systemd = directory(SYSTEMD, SHOP_TOKEN="systemd")
    own = directory(OWN, SHOP_TOKEN="own")
    credentials({"shop": {"token": "section"}, "SHOP_TOKEN": "variable"})
    found = [token()]
    toml.write_text("")
    found.append(token())
    monkeypatch.delenv("SHOP_TOKEN")
    found.append(token())
    (systemd / "SHOP_TOKEN").unlink()
    found.append(token())
    (own / "SHOP_TOKEN").unlink()
    found.append(token())
    credentials({"shop": {}, "SHOP_TOKEN": "variable"})
    found.append(token())
    assert found == ["toml", "environment", "systemd", "own", "section", "variable"]


def test_what_is_not_needed_is_not_read(
    directory: Place, credentials: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given values before them, Then files that nobody asks for may be anything."""

    class Small(Settings, env_prefix="SHOP_"):
        token: str

    folder = directory(SHOP_TOKEN=b"\xff", OTHER=b"\xff")
    (folder / "SHOP_OTHER").mkdir()
    credentials(b"no JSON")
    monkeypatch.setenv("SHOP_TOKEN", "t")
    assert Sections().get(Small).token == "t"
    monkeypatch.setenv(OWN, "/nowhere")
    assert Small(token="by hand").token == "by hand"


def test_importing_reads_nothing(tmp_path: Path) -> None:
    """Given places that cannot be read, When all is imported and defined, Then it works."""
    code = (
        "from py_agent import Agent, Settings\n"
        "class Mine(Settings, section='mine', env_prefix='MINE_'):\n    token: str\n"
        "import py_agent.observability\nAgent(); print('fine')"
    )
    nowhere = {SYSTEMD: "/nowhere", OWN: "/nowhere", CREDENTIALS: "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **nowhere}, cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "fine\n", done.stderr


# What is wrong with them


@pytest.mark.parametrize("variable", [SYSTEMD, OWN])
def test_a_directory_that_is_none_is_told(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Given a path of nothing or of a file, Then the variable and the path are named."""
    monkeypatch.setenv(variable, "/nowhere")
    said = f"{variable}: the directory /nowhere cannot be read: No such file or directory"
    assert problems() == [said]
    (tmp_path / "file").write_text(CANARY)
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    assert problems()[0].endswith("cannot be read: Not a directory")


def test_every_directory_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given two of them, Then both are lines."""
    monkeypatch.setenv(SYSTEMD, "/nowhere")
    monkeypatch.setenv(OWN, "/nowhere")
    assert [each.split(":")[0] for each in problems()] == [SYSTEMD, OWN]


def test_an_empty_variable_names_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given variables that are set to nothing, Then the secret is just missing."""
    for variable in (SYSTEMD, OWN, CREDENTIALS):
        monkeypatch.setenv(variable, "")
    assert problems()[0].startswith("[shop] token is missing. ")


def test_files_that_cannot_be_read_are_all_told(directory: Place) -> None:
    """Given four files that are none, Then each is one line that names it."""
    folder = directory(SHOP_TOKEN=CANARY.encode() + b"\xff")
    (folder / "shop_pages").mkdir()
    os.mkfifo(folder / "SHOP_HOSTS")
    (folder / "SHOP_SERVER").symlink_to(folder / "SHOP_SERVER")
    assert set(problems()) == {
        f"{folder}/SHOP_TOKEN is not UTF-8 text",
        f"{folder}/shop_pages is a directory",
        f"{folder}/SHOP_HOSTS is no file",
        f"{folder}/SHOP_SERVER cannot be read: Too many levels of symbolic links",
    }


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("SHOP_PAGES", CANARY, "input should be a valid integer"),
        ("SHOP_HOSTS", CANARY, "input should be a valid list; write it as JSON"),
        ("SHOP_HOSTS", "[1]", "input should be a valid string"),
        ("SHOP_SERVER", f'{{"port": "{CANARY}"}}', "input should be a valid integer"),
        ("SHOP_SERVER", f'{{"host": "{CANARY}"}}', "field required"),
    ],
)
def test_a_wrong_value_in_a_file_names_the_file(
    directory: Place, name: str, content: str, said: str
) -> None:
    """Given a value of the wrong type, Then the file is named, and not the value."""
    folder = directory(SHOP_TOKEN="t", **{name: content})
    [told] = problems()
    assert told.startswith(f"{folder / name}: {said}")


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"shop": {"token": [CANARY]}}, "[shop] token: input should be a valid string"),
        (
            {"shop": {"token": "t", "hosts": ["a", 5]}},
            "[shop] hosts 2: input should be a",
        ),
        ({"shop": {"token": "t", "server": {}}}, "[shop] server port: field required"),
        ({"SHOP_TOKEN": {"a": CANARY}}, "SHOP_TOKEN: input should be a valid string"),
        (
            {"shop_token": "t", "SHOP_PAGES": CANARY},
            "SHOP_PAGES: input should be a valid",
        ),
        ({"shop": CANARY}, "shop: write it as an object: {'shop': {...}}"),
        ({"shop": [CANARY]}, "shop: write it as an object"),
    ],
)
def test_a_wrong_value_in_the_credentials_names_the_key(
    credentials: Place, content: Any, place: str
) -> None:
    """Given a value of the wrong type, Then file and key are named, and not the value."""
    path = credentials(content)
    [told] = problems()
    assert told.startswith(f"{path}: {place}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (CANARY.encode(), "is not JSON: see line 1, column 1"),
        (b'{\n"shop": "' + CANARY.encode(), "is not JSON: see line 2, column 9"),
        (b"", "is not JSON: see line 1, column 1"),
        (b"\xff", "is not UTF-8 text"),
        (b'["canary-4711-secret"]', "must hold an object of JSON, as in {...}"),
        (b"[" * 100_000, "is not JSON that can be read"),
    ],
)
def test_a_file_of_credentials_that_is_none(
    credentials: Place, content: bytes, said: str
) -> None:
    """Given no JSON, no text or no object, Then one line says so."""
    path = credentials(content)
    assert problems() == [f"{CREDENTIALS}: {path} {said}"]


def test_a_file_of_credentials_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Given a path of nothing or of a directory, Then one line says so."""
    monkeypatch.setenv(CREDENTIALS, "/nowhere")
    said = f"{CREDENTIALS}: /nowhere cannot be read: No such file or directory"
    assert problems() == [said]
    monkeypatch.setenv(CREDENTIALS, str(tmp_path))
    assert problems() == [f"{CREDENTIALS}: {tmp_path} is a directory"]


def test_what_is_read_by_hand_fails_in_the_same_words(directory: Place) -> None:
    """Given a test that makes the settings itself, Then our error comes through."""
    folder = directory(SHOP_TOKEN=b"\xff")
    with pytest.raises(ConfigError, match=f"{folder}/SHOP_TOKEN is not UTF-8 text"):
        shop()()


# Who may read them


@pytest.mark.parametrize(
    ("mode", "may"),
    [
        (0o600, None), (0o400, None), (0o700, None), (0o711, None),
        (0o640, "read"), (0o604, "read"), (0o644, "read"),
        (0o620, "write"), (0o602, "write"),
        (0o660, "read and write"), (0o666, "read and write"), (0o642, "read and write"),
    ],
)  # fmt: skip
def test_only_the_owner_may_open_a_file_with_secrets(
    tmp_path: Path, mode: int, may: str | None
) -> None:
    """Given a mode, Then what others may do is told, with the command that ends it."""
    path = tmp_path / "my file"
    path.touch()
    path.chmod(mode)
    said = (
        f"{path} holds secrets, and others than its owner may {may} it: chmod 600 '{path}'"
    )
    assert exposure(path) == (said if may else "")


def test_files_of_systemd_have_modes_of_their_own(directory: Place) -> None:
    """Given a file in systemd's directory, or none at all, Then nothing is told."""
    folder = directory(SYSTEMD, key="k")
    (folder / "key").chmod(0o444)
    assert exposure(folder / "key") == exposure(folder / "gone") == ""


def test_a_type_is_secret_if_there_is_one_in_it() -> None:
    """Given unions, lists and models, also those that hold themselves, Then it is found."""

    class Tree(BaseModel):
        inner: list[Tree] = []

    class Login(BaseModel):
        tree: Tree | None = None
        password: SecretStr

    secret = [SecretStr, SecretStr | None, dict[str, SecretStr], list[Login], Secret[int]]
    assert [is_secret(each) for each in secret] == [True] * 5
    assert [is_secret(each) for each in (str, list[str], Tree, None, "x")] == [False] * 5


class Entry:
    """A job as far as settings are concerned.

    Args:
        function: what is called.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.arguments: dict[str, Any] = {}


def poll(url: str, token: SecretStr | str | None = None) -> None:
    """Stand for a job with a secret among its arguments."""


JOB = "[[jobs]]\nrun = 'poll'\nwith = {{ {} = 'x' }}"


@pytest.mark.parametrize(
    ("text", "content", "told"),
    [
        ("[shop]\ntoken = 't'", {}, ["agent.toml"]),
        ("[shop]\npages = 3", {"SHOP_TOKEN": "t"}, ["credentials.json"]),
        ("[shop]\npages = 3", {"shop": {"token": "t"}}, ["credentials.json"]),
        (
            "[shop]\ntoken = 't'",
            {"shop": {"token": "t"}},
            ["agent.toml", "credentials.json"],
        ),
        ("[shop]\npages = 3", {"shop_pages": 3, "shop": {"pages": 3}}, []),
        (JOB.format("token"), {}, ["agent.toml"]),
        (JOB.format("url"), {"token": "t"}, []),
        ("", {"OTHER_TOKEN": "t"}, []),
    ],
)
def test_a_file_with_secrets_that_others_may_open_is_a_warning(
    credentials: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch, text: str, content: Any, told: list[str],
) -> None:  # fmt: skip
    """Given both files open to others, When it starts, Then one line names each that
    holds a secret, and none does when their modes are right.
    """
    cls = shop()
    monkeypatch.setenv("SHOP_TOKEN", "t")
    toml, shared = tmp_path / "agent.toml", credentials(content)
    toml.write_text(text)
    toml.chmod(0o644)
    shared.chmod(0o640)
    check_settings([Entry(poll)])
    warned = [each.getMessage() for each in caplog.records]
    assert [each.split(" ")[0].split("/")[-1] for each in warned] == told
    assert all(each.levelno == logging.WARNING for each in caplog.records)
    toml.chmod(0o600)
    shared.chmod(0o600)
    caplog.clear()
    check_settings([Entry(poll)])
    assert (caplog.records, cls.__name__) == ([], "ShopSettings")
