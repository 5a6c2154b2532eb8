"""`flowtoy pools …`: how many steps of a pool may run at once, in all runs of the home."""

from __future__ import annotations

from typing import Annotated

import typer

from flowtoy_dagster.cli.shared.options import Json, examples
from flowtoy_dagster.cli.shared.tables import print_table
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.terminal import print_json, say

_MOST = 1000
"""Dagster knows no higher limit."""
pools = typer.Typer(
    help="List and set the limits of pools.",
    epilog=examples("pools", "pools set shop 2"),
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@pools.callback()
def list_pools(context: typer.Context, as_json: Json = False) -> None:
    """List the pools that have a limit, and how many of their steps run."""
    if context.invoked_subcommand is not None:
        return
    from flowtoy_dagster.engine.jobs.limits import pool_limits
    from flowtoy_dagster.runs.history import History

    with History() as history:
        found = pool_limits(history.instance)
    if as_json:
        print_json([{"pool": name, "limit": most, "used": used}
                    for name, (most, used) in found.items()])
        return
    if not found:
        say("no pool has a limit; flowtoy pools set NAME N sets one")
        return
    print_table(("POOL", "LIMIT", "USED"),
                [(name, str(most), str(used)) for name, (most, used) in found.items()])


@pools.command("set", epilog=examples("pools set shop 2", "pools set shop 0"))
def set_pool(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The pool, as flows name it.")],
    most: Annotated[
        int, typer.Argument(metavar="N", min=0, max=_MOST,
                            help="How many of its steps may run at once; with 0 they wait.")
    ],
) -> None:
    """Set how many steps of a pool may run at once, in all runs of the home."""
    from flowtoy_dagster.engine.jobs.limits import limit_pool
    from flowtoy_dagster.flow.schema.models import is_pool
    from flowtoy_dagster.runs.history import History

    if not is_pool(name):
        raise UsageError(
            f"'{name}' is not the name of a pool: a name is one word\n"
            "    flowtoy pools lists those that have a limit; a flow names them as 'pool: NAME'"
        )
    with History() as history:
        limit_pool(history.instance, name, most)
    steps = "step" if most == 1 else "steps"
    say(f"pool '{name}': at most {most} {steps} at once")
