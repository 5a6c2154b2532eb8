"""What flowtoy asks of an output type: `OutputKind`, the base of all of them."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel

from flowtoy_dagster.entry_points import KindUnusable, instance_of
from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.outputs.sink import Sink, SinkTask
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
        template_names: the names that its templates know besides `flows`, `steps` and so on.
        options_model: checks the keys of an output that are this type's own; None where it has
            none. Their templates are rendered before the call.
        item_options: the options that must differ from item to item of a repeated step.
        can_be_secret: whether the value may be a secret.
        streams: whether it takes what a call reads as it comes: `open` is called before the call,
            and `extract` never. Where all outputs of a step do, no list of all records is made.
    """

    name: str = ""
    takes_value: bool = True
    needs_value: bool = True
    value_is_text: bool = True
    template_names: Collection[str] = ()
    options_model: ClassVar[type[BaseModel] | None] = None
    item_options: Collection[str] = ()
    can_be_secret: bool = True
    streams: bool = False

    def open(self, task: SinkTask) -> Sink:
        """What takes the records of one attempt, where it `streams`.

        Raises:
            StepError: there can be none; says why.
        """
        raise NotImplementedError

    def check_options(
        self, value: Any, options: Mapping[str, Any], names_files: bool
    ) -> list[Finding]:
        """What is wrong with valid options and a value, as findings within the output.

        Args:
            value: as written; None where there is none.
            options: as written.
            names_files: whether the provider writes files that values name.
        """
        return []

    def why_stale(self, value: Any) -> str | None:
        """Why a value of an earlier run can't be used any more; None where it can."""
        return None

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

    def doubt(self, value: Any, result: ResultView, found: Any) -> str | None:
        """Why what `extract` found is hardly what was meant, for a warning; None mostly."""
        return None

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
        raise KindUnusable("is not a flowtoy_dagster.OutputKind")
    kind = copy.copy(found)
    needed = "open" if kind.streams else "extract"
    if getattr(type(kind), needed) is getattr(OutputKind, needed):
        raise KindUnusable(f"has no method '{needed}'")
    kind.name = name
    return kind
