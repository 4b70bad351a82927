"""The ready-made listener against a real server process: nothing lost, nothing twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from listeners.observability import forward
from py_agent.testing import AgentUnderTest

from .support import KEY, Observability, configure, runs_of, status


def publish(agent: AgentUnderTest, count: int, event_type: str = "run-status") -> None:
    """Publish reports of so many runs."""
    bodies = {
        "run-status": {"status": "RUNNING"},
        "message-log": {"log_level": "INFO", "message": "hello"},
    }
    for number in range(count):
        run = f"r{number}"
        payload = {"pipeline_key": "p", "run_key": run, **bodies[event_type]}
        agent.handler.publish(event_type, run, payload)


def states(agent: AgentUnderTest) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in agent.deliveries(forward):
        found[each.state] = found.get(each.state, 0) + 1
    return found


def reasons(agent: AgentUnderTest) -> list[str]:
    return [str(each.reason) for each in agent.deliveries(forward, "discarded")]


# What is sent


def test_a_report_is_posted_as_the_contract_says(
    agent: AgentUnderTest, server: Observability
) -> None:
    """Given a run status, When delivered, Then it is one post with key and length."""
    agent.handler.publish("run-status", "1", status(component_tool="x"))
    agent.drain()
    (post,) = server.seen("")
    assert post["path"] == "/events/v1/run-status"
    headers = {name.lower(): value for name, value in post["headers"].items()}
    assert headers["serviceaccountauthenticationkey"] == KEY
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(post["body"]))
    assert "transfer-encoding" not in headers


def test_a_report_without_a_moment_gets_that_of_its_event(
    agent: AgentUnderTest, server: Observability
) -> None:
    """Given a payload without event_timestamp, When sent late, Then it tells the truth."""
    agent.handler.publish("run-status", "1", status())
    created = agent.published("run-status")[0].created
    agent.clock.advance(hours=3)
    agent.drain()
    assert server.stored()[0]["event_timestamp"] == created.isoformat()


def test_what_the_contract_refuses_is_not_sent(
    agent: AgentUnderTest, server: Observability
) -> None:
    """Given a wrong payload, When delivered, Then it is dead with the field's name."""
    agent.handler.publish("run-status", "1", status(status="PENDING"))
    agent.handler.publish("run-status", "2", status())
    agent.drain()
    assert states(agent) == {"discarded": 1, "completed": 1}
    assert "status" in reasons(agent)[0]
    assert len(server.seen()) == 1


def test_other_events_are_not_forwarded(
    agent: AgentUnderTest, server: Observability
) -> None:
    """Given an event of another type, When published, Then nothing is owed for it."""
    agent.handler.publish("order.created", "1", {})
    agent.drain()
    assert states(agent) == {}


def test_many_outcomes_are_sent_in_parts(
    agent: AgentUnderTest, server: Observability
) -> None:
    """Given 1,201 test outcomes in one event, When delivered, Then three posts hold all."""
    outcomes = [{"name": f"t{n}", "status": "PASSED"} for n in range(1_201)]
    payload = {"dataset_key": "d", "test_outcomes": outcomes}
    agent.handler.publish("test-outcomes", "1", payload)
    agent.drain()
    sent = [name["name"] for body in server.stored() for name in body["test_outcomes"]]
    sizes = sorted(len(body["test_outcomes"]) for body in server.stored())
    assert sizes == [201, 500, 500]
    assert sorted(sent) == sorted(each["name"] for each in outcomes)


# What the server says


def test_an_error_that_passes_is_tried_again(
    agent: AgentUnderTest, server: Observability
) -> None:
    """Given a server that answers 503 twice, When time passes, Then it has each once."""
    server.say({"status": 503}, {"status": 503}, {})
    publish(agent, 5)
    agent.advance(minutes=5)
    assert runs_of(server.stored()) == dict.fromkeys(["r0", "r1", "r2", "r3", "r4"], 1)
    assert len(server.seen()) == 7


@pytest.mark.parametrize("code", [400, 404, 413, 415, 422])
def test_a_refusal_is_final_and_holds_back_nothing(
    agent: AgentUnderTest, server: Observability, code: int
) -> None:
    """Given a refused report, When delivered, Then it is dead and the others arrive."""
    said = {"error": "Invalid request: {'run_key': ['Length must be ...']}", "details": {}}
    server.say({"status": code, "body": said}, {})
    publish(agent, 4)
    agent.advance(hours=2)
    assert states(agent) == {"discarded": 1, "completed": 3}
    assert str(code) in reasons(agent)[0]
    assert "run_key" in reasons(agent)[0]
    assert len(server.seen()) == 4


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_key_makes_everything_wait(
    agent: AgentUnderTest,
    server: Observability,
    code: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given a refused key, When hours pass, Then nothing is dropped, it is said once an
    hour and without the key, and when the key works all arrive.
    """
    server.say({"status": code})
    publish(agent, 20)
    agent.advance(hours=5)
    assert states(agent) == {"available": 20}
    said = [each for each in caplog.messages if "service-account key" in each]
    assert 5 <= len(said) <= 6
    assert KEY not in caplog.text
    assert len(server.seen()) <= 4 * (5 * 3_600 / 30 + 12)  # four at a time, in 30 s
    server.say({})
    agent.advance(minutes=2)
    assert runs_of(server.stored()) == {f"r{n}": 1 for n in range(20)}


@pytest.mark.parametrize("value", ["7", "120"])
def test_a_full_server_is_given_the_time_it_asks_for(
    agent: AgentUnderTest, server: Observability, value: str
) -> None:
    """Given 429 with Retry-After, When delivered, Then nothing is sent before that."""
    server.say({"status": 429, "headers": {"Retry-After": value}})
    publish(agent, 10)
    agent.drain()
    tries = len(server.seen())
    assert tries <= 4
    agent.advance(int(value) - 1)
    assert len(server.seen()) == tries
    server.say({})
    agent.advance(minutes=2)
    assert runs_of(server.stored()) == {f"r{n}": 1 for n in range(10)}


def test_a_rate_limit_on_a_success_sends_nothing_again(
    agent: AgentUnderTest, server: Observability
) -> None:
    """Given X-RateLimit-Reset on a 204, When delivered, Then there is one post."""
    for name in ("X-RateLimit-Reset", "RateLimit-Reset", "X-Rate-Limit-Reset"):
        server.say({"headers": {name: "0", "X-RateLimit-Remaining": "0"}})
        agent.handler.publish("run-status", name, status(name))
        agent.advance(hours=1)
    assert len(server.seen()) == 3


@pytest.mark.parametrize("code", [200, 301, 302, 307, 308])
def test_what_is_not_observability_takes_nothing(
    agent: AgentUnderTest, server: Observability, code: int
) -> None:
    """Given a redirect or a page instead of 204, When delivered, Then it is no success,
    no redirect is followed, and all arrive when the address is right.
    """
    server.say(
        {"status": code, "headers": {"Location": f"{server.url}/events/v1/elsewhere"}}
    )
    publish(agent, 3)
    agent.advance(minutes=10)
    assert states(agent) == {"available": 3}
    assert server.seen("elsewhere") == []
    server.say({})
    agent.advance(minutes=2)
    assert runs_of(server.stored()) == {"r0": 1, "r1": 1, "r2": 1}


# When the answer is lost


def test_a_status_whose_answer_was_lost_is_sent_again(
    agent: AgentUnderTest, server: Observability
) -> None:
    """Given a lost answer to a run status, When tried again, Then the server has it twice
    and its run goes on.
    """
    server.say({"lose": True}, {})
    agent.handler.publish("run-status", "1", status())
    agent.handler.publish("run-status", "2", status(status="COMPLETED"))
    agent.advance(minutes=5)
    found = [each["status"] for each in server.stored()]
    assert found == ["RUNNING", "RUNNING", "COMPLETED"]


@pytest.mark.parametrize("trouble", [{"lose": True}, {"status": 504}])
def test_anything_else_whose_answer_was_lost_is_in_doubt(
    agent: AgentUnderTest, server: Observability, trouble: dict[str, Any]
) -> None:
    """Given a lost answer to a message, When time passes, Then it is a dead letter, in
    doubt, and was sent once.
    """
    server.say(trouble, {})
    publish(agent, 3, "message-log")
    agent.advance(hours=1)
    assert states(agent) == {"discarded": 1, "completed": 2}
    assert reasons(agent)[0].startswith("in doubt")
    assert len(server.seen()) == 3


def test_what_is_sent_again_can_be_chosen(
    agent: AgentUnderTest, server: Observability
) -> None:
    """Given other settings, When answers are lost, Then they decide for each type."""
    configure(agent, server, resend=["message-log"])
    server.say({"lose": True}, {})
    publish(agent, 1, "message-log")
    agent.advance(minutes=5)
    server.say({"lose": True}, {})
    agent.handler.publish("run-status", "s", status("s"))
    agent.advance(minutes=5)
    assert runs_of(server.stored()) == {"r0": 2, "s": 1}
    assert reasons(agent)[0].startswith("in doubt")


# When the server is away


def test_an_outage_costs_nothing_but_time(
    agent: AgentUnderTest, server: Observability
) -> None:
    """Given a server that is away for six hours, When it is back, Then what waited arrives
    once and at the rate that is set, and no attempt was counted meanwhile.
    """
    server.stop()
    publish(agent, 100)
    agent.advance(hours=6)
    assert states(agent) == {"available": 100}
    assert [each.attempts for each in agent.deliveries(forward)] == [0] * 100
    assert {each.error for each in agent.deliveries(forward)} == {None}
    server.start()
    before = agent.clock.boot()
    agent.advance(minutes=3)
    assert runs_of(server.stored()) == {f"r{n}": 1 for n in range(100)}
    assert agent.clock.boot() - before >= 100 / 5


def test_one_that_the_server_cannot_take_stops_no_other(
    agent: AgentUnderTest, server: Observability
) -> None:
    """Given a report that the server fails at, When others come, Then they arrive."""
    server.say({"status": 500, "match": "poison"})
    agent.handler.publish("run-status", "poison", status("poison"))
    agent.drain()
    publish(agent, 50)
    agent.drain()
    assert len(agent.deliveries(forward, "retryable")) == 1
    assert runs_of(server.stored()) == {f"r{n}": 1 for n in range(50)}


def test_many_that_the_server_cannot_take_stop_no_other(
    agent: AgentUnderTest, server: Observability
) -> None:
    """Given more bad reports than are sent at a time, Then the good ones arrive."""
    server.say({"status": 500, "match": "poison"})
    for number in range(9):
        agent.handler.publish("run-status", f"p{number}", status(f"poison{number}"))
    publish(agent, 20)
    agent.advance(minutes=30)
    assert runs_of(server.stored()) == {f"r{n}": 1 for n in range(20)}
    assert states(agent) == {"completed": 20, "retryable": 9}


def test_a_frozen_server_costs_few_doubts(
    agent: AgentUnderTest, server: Observability
) -> None:
    """Given a server that takes connections and says nothing, When hours pass, Then what
    may not be repeated waits, but for the few that were being sent.
    """
    configure(agent, server, read_timeout=0.2, connection_timeout=0.2)
    publish(agent, 40, "message-log")
    server.freeze()
    agent.advance(minutes=30)
    assert states(agent)["discarded"] <= 8
    server.thaw()
    agent.advance(minutes=5)
    assert "available" not in states(agent)
    assert set(runs_of(server.stored()).values()) == {1}


def test_statuses_of_a_run_arrive_in_order(
    agent: AgentUnderTest, server: Observability
) -> None:
    """Given a first status that fails, When retried, Then those after it waited for it,
    also where the key is spelled another way, and another run did not wait.
    """
    server.say({"status": 503}, {})
    agent.handler.publish("run-status", "1", status("r1", "RUNNING"))
    agent.drain()
    agent.handler.publish("run-status", "2", status("R1 ", "FAILED"))
    agent.handler.publish("run-status", "3", status("other"))
    agent.drain()
    assert [each["run_key"] for each in server.stored()] == ["other"]
    agent.advance(minutes=5)
    assert [each["status"] for each in server.stored()] == ["RUNNING", "RUNNING", "FAILED"]


@pytest.mark.parametrize(("count", "rate"), [(1_000, 8), (100, 50)])
def test_the_rate_is_kept(
    agent: AgentUnderTest, server: Observability, count: int, rate: int
) -> None:
    """Given many reports, When they are sent, Then no faster than the setting says."""
    configure(agent, server, events_per_second=rate)
    publish(agent, count)
    before = agent.clock.boot()
    agent.drain()
    assert runs_of(server.stored()) == {f"r{n}": 1 for n in range(count)}
    assert agent.clock.boot() - before == pytest.approx((count - 1) / rate, abs=0.01)


def test_the_key_is_in_no_error(
    agent: AgentUnderTest, server: Observability, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a server that quotes the key, When it refuses, Then the reason has stars."""
    quoted = {"body": {"error": f"bad {KEY}"}}
    server.say({"status": 400, **quoted}, {"status": 500, **quoted})
    publish(agent, 2)
    agent.drain()
    told = json.dumps([[each.reason, each.error] for each in agent.deliveries(forward)])
    assert KEY not in told + caplog.text
    assert "***" in told


@pytest.mark.parametrize("before", [970, 990, 995])
def test_the_key_is_not_shown_in_part(
    agent: AgentUnderTest, server: Observability, before: int
) -> None:
    """Given a long text that ends in the key, When it is cut, Then no part is left."""
    server.say({"status": 400, "body": {"error": "x" * before + KEY}})
    publish(agent, 1)
    agent.drain()
    assert KEY[:4] not in reasons(agent)[0]
