"""The metrics of `agent go`, and the alerts and dashboard that are made of them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import urllib.request
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse

from .conftest import ROOT, Run, Start

EXAMPLES = ROOT / "examples"
APP = """
import sys
from py_agent import Agent, Discard, listen_for

agent = Agent("agent.sqlite")

def poll(handler):
    handler.publish("a", "1")

@listen_for({"event_type": ("==", "a")})
def look(event):
    raise Discard("no use")

agent.schedule.every(1).seconds.do(poll)
agent.add_job(poll, every=60, name="observability.heartbeat", expect_every=600)
agent.add_listener(look)
agent.go()
"""

# Prometheus' own, of each target that it scrapes.
ITS_OWN = {"up"}
NAME = re.compile(r"\b(?:py_agent|process)_[a-z_]+|\bup\b")


@pytest.fixture
def port(folder: Path) -> int:
    """A port that is free just now, and an app."""
    (folder / "app.py").write_text(APP, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def scrape(port: int) -> dict[str, list[Any]]:
    """Return the samples of each name, as Prometheus parses them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found: dict[str, list[Any]] = {}
    for family in parse(text):
        assert family.documentation
        # Without samples yet, as nothing was skipped.
        found.setdefault(
            f"{family.name}_total" if family.type == "counter" else family.name, []
        )
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def test_a_running_agent_is_scraped(
    port: int, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an agent with a port, Then its metrics are those that the examples name,
    and after the stop nobody listens there.
    """
    monkeypatch.setenv("PY_AGENT_METRICS", str(port))
    agent = start("agent", "go", "app.py")
    agent.wait_for("a dead letter now")
    agent.wait_for(f"Metrics are at http://127.0.0.1:{port}/metrics")
    found = scrape(port)
    [info] = found["py_agent_build_info"]
    assert set(info.labels) == {"version", "python"}
    known = found.keys() | ITS_OWN
    assert named_in_alerts() <= known
    assert named_in_dashboard() <= known
    ours = {each for each in found if each.startswith("py_agent_")}
    # What a dashboard does not show is told in vain.
    assert ours - named_in_dashboard() - named_in_alerts() == set()
    for samples in found.values():
        for sample in samples:
            assert {"job", "instance"}.isdisjoint(sample.labels)  # Prometheus sets them
    assert agent.stop() == 0
    with pytest.raises(OSError):
        scrape(port)


def test_a_port_that_is_taken_is_one_line(port: int, folder: Path, run: Run) -> None:
    """Given a port in use, When started, Then code 2, and no store has been made."""
    with socket.create_server(("127.0.0.1", port)):
        (folder / "agent.toml").write_text(f"[agent]\nmetrics = {port}\n")
        done = run("agent", "go", "app.py")
    assert done.returncode == 2
    *_, last = done.stderr.splitlines()
    assert f"metrics: 127.0.0.1:{port} cannot be had" in last
    assert not (folder / "agent.sqlite").exists()


def named_in_alerts() -> set[str]:
    """Return the metrics that alerts.yml names."""
    return {
        name
        for rule in rules()
        for name in NAME.findall(re.sub(r'"[^"]*"', "", rule["expr"]))
    }


def rules() -> list[dict[str, Any]]:
    """Return the rules of alerts.yml."""
    content = yaml.safe_load((EXAMPLES / "alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    found: dict[str, Any] = json.loads(
        (EXAMPLES / "grafana.json").read_text(encoding="utf-8")
    )
    return found


def named_in_dashboard() -> set[str]:
    """Return the metrics that the dashboard names."""
    asked = [
        target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]
    ]
    asked += [
        each["query"]["query"]
        for each in dashboard()["templating"]["list"]
        if each["type"] == "query"
    ]
    return {name for each in asked for name in NAME.findall(re.sub(r'"[^"]*"', "", each))}


def test_the_alerts_are_as_prometheus_wants_them() -> None:
    """Given alerts.yml, Then each rule has a name, an expression and what to tell."""
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 10
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"[A-Za-z]+", rule["alert"])
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["expr"].count("(") == rule["expr"].count(")")
        for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
            assert label in ("instance", "listener", "job_name")


@pytest.mark.skipif(which("promtool") is None, reason="Prometheus is not installed")
def test_the_alerts_fire_at_trouble_only() -> None:
    """Given jobs that fail daily, once or now and then, and deliveries that are held or
    wait, When Prometheus reads the rules, Then it fires at what needs a person.
    """
    cases = Path(__file__).with_name("alerts.test.yml")
    done = subprocess.run(
        ["promtool", "test", "rules", cases], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_can_be_imported() -> None:
    """Given grafana.json, Then ids are unique, panels do not overlap, and the data source
    is asked for.
    """
    found = dashboard()
    panels = found["panels"]
    assert found["id"] is None
    assert len({each["id"] for each in panels}) == len(panels)
    places = [
        (x, y)
        for each in panels
        for x in range(each["gridPos"]["x"], each["gridPos"]["x"] + each["gridPos"]["w"])
        for y in range(each["gridPos"]["y"], each["gridPos"]["y"] + each["gridPos"]["h"])
    ]
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) < 24
    assert {each["datasource"]["uid"] for each in panels} == {"${datasource}"}
    variables = {each["name"] for each in found["templating"]["list"]}
    assert variables == {"datasource", "job", "instance"}
