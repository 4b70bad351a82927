"""What is installed: pinned, without a network, the same every time, and listed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Played, Site, program

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
    wheels = []
    for name, mode in {"one": 0o644, "two": 0o600}.items():
        copy = tmp_path / name
        shutil.copytree(site.folder / "dist/box/source", copy)
        shutil.rmtree(copy / "build")
        for each in copy.rglob("*.py"):
            each.chmod(mode)
            os.utime(each, (1_600_000_000 + mode, 1_600_000_000 + mode))
        subprocess.run(
            [site.folder / "dist/tools/bin/python", "-c", program("make_wheel"),
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


def test_a_raspberry_pi_gets_what_fits_it(
    site: Site, rehearsed: Played, tmp_path: Path
) -> None:
    """Given a machine unlike this one, When its packages are taken, Then they fit it.

    That goes for packages that only some machines need, too.
    """
    folder, pi = (
        tmp_path / "needs",
        {"python_version": "3.12", "platform_machine": "aarch64"},
    )
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        "[build-system]\nrequires = ['setuptools']\n"
        "build-backend = 'setuptools.build_meta'\n"
        "[project]\nname = 'needs'\nversion = '1'\ndependencies = ['pydantic-core',\n"
        """  'wheel; platform_machine == "aarch64" and python_version == "3.12"',\n"""
        """  'nosuch-package-of-ours; platform_machine == "x86_64"']\n""",
        encoding="utf-8",
    )
    tools = site.folder / "dist/tools/bin/python"
    pip = [tools, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", tmp_path, folder], check=True)

    subprocess.run(
        [tools, "-c", program("pip_for"), json.dumps(pi), "download", "--quiet",
         "--only-binary=:all:", "--dest", tmp_path / "there", "--python-version", "3.12",
         "--implementation", "cp", "--platform=manylinux_2_36_aarch64",
         "--platform=manylinux_2_28_aarch64", "--platform=manylinux2014_aarch64",
         *tmp_path.glob("needs-*.whl")],
        check=True,
    )  # fmt: skip

    names = {each.name.split("-")[0]: each.name for each in (tmp_path / "there").iterdir()}
    assert names.keys() >= {"needs", "pydantic_core", "wheel"}
    assert names["pydantic_core"].endswith("aarch64.whl")
    assert "-cp312-" in names["pydantic_core"]
