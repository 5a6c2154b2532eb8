"""What flowtoy asks of an output type: `OutputKind`, the base of all of them."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from flowtoy_dagster.entry_points import KindUnusable, instance_of
from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.providers.kind import ResultView


class OutputKind:
    """An output type. Subclass it and name the class in the entry point group `flowtoy.outputs`.

    All attributes and methods but `extract` have a default. Methods must not change what they are
    given.

    Attributes:
        name: what flows call it: the name of the entry point.
        takes_value: whether an output may have a `value`.
        needs_value: whether it must have one, where it may.
        value_is_text: whether the value must be text.
        template_names: the names that the value's templates know beside `flows`, `steps` and so on.
    """

    name: str = ""
    takes_value: bool = True
    needs_value: bool = True
    value_is_text: bool = True
    template_names: Collection[str] = ()

    def extract(self, value: Any, result: ResultView, scope: Mapping[str, Any]) -> Any:
        """The value of one output.

        Args:
            value: as written; None where there is none.
            result: what the provider gave.
            scope: what the names in templates stand for.

        Raises:
            TemplateError: it can't be extracted; says why.
        """
        raise NotImplementedError

    def check(self, value: Any) -> list[Finding]:
        """What is wrong with a value, as findings whose path begins in the value."""
        return []

    def templates(self, value: Any) -> Iterable[tuple[KeyPath, str]]:
        """The templates in a value, each with its place in it: a step waits for what they name."""
        return ()

    def fits(self, value: Any) -> bool:
        """Whether an output without a `type` is of this one; only built-in types are asked."""
        return False

    def gives_json(self, value: Any) -> bool:
        """Whether it gives parts of the data as they are, so that JSON can hold it if the data."""
        return False


def output_kind_of(name: str, loaded: Any) -> OutputKind:
    """The kind in what an entry point holds.

    Raises:
        KindUnusable: it is no OutputKind.
    """
    found = instance_of(OutputKind, loaded)
    if found is None:
        raise KindUnusable("is no flowtoy_dagster.OutputKind")
    kind = copy.copy(found)
    if type(kind).extract is OutputKind.extract:
        raise KindUnusable("has no method 'extract'")
    kind.name = name
    return kind
