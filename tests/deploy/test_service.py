"""The unit under a real systemd: a hang, a crash, and ends that need a person."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import machine
from .conftest import Played, Site
from .test_deploy import changed

QUICK = "/run/systemd/system/py_agent.service.d/quick.conf"


@pytest.fixture
def quick(site: Site, deployed: Played) -> Iterator[Site]:
    """The service with a short watchdog and a short wait before it is started again."""
    site.machine.run(
        f"mkdir -p $(dirname {QUICK}) && "
        f"printf '[Service]\\nWatchdogSec=2\\nRestartSec=100ms\\n' > {QUICK} && "
        "systemctl daemon-reload && systemctl restart py_agent"
    )
    yield site
    site.machine.run(f"rm {QUICK} && systemctl daemon-reload && systemctl restart py_agent")


def restarted(site: Site, times: int) -> bool:
    """Tell whether systemd has started it again so often, and it is ready."""
    return (site.shown("NRestarts"), site.shown("ActiveState")) == (str(times), "active")


def test_one_that_hangs_is_started_again(quick: Site) -> None:
    """Given an agent that does not move, When the watchdog has waited, Then a new one."""
    before = quick.shown("MainPID")

    quick.machine.run(f"kill -STOP {before}")
    machine.until(lambda: restarted(quick, 1))

    said = quick.machine.run("journalctl -u py_agent -o cat -n 20").stdout
    assert "watchdog" in said.lower()
    assert quick.shown("MainPID") != before
    assert "All is well" in quick.agent("doctor")


def test_a_kill_loses_nothing(quick: Site) -> None:
    """Given events on their way, When it is killed, Then each reaches its listener."""
    quick.machine.run(
        "cd /var/lib/py_agent; for each in 1 2 3 4; do "
        "/opt/py_agent/agent publish order killed-$each; "
        "[ $each = 2 ] && systemctl kill -s KILL py_agent; done; true"
    )
    machine.until(lambda: restarted(quick, 1))

    def all_noted() -> bool:
        orders = quick.machine.run("cat /var/lib/py_agent/orders", False).stdout.split()
        return {f"killed-{each}" for each in range(1, 5)} <= set(orders)

    machine.until(all_noted)
    assert "All is well" in quick.agent("doctor")


def test_a_wrong_configuration_is_not_tried_again(quick: Site) -> None:
    """Given a mistake in agent.toml, When started, Then it ends with 2, once."""
    config = quick.machine.root / quick.machine.run(
        "readlink /opt/py_agent/current"
    ).stdout.strip().lstrip("/") / "agent.toml"  # fmt: skip

    with changed(config, "[[jobs]]", "jobz = 1\n[[jobs]]"):
        assert quick.machine.run("systemctl restart py_agent", False).returncode != 0
        assert ended(quick) == ("failed", "2", "0")


def test_a_refused_store_is_not_tried_again(quick: Site) -> None:
    """Given a store that is none, When started, Then it ends with 3, once."""
    store = "/var/lib/py_agent/agent.sqlite"
    quick.machine.run(
        f"systemctl stop py_agent && mv {store} {store}.aside && "
        f"echo nonsense > {store} && chown py_agent: {store}"
    )
    try:
        assert quick.machine.run("systemctl start py_agent", False).returncode != 0
        assert ended(quick) == ("failed", "3", "0")
    finally:
        quick.machine.run(f"mv {store}.aside {store}")


def ended(site: Site) -> tuple[str, ...]:
    """Return how it ended, and how often it was started again."""
    names = ("ActiveState", "ExecMainStatus", "NRestarts")
    return tuple(site.shown(each) for each in names)
