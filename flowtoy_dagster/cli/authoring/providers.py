"""`flowtoy providers`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Annotated, Any, Optional

import typer

from flowtoy_dagster.cli.shared.options import Debug, Json
from flowtoy_dagster.cli.shared.tables import print_table
from flowtoy_dagster.entry_points import Kinds, package_name
from flowtoy_dagster.errors import UsageError
from flowtoy_dagster.terminal import print_json


def providers(
    name: Annotated[
        Optional[str],  # noqa: UP045 - Typer reads this at run time
        typer.Argument(metavar="NAME", help="Show the keys of one provider type."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List what flows can use: providers, output types and executors, and who brings them.

    With NAME, the keys of a provider's configuration. Keys marked with * can be given in a step's
    `input`, too.
    """
    if name is None:
        found = list(_kinds())
        if as_json:
            print_json(found)
            return
        kinds = [(each["kind"], each["name"], each["package"], each["error"] or each["description"])
                 for each in found]
        print_table(("KIND", "NAME", "PACKAGE", "DESCRIPTION"), kinds)
        return
    keys = _keys_of(name)
    if as_json:
        print_json(keys)
        return
    rows = [(key["key"] + ("*" if key["request"] else ""), key["description"]) for key in keys]
    print_table(("KEY", "DESCRIPTION"), rows)


def _kinds() -> Iterator[dict[str, Any]]:
    from flowtoy_dagster.engine.executors.kinds import EXECUTORS
    from flowtoy_dagster.outputs.kinds import OUTPUTS
    from flowtoy_dagster.providers.kinds import PROVIDERS

    every: tuple[tuple[str, Kinds[Any]], ...] = (
        ("provider", PROVIDERS), ("output", OUTPUTS), ("executor", EXECUTORS)
    )
    for word, kinds in every:
        for name in kinds.names():
            error = kinds.why_unusable(name)
            points = () if name in kinds.builtin else kinds.installed[name]
            packages = sorted(filter(None, {package_name(point) for point in points}))
            yield {
                "kind": word,
                "name": name,
                "package": " and ".join(packages) or ("flowtoy-dagster" if not points else ""),
                "description": "" if error else _description(kinds[name]),
                "error": error,
            }


def _description(kind: Any) -> str:
    """The first line of a kind's docstring; of a provider, of the class that is called."""
    from flowtoy_dagster.providers.kind import ProviderKind

    told = kind
    if isinstance(kind, ProviderKind):
        told = kind.provider or getattr(kind, "_make", kind)
    text = (told if isinstance(told, type) else type(told)).__doc__
    return inspect.cleandoc(text or "").partition("\n")[0].rstrip(".")


def _keys_of(name: str) -> list[dict[str, Any]]:
    from flowtoy_dagster.flow.files.suggestions import nearest
    from flowtoy_dagster.json_schema.writer import descriptions_of
    from flowtoy_dagster.providers.kinds import PROVIDERS

    if name not in PROVIDERS.names():
        hint = nearest(name, PROVIDERS.names()).hint
        raise UsageError(f"there is no provider '{name}'\n    {hint}")
    error = PROVIDERS.why_unusable(name)
    if error is not None:
        raise UsageError(error)
    kind = PROVIDERS[name]
    requests = list(kind.request_keys or ())
    model = kind.configuration_model
    if model is None:
        return [{"key": key, "request": True, "description": ""} for key in requests]
    told = descriptions_of(model)
    keys = [field.alias or key for key, field in model.model_fields.items()]
    return [
        {"key": key, "request": key in requests, "description": told.get(key, "")} for key in keys
    ]
