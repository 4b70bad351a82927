"""`python -m benchmarks`: measure, and print one table of ratios."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sqlite3
import sys
from pathlib import Path

from .measure import Plan, Row

QUESTIONS = (
    "publish_one", "publish_threads", "duplicates", "publish_many", "end_to_end",
    "many_listeners", "restart", "imports", "idle",
)  # fmt: skip
QUICK = Plan(rounds=5, share=0.1)
WIDTH = 58  # of the first column


def main() -> None:
    """Measure what the command line asks for."""
    options = _options()
    default = QUICK if options.quick else Plan()
    plan = Plan(max(5, options.rounds or default.rounds), default.share, options.folder)
    rows: list[Row] = []
    if not options.json:
        print(_machine())
        print(_line("", "raw", "ours", "unit", "ratio", "(low-high)", "target"))
    for question in options.question or QUESTIONS:
        module = importlib.import_module(f".{question}", __package__)
        for row in module.measure(plan):
            rows.append(row)
            if not options.json:
                print(_told(row), flush=True)
    if options.json:
        found = {"machine": _machine(), "rows": [row.as_dict() for row in rows]}
        json.dump(found, sys.stdout, indent=2)
        print()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "question", nargs="*", metavar="QUESTION",
        help=f"which to measure; all if none is given: {', '.join(QUESTIONS)}",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a tenth of the events")
    parser.add_argument("--json", action="store_true", help="print JSON, no table")
    parser.add_argument("--rounds", type=int, help="how often each one runs; at least 5")
    parser.add_argument("--folder", type=Path, help="where the stores are made")
    options = parser.parse_args()
    if unknown := set(options.question) - set(QUESTIONS):
        parser.error(f"there is no question {', '.join(sorted(unknown))}")
    return options


def _machine() -> str:
    return (
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"
    )


def _told(row: Row) -> str:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    spread = "" if row.low is None else f"({row.low:.2f}-{row.high:.2f})"
    line = _line(
        row.question, _figure(row.raw), _figure(row.ours), row.unit, ratio, spread,
        row.target,
    )  # fmt: skip
    return f"{line}\n    {row.note}" if row.note else line


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _line(
    question: str, raw: str, ours: str, unit: str, ratio: str, spread: str, target: str
) -> str:
    return (
        f"{question:{WIDTH}} {raw:>8} {ours:>8} {unit:8} {ratio:>6} {spread:13} {target}"
    ).rstrip()


if __name__ == "__main__":
    main()
