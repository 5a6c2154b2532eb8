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
        if not isinstance(found, str) or result.not_json is None:
            return None
        return f"{result.not_json}: the output is its text, as of type 'raw'"
