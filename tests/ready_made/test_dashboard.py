"""listeners.dashboard: one JSON file for a screen, whole at every moment."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import listeners.whole_file as file_module
from jobs.transit import MbtaSettings, transit
from jobs.weather import OpenMeteoSettings, OpenWeatherSettings, weather
from listeners.dashboard import FORMAT, DashboardSettings, dashboard, what_to_wear
from py_agent import Agent, Discard, Event, Pause
from py_agent.loading import agent_of_config
from py_agent.testing import AgentUnderTest

from ..http.support import PATIENCE
from .transit_server import TransitServer
from .weather_server import WeatherServer

Show = Callable[..., Any]

BASE = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the dashboard is, in a folder of its own."""
    folder = tmp_path / "screen"
    folder.mkdir()
    return folder / "dashboard.json"


@pytest.fixture
def show(agent: Agent, file: Path) -> Show:
    """Call the listener with an event, and return what the file holds then."""

    def call(event: Event, **arguments: Any) -> Any:
        dashboard(agent.handler, event, DashboardSettings(file=file), **arguments)
        return shown(file)

    return call


def shown(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def moment(seconds: float = 0) -> datetime:
    """Return a moment of the last minutes, or so many seconds after it."""
    return BASE + timedelta(seconds=seconds)


def forecast(seconds: float = 0, number: int = 1, **data: Any) -> Event:
    """Return an event of jobs.weather that was told so many seconds later than others."""
    content = {
        "place": "Boston", "units": "metric", "now": {"temperature": 3},
        "today": {"feels_low": -4, "feels_high": 3, "rain_chance": 60, "wind": 10},
        "hours": [], **data,
    }  # fmt: skip
    return Event(
        "weather_forecast", f"w{number}", content, created=moment(seconds), id=number
    )


def buses(seconds: float = 0, number: int = 1, *minutes: float, **data: Any) -> Event:
    """Return an event of jobs.transit, likewise."""
    content = {
        "stop": "2168", "stop_name": "Harvard Ave", "route": "66", "route_name": "66",
        "direction": 1, "direction_name": "Inbound", "destination": "Nubian Station",
        "departures": [
            {"time": moment(60 * each).isoformat(), "headsign": f"in {each}", "live": True}
            for each in minutes
        ],
        **data,
    }  # fmt: skip
    return Event(
        "transit_departures", f"b{number}", content, created=moment(seconds), id=number
    )


# What is shown


def test_the_weather_is_shown_with_what_to_wear(show: Show) -> None:
    """Given a forecast, Then it stands in the file as it was told, with clothes."""
    event = forecast()
    board = show(event)
    assert board["format"] == FORMAT
    assert board["buses"] == []
    assert board["weather"] == {
        **event.data, "wear": ["warm coat", "hat and gloves", "umbrella"],
        "told": event.created.isoformat(), "event": 1,
    }  # fmt: skip


def test_buses_are_shown_in_order(show: Show) -> None:
    """Given departures in any order, Then times are sorted, and the first is named."""
    board = show(buses(0, 1, 30, 10, 20))
    assert board["weather"] is None
    assert board["buses"] == [{
        "stop": "2168", "stop_name": "Harvard Ave", "route": "66", "route_name": "66",
        "direction": 1, "direction_name": "Inbound", "destination": "Nubian Station",
        "headsign": "in 10", "live": True,
        "departures": [moment(60 * each).isoformat() for each in (10, 20, 30)],
        "told": moment().isoformat(), "event": 1,
    }]  # fmt: skip


def test_each_stop_route_and_direction_is_shown(show: Show) -> None:
    """Given several of them and the weather, Then all stand in the file, each once."""
    show(forecast())
    show(buses(1, 2, 5, stop_name="Z", stop="1"))
    show(buses(2, 3, 5, direction=0))
    board = show(buses(3, 4, 6))
    assert board["weather"]["place"] == "Boston"
    assert [(each["stop"], each["direction"]) for each in board["buses"]] == [
        ("2168", 0), ("2168", 1), ("1", 1),
    ]  # fmt: skip
    assert show(buses(9, 5))["buses"][1]["departures"] == []


def test_times_of_several_offsets_are_sorted_as_moments(show: Show) -> None:
    """Given the night in which the clocks change, Then the earlier moment comes first."""
    times = ["2026-11-01T01:50:00-04:00", "2026-11-01T01:10:00-05:00"]
    departures = [{"time": each} for each in reversed(times)]
    assert show(buses(departures=departures))["buses"][0]["departures"] == times


def test_one_place_of_several(show: Show, caplog: pytest.LogCaptureFixture) -> None:
    """Given forecasts of two places, Then a listener may show one of them only, and the log
    names the other, as a misspelt place fits none.
    """
    caplog.set_level(logging.INFO)
    show(forecast(0, 1), place="Boston")
    board = show(forecast(5, 2, place="Rome"), place="Boston")
    assert "the weather of Rome is left out: place = 'Boston'" in caplog.text
    assert board["weather"]["place"] == "Boston"
    assert show(forecast(5, 2, place="Rome"))["weather"]["place"] == "Rome"


def test_by_agent_toml_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given one line in agent.toml and a variable, Then both types are listened for."""
    monkeypatch.setenv("PY_AGENT_DASHBOARD_FILE", str(tmp_path / "d.json"))
    file = tmp_path / "agent.toml"
    file.write_text("[[listeners]]\nrun = 'listeners.dashboard.dashboard'\n")
    (listener,) = agent_of_config(str(file)).registry.listeners
    assert listener.filter.matches(forecast())
    assert listener.filter.matches(buses())
    assert not listener.filter.matches(Event("other", "1"))
    assert DashboardSettings().file == tmp_path / "d.json"


def test_from_the_services_to_the_file(running: AgentUnderTest, file: Path) -> None:
    """Given both jobs and the listener, When the world changes, Then the file shows it."""
    sky, bus = WeatherServer(running.clock.now()), TransitServer(running.clock.now)
    running.settings |= {
        OpenMeteoSettings: OpenMeteoSettings(api_url=sky.host),
        OpenWeatherSettings: OpenWeatherSettings(),
        MbtaSettings: MbtaSettings(api_url=bus.host),
    }
    running.add_listener(dashboard, file=file)
    try:
        for minutes in (10, 14):
            bus.predictions = [bus.departs("a", minutes)]
            running.run_job(weather, latitude=42.36, longitude=-71.06)
            running.run_job(transit, stop="2168", route="66")
            running.drain()
            sky.current["condition"] = "rain"
            time = datetime.fromisoformat(shown(file)["buses"][0]["departures"][0])
            assert time > running.clock.now() + timedelta(minutes=minutes - 1)
    finally:
        sky.close()
        bus.close()
    board = shown(file)
    assert board["weather"]["now"]["condition"] == "rain"
    assert board["weather"]["wear"] == ["warm coat", "hat and gloves", "boots"]
    assert datetime.fromisoformat(board["updated"]) == running.clock.now()


# What comes late, or twice


def test_what_comes_late_replaces_nothing_newer(show: Show) -> None:
    """Given an older event that is delivered later, Then the newer one stays."""
    show(forecast(20, 2, place="new"))
    show(buses(20, 4, 7))
    board = show(forecast(10, 1, place="old"))
    assert board["weather"]["place"] == "new"
    board = show(buses(10, 3, 9))
    assert board["buses"][0]["departures"] == [moment(7 * 60).isoformat()]


def test_events_of_one_moment_are_told_apart(show: Show) -> None:
    """Given two events of one microsecond, Then the one with the higher number stays."""
    show(forecast(0, 8, place="eight"))
    assert show(forecast(0, 7, place="seven"))["weather"]["place"] == "eight"
    assert show(forecast(0, 9, place="nine"))["weather"]["place"] == "nine"


def test_a_repeat_writes_nothing(show: Show, file: Path) -> None:
    """Given the same event again, Then the file is not written."""
    show(buses(0, 1, 5))
    before = file.stat().st_ino, file.stat().st_mtime_ns
    show(buses(0, 1, 5))
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == before


def test_a_clock_that_was_set_back(show: Show) -> None:
    """Given a part told in the future, Then the clock was wrong, and news replace it."""
    show(forecast(7_200, 1, place="by a wrong clock"))
    assert show(forecast(0, 2, place="now"))["weather"]["place"] == "now"


def test_departures_of_a_day_ago_are_dropped(show: Show) -> None:
    """Given a stop that is told no more, Then it vanishes with the next event."""
    show(buses(-80_000, 1, 5, stop="1"))
    assert len(show(buses(0, 2, 5))["buses"]) == 2
    late = buses(-90_000, 3, 5, stop="3")
    assert len(show(late)["buses"]) == 2


def test_an_old_part_goes_when_another_comes(show: Show, file: Path) -> None:
    """Given a file with departures told long ago, When written, Then they are left out."""
    board = show(buses(0, 1, 5, stop="1"))
    board["buses"][0]["told"] = moment(-90_000).isoformat()
    file.write_text(json.dumps(board))
    assert [each["stop"] for each in show(buses(0, 2, 5))["buses"]] == ["2168"]


# What is not as it should be


NO_WEATHER: list[Any] = [
    None, [], "x", {}, {"now": 1, "today": {}}, {"now": {}, "today": None},
]  # fmt: skip
NO_DEPARTURES: list[Any] = [
    None, [], {}, {"stop": 1, "route": "2", "departures": []},
    {"stop": "1", "route": "2", "departures": {}},
]  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [Event("weather_forecast", "1", each) for each in NO_WEATHER]
    + [Event("transit_departures", "1", each) for each in NO_DEPARTURES],
)
def test_other_data_are_discarded(show: Show, file: Path, event: Event) -> None:
    """Given an event with data of another form, Then it is a dead letter that says why."""
    with pytest.raises(Discard, match="its data are no"):
        show(event)
    assert not file.exists()


def test_odd_values_are_shown_as_gaps(show: Show) -> None:
    """Given odd values among good ones, Then the good ones are shown."""
    show(forecast(today={"feels_low": "cold", "rain_chance": True}, hours=[1, {}]))
    times = [None, 5, {}, {"time": 5}, {"time": "soon"}, {"time": "2026-01-05T12:00:00"}]
    good = {"time": moment().isoformat()}
    board = show(buses(departures=[*times, good], stop_name=None, route_name=[]))
    assert board["weather"]["wear"] == []
    (bus,) = board["buses"]
    assert bus["departures"] == [good["time"]]
    assert (bus["stop_name"], bus["route_name"], bus["headsign"]) == ("2168", "66", None)


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff\xfe", b"[]", b'{"name": "mine"}', b"[" * 100_000,
     json.dumps({"format": FORMAT, "weather": 1, "buses": []}).encode(),
     json.dumps({"format": FORMAT, "weather": None, "buses": [1]}).encode(),
     json.dumps({"format": FORMAT, "weather": None, "buses": [{"stop": 1}]}).encode(),
     b" " * 10_000_001],
    ids=["torn", "bytes", "list", "another", "deep", "weather", "bus", "stop", "huge"],
)  # fmt: skip
def test_what_is_not_ours_is_kept_aside(
    show: Show, file: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Given another file in its place, Then it is kept, and that is said once."""
    file.write_bytes(content)
    assert show(forecast())["weather"]["place"] == "Boston"
    show(forecast(5, 2))
    kept = file.with_name("dashboard.json.kept-1")
    assert kept.read_bytes() == content
    (line,) = [each.message for each in caplog.records if each.levelno > logging.INFO]
    assert f"{file} is not what this listener writes; it is kept as {kept.name}" in line


def test_what_was_kept_before_is_not_lost(show: Show, file: Path) -> None:
    """Given a kept file already, Then another one gets another name."""
    for number in (1, 2):
        file.write_text(f"mine {number}")
        show(forecast(number, number))
    kept = sorted(file.parent.glob("*.kept-*"))
    assert [each.read_text() for each in kept] == ["mine 1", "mine 2"]


def test_an_empty_file_is_no_foreign_one(show: Show, file: Path) -> None:
    """Given a file made by `touch`, with a mode of its own, Then it is filled."""
    file.touch(0o600)
    show(forecast())
    assert sorted(each.name for each in file.parent.iterdir()) == [
        "dashboard.json",
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_new_file_can_be_read_by_others(show: Show, file: Path) -> None:
    """Given a strict umask, Then the new file is still readable, and only for reading."""
    before = os.umask(0o077)
    try:
        show(forecast())
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_missing_folder(show: Show, file: Path) -> None:
    """Given no folder, Then one line names it, none is made, and it is looked for."""
    with pytest.raises(
        Pause, match=r"no such folder for the dashboard: .*nothere; make it"
    ) as caught:
        show(forecast(), file=file.parent / "nothere" / "d.json")
    assert caught.value.after == 60
    assert not (file.parent / "nothere").exists()


def test_a_folder_that_comes_later(running: AgentUnderTest, tmp_path: Path) -> None:
    """Given no folder for long, When it is made, Then no event was given up."""
    running.add_listener(dashboard, file=tmp_path / "later" / "d.json")
    running.handler.publish("weather_forecast", "1", forecast().data)
    running.drain()
    for _ in range(12):
        running.advance(minutes=2)
    assert {each.state for each in running.deliveries()} == {"available"}
    (tmp_path / "later").mkdir()
    running.advance(minutes=2)
    assert shown(tmp_path / "later" / "d.json")["weather"]["place"] == "Boston"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file(show: Show, file: Path, make: Callable[[Path], None]) -> None:
    """Given a folder or a pipe in its place, Then one line says so, and it stays."""
    make(file)
    with pytest.raises(Pause, match="cannot be written: it is no plain file"):
        show(forecast())
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize("content", ["root:x:0\n", "", None])
def test_a_link_to_what_is_not_ours_is_refused(
    show: Show, file: Path, tmp_path: Path, content: str | None
) -> None:
    """Given a link out of the folder, Then one line says so, and nothing is touched."""
    other = tmp_path / "passwd"
    if content is not None:
        other.write_text(content)
    file.symlink_to(other)
    names = sorted(tmp_path.iterdir())
    with pytest.raises(Pause, match=f"{file} is a link to {other}, which is no dashboard"):
        show(forecast())
    assert sorted(tmp_path.iterdir()) == names
    assert content is None or other.read_text() == content


def test_a_link_to_one_of_ours_is_followed(show: Show, file: Path, tmp_path: Path) -> None:
    """Given a link to a dashboard in another folder, Then that one is written."""
    other = tmp_path / "board.json"
    show(forecast(), file=other)
    file.symlink_to(other)
    assert show(forecast(1, 2, place="Rome"))["weather"]["place"] == "Rome"
    assert file.is_symlink()
    assert shown(other)["weather"]["place"] == "Rome"


def test_links_in_a_circle(show: Show, file: Path) -> None:
    """Given a link to itself, Then it waits with one line."""
    file.symlink_to(file)
    with pytest.raises(Pause, match="cannot be written: Too many levels of symbolic links"):
        show(forecast())


def test_a_lock_that_is_never_let_go(running: AgentUnderTest, file: Path) -> None:
    """Given another program that keeps the lock, Then it waits, and goes on after it."""
    running.add_listener(dashboard, file=file)
    running.handler.publish("weather_forecast", "1", forecast().data)
    draft = file.with_name(".dashboard.json.part")
    with draft.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        running.drain()
        (one,) = running.deliveries()
        assert (one.state, file.exists()) == ("available", False)
    running.advance(minutes=2)
    assert shown(file)["weather"]["place"] == "Boston"
    assert not draft.exists()


def test_a_link_stays_one(show: Show, file: Path) -> None:
    """Given a link to a file elsewhere, Then the file is replaced and not the link."""
    real = file.parent / "real.json"
    file.symlink_to(real)
    show(forecast())
    assert file.is_symlink()
    assert shown(real)["weather"]["place"] == "Boston"


# Whole at every moment


def test_a_full_disk_leaves_the_old_file(show: Show, file: Path) -> None:
    """Given no room for the new file, Then the old one stays until there is."""
    show(forecast())
    before, names = file.read_bytes(), sorted(file.parent.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(Pause, match="too large"):
            show(forecast(1, 2, place="new"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_bytes() == before
    assert sorted(file.parent.iterdir()) == names
    assert show(forecast(2, 3, place="newer"))["weather"]["place"] == "newer"


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
def test_any_step_that_fails_leaves_the_old_file(
    show: Show, file: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a disk that fails at some step, Then the old file stays, and nothing else."""
    show(forecast())
    before, names = file.read_bytes(), sorted(file.parent.iterdir())

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fail)
        with pytest.raises(Pause, match="No space left"):
            show(forecast(1, 2))
    assert file.read_bytes() == before
    assert sorted(file.parent.iterdir()) == names


WRITER = """
import sys
from pathlib import Path
from listeners.whole_file import replacing
file = Path(sys.argv[1])
for number in range(1_000_000):
    with replacing(file) as draft:
        draft.write(b'{"number": %d, "filling": "%s"}' % (number, b"x" * 100_000))
    if number == 0:
        print("begun", flush=True)
"""


def test_a_kill_in_the_middle_leaves_a_whole_file(show: Show, file: Path) -> None:
    """Given a writer that is killed while it writes, Then the file is whole, and free."""
    root = str(Path(file_module.__file__).parents[1])
    deadline = time.monotonic() + PATIENCE
    for least in (1, 2):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(file)],
            stdout=subprocess.PIPE, env={"PYTHONPATH": root},
        ) as writer:  # fmt: skip
            try:
                assert writer.stdout is not None
                assert writer.stdout.readline() == b"begun\n"
                while json.loads(file.read_bytes())["number"] < least:
                    assert time.monotonic() < deadline
            finally:
                writer.kill()
        assert writer.returncode == -signal.SIGKILL
        assert len(json.loads(file.read_bytes())["filling"]) == 100_000
    assert show(forecast())["weather"]["place"] == "Boston"
    assert not file.with_name(".dashboard.json.part").exists()


def test_there_is_a_file_at_every_moment_when_one_is_kept(
    show: Show, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given another's file, When ours takes its place, Then it was there until then."""
    file.write_text("mine")
    replace, found = os.replace, list[str]()

    def looked(source: Any, target: Any) -> None:
        found.append(file.read_text())
        replace(source, target)

    monkeypatch.setattr(os, "replace", looked)
    show(forecast())
    assert found == ["mine"]
    assert file.with_name("dashboard.json.kept-1").read_text() == "mine"


def test_a_crash_while_one_is_kept_keeps_it_once(show: Show, file: Path) -> None:
    """Given another's file that has its second name already, Then it gets no third."""
    file.write_text("mine")
    kept = file.with_name("dashboard.json.kept-1")
    kept.hardlink_to(file)
    show(forecast())
    assert sorted(os.listdir(file.parent)) == [file.name, kept.name]
    assert kept.read_text() == "mine"


def test_a_filesystem_without_second_names(
    show: Show, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a filesystem that cannot give two names, Then the file is kept as well."""

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", fail)
    file.write_text("mine")
    assert show(forecast())["weather"]["place"] == "Boston"
    assert file.with_name("dashboard.json.kept-1").read_text() == "mine"


def test_what_a_crash_left_is_no_hindrance(show: Show, file: Path) -> None:
    """Given half of a new file from a crash, Then it is replaced, link or not."""
    draft = file.with_name(".dashboard.json.part")
    draft.write_bytes(b'{"format": "py')
    show(forecast())
    precious = file.with_name("precious")
    precious.write_text("stays")
    draft.symlink_to(precious)
    assert show(forecast(1, 2, place="new"))["weather"]["place"] == "new"
    assert precious.read_text() == "stays"


def test_several_writers_lose_nothing(show: Show, file: Path) -> None:
    """Given many calls at once, Then the file holds what all of them were given."""
    begin, failed = threading.Barrier(8), list[BaseException]()

    def write(number: int) -> None:
        try:
            begin.wait(30)
            for direction in (0, 1):
                event = buses(0, number, 5, stop=str(number), direction=direction)
                show(event)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []
    assert len(shown(file)["buses"]) == 16


def test_two_listeners_of_one_agent(running: AgentUnderTest, file: Path) -> None:
    """Given two listeners for one file, When events come, Then both parts are in it."""
    running.clock.set_wall_clock(datetime.now(UTC))
    for kind in ("weather_forecast", "transit_departures"):
        match = {"event_type": ("==", kind)}
        running.add_listener(dashboard, match, name=kind, file=file)
    running.handler.publish("weather_forecast", "1", forecast().data)
    running.handler.publish("transit_departures", "1", buses(0, 1, 5).data)
    running.drain()
    assert {each.state for each in running.deliveries()} == {"completed"}
    board = shown(file)
    assert board["weather"]["place"] == "Boston"
    assert len(board["buses"]) == 1


# What to wear


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((-8, -1), ["warm coat", "hat and gloves"]), ((3, 7), ["coat"]),
        ((10, 14), ["jacket"]), ((16, 22), ["sweater"]), ((21, 25), ["t-shirt"]),
        ((24, 33), ["t-shirt", "sun hat"]), ((5, 19), ["coat", "layers"]),
        ((3, 7, 39), ["coat"]), ((3, 7, 40), ["coat", "umbrella"]),
        ((3, 7, 80, 45), ["coat", "raincoat"]), ((-3, 1, 90, 50, True),
        ["warm coat", "hat and gloves", "boots"]), ((17, 20, 0, 60),
        ["sweater", "windbreaker"]), ((None, None), []), ((None, 5), ["coat"]),
        ((None, None, 50), ["umbrella"]), ((7, 3), ["coat"]),
        ((20, 30, None, None, False, "imperial"), ["warm coat", "hat and gloves"]),
        ((70, 79, 60, 30, False, "imperial"), ["t-shirt", "raincoat"]),
    ],
)  # fmt: skip
def test_what_to_wear(arguments: Any, expected: list[str]) -> None:
    """Given how a day feels, Then a few words say what to put on."""
    assert what_to_wear(*arguments) == expected
