"""What is installed: pinned, without a network, the same every time, and listed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Played, Site

LOOPBACK = ["unshare", "--map-root-user", "--net"]  # no interface but a loopback
INSTALL = [
    "--quiet",
    "--no-index",
    "--only-binary=:all:",
    "--no-cache-dir",
    "--require-hashes",
]


@pytest.fixture(scope="module")
def bundle(site: Site, rehearsed: Played, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that a deployment takes to the machine, unpacked."""
    assert rehearsed.code == 0, rehearsed.output
    folder = tmp_path_factory.mktemp("bundle")
    shutil.unpack_archive(site.folder / "dist/box/bundle.tar", folder, filter="data")
    return folder


def install(bundle: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Install a bundle where there is no network, as deploy.yaml does."""
    python = target / "bin/python"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", target], check=True)
    (pip,) = (bundle / "wheels").glob("pip-*.whl")
    return subprocess.run(
        [*LOOPBACK, python, "-I", f"{pip}/pip", "install", *INSTALL, "--find-links",
         bundle / "wheels", "--requirement", bundle / "requirements.txt"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def installed(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that was installed without a network."""
    target = tmp_path_factory.mktemp("installed") / "venv"
    done = install(bundle, target)
    assert done.returncode == 0, done.stderr
    return target


def test_an_install_needs_no_network(installed: Path) -> None:
    """Given only a loopback, When the bundle is installed, Then the agent works."""
    done = subprocess.run(
        [*LOOPBACK, installed / "bin/agent", "--version"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "agent, version 0.1.0\n")


def test_a_changed_wheel_is_refused(bundle: Path, tmp_path: Path) -> None:
    """Given a wheel that is not the locked one, When installed, Then nothing is."""
    forged = tmp_path / "bundle"
    shutil.copytree(bundle, forged)
    (wheel,) = (forged / "wheels").glob("click-*.whl")
    with wheel.open("ab") as file:
        file.write(b"more")

    done = install(forged, tmp_path / "venv")

    assert done.returncode != 0
    assert "HASHES" in done.stderr
    assert not (tmp_path / "venv/bin/agent").exists()


def test_the_same_sources_make_the_same_wheel(
    site: Site, rehearsed: Played, tmp_path: Path
) -> None:
    """Given two checkouts with other times and modes, When built, Then no byte differs."""
    yaml = pytest.importorskip("yaml")
    (play,) = yaml.safe_load((ROOT / "deploy.yaml").read_text(encoding="utf-8"))
    wheels = []
    for name, mode in {"one": 0o644, "two": 0o600}.items():
        copy = tmp_path / name
        shutil.copytree(site.folder / "dist/box/source", copy)
        shutil.rmtree(copy / "build")
        for each in copy.rglob("*.py"):
            each.chmod(mode)
            os.utime(each, (1_600_000_000 + mode, 1_600_000_000 + mode))
        subprocess.run(
            [site.folder / "dist/tools/bin/python", "-c", play["vars"]["make_wheel"],
             copy, tmp_path / f"{name}.out"],
            check=True, env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"},
        )  # fmt: skip
        wheels += (tmp_path / f"{name}.out/wheel").glob("*.whl")

    one, two = (each.read_bytes() for each in wheels)
    assert one == two


def test_the_parts_are_listed(bundle: Path, installed: Path, tmp_path: Path) -> None:
    """Given what is installed, When listed in CycloneDX, Then each locked part is there."""
    program = Path(sys.executable).with_name("cyclonedx-py")
    if not program.exists():
        pytest.skip("cyclonedx-bom is not installed")
    listed = tmp_path / "sbom.json"

    subprocess.run(
        [program, "environment", installed / "bin/python", "--output-format", "JSON",
         "--output-file", listed, "--validate", "--output-reproducible"],
        check=True, capture_output=True,
    )  # fmt: skip

    bom = json.loads(listed.read_text(encoding="utf-8"))
    parts = {
        (each["name"].replace("-", "_").lower(), each["version"])
        for each in bom["components"]
    }
    lines = (bundle / "requirements.txt").read_text(encoding="utf-8").splitlines()[1:]
    locked = {tuple(line.split()[0].lower().split("==")) for line in lines}
    assert {(name.replace(".", "_"), version) for name, version in locked} - parts <= {
        each for each in locked if each[0] == "pip"
    }
    assert bom["bomFormat"] == "CycloneDX"
    assert ROOT.exists()
