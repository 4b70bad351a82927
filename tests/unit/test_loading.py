"""Finding the user's code, and saying what is wrong with it in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Required, TypedDict, Unpack

import pytest
from pydantic import AfterValidator, SecretStr

from py_agent import Agent
from py_agent.errors import ConfigError, LoadError
from py_agent.loading import (
    add_path,
    agent_of_config,
    load_agent,
    load_function,
)
from py_agent.registry import FOR_JOBS
from py_agent.settings.conversion import convert_arguments
from py_agent.settings.secret_types import secret_arguments


def refuse(value: object) -> object:
    raise ValueError(f"there is no {value}")


def refuse_secret(value: SecretStr) -> object:
    return refuse(value.get_secret_value())


Column = Annotated[str, AfterValidator(refuse)]
Key = Annotated[SecretStr, AfterValidator(refuse_secret)]


@pytest.fixture(autouse=True)
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_settings_classes: None
) -> Iterator[Path]:
    """A working directory whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / f"{name}.py"
    file.write_text(text, encoding="utf-8")
    return file


BEGIN = "from py_agent import Agent\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BEGIN, "defines no agent"),
        (BEGIN + "a = Agent()\nb = Agent()\n", "defines 2 agents; name one"),
        ("import no_such_thing\n", "ModuleNotFoundError"),
        ("def f(:\n", "mine.py:1: SyntaxError"),
        ("raise SystemExit('enough')\n", "SystemExit: enough"),
        (BEGIN + "Agent(durability='slow')\n", 'durability is "full" or "fast"'),
    ],
)
def test_a_file_without_a_clear_agent(folder: Path, text: str, said: str) -> None:
    """The line names the file, and where it can, the line in it."""
    write(folder, "mine", text)
    with pytest.raises(LoadError) as caught:
        load_agent("mine.py")
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_of_several_agents_the_one_that_goes_is_meant(folder: Path) -> None:
    """A file that calls go() says by that which of its agents it is."""
    write(folder, "mine", BEGIN + "a = Agent('a.db')\nb = Agent('b.db')\nb.go()\n")
    assert load_agent("mine.py").store_path() == (folder / "b.db").resolve()
    assert load_agent("mine:a").store_path() == (folder / "a.db").resolve()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine:f:g", "has no function 'f:g'"),
        ("mine:", "write module:function"),
        ("mine.g", "known are Box, f"),
        ("mine.value", "is not a function but int"),
        ("mine.Box.method", None),
        ("nowhere.f", "there is no module 'nowhere' here"),
        ("mine..f", "write module.function"),
    ],
)
def test_functions_by_name(folder: Path, name: str, said: str | None) -> None:
    """Dotted or with a colon; what is not there names what is."""
    write(
        folder, "mine",
        "def f(): pass\nvalue = 1\nclass Box:\n    def method(self): pass\n",
    )  # fmt: skip
    if said is None:
        assert load_function(name).__name__ == "method"
        return
    with pytest.raises(LoadError, match=None) as caught:
        load_function(name)
    assert said in str(caught.value)


def test_a_module_is_its_function_of_the_same_name(folder: Path) -> None:
    """Given a module in a package, When only it is named, Then its function is meant."""
    (folder / "rooms").mkdir()
    write(folder / "rooms", "kitchen", "def kitchen(): pass\ndef sink(): pass\n")
    write(folder / "rooms", "broken", "1 / 0\n")
    write(folder / "rooms", "bath", "value = 1\n")

    assert load_function("rooms.kitchen") is load_function("rooms.kitchen.kitchen")
    assert load_function("rooms.kitchen.sink").__name__ == "sink"
    for name, said in [
        ("rooms.kitchn", "did you mean kitchen"),
        ("rooms.broken", "broken.py:1: ZeroDivisionError"),
        ("rooms.bath", "module rooms.bath has no function 'bath'"),
    ]:
        with pytest.raises(LoadError, match=said):
            load_function(name)


def test_what_is_no_secret_is_quoted() -> None:
    """Given a check that names the wrong word, When that is no secret, Then it is shown;
    the same words about a secret are not.
    """

    def job(column: Column, key: Key) -> None:
        """Take a column and a secret."""

    with pytest.raises(ConfigError) as caught:
        convert_arguments(job, {"column": "place", "key": "canary"}, FOR_JOBS)
    assert caught.value.problems[0] == "argument 'column': there is no place"
    assert "canary" not in caught.value.problems[1]


def test_arguments_are_converted_by_annotation(tmp_path: Path) -> None:
    """Relative paths are relative to the file that names them."""

    def job(handler: object, path: Path, wait: timedelta, many: list[int], free) -> None:  # type: ignore[no-untyped-def]
        """Take arguments of several types."""

    given = {"path": "inbox", "wait": "PT5M", "many": [1, "2"], "free": "x"}
    assert convert_arguments(job, given, FOR_JOBS, tmp_path) == {
        "path": tmp_path / "inbox",
        "wait": timedelta(minutes=5),
        "many": [1, 2],
        "free": "x",
    }


def test_every_argument_that_does_not_fit_is_told() -> None:
    """All at once, with the nearest name for one that is not known."""

    def job(handler: object, path: Path, count: int) -> None:
        """Take two arguments."""

    with pytest.raises(ConfigError) as caught:
        convert_arguments(job, {"pth": "x", "count": "many", "handler": 1}, FOR_JOBS)
    first, second, third, fourth = caught.value.problems
    assert fourth == "argument 'path' is missing; write it into `with`"
    assert "did you mean path?" in first
    assert "argument 'count'" in second
    assert "'handler' is handed over by the agent" in third


def test_a_function_that_takes_anything() -> None:
    """With ** in its signature, no argument is unknown."""

    def job(**anything: object) -> None:
        """Take anything."""

    assert convert_arguments(job, {"x": 1}, FOR_JOBS) == {"x": 1}


def test_agent_toml_with_every_option(folder: Path) -> None:
    """Each key of a listener and a job reaches the registry."""
    write(folder, "mine", "def job(): pass\ndef listen(event): pass\n")
    (folder / "agent.toml").write_text(
        "[[jobs]]\nrun = 'mine.job'\nname = 'nightly'\nat = '02:30'\n"
        "[[listeners]]\nrun = 'mine:listen'\nname = 'ear'\n"
        "match = { event_type = ['==', 'a'] }\n"
        "retry = { attempts = 'forever', first = 2 }\n"
        "timeout = 5\nconcurrency = 3\nordered_by = ['data.a', 'identifier']\n",
        encoding="utf-8",
    )
    registry = agent_of_config().registry
    (job,), (listener,) = registry.jobs, registry.listeners
    assert (job.name, job.schedule) == ("nightly", "every day at 02:30:00")
    assert (listener.name, listener.timeout, listener.concurrency) == ("ear", 5, 3)
    assert (listener.retry.attempts, listener.retry.first) == (None, 2)
    assert listener.ordered_by == ("data.a", "identifier")


def test_without_a_file_an_agent_may_be_empty() -> None:
    """Commands that only look do not need an agent.toml."""
    assert isinstance(agent_of_config(needed=False), Agent)
    with pytest.raises(ConfigError, match="there is no agent.toml here"):
        agent_of_config()


def test_a_path_is_put_first_once(tmp_path: Path) -> None:
    """As python does with a program's folder."""
    add_path(str(tmp_path / "lib"))
    add_path(str(tmp_path / "lib"))
    assert sys.path[0] == str(tmp_path / "lib")
    assert sys.path.count(str(tmp_path / "lib")) == 1


SETTINGS = (
    "from py_agent import Settings\n"
    "class Shop(Settings, section='shop', env_prefix='DK_SHOP_'):\n"
    "    url: str\n"
    "    pages: int = 1\n"
    "def job(handler, mine: Shop): pass\n"
)


def config(folder: Path, text: str) -> None:
    (folder / "agent.toml").write_text(
        f"{text}\n[[jobs]]\nrun = 'mine.job'\nevery = 5\n", encoding="utf-8"
    )


def mistakes() -> list[str]:
    with pytest.raises(ConfigError) as caught:
        agent_of_config()
    return caught.value.problems


def test_a_section_of_a_class_that_a_job_brings_is_known(folder: Path) -> None:
    """The code is imported before sections are looked at."""
    write(folder, "mine", SETTINGS)
    config(folder, "[shop]\nurl = 'u'")
    assert [job.name for job in agent_of_config().registry.jobs] == ["mine.job"]


def test_settings_are_checked_with_all_the_rest(folder: Path) -> None:
    """Jobs, sections and values: every mistake at once."""
    write(folder, "mine", SETTINGS)
    text = "[shop]\npages = 'x'\n[shpo]\n[[jobs]]\nrun = 'mine.job'\nevry = 5\n"
    config(folder, text)
    told = "\n".join(mistakes())
    for said in ("[[jobs]] 1: there is no key 'evry'", "[shop] pages: ",
                 "[shop] url is missing. Put it in agent.toml as [shop] url, in the ",
                 "there is no section 'shpo'; did you mean shop?"):  # fmt: skip
        assert said in told
    assert len(told.splitlines()) == 4


def test_a_section_of_nobody_is_a_mistake(folder: Path) -> None:
    """It may be of a job that is not named any more; what is known is named."""
    write(folder, "mine", "def job(): pass\n")
    config(folder, "[zzz]\nx = 1")
    [told] = mistakes()
    assert told.startswith("agent.toml: there is no section 'zzz'; known are agent, jobs, ")


def test_a_key_outside_all_sections_is_a_mistake(folder: Path) -> None:
    """A section's first line is easily lost."""
    write(folder, "mine", "def job(): pass\n")
    config(folder, "grace = 5")
    [told] = mistakes()
    assert told.startswith("agent.toml: there is no key 'grace'; known are agent, jobs, ")


def test_a_section_whose_code_does_not_import_is_not_blamed(folder: Path) -> None:
    """The one mistake is told, and not what follows from it."""
    write(folder, "mine", SETTINGS + "1 / 0\n")
    config(folder, "[zzz]\nurl = 'u'")
    [told] = mistakes()
    assert "ZeroDivisionError" in told


@pytest.mark.parametrize("table", ["run = 'nowhere.job'\nevry = 5", "evry = 5", "run = 5"])
def test_a_section_is_not_blamed_when_some_code_is_not_known(
    folder: Path, table: str
) -> None:
    """It may belong to the job whose table is wrong; one that looks misspelt is told."""
    write(folder, "mine", SETTINGS)
    config(folder, f"[zzz]\n[shpo]\n[[jobs]]\n{table}")
    told = "\n".join(mistakes())
    assert "'zzz'" not in told
    assert "there is no section 'shpo'; did you mean shop?" in told


def test_a_command_that_only_looks_needs_no_secrets(folder: Path) -> None:
    """They may be known to the running agent only; a wrong name is told all the same."""
    write(folder, "mine", SETTINGS)
    config(folder, "")
    assert len(agent_of_config(needed=False).registry.jobs) == 1
    config(folder, "[shpo]")
    with pytest.raises(ConfigError, match="did you mean shop"):
        agent_of_config(needed=False)


def test_settings_are_no_argument_in_the_file(folder: Path) -> None:
    """The line says where they are written instead."""
    write(folder, "mine", SETTINGS)
    (folder / "agent.toml").write_text(
        "[[jobs]]\nrun = 'mine.job'\nevery = 5\nwith = { mine = 1 }\n", encoding="utf-8"
    )
    [told] = mistakes()
    assert told == (
        "agent.toml: [[jobs]] 1 (mine.job): 'mine' is settings, handed over by the agent; "
        "set them in [shop]"
    )


BEGIN_JOB = """
from py_agent.settings import checked_by
def even(count=0):
    if count % 2: raise ValueError(f"{count} is odd")
def job(handler, count: int = 1): ...
def heard(event, count: int = 1): ...
@checked_by(even)
def pairs(handler, count: int = 0): ...
"""


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            "[[jobs]]\nrun = 'mine.job'\nevery = '1 minuet'\nwith = { count = 'many' }",
            ["argument 'count'", "every: '1 minuet' is no length of time"],
        ),
        (
            "[[jobs]]\nrun = 'mine.job'\nevery = '1 minuet'\nat_start = 'yes'",
            ["at_start: input should be", "every: '1 minuet' is no length of time"],
        ),
        (
            "[[jobs]]\nrun = 'mine.job'\nevry = '1 hour'\nwith = { cuont = 2 }",
            ["there is no key 'evry'", "there is no argument 'cuont'"],
        ),
        (
            "[[jobs]]\nrun = 'mine.pairs'\nevery = '1 minuet'\nwith = { count = 3 }",
            ["(mine.pairs): 3 is odd", "every: '1 minuet' is no length of time"],
        ),
        ("[[jobs]]\nrun = 'mine.job'\nwith = 7\nat = 5", [" at: input", " with: input"]),
        ("[[jobs]]\nrun = 'mine.jbo'\nevery = true", ["every: ", "no function 'jbo'"]),
        ("[[jobs]]\nrun = 5\nevery = '1 minuet'", ["run: input should be"]),
        ("[[jobs]]\nrun = ''\nevery = '1 hour'", ["'' is no function"]),
        (
            "[[listeners]]\nrun = 'mine.heard'\nwith = { count = 'many' }\n"
            "match = { event_type = ['=', 'x'] }\nconcurrency = 'two'",
            ["argument 'count'", "no operator '='", "concurrency: input should be"],
        ),
        (
            "[[listeners]]\nrun = 'mine.heard'\nthrotle = '1 hour'\ndebounce = 'soon'",
            ["there is no key 'throtle'", "debounce: 'soon' is no length"],
        ),
        ("jobs = 5", ["write [[jobs]]"]),
        ("[[listeners]]\nrun = 'mine.heard'\nmatch = 1", ["match: input should be"]),
    ],
)
def test_no_mistake_in_a_table_hides_another(
    folder: Path, table: str, told: list[str]
) -> None:
    """Given several mistakes in one table, When it is read, Then each is told, and what is
    missing because it was wrong is not told as missing.
    """
    write(folder, "mine", BEGIN_JOB)
    (folder / "agent.toml").write_text(table)
    with pytest.raises(ConfigError) as caught:
        agent_of_config(None)
    for sentence in told:
        assert sentence in str(caught.value)
    assert len(caught.value.problems) == len(told)


class Place(TypedDict, total=False):
    room: str
    floor: Required[int]
    key: SecretStr


def placed(handler: object, name: str = "x", **place: Unpack[Place]) -> None: ...


def test_shared_arguments_are_checked_like_others() -> None:
    """Given arguments in a TypedDict, When they are read, Then they are converted, a secret
    is known as one, and what is unknown, missing or of a wrong type is told.
    """
    given = {"floor": 2, "key": "k", "name": "y"}
    made = convert_arguments(placed, given, FOR_JOBS)
    assert made == {"floor": 2, "key": SecretStr("k"), "name": "y"}
    assert secret_arguments([placed]) == {"key"}
    with pytest.raises(ConfigError) as caught:
        convert_arguments(placed, {"rom": "r", "room": 7, "place": {}}, FOR_JOBS)
    assert sorted(caught.value.problems) == [
        "argument 'floor' is missing; write it into `with`",
        "argument 'room': input should be a valid string",
        "there is no argument 'place'; known are floor, key, name, room",
        "there is no argument 'rom'; did you mean room?",
    ]


def tagged(handler: object, tags: list[str], keys: list[SecretStr] | None = None) -> None:
    """Take lists."""


def test_a_text_in_the_place_of_a_list_is_shown_as_one() -> None:
    """Given a text where a list belongs, Then one line shows what to write, no secret."""
    with pytest.raises(ConfigError) as caught:
        convert_arguments(tagged, {"tags": "github", "keys": "canary"}, FOR_JOBS)
    assert caught.value.problems == [
        "argument 'tags': write a list, as [\"github\"]",
        "argument 'keys': input should be a valid list",
    ]


def test_a_file_with_nothing_to_do_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Given an empty agent.toml, When it is to run, Then one line says so."""
    (folder / "agent.toml").touch()
    agent_of_config(None, needed=False)
    assert caplog.text == ""
    agent_of_config(None)
    assert "agent.toml names no job and no listener; write [[jobs]]" in caplog.text
