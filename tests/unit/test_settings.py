"""Settings classes: sections and variables, every mistake at once, no secret shown."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from py_agent import Settings
from py_agent.errors import ConfigError, UsageError
from py_agent.settings import config as files
from py_agent.settings.classes import defined
from py_agent.settings.sections import Sections, check_settings

Write = Callable[[str], Path]

CANARY = "hunter2-canary"


@pytest.fixture(autouse=True)
def alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_settings_classes: None
) -> None:
    """No variables and no file but the test's own; its classes are forgotten."""
    for name in ("URL", "TOKEN", "PAGES", "HOSTS", "SERVER", "LABELS", "SERVER__PORT"):
        monkeypatch.delenv(f"DK_SHOP_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "SHARED", tmp_path / "etc" / "agent.toml")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes an agent.toml."""

    def to_file(text: str) -> Path:
        path = tmp_path / "site.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def shop() -> type[Any]:
    """Return the class that most tests are about."""

    class Server(BaseModel):
        host: str = "localhost"
        port: int

    class ShopSettings(Settings, section="shop", env_prefix="DK_SHOP_"):
        url: str
        token: SecretStr
        pages: int = 10
        hosts: list[Server] = []
        server: Server | None = None
        labels: dict[str, int] = {}

    return ShopSettings


def problems(cls: type[Settings], path: Path | None = None) -> list[str]:
    """Return the mistakes in a class's settings."""
    with pytest.raises(ConfigError) as caught:
        Sections(path).get(cls)
    return caught.value.problems


def test_the_file_wins_over_the_environment(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written down for this machine holds; the rest comes from the variables."""
    monkeypatch.setenv("DK_SHOP_URL", "from variable")
    monkeypatch.setenv("DK_SHOP_TOKEN", "from variable")
    found = Sections(write('[shop]\nurl = "from file"')).get(shop())
    assert (found.url, found.token.get_secret_value(), found.pages) == (
        "from file", "from variable", 10,
    )  # fmt: skip


def test_the_usual_file_is_read(tmp_path: Path) -> None:
    """Where no other is named."""
    (tmp_path / "agent.toml").write_text('[shop]\nurl = "u"\ntoken = "t"')
    assert Sections().get(shop()).url == "u"


def test_the_same_object_is_handed_over_every_time(write: Write) -> None:
    """It is read once, however often it is asked for."""
    path = write('[shop]\nurl = "u"\ntoken = "t"')
    sections, cls = Sections(path), shop()
    first = sections.get(cls)
    path.unlink()
    assert sections.get(cls) is first


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    """Making an agent touches no file."""
    sections = Sections(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="there is no file"):
        sections.get(shop())


def test_sections_may_be_nested(write: Write) -> None:
    """Models, lists and dicts are read as TOML has them."""
    text = """
    [shop]
    url = "u"
    token = "t"
    hosts = [{ port = 1 }, { host = "b", port = 2 }]
    [shop.server]
    port = 80
    [shop.labels]
    a = 1
    """
    found = Sections(write(text)).get(shop())
    assert [each.port for each in found.hosts] == [1, 2]
    assert (found.server.port, found.labels) == (80, {"a": 1})


def test_variables_hold_json_for_what_is_nested(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list or a model does not fit into one text otherwise."""
    monkeypatch.setenv("DK_SHOP_URL", "u")
    monkeypatch.setenv("DK_SHOP_TOKEN", "t")
    monkeypatch.setenv("DK_SHOP_SERVER", '{"port": 80}')
    assert Sections().get(shop()).server.port == 80


def test_every_mistake_of_a_class_is_told_at_once(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its place, in the file or in the environment."""
    monkeypatch.setenv("DK_SHOP_PAGES", "many")
    monkeypatch.setenv("DK_SHOP_LABELS", "a=1")
    path = write("""
    [shop]
    ulr = "u"
    hosts = [{ port = 1 }, { prot = 2 }]
    server = { port = "x" }
    """)
    assert set(problems(shop(), path)) == {
        f"{path}: [shop]: there is no key 'ulr'; did you mean url?",
        f"{path}: [shop] hosts 2: there is no key 'prot'; did you mean port?",
        f"{path}: [shop] hosts 2 port: field required",
        f"{path}: [shop] server port: input should be a valid integer, "
        "unable to parse string as an integer",
        f"[shop] url is missing. Put it in {path} as [shop] url, in the variable "
        "DK_SHOP_URL, or in a file DK_SHOP_URL in the directory of secrets",
        f"[shop] token is missing. Put it in {path} as [shop] token, in the variable "
        "DK_SHOP_TOKEN, or in a file DK_SHOP_TOKEN in the directory of secrets",
        "the environment: DK_SHOP_PAGES: input should be a valid integer, unable to parse "
        "string as an integer",
        "the environment: DK_SHOP_LABELS: input should be a valid dictionary; "
        "write it as JSON",
    }


def test_a_missing_value_names_both_places_without_a_file() -> None:
    """The file that a user would write."""
    assert problems(shop())[0] == (
        "[shop] url is missing. Put it in agent.toml as [shop] url, in the variable "
        "DK_SHOP_URL, or in a file DK_SHOP_URL in the directory of secrets"
    )


def test_a_missing_value_names_the_one_place_that_there_is(write: Write) -> None:
    """A class may have a section or a prefix only."""

    class InFile(Settings, section="shop"):
        url: str

    class InEnvironment(Settings, env_prefix="DK_SHOP_"):
        url: str

    class Nowhere(Settings):
        url: str

    path = write("")
    assert problems(InFile, path) == [
        f"[shop] url is missing. Put it in {path} as [shop] url"
    ]
    assert problems(InEnvironment, path) == [
        "DK_SHOP_URL is missing. Put it in the variable DK_SHOP_URL or in a file "
        "DK_SHOP_URL in the directory of secrets"
    ]
    [told] = problems(Nowhere, path)
    assert told.endswith("url is missing; give the class a section= or env_prefix=")


def test_a_missing_value_says_what_it_is_and_where_to_get_it() -> None:
    """In the words of the field's description, on one line."""

    class Github(Settings, section="github", env_prefix="GITHUB_"):
        token: SecretStr = Field(
            description="""a classic personal access token with the scope
            notifications, from github.com/settings/tokens."""
        )

    class Alone(Settings, env_prefix="GITHUB_"):
        token: SecretStr = Field(description="a token")

    assert problems(Github) == [
        "[github] token is missing: a classic personal access token with the scope "
        "notifications, from github.com/settings/tokens. Put it in agent.toml as "
        "[github] token, in the variable GITHUB_TOKEN, or in a file GITHUB_TOKEN in the "
        "directory of secrets"
    ]
    assert problems(Alone)[0].startswith("GITHUB_TOKEN is missing: a token. Put it in the")


def test_without_a_prefix_no_variable_is_read_by_chance(write: Write) -> None:
    """A field called `path` is not the machine's PATH."""

    class InFile(Settings, section="shop"):
        path: str = "default"

    assert Sections(write("")).get(InFile).path == "default"


def test_a_variable_that_an_alias_names_is_read(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    """Also without a prefix; in the file the field has its own name, too."""

    class Named(Settings, section="shop"):
        token: str = Field(validation_alias="SHOP_OLD_TOKEN")

    told = problems(Named, write(""))
    assert "[shop] token, in the variable SHOP_OLD_TOKEN, or in a file SHOP_OLD_" in told[0]
    monkeypatch.setenv("SHOP_OLD_TOKEN", "variable")
    assert Sections(write("")).get(Named).token == "variable"
    assert Sections(write('[shop]\ntoken = "file"')).get(Named).token == "file"


def test_nested_variables_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the option of pydantic-settings; a mistake names the very variable."""

    class Inner(BaseModel):
        port: int

    class Nested(Settings, env_prefix="DK_SHOP_", env_nested_delimiter="__"):
        server: Inner

    monkeypatch.setenv("DK_SHOP_SERVER__PORT", "80")
    assert Sections().get(Nested).server.port == 80
    monkeypatch.setenv("DK_SHOP_SERVER__PORT", "x")
    assert problems(Nested)[0].startswith("the environment: DK_SHOP_SERVER__PORT: input")


@pytest.mark.parametrize("key", ["URL", "_env_file", "section"])
def test_only_fields_are_keys(write: Write, key: str) -> None:
    """Spelt as they are; what the library takes besides is none of the file's business."""
    path = write(f'[shop]\nurl = "u"\ntoken = "t"\n{key} = "x"')
    [told] = problems(shop(), path)
    assert f"there is no key {key!r}" in told


@pytest.mark.parametrize("text", ["shop = 5", "[[shop]]", "shop = ['a']"])
def test_a_section_of_the_wrong_shape(write: Write, text: str) -> None:
    """Brackets are easily doubled."""
    path = write(text)
    assert problems(shop(), path)[0] == f"{path}: [shop]: write it once, as [shop] and keys"


def test_a_wrong_default_names_the_class() -> None:
    """Neither the file nor the environment is to blame."""

    class Wrong(Settings, env_prefix="DK_SHOP_"):
        pages: int = "ten"  # type: ignore[assignment]

    [told] = problems(Wrong)
    assert "Wrong: pages: its default: input should be a valid integer" in told


def strict_token() -> type[Settings]:
    """Return a class whose own checks tell more than they should."""

    class Telling(Settings, section="shop", env_prefix="DK_SHOP_"):
        token: SecretStr = SecretStr("")
        pages: int = 1
        labels: list[str] = []

        @field_validator("token")
        @classmethod
        def long_enough(cls, value: SecretStr) -> SecretStr:
            if value.get_secret_value().startswith(CANARY):
                raise ValueError(f"{value.get_secret_value()} is\ntoo short")
            return value

        @model_validator(mode="after")
        def consistent(self) -> Telling:
            assert CANARY not in self.labels, f"no {self.labels} here"
            return self

    return Telling


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'token = "{CANARY}"', "[shop] token: its own check refused it"),
        (f'labels = ["{CANARY}"]', "[shop]: no ['***'] here"),
        (f'pages = "{CANARY}"', "[shop] pages: input should be a valid integer"),
        (f'token = ["{CANARY}"]', "[shop] token: input should be a valid string"),
    ],
)
def test_no_mistake_shows_the_value(write: Write, text: str, said: str) -> None:
    """Not even in what the class's own checks say, nor in the causes of the error."""
    path = write(f"[shop]\n{text}")
    with pytest.raises(ConfigError) as caught:
        Sections(path).get(strict_token())
    assert said in str(caught.value)
    assert len(caught.value.problems) == len(str(caught.value).splitlines()) == 1
    assert CANARY not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_code_that_fails_tells_only_how(write: Write) -> None:
    """Its message may hold the value."""

    class Broken(Settings, section="shop"):
        url: str

        @field_validator("url")
        @classmethod
        def look_up(cls, value: str) -> str:
            known: dict[str, str] = {}
            return known[value]

    [told] = problems(Broken, write(f'[shop]\nurl = "{CANARY}"'))
    assert told.endswith("Broken: its own code failed with KeyError")


def test_settings_show_stars_for_secrets(write: Write) -> None:
    """However they are printed."""
    found = Sections(write(f'[shop]\nurl = "u"\ntoken = "{CANARY}"')).get(shop())
    assert CANARY not in f"{found} {found!r} {found.model_dump()}"
    assert found.token.get_secret_value() == CANARY


def test_a_test_makes_settings_by_hand() -> None:
    """Without a file; a mistake does not show the value there either."""
    cls = shop()
    assert cls(url="u", token="t").pages == 10
    with pytest.raises(ValueError, match="pages") as caught:
        cls(url="u", token="t", pages=CANARY)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("wanted", [Settings, BaseModel, int, None, "ShopSettings"])
def test_only_classes_of_the_users_own_are_settings(wanted: Any) -> None:
    """One clear line for everything else."""
    with pytest.raises(UsageError, match="derived from it|derive it from Settings"):
        Sections().get(wanted)


def test_a_class_registers_by_being_defined() -> None:
    """No list to edit elsewhere."""
    cls = shop()
    assert defined()[-1] is cls


def test_a_class_that_is_imported_again_takes_the_old_ones_place() -> None:
    """The same module and name is the same class, edited or not."""
    first, second = shop(), shop()
    assert first not in defined()
    assert second in defined()


def in_module(
    monkeypatch: pytest.MonkeyPatch, module: str, name: str, **values: Any
) -> type[Settings]:
    """Define a class with the section `twice` at the top of a module of its own."""
    made = types.ModuleType(module)
    vars(made).update(values)
    monkeypatch.setitem(sys.modules, module, made)
    body = {"__module__": module, "__qualname__": name}
    cls: type[Settings] = types.new_class(
        name, (Settings,), {"section": "twice"}, lambda space: space.update(body)
    )
    setattr(made, name, cls)
    return cls


def test_two_classes_with_one_section_are_a_mistake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each would find the other's keys unknown; both are named."""
    in_module(monkeypatch, "shop_a", "One")
    with pytest.raises(ConfigError, match=r"\[twice\] .* both shop_a\.One and shop_b\.Two"):
        in_module(monkeypatch, "shop_b", "Two")


def test_a_class_of_a_module_that_is_gone_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A moved class does not collide with what it was."""
    gone = in_module(monkeypatch, "shop_a", "One")
    monkeypatch.delitem(sys.modules, "shop_a")
    assert gone not in defined()
    moved = in_module(monkeypatch, "shop_b", "One")
    assert moved in defined()


def test_the_main_module_and_its_import_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that another module of it imports defines its classes twice."""
    in_module(monkeypatch, "__main__", "One", __file__="shop_a.py")
    again = in_module(monkeypatch, "shop_a", "One")
    assert again in defined()


@pytest.mark.parametrize("section", ["agent", "jobs", "listeners"])
def test_a_section_of_the_engine_is_refused(section: str) -> None:
    """At once, where the class is defined."""
    with pytest.raises(ConfigError, match=rf"\[{section}\] belongs to the engine"):

        class Wrong(Settings, section=section):
            pass


@pytest.mark.parametrize("section", ["", "a.b", "[shop]", "my shop", 5])
def test_a_section_has_a_plain_name(section: Any) -> None:
    """As TOML writes it without quotes."""
    with pytest.raises(ConfigError, match="is no name of a section"):

        class Wrong(Settings, section=section):
            pass


def job(settings: Any) -> None:
    """Stand for a job; what it asks for is set by the test."""


class Entry:
    """A job as far as settings are concerned.

    Args:
        wanted: the class of its one argument.
        arguments: what the user gave.
    """

    def __init__(self, wanted: type[Settings], **arguments: Any) -> None:
        def function(settings: Any) -> None:
            job(settings)

        function.__annotations__ = {"settings": wanted}
        self.function = function
        self.arguments = arguments


def test_classes_asked_for_and_sections_in_the_file_are_checked(write: Write) -> None:
    """All of them at once, whether a job names them or not."""

    class Asked(Settings, env_prefix="DK_SHOP_"):
        url: str

    class Present(Settings, section="present"):
        size: int

    class Absent(Settings, section="absent"):
        size: int

    path = write("[present]\nsize = 'x'")
    with pytest.raises(ConfigError) as caught:
        check_settings([Entry(Asked), Entry(Asked)], path)
    first, second = caught.value.problems
    assert first.startswith("DK_SHOP_URL is missing. Put it in the variable DK_SHOP_URL")
    assert second.startswith(f"{path}: [present] size: ")
    assert Absent in defined()
    assert Present in defined()


def test_what_the_user_gives_is_not_looked_for(write: Write) -> None:
    """A job with settings made in code needs no section."""
    cls = shop()
    given = Entry(cls, settings=cls(url="u", token="t"))
    path = write("")
    check_settings([given], path)
    with pytest.raises(ConfigError, match="url"):
        check_settings([Entry(cls)], path)


def test_a_misspelt_section_is_a_mistake_of_a_program(write: Write) -> None:
    """What belongs to another program that shares the file is left alone."""
    cls = shop()
    path = write("[shopp]\n[elsewhere]")
    with pytest.raises(ConfigError) as caught:
        check_settings([], path)
    assert caught.value.problems == [
        f"{path}: there is no section 'shopp'; did you mean shop?"
    ]
    check_settings([], write('[shop]\nurl="u"\ntoken="t"\n[shop2]'))
    assert cls in defined()


def test_sections_of_others_in_the_shared_file_are_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With one notice, which names their keys in sections that we share, too."""

    class Shared(Settings, section="http"):
        timeout: int = 5
        inner: dict[str, int] = {}

    caplog.set_level(logging.INFO)
    files.SHARED.parent.mkdir()
    files.SHARED.write_text("x = 1\n[core]\n[http]\nretries = 3\ntimeout = 7\n[agent]\n")
    told: list[str] = []
    sections = Sections(files.SHARED)
    sections.check_names(told)
    sections.check([Shared], told)
    assert told == []
    assert sections.get(Shared).timeout == 7
    assert [record.getMessage() for record in caplog.records] == [
        f"{files.SHARED}: sections and keys of others are left alone: core, x, http.retries"
    ]


def test_sections_of_ones_own_in_the_shared_file_are_checked() -> None:
    """Sharing a file is no reason to overlook a mistake."""
    files.SHARED.parent.mkdir()
    files.SHARED.write_text('[shop]\nurl = "u"\ntoken = "t"\npagse = 1')
    assert problems(shop(), files.SHARED) == [
        f"{files.SHARED}: [shop]: there is no key 'pagse'; did you mean pages?"
    ]


def test_a_file_that_is_not_toml_is_one_mistake(write: Write) -> None:
    """However many classes would have been read from it."""
    told: list[str] = []
    Sections(write("[shop")).check([shop(), strict_token()], told)
    assert len(told) == 1
    assert "this is not TOML" in told[0]


def test_a_path_is_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given relative paths, When read from elsewhere, Then those of the file follow it."""

    class ShopSettings(Settings, section="shop", env_prefix="SHOP_"):
        orders: Path
        bills: Path | None = None
        stock: Path = Path("stock")
        folder: str = ""

    (tmp_path / "agent.toml").write_text('[shop]\norders = "in"\nfolder = "as it is"\n')
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("SHOP_BILLS", "bills")
    found = Sections("../agent.toml").get(ShopSettings)
    assert found.orders.resolve() == tmp_path / "in"
    assert (found.bills, found.stock) == (Path("bills"), Path("stock"))
    assert found.folder == "as it is"
