"""`agent observability` and `agent doctor`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from py_agent.cli.doctor import findings
from py_agent.cli.observability import skew_of

from ..acceptance.conftest import Run, Start
from ..acceptance.conftest import default_signals as default_signals
from ..acceptance.conftest import folder as folder
from ..acceptance.conftest import run as run
from ..acceptance.conftest import start as start
from .support import KEY, Observability

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
PAYLOAD = {"pipeline_key": "p", "run_key": "r", "status": "RUNNING"}


@pytest.fixture(autouse=True)
def environment(
    folder: Path, server: Observability, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables that lead to the server."""
    monkeypatch.setenv("DK_AGENT_KEY", "a1")
    monkeypatch.setenv("DK_OBSERVABILITY_SERVICE_ACCOUNT_KEY", KEY)
    monkeypatch.setenv("DK_OBSERVABILITY_BASE_URL", server.url)
    for name in ("DK_AGENT_TYPE", "DK_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)


# check


def test_a_good_server_is_good(run: Run, server: Observability) -> None:
    """Given a server that takes the key, When checked, Then all is ok, nothing stored."""
    done = run("agent", "observability", "check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        "ok     server", "ok     key for events", "ok     key for heartbeats",
        "ok     clock",
    ]  # fmt: skip
    assert server.stored("") == []


def test_a_key_that_lacks_a_service_is_told(run: Run, server: Observability) -> None:
    """Given a key for events only, When checked, Then the heartbeats are wrong."""
    server.say({"status": 401, "only": "/heartbeat"})
    done = run("agent", "observability", "check")
    assert done.returncode == 1
    assert "ok     key for events" in done.stdout
    assert "wrong  key for heartbeats" in done.stdout and "401" in done.stdout
    assert KEY not in done.stdout + done.stderr


def test_a_server_that_is_away_is_told(run: Run, server: Observability) -> None:
    """Given nobody at the address, When checked, Then one line says so."""
    server.stop()
    done = run("agent", "observability", "check")
    assert done.returncode == 1
    assert done.stdout.startswith("wrong  server: ")
    assert "Connection refused" in done.stdout and "Traceback" not in done.stderr


def test_another_server_is_told(
    run: Run, server: Observability, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an address that is not the API's, When checked, Then the setting is named."""
    monkeypatch.setenv("DK_OBSERVABILITY_BASE_URL", f"{server.url}/ui/login")
    done = run("agent", "observability", "check")
    assert done.returncode == 1
    assert "is observability_base_url right?" in done.stdout


@pytest.mark.parametrize(
    ("date", "skew"),
    [("Mon, 05 Jan 2026 11:59:00 GMT", 60), ("Mon, 05 Jan 2026 12:01:00 GMT", -60),
     ("", None), ("yesterday", None)],
)  # fmt: skip
def test_the_skew_is_how_far_we_are_ahead(date: str, skew: float | None) -> None:
    """Given a server's Date, Then the skew has its sign; without a date there is none."""
    assert skew_of(date, NOW) == skew


# send


def test_a_payload_is_sent_now(run: Run, server: Observability, folder: Path) -> None:
    """Given a payload, When sent by hand, Then the server has it, dated, and no store."""
    data = json.dumps(PAYLOAD)
    done = run("agent", "observability", "send", "run-status", "--data", data)
    assert (done.returncode, done.stdout) == (0, "The server has taken it\n")
    (body,) = server.stored()
    assert body.items() >= PAYLOAD.items() and body["event_timestamp"]
    assert list(folder.glob("agent.sqlite*")) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run-status", "--data", '{"status": "RUNNING"}'], "run-status"),
        (["run-status", "--data", "{"], "--data is not JSON"),
        (["run-status"], "Missing option '--data'"),
        (["run_status", "--data", "{}"], "run-status"),
        (["run-status", "--data", "[]"], "run-status"),
    ],
)
def test_what_is_wrong_is_one_line(
    run: Run, server: Observability, words: list[str], said: str
) -> None:
    """Given a wrong payload or call, When sent, Then a line says it, and nothing goes."""
    done = run("agent", "observability", "send", *words)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert server.seen("") == []


def test_a_refusal_is_told(run: Run, server: Observability) -> None:
    """Given a server that refuses, When sent by hand, Then its text is shown."""
    server.say({"status": 400, "body": {"error": "Invalid request: {'x': ['no']}"}})
    data = json.dumps(PAYLOAD)
    done = run("agent", "observability", "send", "run-status", "--data", data)
    assert done.returncode == 1
    assert "status 400" in done.stderr and "Invalid request" in done.stderr


def test_without_settings_each_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given no settings, When checked, Then every missing one is named, with exit 2."""
    for name in ("DK_AGENT_KEY", "DK_OBSERVABILITY_SERVICE_ACCOUNT_KEY",
                 "DK_OBSERVABILITY_BASE_URL"):  # fmt: skip
        monkeypatch.delenv(name)
    done = run("agent", "observability", "check")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 3


# The stand-in


def test_the_stand_in_takes_and_refuses_as_the_server_does(
    run: Run, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the stand-in, When checked and told, Then it shows what comes."""
    server = start("agent", "observability", "stand-in", "--port", "0", "--key", "k")
    server.wait_for("It listens")
    url = server.lines[0].split("URL=")[1].split(" ")[0]
    monkeypatch.setenv("DK_OBSERVABILITY_BASE_URL", url)
    refused = run("agent", "observability", "check")
    assert refused.returncode == 1 and "401" in refused.stdout
    monkeypatch.setenv("DK_OBSERVABILITY_SERVICE_ACCOUNT_KEY", "k")
    checked = run("agent", "observability", "check")
    assert checked.returncode == 0, checked.stdout
    data = json.dumps(PAYLOAD)
    sent = run("agent", "observability", "send", "run-status", "--data", data)
    assert sent.returncode == 0
    server.wait_for('204 /events/v1/run-status {"pipeline_key"')
    server.wait_for("400 /agent/v1/heartbeat Invalid request: heartbeat")
    assert server.stop(2) == 0  # Ctrl-C


def test_a_port_in_use_is_told(run: Run, server: Observability) -> None:
    """Given a port that is taken, When the stand-in starts, Then one line says so."""
    done = run("agent", "observability", "stand-in", "--port", str(server.port))
    assert done.returncode == 2
    assert "--port" in done.stderr and "Traceback" not in done.stderr


# doctor


def listener(**more: object) -> dict[str, object]:
    """Return a row of a listener that is well."""
    return {
        "name": "l", "paused": False, "pause_reason": None, "owed": 0, "snoozed": 0,
        "parked": 0, "dead": 0, "oldest_owed": None, "failing": 0, **more,
    }  # fmt: skip


def job(**more: object) -> dict[str, object]:
    """Return a row of a job that is well."""
    return {
        "name": "j", "paused": False, "pause_reason": None, "outcome": "completed",
        "error": None, "last_run": FRESH, **more,
    }  # fmt: skip


LONG_AGO = (NOW - timedelta(days=3)).isoformat()
OLD = (NOW - timedelta(hours=2)).isoformat()
FRESH = (NOW - timedelta(minutes=2)).isoformat()


@pytest.mark.parametrize(
    ("pid", "jobs", "listeners", "silent", "said"),
    [
        (7, [job()], [listener(owed=5, oldest_owed=FRESH)], [], []),
        (None, [], [], [], ["none runs on this store"]),
        (7, [job(outcome="failed", error="E: x")], [], [], ["its last run failed: E: x"]),
        (7, [job(paused=True, pause_reason="crashed")], [], [], ["it is paused: crashed"]),
        (
            7,
            [job(name="a job", paused=True, pause_reason="crashed")],
            [],
            [],
            ["it is paused: crashed; agent resume 'a job' lets it go on"],
        ),
        (7, [job()], [], ["j"], ["not succeeded for longer than expected"]),
        (
            7,
            [job(name="a job", outcome="failed", error="E: x", last_run=LONG_AGO)],
            [],
            [],
            [f"E: x; it ran last on {LONG_AGO:.10}: agent forget-job 'a job', if it is"],
        ),
        (
            7,
            [job(name="observability.heartbeat", state='{"trouble": "gone"}')],
            [],
            [],
            ["no heartbeat arrives: gone"],
        ),
        (7, [], [listener(dead=3)], [], ["3 dead letters"]),
        (7, [], [listener(parked=3)], [], ["forget-listener l"]),
        (7, [], [listener(name="a b", parked=3)], [], ["forget-listener 'a b' gives"]),
        (7, [], [listener(failing=2, owed=5, oldest_owed=FRESH)], [], ["2 of its"]),
        (7, [], [listener(owed=1, oldest_owed=OLD)], [], ["behind; 1 owed"]),
        (
            7,
            [],
            [listener(paused=True, pause_reason="401", owed=9, oldest_owed=OLD)],
            [],
            ["it is paused: 401; 9 owed, the oldest since"],
        ),
        (
            7,
            [],
            [listener(owed=9, snoozed=4, oldest_owed=OLD)],
            [],
            [f"behind; 9 owed, 4 of them snoozed, the oldest other since {OLD}"],
        ),
        (7, [job()], [listener(owed=4, snoozed=4)], [], []),
    ],
)
def test_what_needs_a_person(
    pid: int | None,
    jobs: list[dict[str, object]],
    listeners: list[dict[str, object]],
    silent: list[str],
    said: list[str],
) -> None:
    """Given what the store holds, Then each trouble is one finding, and no other is."""
    found = list(findings(pid, jobs, listeners, silent, NOW))
    assert len(found) == len(said)
    for each, words in zip(found, said, strict=True):
        assert words in each["problem"]


@pytest.mark.parametrize(
    ("pid", "outcome", "held", "said"),
    [
        (7, "running", True, "agent discard --held 'a job'"),
        (7, "completed", False, "agent release 'a job' delivers them"),
        (None, "running", False, "their run did not end"),
        (7, "running", False, None),
    ],
)
def test_events_that_are_withheld_need_a_person(
    pid: int | None, outcome: str, held: bool, said: str | None
) -> None:
    """Given held events, or such as a run that did not end has left, Then doctor says
    how to decide; those of a run that goes on need nobody.
    """
    row = {"job": "a job", "held": held, "events": 500, "deliveries": 1_000}
    jobs = [job(name="a job", outcome=outcome)]
    found = [row["problem"] for row in findings(pid, jobs, [], [], NOW, [row])]
    told = [each for each in found if "500 of its events (1000 deliveries)" in each]
    assert len(told) == (said is not None)
    assert said is None or said in told[0]


def test_doctor_says_that_reports_fail_while_the_heart_beats(
    folder: Path, server: Observability, run: Run, start: Start
) -> None:
    """Given a server that takes heartbeats only, When asked, Then doctor names the
    listener that waits, and is content once reports arrive.
    """
    (folder / "agent.toml").write_text("", encoding="utf-8")
    server.say_events({"status": 401})
    agent = start("agent", "go")
    server.await_stored(1, "/heartbeat")
    assert run("agent", "doctor").returncode == 0
    done = run("agent", "publish", "run-status", "1", "--data", json.dumps(PAYLOAD))
    assert done.returncode == 0
    agent.wait_for("is paused")
    ill = run("agent", "doctor")
    assert ill.returncode == 1
    assert "listener listeners.observability.forward: it is paused: " in ill.stdout
    assert "key" in ill.stdout and KEY not in ill.stdout
    server.say({})
    run("agent", "resume", "listeners.observability.forward")
    server.await_stored(1)
    well = run("agent", "doctor")
    assert (well.returncode, well.stdout[:11]) == (0, "All is well"), well.stdout
    assert agent.stop() == 0
    assert json.loads(run("agent", "doctor", "--json").stdout)[0]["about"] == "agent"
