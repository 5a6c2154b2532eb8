"""A command whose arguments are checked without a look at all installed packages."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from flowtoy_dagster.engine.executors.warm.loading.plugins import without_search


class QuickCommand(TyperCommand):
    """A command of flowtoy's own.

    The parser checks values with pydantic, which looks for plugins of its own before that.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the arguments."""
        with without_search():
            return super().parse_args(ctx, args)
