"""A release without a way back, on the real machine; these tests run last."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import Played, Site, program

MIGRATION = '''
"""Raises the oldest schema."""

from pathlib import Path

from alembic import op

revision = "{new:04d}"
down_revision = "{old:04d}"


def upgrade() -> None:
    op.execute("ALTER TABLE events ADD COLUMN colour TEXT")
    op.execute("UPDATE store SET oldest_schema = {new}")
    assert not Path("/var/lib/py_agent/refuse").exists(), "it was told to refuse"
'''

STAMP = (
    "from pathlib import Path; from py_agent.store.schema import verify; "
    "print(verify(Path('/var/lib/py_agent/agent.sqlite')))"
)


@pytest.fixture(scope="module")
def raising(
    site: Site, rehearsed: Played, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A wheel whose newest migration makes a store that no older release opens."""
    folder = tmp_path_factory.mktemp("raising")
    source = folder / "checkout"
    shutil.copytree(site.folder / "dist/box/source", source)
    shutil.rmtree(source / "build")
    tables = source / "py_agent/store/tables.py"
    text = tables.read_text(encoding="utf-8")
    (old,) = (int(each) for each in re.findall(r"^SCHEMA = (\d+)", text, re.MULTILINE))
    text = re.sub(r"^(SCHEMA|OLDEST) = \d+", rf"\1 = {old + 1}", text, flags=re.MULTILINE)
    tables.write_text(text, encoding="utf-8")
    migration = source / f"migrations/versions/{old + 1:04d}_colour.py"
    migration.write_text(MIGRATION.format(old=old, new=old + 1), encoding="utf-8")
    subprocess.run(
        [site.folder / "dist/tools/bin/python", "-c", program("make_wheel"),
         source, folder / "out"],
        check=True, env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"},
    )  # fmt: skip
    (wheel,) = (folder / "out/wheel").glob("*.whl")
    return wheel


def stamp(site: Site) -> str:
    """Return what the store says of its schema."""
    python = f"/opt/py_agent/current/venv/bin/python -Ic {shlex.quote(STAMP)}"
    return site.machine.run(python).stdout.strip()


def looked_at(site: Site) -> tuple[str, ...]:
    """Return the schema, the running process, and what is beside the store."""
    files = site.machine.run("ls /var/lib/py_agent").stdout
    return stamp(site), site.shown("MainPID"), files


def test_a_new_schema_is_tried_on_a_copy_and_then_stays(
    site: Site, deployed: Played, raising: Path
) -> None:
    """Given a release that raises the oldest schema, When deployed, Then a copy is first.

    As long as the copy fails, the store is as it was and the old release runs on. Then
    it is upgraded, and the old release is refused, while the new one runs on.
    """
    before = looked_at(site)
    old = site.machine.run("readlink /opt/py_agent/current").stdout.strip()
    site.machine.run("touch /var/lib/py_agent/refuse")

    refused = site.play("-e", f"agent_wheel={raising}")

    assert refused.code == 2, refused.output
    assert "it was told to refuse" in refused.output, refused.output
    assert "box is as it was: nothing has been started or stopped" in refused.output
    site.machine.run("rm /var/lib/py_agent/refuse")
    after = looked_at(site)
    assert after == before

    upgraded = site.play("-e", f"agent_wheel={raising}")

    assert upgraded.code == 0, upgraded.output
    schema, oldest = re.findall(r"\d+", stamp(site))
    assert schema == oldest != re.findall(r"\d+", before[0])[0]
    assert "All is well" in site.agent("doctor")
    assert "seen 1" in site.events()

    # What a deployment of the old release asks first, and then ends.
    backup = site.machine.run(
        f"cd {old} && setpriv --reuid=py_agent --regid=py_agent --init-groups "
        "venv/bin/agent backup --db /var/lib/py_agent/agent.sqlite /tmp",
        False,
    )
    assert backup.returncode == 3
    assert "was written by a newer release" in backup.stderr
