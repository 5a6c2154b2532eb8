"""Steps whose providers are classes of the tests, run without Dagster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flowtoy_dagster.flow.graph import Source, Step
from flowtoy_dagster.flow.schema.models import OutputConfig, RetryConfig
from flowtoy_dagster.providers.kind import provider_kind_of
from flowtoy_dagster.providers.kinds import PROVIDERS
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo


@pytest.fixture
def run_call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., StepOutcome]:
    """Runs a step whose provider's `call` is a function; keywords are fields of the step."""

    def run(
        call: Callable[..., Any],
        *outputs: tuple[str, str],
        context: dict[str, Any] | None = None,
        **fields: Any,
    ) -> StepOutcome:
        def provider(configuration: dict[str, Any]) -> Any:
            return type("Other", (), {"call": staticmethod(call)})()

        kind = provider_kind_of("other", provider)
        monkeypatch.setattr(PROVIDERS, "_loaded", {**PROVIDERS._loaded, "other": kind})
        step = Step(
            0,
            "it",
            Source("other", fields.pop("configuration", {})),
            outputs=tuple(
                OutputConfig.model_validate({"name": name, "value": value})
                for name, value in outputs
            ),
            retry=RetryConfig(max=3, delay=0),
            **fields,
        )
        run = RunInfo("r1", "f", lambda: 0.0)
        return run_step(StepContext(step, run, **(context or {})), {}, {})

    return run
