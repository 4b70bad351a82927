"""An existing agent's file or environment is enough to run one of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from py_agent.observability.integrations import INTEGRATIONS

from ..acceptance.conftest import Run, Start
from ..acceptance.conftest import default_signals as default_signals
from ..acceptance.conftest import folder as folder
from ..acceptance.conftest import run as run
from ..acceptance.conftest import start as start
from .support import KEY, Observability


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine is set up with says nothing about the tests."""
    import os

    for name in [each for each in os.environ if each.startswith(("DK_", "PY_AGENT_"))]:
        monkeypatch.delenv(name)


CORE = """
[core]
agent_type = "{agent_type}"
agent_key = "our-agent"
observability_service_account_key = "{key}"
observability_base_url = "{url}/"
log_level = "info"
max_channel_capacity = 0
heartbeat_period = 30.0

[http]
read_timeout = 20.0
follow_redirects = true
retries = 3
ssl_verify = true

[observability]
read_timeout = 20.0
max_total_connections = 10
keepalive_expiration = 10.0
"""

NOBODY = "http://127.0.0.1:9/"  # the discard port: nobody answers there

SECTIONS = {
    "airflow": (
        f'[airflow]\napi_url = "{NOBODY}api/v1"\nperiod = 5.0\n'
        '[auth_username_password]\nagent_username = "u"\nagent_password = "tool-secret"\n',
        {
            "DK_AIRFLOW_API_URL": f"{NOBODY}api/v1",
            "DK_AGENT_USERNAME": "u",
            "DK_AGENT_PASSWORD": "tool-secret",
        },
        "jobs.airflow_runs.airflow_runs",
    ),
    "databricks": (
        f'[databricks]\ndatabricks_host = "{NOBODY}"\ndatabricks_jobs = ["etl"]\n'
        'databricks_jobs_version = "2.1"\ntimeout = 120.0\nperiod = 5.0\n'
        '[auth_api_token]\nagent_token = "tool-secret"\n',
        {
            "DK_DATABRICKS_HOST": NOBODY,
            "DK_DATABRICKS_JOBS": '["etl"]',
            "DK_AGENT_TOKEN": "tool-secret",
            "DK_PERIOD": "5",
            "DK_TIMEOUT": "120",
        },
        "jobs.databricks_runs.databricks_runs",
    ),
    "dbt": (
        '[dbt]\nproject = "."\n',
        {"DK_DBT_PROJECT": "."},
        "jobs.dbt_results.dbt_results",
    ),
    "http_runs": (
        f'[http_runs]\nurl = "{NOBODY}runs"\npipeline = "flow"\nrun = "id"\n'
        'status = "state"\n[auth_api_token]\nagent_token = "tool-secret"\n',
        {
            "DK_HTTP_RUNS_URL": f"{NOBODY}runs",
            "DK_HTTP_RUNS_PIPELINE": "=nightly",
            "DK_HTTP_RUNS_RUN": "id",
            "DK_HTTP_RUNS_STATUS": "state",
        },
        "jobs.http_runs.http_runs",
    ),
    "example_agent": (
        '[example]\ntarget_url = "ws://127.0.0.1:9/"\n'
        'component_type = "batch_pipeline"\ntimeout = 120.0\nperiod = 5.0\n',
        {
            "DK_EXAMPLE_TARGET_URL": "ws://127.0.0.1:9/",
            "DK_EXAMPLE_COMPONENT_TYPE": "Dataset",
            "DK_EXAMPLE_TIMEOUT": "120",
        },
        "jobs.target_example.target_example",
    ),
}


def arrange(
    how: str,
    agent_type: str,
    server: Observability,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Write the file, or set the variables, of an existing agent; return its job."""
    section, variables, job = SECTIONS[agent_type]
    if how == "file":
        text = CORE.format(agent_type=agent_type, key=KEY, url=server.url) + section
        (folder / "agent.toml").write_text(text, encoding="utf-8")
        return job
    variables |= {
        "DK_AGENT_TYPE": agent_type,
        "DK_AGENT_KEY": "our-agent",
        "DK_OBSERVABILITY_SERVICE_ACCOUNT_KEY": KEY,
        "DK_OBSERVABILITY_BASE_URL": server.url,
        "DK_LOG_LEVEL": "INFO",
        "DK_HTTP_READ_TIMEOUT": "20",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return job


@pytest.mark.parametrize("how", ["file", "environment"])
@pytest.mark.parametrize("agent_type", list(SECTIONS))
def test_an_existing_agent_runs_unchanged(
    how: str,
    agent_type: str,
    folder: Path,
    server: Observability,
    start: Start,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given the configuration of an existing agent, When `agent go` is typed, Then its
    integration, the forwarding and the heartbeat run, and a report arrives.
    """
    job = arrange(how, agent_type, server, folder, monkeypatch)
    agent = start("agent", "go")
    agent.wait_for("heartbeats go to")
    server.await_stored(1, "/heartbeat")
    beat = server.stored("/heartbeat")[0]
    assert (beat["key"], beat["tool"]) == ("our-agent", agent_type)
    listed = run("agent", "jobs")
    assert job in listed.stdout and "observability.heartbeat" in listed.stdout
    payload = '{"pipeline_key": "p", "run_key": "r", "status": "RUNNING"}'
    assert run("agent", "publish", "run-status", "1", "--data", payload).returncode == 0
    server.await_stored(1)
    assert agent.stop() == 0
    assert "Traceback" not in "\n".join(agent.lines)
    assert "tool-secret" not in "\n".join(agent.lines)


def test_a_type_that_is_not_there_yet_is_told_with_those_that_are(
    folder: Path, server: Observability, run: Run
) -> None:
    """Given an agent_type that we do not ship, When started, Then one line names ours."""
    text = CORE.format(agent_type="qlik", key=KEY, url=server.url)
    (folder / "agent.toml").write_text(text, encoding="utf-8")
    done = run("agent", "go")
    assert done.returncode == 2
    (line,) = [each for each in done.stderr.splitlines() if "qlik" in each]
    for name in INTEGRATIONS:
        assert name in line
    assert "Traceback" not in done.stderr
    assert server.seen("") == []


def test_what_is_missing_is_told_all_at_once(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an environment with half of what is needed, When started, Then each missing
    variable is one line, and no store is made.
    """
    monkeypatch.setenv("DK_AGENT_TYPE", "example_agent")
    monkeypatch.setenv("DK_AGENT_KEY", "a1")
    monkeypatch.setenv("DK_EXAMPLE_COMPONENT_TYPE", "report")
    done = run("agent", "go")
    assert done.returncode == 2
    for name in (
        "DK_OBSERVABILITY_SERVICE_ACCOUNT_KEY",
        "DK_OBSERVABILITY_BASE_URL",
        "DK_EXAMPLE_TARGET_URL",
        "DK_EXAMPLE_COMPONENT_TYPE",
    ):
        assert len([each for each in done.stderr.splitlines() if name in each]) == 1
    assert "Traceback" not in done.stderr
    assert list(folder.iterdir()) == []


def test_unverified_certificates_are_refused(
    folder: Path, server: Observability, run: Run
) -> None:
    """Given ssl_verify = false, When started, Then one line says what to write instead."""
    text = CORE.format(agent_type="example_agent", key=KEY, url=server.url)
    text = text.replace("ssl_verify = true", "ssl_verify = false")
    text += SECTIONS["example_agent"][0]
    (folder / "agent.toml").write_text(text, encoding="utf-8")
    done = run("agent", "go")
    assert done.returncode == 2
    assert "[http] ssl_verify: certificates are always verified" in done.stderr


def test_jobs_of_ones_own_leave_the_integration_out(
    folder: Path, server: Observability, start: Start, run: Run
) -> None:
    """Given an agent_type and [[jobs]], When started, Then only those jobs run."""
    text = CORE.format(agent_type="airflow", key=KEY, url=server.url)
    text += '[[jobs]]\nrun = "mine.poll"\nevery = "1 hour"\n'
    (folder / "agent.toml").write_text(text, encoding="utf-8")
    (folder / "mine.py").write_text("def poll(handler): pass\n", encoding="utf-8")
    agent = start("agent", "go")
    agent.wait_for("heartbeats go to")
    assert agent.stop() == 0
    listed = run("agent", "jobs").stdout
    assert "mine.poll" in listed and "airflow_runs" not in listed


def test_an_agent_in_code_has_a_heartbeat_too(
    folder: Path, server: Observability, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a program with an agent and DK_* variables, When run, Then its heart beats."""
    arrange("environment", "example_agent", server, folder, monkeypatch)
    (folder / "program.py").write_text(
        "from py_agent import Agent\nagent = Agent()\n"
        "agent.add_job(lambda: None, every=60, name='nothing')\nagent.go()\n",
        encoding="utf-8",
    )
    agent = start("agent", "go", "program.py")
    server.await_stored(1, "/heartbeat")
    assert agent.stop() == 0
