"""Metadata and the explicit package map of the py-agent distribution.

`cli/` and `migrations/` stand at the top of the checkout but install inside `py_agent`,
so that site-packages gains no top-level name that another distribution could overwrite.
`jobs/` and `listeners/` are PEP 420 portions: they have no `__init__.py`, and therefore
merge with the folders of the same name that a user keeps beside an agent.toml.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = "0.1.0"

# The cleaner is what justext asks lxml for by a name that older pips do not find.
ARTICLES = ["trafilatura>=2.0,<3", "lxml-html-clean>=0.4,<1"]
METRICS = ["prometheus-client>=0.21,<1"]
NOTIFY = ["apprise>=2.0,<3"]
SPREADSHEET = ["openpyxl>=3.1.2,<4"]

TEST = [
    *ARTICLES,
    *METRICS,
    *NOTIFY,
    *SPREADSHEET,
    "coverage>=7.6",
    "feedparser>=6.0.11,<7",
    "hypothesis>=6.110",
    "markdown-it-py>=3",
    "pytest>=8.3",
    "pytest-randomly>=3.15",
    "pytest-xdist>=3.6",
    "pyyaml>=6",
    "responses>=0.25",
    "time-machine>=2.15",
    "trustme>=1.1",
    "websockets>=15",
]

setup(
    name="py-agent",
    version=VERSION,
    description=(
        'cron + "only when something changed" + "and it really happened", '
        "in plain Python functions"
    ),
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3 :: Only",
        "Typing :: Typed",
    ],
    packages=[
        *find_packages(include=["py_agent", "py_agent.*"]),
        "py_agent.cli",
        "py_agent.cli.report",
        "py_agent.migrations",
        "py_agent.migrations.versions",
        "jobs",
        "listeners",
    ],
    package_dir={
        "py_agent.cli": "cli",
        "py_agent.cli.report": "cli/report",
        "py_agent.migrations": "migrations",
        "py_agent.migrations.versions": "migrations/versions",
    },
    package_data={"py_agent": ["py.typed"]},
    install_requires=[
        "alembic>=1.16,<2",
        "click>=8.1,<9",
        "pydantic-settings>=2.12,<3",
        "requests>=2.32,<3",
        "cronsim>=2.6,<3",
        "rich>=13.7,<16",
        "schedule>=1.2.2,<2",
        "sqlalchemy>=2.1,<2.2",
        "tzdata>=2024.1",
        "urllib3>=2.2,<3",
        "tzlocal>=5.2,<6",
        "websocket-client>=1.8,<2",
    ],
    extras_require={
        "articles": ARTICLES,
        "feeds": ["feedparser>=6.0.11,<7"],
        "metrics": METRICS,
        "notify": NOTIFY,
        "spreadsheet": SPREADSHEET,
        "test": TEST,
        "dev": [*TEST, "build>=1.2", "mypy>=1.13", "ruff>=0.8"],
    },
    entry_points={
        "console_scripts": [
            "agent=py_agent.cli.entry:agent",
            "agent-test=py_agent.cli.entry:agent_test",
        ],
        "pytest11": ["py_agent = py_agent.pytest_plugin"],
    },
    zip_safe=False,
)
