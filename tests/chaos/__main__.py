"""`python -m tests.chaos --kills 1000`: kill an agent for as long as you like."""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

from .kill import run

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--kills", type=int, default=50)
parser.add_argument("--seed", type=int, default=random.randrange(10**6))
arguments = parser.parse_args()
print(f"seed {arguments.seed}")
with tempfile.TemporaryDirectory() as folder:
    verdict = run(
        Path(folder) / "agent.sqlite", arguments.kills, random.Random(arguments.seed)
    )
print(verdict)
raise SystemExit(0 if verdict.good else 1)
