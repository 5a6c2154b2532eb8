"""`flowtoy deploy`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from flowtoy_dagster.cli.shared.options import Debug, examples, folder_of
from flowtoy_dagster.errors import UsageError, system_reason
from flowtoy_dagster.terminal import say

deploy = typer.Typer(
    no_args_is_help=True,
    help="Write the files of a deployment.",
    epilog=examples("deploy init server", "deploy init cluster --target k8s"),
)


@deploy.callback()
def _options() -> None:
    pass


class Target(str, Enum):
    """What runs the services."""

    compose = "compose"
    systemd = "systemd"
    k8s = "k8s"


@deploy.command(
    epilog=examples("deploy init server", "deploy init units --target systemd",
                    "deploy init cluster --target k8s"),
)
def init(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", parser=folder_of,
                       help="The folder; it is made if it does not exist."),
    ],
    target: Annotated[
        Target,
        typer.Option("--target", help="Docker Compose, systemd or Kubernetes."),
    ] = Target.compose,
    debug: Debug = False,
) -> None:
    """Write the files of a deployment, with comments that say what to do.

    The services are the flows, Dagster's daemon and web server, and workers; with Compose,
    PostgreSQL too. On Kubernetes, each run is a pod. Nothing is written if one of the
    files exists.
    """
    from flowtoy_dagster.deployment.templates import FIRST, files_of

    texts = files_of(target.value)
    _check(folder, texts)
    for name, text in texts.items():
        _write(folder / name, text)
        say(f"wrote {folder / name}")
    say(f"the comments in {folder / FIRST[target.value]} say what to do now")


def _check(folder: Path, names: Iterable[str]) -> None:
    """See that nothing is there that would be written.

    Raises:
        UsageError: something is; or a folder that is needed is a file.
    """
    for path in (folder / name for name in names):
        if os.path.lexists(path):
            raise UsageError(
                f"can't write {path}: it exists; nothing was written\n"
                "    name a new folder, or move that file away"
            )
        for above in path.parents:
            if os.path.lexists(above):
                if not above.is_dir():
                    raise UsageError(f"can't write {path}: '{above}' is not a folder; nothing was "
                                     "written\n    name another folder")
                break


def _write(path: Path, text: str) -> None:
    """Write a file that does not exist.

    Raises:
        UsageError: it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not even one that was made just now is written over.
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        reason = system_reason(error)
        raise UsageError(
            f"can't write {path}: {reason}\n    name a folder that you can write"
        ) from None
