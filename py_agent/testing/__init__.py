"""Tests of jobs and listeners: an agent of their own, and time that they let pass.

Usable with any runner; `py_agent.pytest_plugin` makes pytest's fixtures of it.
"""

from .agent import AgentUnderTest
from .evidence import Delivery, JobRun
from .fake_clock import FakeClock
from .settling import StillRunningError

__all__ = ["AgentUnderTest", "Delivery", "FakeClock", "JobRun", "StillRunningError"]
