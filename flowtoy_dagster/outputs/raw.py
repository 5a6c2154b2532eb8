"""The output type `raw`: the provider's data as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowtoy_dagster.outputs.kind import OutputKind
from flowtoy_dagster.providers.kind import ResultView


class RawOutput(OutputKind):
    """The data; the type of an output that has no `value`."""

    takes_value = False

    def fits(self, value: Any) -> bool:
        """Where there is no value."""
        return value is None

    def gives_json(self, value: Any) -> bool:
        """Always."""
        return True

    def extract(self, value: Any, result: ResultView, scope: Mapping[str, Any]) -> Any:
        """The data."""
        return result.result.data
