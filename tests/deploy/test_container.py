"""Dockerfile and compose.yaml: read, and their steps done with this machine's programs.

No container engine is needed: the steps run in a tree of their own whose /usr is this
machine's, the images being what the Dockerfile begins with.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from . import machine
from .conftest import ROOT, Played, Site

Step = tuple[str, str]  # an instruction and what follows it

JOB = """
import os
from pathlib import Path

from py_agent import Settings
from pydantic import SecretStr


class ShopSettings(Settings, env_prefix="SHOP_"):
    token: SecretStr


def around(handler, settings: ShopSettings):
    try:
        Path("/agent/trace").write_text("")
        writable = True
    except OSError:
        writable = False
    secret = settings.token.get_secret_value()
    seen = {"user": os.getuid(), "writable": writable, "secret": len(secret)}
    handler.publish("seen", "1", seen)
"""


def stages() -> list[list[Step]]:
    """Return the steps of each stage of the Dockerfile."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found: list[list[Step]] = []
    for line in filter(str.strip, text.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest.strip()))
    return found


def rest(stage: list[Step], word: str) -> str:
    """Return what follows the last such instruction."""
    return [what for each, what in stage if each == word][-1]


def test_the_image_is_small_and_runs_as_nobody_special() -> None:
    """Given the Dockerfile, When read, Then the mistakes that matter are not in it."""
    build, final = stages()
    words = [word for word, _ in final]

    assert rest(build, "FROM") == f"{rest(final, 'FROM')} AS build"
    assert not re.search(r":latest\b|^[^:]+$", rest(final, "FROM"))
    assert "ADD" not in {word for stage in (build, final) for word, _ in stage}
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN")
    assert rest(final, "USER") not in ("root", "0")
    assert json.loads(rest(final, "ENTRYPOINT")) == ["agent"]
    assert json.loads(rest(final, "HEALTHCHECK").split("CMD ")[1]) == ["agent", "doctor"]
    assert not re.search(r"(?i)token|password|apt-get", (ROOT / "Dockerfile").read_text())


def test_what_is_copied_is_there_and_not_left_out() -> None:
    """Given each COPY, When looked for, Then it exists and .dockerignore lets it pass."""
    allowed = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copies = [what.split()[:-1] for word, what in stages()[0] if word == "COPY"]
    for source in sum(copies, []):
        assert any(fnmatchcase(each, source) for each in allowed), source
        assert "[" in source or (ROOT / source).exists(), source


def test_compose_gives_no_more_than_is_needed() -> None:
    """Given compose.yaml, When read, Then only the store's volume can be written to."""
    yaml = pytest.importorskip("yaml")
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    agent = compose["services"]["agent"]

    assert agent["read_only"] and agent["cap_drop"] == ["ALL"]
    assert agent["restart"] == "unless-stopped"
    volumes = [each for each in agent["volumes"] if not each.endswith(":ro")]
    assert volumes == ["store:/data"] and "store" in compose["volumes"]
    assert rest(stages()[1], "VOLUME") == "/data"
    assert agent["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("words", ["docker-compose config", "hadolint"])
def test_other_readers_find_no_fault(words: str) -> None:
    """Given a real reader of these files, When there is one, Then it is content."""
    program, *more = words.split()
    found = shutil.which(program) or shutil.which(Path(sys.executable).with_name(program))
    if not found:
        pytest.skip(f"there is no {program}")
    if not more:
        more = ["--failure-threshold", "error", "Dockerfile"]

    done = subprocess.run(
        [found, *more], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


class Container:
    """A tree in which the steps of a stage are done.

    Args:
        root: its files.
        wheels: what stands for the package index.
        others: the trees of the earlier stages, by name.
    """

    def __init__(self, root: Path, wheels: Path, others: dict[str, Container]) -> None:
        self.root, self.wheels, self.others = root, wheels, others
        self.variables = {"PATH": "/python/bin:/usr/sbin:/usr/bin", "HOME": "/tmp"}
        self.folder = "/"
        machine.empty(root)
        self.run("/usr/bin/python3 -m venv /python")  # the image's own Python

    def words(self, *more: str) -> list[str]:
        """Return the words that run a command in it."""
        return [
            "systemd-nspawn", "--quiet", f"--directory={self.root}", "--bind-ro=/usr",
            f"--bind-ro={self.wheels}:/wheels", "--register=no", "--keep-unit",
            "--private-network", "--console=pipe", f"--chdir={self.folder}",
            *(f"--setenv={name}={value}" for name, value in self.variables.items()), *more,
        ]  # fmt: skip

    def run(self, command: str) -> None:
        """Run a shell command, as RUN does, without a network."""
        index = ["--setenv=PIP_NO_INDEX=1", "--setenv=PIP_FIND_LINKS=/wheels"]
        done = subprocess.run(
            self.words(*index, "/bin/sh", "-ec", command),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}"

    def take(self, step: Step) -> None:
        """Do one step."""
        word, what = step
        if word == "RUN":
            self.run(what)
        elif word == "ENV":
            for name, value in re.findall(r"(\w+)=(\S+)", what):
                self.variables[name] = value.replace("$PATH", self.variables["PATH"])
        elif word == "ARG":
            name, _, value = what.partition("=")
            self.variables[name] = value.strip('"')
        elif word == "WORKDIR":
            self.folder = what
            (self.root / what.strip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            self.copy(what.split())

    def copy(self, words: list[str]) -> None:
        """Copy from the checkout, or from an earlier stage."""
        base = ROOT
        if words[0].startswith("--from="):
            base = self.others[words.pop(0).removeprefix("--from=")].root
        *sources, target = words
        place = self.root / self.folder.strip("/") / target.lstrip("/")
        if target.startswith("/"):
            place = self.root / target.strip("/")
        for source in sources:
            for each in base.glob(source.strip("/")):
                if each.is_dir():
                    plain = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(each, place, symlinks=True, ignore=plain)
                else:
                    shutil.copy(each, place / each.name)


@pytest.fixture(scope="module")
def image(
    site: Site, rehearsed: Played, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    """What the Dockerfile makes."""
    assert rehearsed.code == 0, rehearsed.output
    folder = tmp_path_factory.mktemp("image")
    shutil.copytree(site.folder / "dist/box/wheels", folder / "wheels")
    subprocess.run(
        [site.folder / "dist/tools/bin/python", "-m", "pip", "download", "--quiet",
         "--no-deps", "--dest", folder / "wheels", "setuptools>=77,<81"],
        check=True,
    )  # fmt: skip
    made: dict[str, Container] = {}
    for name, steps in zip(("build", "final"), stages(), strict=True):
        made[name] = Container(folder / name, folder / "wheels", dict(made))
        for step in steps:
            made[name].take(step)
    yield made["final"]
    shutil.rmtree(folder)


@pytest.fixture
def started(image: Container, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The container as compose.yaml has it: read-only, with a volume and a secret."""
    for name, text in {
        "agent.toml": '[[jobs]]\nrun = "jobs.look.around"\nevery = "1 hour"\n',
        "jobs/look.py": JOB,
        "SHOP_TOKEN": "four",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    data = tmp_path / "data"  # a new volume begins as the image has it
    subprocess.run(["cp", "--archive", image.root / "data", data], check=True)
    (image.root / "agent/jobs").mkdir(
        exist_ok=True
    )  # what is mounted there, an engine makes
    (image.root / "agent/agent.toml").touch()
    _, final = stages()
    command = [*json.loads(rest(final, "ENTRYPOINT")), *json.loads(rest(final, "CMD"))]
    tmp_path.chmod(0o755)
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        image.words(
            "--read-only", f"--bind={data}:/data", "--tmpfs=/tmp",
            f"--user={rest(final, 'USER')}",
            f"--bind-ro={tmp_path}/agent.toml:/agent/agent.toml",
            f"--bind-ro={tmp_path}/jobs:/agent/jobs",
            f"--bind-ro={tmp_path}/SHOP_TOKEN:/run/secrets/SHOP_TOKEN", *command,
        ),
        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    log.close()
    yield process
    machine.off(process)


def inside(process: subprocess.Popen[bytes], image: Container, *words: str) -> str:
    """Run `agent` in the running container, as `docker exec` and HEALTHCHECK do."""
    first = machine.first_process(process.pid)
    variables = [f"{name}={value}" for name, value in image.variables.items()]
    done = subprocess.run(
        ["nsenter", f"--target={first}", "--mount", "--uts", "--ipc", "--net", "--pid",
         "--setuid=10001", "--setgid=10001", "env", "--chdir=/agent", "-i", *variables,
         "agent", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_the_container_runs_and_is_healthy(
    image: Container, started: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """Given the image, When started read-only, Then the agent works, and ends as asked."""

    def works() -> bool:
        log = (tmp_path / "log").read_text()
        assert started.poll() is None, log
        return "New event" in log

    machine.until(works)

    assert "All is well" in inside(started, image, "doctor")
    (event,) = json.loads(inside(started, image, "events", "--json"))
    assert event["data"] == {"user": 10001, "writable": False, "secret": 4}

    machine.stop(machine.first_process(started.pid))
    assert started.wait(machine.LIMIT) == 0
