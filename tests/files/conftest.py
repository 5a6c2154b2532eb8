"""Steps with file outputs, run without Dagster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowtoy_dagster.flow.graph import Source, Step
from flowtoy_dagster.flow.schema.models import OutputConfig, RetryConfig
from flowtoy_dagster.providers.kind import provider_kind_of
from flowtoy_dagster.providers.kinds import PROVIDERS
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo

RUN = RunInfo("r1", "f", lambda: 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What stands for the run's own folder."""
    made = tmp_path / "own"
    made.mkdir()
    return made


@pytest.fixture
def run_source(folder: Path) -> Callable[..., StepOutcome]:
    """Runs a step that calls a source; each output is a mapping as written."""

    def run(
        source: Source, *outputs: dict[str, Any], context: dict[str, Any] | None = None,
        **fields: Any,
    ) -> StepOutcome:
        written = [{"name": f"out{n}", "type": "file", **o} for n, o in enumerate(outputs)]
        models = tuple(OutputConfig.model_validate(output) for output in written)
        fields = {"retry": RetryConfig(max=2, delay=0), **fields}
        step = Step(0, "it", source, outputs=models, **fields)
        given = {"files": lambda item: folder, **(context or {})}
        return run_step(StepContext(step, RUN, **given), {}, {})

    return run


@pytest.fixture
def write_pages(
    run_source: Callable[..., StepOutcome], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., StepOutcome]:
    """Runs a step whose call hands over pages of records."""

    def run(pages: list[list[Any]], *outputs: dict[str, Any], **fields: Any) -> StepOutcome:
        def call(payload: Any = None, context: Any = None) -> list[Any]:
            kept: list[Any] = []
            for page in pages:
                if isinstance(page, Exception):
                    raise page
                context.parts.take(page)
                kept += page if context.parts.keeps_records else []
            return kept

        def provider(configuration: dict[str, Any]) -> Any:
            return type("Paged", (), {"call": staticmethod(call)})()

        kind = provider_kind_of("paged", provider)
        monkeypatch.setattr(PROVIDERS, "_loaded", {**PROVIDERS._loaded, "paged": kind})
        return run_source(Source("paged", {}), *outputs, **fields)

    return run
