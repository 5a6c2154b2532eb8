"""The help texts of all commands."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from flowtoy_dagster.cli.app import make_app


def with_its_commands(group: typer.Typer, name: str) -> Iterator[tuple[str, str | None]]:
    """A command and those below it, each with what stands below its help."""
    yield name, group.info.epilog
    for command in group.registered_commands:
        assert command.callback is not None
        yield f"{name} {command.name or command.callback.__name__}", command.epilog
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from with_its_commands(inner.typer_instance, f"{name} {inner.name}")


def test_every_command_has_two_to_four_examples() -> None:
    shown = dict(with_its_commands(make_app(), "flowtoy"))
    counts = {name: len((text or "").split("\n\n")) - 1 for name, text in shown.items()}
    assert len(counts) > 30
    assert {name: count for name, count in counts.items() if not 2 <= count <= 4} == {}
