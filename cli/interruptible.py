"""Commands that Ctrl-C ends without a word, with the code that a shell knows for it."""

from __future__ import annotations

from typing import Any

import click
from py_agent.cli.entry import INTERRUPTED


class Interruptible(click.Command):
    """A command, or group of them, that Ctrl-C ends."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; click itself would say "Aborted!" and end with 1, as failed work does."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
