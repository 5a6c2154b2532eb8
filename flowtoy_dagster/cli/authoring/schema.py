"""`flowtoy schema`."""

from __future__ import annotations

from typing import Annotated

import typer

from flowtoy_dagster.cli.shared.options import Debug
from flowtoy_dagster.terminal import print_json


def schema(
    partial: Annotated[
        bool,
        typer.Option("--partial", help="For files that are merged over others: no key is"
                                       " required at the top level."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Print the JSON Schema of flows, with which editors complete and check them.

    It has the keys of the providers, output types and executors that are installed. flowtoy itself
    finds more errors than a schema can: flowtoy validate prints them.
    """
    from flowtoy_dagster.json_schema.flow_schema import flow_schema

    print_json(flow_schema(partial=partial))
