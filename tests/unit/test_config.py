"""The engine's settings: agent.toml and the environment, every mistake at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from py_agent.errors import ConfigError
from py_agent.settings import config as files
from py_agent.settings.config import find_config, read_config

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but the test's own, in an empty working directory."""
    for name in list(os.environ):
        if name.upper().startswith("PY_AGENT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "SHARED", tmp_path / "etc" / "agent.toml")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes an agent.toml in a folder of its own."""

    def to_file(text: str) -> Path:
        path = tmp_path / "site" / "agent.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def problems(path: Path | None = None) -> list[str]:
    """Return the mistakes that reading finds."""
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    return caught.value.problems


def test_nothing_has_to_be_written() -> None:
    """Without a file and variables, everything is left to the code."""
    config = read_config()
    assert (config.path, config.engine.db, config.jobs, config.listeners) == (
        None,
        None,
        {},
        {},
    )


def test_the_file_in_the_working_directory_is_read_first(tmp_path: Path) -> None:
    """Before the shared one, which is read where there is no other."""
    files.SHARED.parent.mkdir()
    files.SHARED.write_text("")
    assert find_config() == files.SHARED
    (tmp_path / "agent.toml").write_text("")
    assert find_config() == Path("agent.toml")


def test_a_named_file_is_read_alone(write: Write, tmp_path: Path) -> None:
    """Whatever lies in the working directory."""
    (tmp_path / "agent.toml").write_text("[agent]\ngrace = 1")
    assert read_config(write("[agent]\ngrace = 2")).engine.grace == 2


def test_a_named_file_that_is_missing_is_a_mistake(tmp_path: Path) -> None:
    """Starting without it would start something else."""
    with pytest.raises(ConfigError, match="there is no file .*other.toml"):
        read_config(tmp_path / "other.toml")


def test_a_whole_file_is_read(write: Write) -> None:
    """Engine, jobs and listeners, as the documentation writes them."""
    config = read_config(
        write("""
        [agent]
        durability = "fast"
        grace = 5
        log_level = "debug"

        [[jobs]]
        run = "shop.poll"
        every = "10 minutes"
        with = { url = "http://localhost" }

        [[listeners]]
        run = "shop.mail"
        match = { event_type = ["==", "order"] }
        retry = { attempts = "forever", first = 2 }
        ordered_by = ["data.customer"]
        """)
    )
    job, listener = config.jobs[1], config.listeners[1]
    assert (config.engine.durability, config.engine.grace) == ("fast", 5)
    assert (job.run, job.every, job.arguments["url"]) == (
        "shop.poll", "10 minutes", "http://localhost",
    )  # fmt: skip
    assert listener.match == {"event_type": ["==", "order"]}
    assert listener.retry is not None
    assert (listener.retry.attempts, listener.retry.first) == ("forever", 2)


@pytest.mark.parametrize(
    ("variable", "name", "value"),
    [
        ("PY_AGENT_DURABILITY", "durability", "fast"),
        ("PY_AGENT_LOG_LEVEL", "log_level", "debug"),
        ("PY_AGENT_DB_PATH", "db", "/data/store.sqlite"),
    ],
)
def test_the_environment_sets_what_the_file_does_not(
    monkeypatch: pytest.MonkeyPatch, write: Write, variable: str, name: str, value: str
) -> None:
    """With a file or without."""
    monkeypatch.setenv(variable, value)
    assert getattr(read_config().engine, name) == value
    assert getattr(read_config(write("[agent]\ngrace = 1")).engine, name) == value


def test_the_file_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    """What is written down for this machine holds."""
    monkeypatch.setenv("PY_AGENT_GRACE", "1")
    monkeypatch.setenv("PY_AGENT_DB_PATH", "/from/environment")
    config = read_config(write('[agent]\ngrace = 2\ndb = "/from/file"'))
    assert (config.engine.grace, config.engine.db) == (2, "/from/file")


def test_other_variables_are_no_concern_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that no setting has is nobody's mistake."""
    monkeypatch.setenv("PY_AGENT_DB", "elsewhere")
    monkeypatch.setenv("DB", "elsewhere")
    assert read_config().engine.db is None


def test_a_relative_store_in_the_file_is_relative_to_the_file(write: Write) -> None:
    """The same store, wherever the agent is started from."""
    path = write('[agent]\ndb = "data/store.sqlite"')
    assert read_config(path).engine.db == str(path.parent / "data" / "store.sqlite")


def test_a_relative_store_in_the_environment_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    """It is relative to the working directory, as variables are, file or no file."""
    monkeypatch.setenv("PY_AGENT_DB_PATH", "store.sqlite")
    assert read_config(write("[agent]\ngrace = 1")).engine.db == "store.sqlite"


@pytest.mark.parametrize("store", [":memory:", "/data/store.sqlite"])
def test_a_store_that_is_not_relative_is_left_as_it_is(write: Write, store: str) -> None:
    """Memory is no file, and an absolute path is complete."""
    assert read_config(write(f'[agent]\ndb = "{store}"')).engine.db == store


def test_every_mistake_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    """One sentence each, with its place; not one per start."""
    monkeypatch.setenv("PY_AGENT_LOG_LEVEL", "loud")
    path = write("""
    [agent]
    durabilty = "fast"
    grace = -1

    [[jobs]]
    run = "shop.poll"
    evry = "10 minutes"

    [[jobs]]
    at = "02:30"

    [[listeners]]
    run = "shop.mail"
    retry = { atempts = 3, factor = "x" }
    concurrency = "many"
    """)
    told = problems(path)
    expected = {
        f"{path}: [agent]: there is no key 'durabilty'; did you mean durability?",
        f"{path}: [agent] grace: input should be greater than or equal to 0",
        f"{path}: [[jobs]] 1: there is no key 'evry'; did you mean every?",
        f"{path}: [[jobs]] 2 run: field required",
        f"{path}: [[listeners]] 1 retry: there is no key 'atempts'; did you mean attempts?",
        f"{path}: [[listeners]] 1 retry factor: input should be a valid number",
        f"{path}: [[listeners]] 1 concurrency: input should be a valid integer",
        "the environment: PY_AGENT_LOG_LEVEL: input should be 'debug', 'info', 'warning' "
        "or 'error'",
    }
    assert set(told) == expected
    assert len(told) == len(expected)


@pytest.mark.parametrize(
    ("key", "value"), [("every", "[1]"), ("every", "{ minutes = 5 }"), ("at", "[1]")]
)
def test_a_wrong_value_is_one_mistake(write: Write, key: str, value: str) -> None:
    """However many types would have been right."""
    path = write(f'[[jobs]]\nrun = "shop.poll"\n{key} = {value}')
    [told] = problems(path)
    assert told.startswith(f"{path}: [[jobs]] 1 {key}: input should be a valid string")


def test_mistakes_can_be_collected_with_those_of_others(write: Write) -> None:
    """What is right is returned under its position, so that more can be checked."""
    path = write("""
    [agent]
    grace = 1
    [[jobs]]
    evry = 5
    [[jobs]]
    run = "shop.poll"
    [[listeners]]
    run = "shop.mail"
    """)
    found = ["an earlier mistake"]
    config = read_config(path, problems=found)
    assert config.engine.grace == 1
    assert {number: job.run for number, job in config.jobs.items()} == {2: "shop.poll"}
    assert {number: each.run for number, each in config.listeners.items()} == {
        1: "shop.mail"
    }
    assert len(found) == 3


@pytest.mark.parametrize("text", ["agent = 5", "[[agent]]", "[jobs]", "jobs = [1]"])
def test_a_section_of_the_wrong_shape_is_a_mistake(write: Write, text: str) -> None:
    """Brackets are easily doubled or forgotten."""
    assert len(problems(write(text))) == 1


@pytest.mark.parametrize("value", ['""', "5", "true"])
def test_a_store_that_is_no_path_is_a_mistake(write: Write, value: str) -> None:
    """An empty path would be the folder itself."""
    path = write(f"[agent]\ndb = {value}")
    [told] = problems(path)
    assert told.startswith(f"{path}: [agent] db: ")


def test_a_variable_is_no_key_of_the_file(write: Write) -> None:
    """There it is called db."""
    path = write('[agent]\nPY_AGENT_DB_PATH = "x"')
    [told] = problems(path)
    assert told.endswith("there is no key 'PY_AGENT_DB_PATH'; it is db")


@pytest.mark.parametrize("with_file", [True, False])
@pytest.mark.parametrize(
    ("variable", "value"),
    [("PY_AGENT_GRACE", "soon"), ("PY_AGENT_DB_PATH", ""), ("PY_AGENT_DURABILITY", "none")],
)
def test_a_mistake_in_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
    write: Write,
    variable: str,
    value: str,
    with_file: bool,
) -> None:
    """And not the file, where the user would look in vain."""
    monkeypatch.setenv(variable, value)
    [told] = problems(write('[agent]\nlog_level = "info"') if with_file else None)
    assert told.startswith(f"the environment: {variable}: ")


def test_a_mistake_does_not_show_the_value(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    """It may be a secret in the wrong place."""
    monkeypatch.setenv("PY_AGENT_GRACE", "hunter2")
    told = problems(write('[agent]\nlog_level = "hunter2"\n[[jobs]]\nrun = ["hunter2"]'))
    assert len(told) == 3
    assert "hunter2" not in "\n".join(told)


@pytest.mark.parametrize("text", ["[agent", "a = ", "[agent]\n[agent]"])
def test_a_file_that_is_not_toml_is_a_mistake(write: Write, text: str) -> None:
    """The place in the file is told, without a traceback."""
    path = write(text)
    [told] = problems(path)
    assert told.startswith(f"{path}: this is not TOML: ")


def test_a_file_that_is_not_text_is_a_mistake(write: Write) -> None:
    """A store named in place of the file, for example."""
    path = write("")
    path.write_bytes(b"SQLite\n\xff\xfe")
    assert problems(path) == [
        f"{path}: this is not TOML: line 2 is not UTF-8; save the file as UTF-8"
    ]


def test_without_jobs_and_listeners_only_the_engines_section_is_checked(
    write: Write,
) -> None:
    """A command that looks at the store does not mind a wrong job."""
    path = write("[agent]\ngrace = 1\n[[jobs]]\nevry = 5\n[extra]")
    assert read_config(path, whole=False).engine.grace == 1


def test_sections_of_the_users_own_are_left_to_who_knows_them(write: Write) -> None:
    """Whose they are is known when the code is imported; ours are read as ever."""
    path = write("[core]\nx = 1\n[http]\n[agent]\ngrace = 3\n")
    assert read_config(path).engine.grace == 3


@pytest.mark.parametrize("key", ["GRACE", "_env_file", "PY_AGENT_GRACE"])
def test_only_the_engines_own_keys_are_read(write: Write, key: str) -> None:
    """Spelt as they are; what the library takes besides is none of the file's business."""
    path = write(f'[agent]\n{key} = "x"')
    [told] = problems(path)
    assert f"there is no key {key!r}" in told


def test_our_own_sections_in_the_shared_file_are_checked() -> None:
    """Sharing a file is no reason to overlook a mistake."""
    files.SHARED.parent.mkdir()
    files.SHARED.write_text("[core]\n[agent]\ngrce = 3\n")
    assert problems() == [
        f"{files.SHARED}: [agent]: there is no key 'grce'; did you mean grace?"
    ]


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("9464", ("127.0.0.1", 9464)),
        ('"9464"', ("127.0.0.1", 9464)),
        ('"0.0.0.0:80"', ("0.0.0.0", 80)),
        ('"[::1]:80"', ("::1", 80)),
        ('"localhost:80"', ("localhost", 80)),
    ],
)
def test_metrics_are_told_at_an_address(
    write: Write, monkeypatch: pytest.MonkeyPatch, written: str, found: tuple[str, int]
) -> None:
    """A port alone is of this machine only."""
    assert read_config(write(f"[agent]\nmetrics = {written}")).engine.metrics == found
    monkeypatch.setenv("PY_AGENT_METRICS", written.strip('"'))
    assert read_config().engine.metrics == found


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('":9464"', "write the port alone for this machine only"),
        ('"localhost"', "write a port of this machine"),
        ('"localhost:http"', "write a port of this machine"),
        ("true", "write a port of this machine"),
        ("70000", "a port is a number from 1 to 65535"),
        ("0", "a port is a number from 1 to 65535"),
    ],
)
def test_an_address_that_is_none_is_a_mistake(
    write: Write, written: str, told: str
) -> None:
    """All addresses of a machine are never meant by leaving something out."""
    [problem] = problems(write(f"[agent]\nmetrics = {written}"))
    assert "[agent] metrics: " + told in problem


@pytest.mark.parametrize(
    ("written", "found"),
    [('"90 days"', 90 * 86_400), ('"1d"', 86_400), ("172800", 172_800)],
)
def test_runs_are_kept_for_days(
    write: Write, monkeypatch: pytest.MonkeyPatch, written: str, found: float
) -> None:
    """Given a length of time, When it is read from either place, Then it is in seconds."""
    assert read_config(write(f"[agent]\nkeep_runs = {written}")).engine.keep_runs == found
    if written.startswith('"'):
        monkeypatch.setenv("PY_AGENT_KEEP_RUNS", written.strip('"'))
        assert read_config().engine.keep_runs == found


@pytest.mark.parametrize("written", ['"for ever"', '"23 hours"', "90", "true", "[]", "-1"])
def test_runs_are_not_kept_for_less_than_a_day(write: Write, written: str) -> None:
    """Given what is no day, as 90 without a unit, When read, Then a right one is shown."""
    [problem] = problems(write(f"[agent]\nkeep_runs = {written}"))
    assert "[agent] keep_runs: write a length of time of a day at least" in problem
    assert '"90 days"' in problem
