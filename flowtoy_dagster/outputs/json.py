"""The output type `json`: the JSON that the provider's data stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowtoy_dagster.outputs.kind import OutputKind
from flowtoy_dagster.providers.kind import ResultView


class JsonOutput(OutputKind):
    """The data; of a command, the JSON that it printed, else its text."""

    takes_value = False

    def gives_json(self, value: Any) -> bool:
        """Always."""
        return True

    def extract(self, value: Any, result: ResultView, scope: Mapping[str, Any]) -> Any:
        """The JSON."""
        return result.json

    def doubt(self, value: Any, result: ResultView, found: Any) -> str | None:
        """That there is no JSON."""
        if result.text_of is None or not isinstance(found, str):
            return None
        return f"{result.text_of} is not JSON: the output is its text"
