"""Where the commands begin: nothing is imported before Ctrl-C is taken care of."""

from __future__ import annotations

INTERRUPTED = 130  # as a shell has it for SIGINT


def agent() -> None:
    """Run `agent`."""
    _run("agent")


def agent_test() -> None:
    """Run `agent-test`."""
    _run("agent_test")


def _run(module: str) -> None:
    try:
        from importlib import import_module

        import_module(f"py_agent.cli.{module}").main()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
