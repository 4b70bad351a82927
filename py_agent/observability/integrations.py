"""The ready-made integrations, under the names that agents of the kind already have."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import ConfigError


class Integration(NamedTuple):
    """A ready-made job that watches a tool.

    Args:
        run: the job's function, as `module:function`.
        keep: whether it is a service; else it runs each `period` of its settings.
    """

    run: str
    keep: bool = False


_EXAMPLE = Integration("jobs.target_example:target_example", keep=True)

INTEGRATIONS = {
    "airflow": Integration("jobs.airflow_runs:airflow_runs"),
    "databricks": Integration("jobs.databricks_runs:databricks_runs"),
    "dbt": Integration("jobs.dbt_results:dbt_results"),
    "example_agent": _EXAMPLE,
    "http_runs": Integration("jobs.http_runs:http_runs"),
    "target_example": _EXAMPLE,
}


def integration_of(agent_type: str) -> Integration:
    """Return the integration for an `agent_type`.

    Raises:
        ConfigError: there is none of that name.
    """
    if not is_integration(agent_type):
        raise ConfigError(
            f"[core] agent_type, or DK_AGENT_TYPE: {agent_type!r} is not among the "
            f"ready-made integrations, which are {', '.join(INTEGRATIONS)}; to watch "
            f"something else, write [[jobs]] of your own"
        )
    return INTEGRATIONS[_folded(agent_type)]


def is_integration(agent_type: str) -> bool:
    """Return whether there is an integration for an `agent_type`."""
    return _folded(agent_type) in INTEGRATIONS


def _folded(agent_type: str) -> str:
    return agent_type.strip().lower()
