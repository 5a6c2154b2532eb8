"""One step by itself, in this process: called once more for each retry, or only rendered."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from flowtoy_dagster.errors import StepError
from flowtoy_dagster.flow.graph import Flow, Step
from flowtoy_dagster.flow.param_values import bound, see_params
from flowtoy_dagster.flow.secrets_of_flow import FlowSecrets
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.providers.base import Exchanges
from flowtoy_dagster.providers.kind import ProviderKind, Suggestion
from flowtoy_dagster.providers.kinds import describe_call, kind_of
from flowtoy_dagster.steps.attempts import StepOutcome, run_step
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.scope import RunInfo, Upstream, build_scope
from flowtoy_dagster.steps.state.flow_folder import FlowFolder
from flowtoy_dagster.steps.state.items import Loop
from flowtoy_dagster.steps.state.mask import StepMask
from flowtoy_dagster.store.recordings.calls import call_of
from flowtoy_dagster.testing.cases import TemporaryFiles
from flowtoy_dagster.testing.run import RUN_ID, warnings_of

_NOT_SENT = "it is only shown"
_LOOKED_AT = "its answer was only looked at"


@dataclass
class Before:
    """What ran before a step.

    Attributes:
        upstream: the steps that it depends on, by written name.
        secrets: what they know to be secret.
        run_id: of the run that they are of.
    """

    upstream: Mapping[str, Upstream] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    run_id: str = RUN_ID


@dataclass(frozen=True)
class Rendered:
    """A call that was rendered and not made; nothing in it is secret.

    Attributes:
        described: in a few words.
        facts: what would be sent, as plain data.
        item: the key of the item that it is for.
    """

    described: str
    facts: dict[str, Any]
    item: str | None = None


class _Recorder:
    """Notes the first call, and makes none."""

    def __init__(self) -> None:
        self.rendered: Rendered | None = None

    def exchange(
        self, context: StepContext, part: Mapping[str, Any], make: Callable[[], dict[str, Any]]
    ) -> NoReturn:
        step, work, mask = context.step, context.work, context.mask.current
        described = mask.text(describe_call(step.source, work.configuration))
        key = mask.text(context.item.key) if context.item is not None else None
        if self.rendered is None:
            self.rendered = Rendered(described, call_of(context, part), key)
        context.cancelled.set()
        raise StepError(_NOT_SENT)


class _FirstAnswer:
    """Makes the first request, and keeps what it came to."""

    def __init__(self) -> None:
        self.suggestion: Suggestion | None = None

    def exchange(
        self, context: StepContext, part: Mapping[str, Any], make: Callable[[], dict[str, Any]]
    ) -> NoReturn:
        kind = kind_of(context.step.source)
        if type(kind).suggest is ProviderKind.suggest:
            raise StepError(f"there is nothing to suggest for the source '{kind.name}'")
        self.suggestion = kind.suggest(context.work.configuration, make())
        context.cancelled.set()
        raise StepError(_LOOKED_AT)


def mask_of(flow: Flow, before: Before) -> Mask:
    """Hides what a flow and the steps before know to be secret."""
    return FlowSecrets(flow).mask(os.environ).including(before.secrets)


def scope_of(flow: Flow, before: Before) -> dict[str, Any]:
    """What the names in a template stand for after all steps of a run."""
    return build_scope(before.upstream, flow.sources, _run_of(flow, before))


def _run_of(flow: Flow, before: Before) -> RunInfo:
    began = time.time()
    params = see_params(bound(flow), os.environ)
    return RunInfo(
        before.run_id, flow.name, lambda: began, params, before.run_id,
        folder=FlowFolder.of(flow),
    )


def _context(flow: Flow, step: Step, before: Before, item: str | None) -> StepContext:
    run = _run_of(flow, before)
    known = mask_of(flow, before).including(run.params.secrets)
    mask = StepMask(known, holding=step.prints_secrets)
    return StepContext(step, run, mask=mask, loop=Loop(only=item))


def try_step(flow: Flow, step: Step, before: Before, item: str | None = None) -> StepOutcome:
    """Really run a step, with its retries.

    Args:
        flow: with the values of its parameters.
        step: of the flow.
        before: what ran before.
        item: of a repeated step, the key of the one item that is run.
    """
    folder: list[Path] = []

    def files(key: str | None) -> Path:
        if not folder:
            folder.append(Path(tempfile.mkdtemp(prefix="flowtoy-step-")))
        return folder[0] if key is None else Path(tempfile.mkdtemp(dir=folder[0]))

    attempt, warnings = 1, warnings_of(flow, step)
    while True:
        context = _context(flow, step, before, item).having(
            attempt=attempt, files=files, warnings=warnings
        )
        outcome = run_step(context, flow.sources, before.upstream)
        context.mask.release()
        if outcome.retry_in is None:
            return outcome
        context.time.wait(context.cancelled, outcome.retry_in)
        attempt += 1


def suggest_for(
    flow: Flow, step: Step, before: Before, item: str | None = None
) -> Suggestion | StepOutcome:
    """What to write for a step, by the looks of the first answer to it; it is really called.

    Args:
        flow: with the values of its parameters.
        step: of the flow.
        before: what ran before.
        item: of a repeated step, the key of an item; by default the first.

    Returns:
        The outcome where the step calls nothing.
    """
    first = _FirstAnswer()
    outcome = _looked_at(flow, step, before, item, first)
    return first.suggestion or outcome


def render_step(
    flow: Flow, step: Step, before: Before, item: str | None = None
) -> Rendered | StepOutcome:
    """What a step would call first; nothing is called.

    Args:
        flow: with the values of its parameters.
        step: of the flow.
        before: what ran before.
        item: of a repeated step, the key of an item; by default the first.

    Returns:
        The outcome where the step would call nothing.
    """
    recorder = _Recorder()
    outcome = _looked_at(flow, step, before, item, recorder)
    return recorder.rendered or outcome


def _looked_at(
    flow: Flow, step: Step, before: Before, item: str | None, exchanges: Exchanges
) -> StepOutcome:
    """Run a step of which one request is looked at; its files are removed."""
    files = TemporaryFiles()
    context = _context(flow, step, before, item)
    with files.removed():
        return run_step(
            context.having(
                loop=replace(context.loop, most=1),
                exchanges=exchanges,
                files=lambda key: files.folder(step.name, key),
                redirect=files.redirect,
            ),
            flow.sources,
            before.upstream,
        )
