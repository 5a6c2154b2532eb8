"""The stages of an attempt, in their order (language 10.2, 6, 11, 7, 13)."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from flowtoy_dagster.entry_points import KindUnusable
from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.flow.compile.diagnostics import first_mistake
from flowtoy_dagster.flow.graph import Step
from flowtoy_dagster.flow.templates.render import render_all
from flowtoy_dagster.json_text import JsonError, dumps
from flowtoy_dagster.masking.mask import secret_values_in, texts_in
from flowtoy_dagster.providers.base import Provider, ProviderResult, call_provider
from flowtoy_dagster.providers.kind import ProviderKind, ResultAnswer
from flowtoy_dagster.providers.kinds import PROVIDERS, describe_call
from flowtoy_dagster.steps.call_parts import PartsOfCall
from flowtoy_dagster.steps.chain import Failed, Next, Outcome, Succeeded, chain
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.keys.concurrency import wait_for_slot
from flowtoy_dagster.steps.keys.incremental import begin_at_cursor, note_cursor
from flowtoy_dagster.steps.keys.rate import heed_limits, wait_for_turn
from flowtoy_dagster.steps.keys.required import check_required
from flowtoy_dagster.steps.keys.until import check_done, repeat_until
from flowtoy_dagster.steps.keys.when import ask_condition, check_needs
from flowtoy_dagster.steps.needs import failure_of
from flowtoy_dagster.steps.outputs.extraction import doubt, extract
from flowtoy_dagster.steps.outputs.streams import stream_outputs
from flowtoy_dagster.steps.retry import timeout_of
from flowtoy_dagster.steps.state.deadline import (
    RUN_OUT_OF_TIME as RUN_OUT_OF_TIME,  # noqa: PLC0414 - who runs stages asks here
)
from flowtoy_dagster.steps.state.deadline import Clock, OutOfTime, within
from flowtoy_dagster.steps.state.records import records_in, with_records
from flowtoy_dagster.steps.words import one_line

logger = logging.getLogger("flowtoy.step")


def hold_deadline(context: StepContext, following: Next) -> Outcome:
    """End what follows when the step's time or the run's is up."""
    give_up = context.host.give_up
    try:
        limit = within(
            context.seconds_left, lambda: timeout_of(context.step.timeout, context.scope), give_up
        )
    except OutOfTime:
        return Failed(RUN_OUT_OF_TIME, "timeout")
    if limit is None and context.deadline is None:
        return following(context)
    clock = Clock(limit, context.deadline, context.time.now)
    within_time = context.having(deadline=clock.deadline, clock=clock)
    try:
        outcome = within(clock, lambda: following(within_time), give_up)
    except OutOfTime:
        outcome = Failed("", "timeout")
        # A call that can't be interrupted goes on in its thread, and nobody waits for it.
        context.work.held.close()
    if isinstance(outcome, Failed) and clock.left() <= 0:
        # What held the deadline itself says how long it had; the step's own words are the same.
        context.work.result = None
        reason = RUN_OUT_OF_TIME if clock.ends_with_latest else f"timed out after {limit:g} s"
        return Failed(reason, "timeout")
    return outcome


def render(context: StepContext, following: Next) -> Outcome:
    """Render the templates of the source and of the input."""
    step, work = context.step, context.work
    work.configuration, work.payload = _rendered(step, context.scope)
    context.mask.learn(secret_values_in([work.configuration, work.payload]))
    work.describe = lambda: describe_call(step.source, work.configuration)
    return following(context)


def enter_folder(context: StepContext, following: Next) -> Outcome:
    """See that relative paths can start from the flow's folder (language 10.6).

    What flowtoy itself opens is found below it in every process. A worker of flowtoy's has it as
    its working directory, too, for the code of other packages; a process of others keeps its own.
    """
    folder = context.run.folder
    folder.check()
    if context.host.give_up is not None and folder.base is not None and folder.recorded is None:
        os.chdir(folder.base)
    return following(context)


def call(context: StepContext, following: Next) -> Outcome:
    """Call the provider."""
    step, work = context.step, context.work
    configuration, payload = work.configuration, work.payload
    kind = provider_kind(step)
    if kind.copies_input:
        # The code of others may change what it is given; parameters and outputs stay as they are.
        configuration, payload = copy.deepcopy((configuration, payload))
    provider = _construct(context, kind, configuration)
    with work.held:
        context = wait_for_slot(context)
        # As late as can be: what is sent next is what the rate counts.
        context = wait_for_turn(context)
        if work.called_at is None:
            work.called_at = context.time.now()
        parts = PartsOfCall(context)
        context = context.having(parts=parts)
        returned = _call(context, provider, payload)
    try:
        work.result = ProviderResult.of(returned)
    except Exception as error:
        logger.debug("the result of '%s' can't be used", step.source.type, exc_info=True)
        return Failed(
            f"the provider '{step.source.type}' returned a result that can't be used: "
            f"{one_line(error, context.mask.text)}",
            "raised",
        )
    heed_limits(context, work.result)
    if not work.result.success:
        _learn_from_failure(context, work.result)
        return Failed(_failure(context, work.result), "provider")
    if (context.takers or context.tracker) and not parts.has_records:
        view = kind.view(work.result)
        found = records_in(view, alone=context.tracker is None)
        if found is not None:
            work.result = with_records(view, found, parts.take(found.records))
    return following(context)


def extract_outputs(context: StepContext, following: Next) -> Outcome:
    """Take the outputs out of the result, and learn those that are secret."""
    step, work = context.step, context.work
    assert work.result is not None
    kind = provider_kind(step)
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    # Secret ones first: nothing that fails afterwards may show them.
    for output in sorted(step.outputs, key=lambda output: not output.is_secret):
        try:
            sink = context.sinks.get(output.name)
            if sink is not None:
                has_records = context.parts is not None and context.parts.has_records
                values[output.name] = sink.finish(kind.view(work.result), has_records)
            else:
                values[output.name] = extract(output, kind, work.result, context.scope)
        except StepError as error:
            problems[output.name] = error.message
            continue
        except Exception as error:
            logger.debug("output '%s' raised", output.name, exc_info=True)
            reason = one_line(error, context.mask.text)
            problems[output.name] = f"output '{output.name}': its type raised {reason}"
            continue
        if output.is_secret:
            context.mask.learn(texts_in(values[output.name]))
    _complete(context, values)
    _warn_of_doubts(context, work.result, values)
    if problems:
        return Failed(next(problems[o.name] for o in step.outputs if o.name in problems))
    work.outputs = {output.name: values[output.name] for output in step.outputs}
    if step.keep_result and not kind.gives_json:
        try:
            dumps({"data": work.result.data, "meta": dict(work.result.meta)})
        except JsonError as error:
            return Failed(f"its result can't be kept for other steps: {error}", "provider")
    return following(context)


def _warn_of_doubts(
    context: StepContext, result: ProviderResult, values: Mapping[str, Any]
) -> None:
    """Warn of outputs that are hardly what was meant, when all that is secret is known."""
    if context.item is not None:
        return  # thousands of items would say the same
    for index, output in enumerate(context.step.outputs):
        if output.name in values and output.name not in context.sinks and not output.required:
            told = doubt(output, provider_kind(context.step), result, values[output.name])
            if told is not None:
                context.warn_at(told, ("output", index, "value"))


def _learn_from_failure(context: StepContext, result: ProviderResult) -> None:
    """Learn the secret outputs that a result has although the call failed."""
    values: dict[str, Any] = {}
    for output in context.step.outputs:
        if output.is_secret:
            with contextlib.suppress(Exception):
                found = extract(output, provider_kind(context.step), result, context.scope)
                context.mask.learn(texts_in(found))
                values[output.name] = found
    if not context.step.has_secret_cursor:
        _complete(context, values)


def _complete(context: StepContext, values: Mapping[str, Any]) -> None:
    """Let go of what the step printed, if every secret output is known."""
    if all(values.get(o.name) is not None for o in context.step.outputs if o.is_secret):
        context.mask.complete()


def give(context: StepContext, following: Next) -> Outcome:
    """End the attempt with its outputs."""
    return Succeeded(context.work.outputs)


ATTEMPT = chain(
    (
        repeat_until, hold_deadline, check_needs, begin_at_cursor, ask_condition, render,
        enter_folder, stream_outputs, call, check_done, note_cursor, extract_outputs,
        check_required, give,
    )
)
"""One attempt of a step."""


def _rendered(step: Step, scope: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """The step's configuration and payload with their templates rendered."""
    try:
        payload = render_all(step.payload, scope, "input")
    except TemplateError as error:
        raise failure_of(error, str(error)) from None
    kind = provider_kind(step)
    try:
        configuration = kind.render(step.source.configuration, scope, payload)
    except TemplateError as error:
        message = f"{_field(step, error.field)}: {error.message}"
        raise failure_of(error, message) from None
    return configuration, payload


def provider_kind(step: Step) -> ProviderKind:
    """What the step calls.

    Raises:
        StepError: it can't be used here.
    """
    try:
        return PROVIDERS[step.source.type]
    except KeyError:
        raise StepError(f"there is no provider type '{step.source.type}' here") from None
    except KindUnusable as error:
        raise StepError(str(error)) from None


def _construct(
    context: StepContext, kind: ProviderKind, configuration: dict[str, Any]
) -> Provider:
    try:
        return kind.make(configuration)
    except ValidationError as error:
        raise StepError(_first_mistake(context, error)) from None
    except _passing(context):
        raise
    except BaseException as error:
        logger.debug("the provider '%s' rejected its configuration", kind.name, exc_info=True)
        reason = one_line(error, context.mask.text)
        message = f"the provider '{kind.name}' rejected its configuration: {reason}"
        raise StepError(message) from None


def _call(context: StepContext, provider: Provider, payload: Any) -> Any:
    kind = context.step.source.type
    try:
        if context.exchanges is None or provider_kind(context.step).makes_exchanges:
            return call_provider(provider, payload, context)
        given = context.exchanges.exchange(
            context, {}, lambda: _as_answer(call_provider(provider, payload, context))
        )
        return ProviderResult(**dict(ResultAnswer.model_validate(given))).as_returned()
    except StepError:
        raise  # the step's own, which a turn has raised
    except _passing(context):
        raise
    except BaseException as error:
        logger.debug("the provider '%s' raised", kind, exc_info=True)
        message = f"the provider '{kind}' raised {one_line(error, context.mask.text)}"
        raise StepError(message, "raised") from None


def _as_answer(returned: Any) -> dict[str, Any]:
    """A result as plain data, with the keys of `ResultAnswer`."""
    result = ProviderResult.of(returned)
    return {**result.status, "data": result.data, "meta": dict(result.meta)}


def _passing(context: StepContext) -> tuple[type[BaseException], ...]:
    """What ends an attempt from outside, and is no failure of the provider's."""
    return (*context.interrupts, OutOfTime)


def _field(step: Step, within: str | None) -> str:
    key = (within or "").split(".")[0].split("[")[0]
    return f"{'input' if key in step.request_keys else 'source'}.{within}"


def _first_mistake(context: StepContext, error: ValidationError) -> str:
    place, message = first_mistake(error)
    return f"{_field(context.step, place)}: {message}"


def _failure(context: StepContext, result: ProviderResult) -> str:
    if result.notes:
        # Masked first: a secret with two blanks in it would not be found with one.
        hidden = (context.mask.text(note) for note in result.notes)
        return "; ".join(" ".join(note.split()) for note in hidden)
    code = f" (code {result.code})" if result.code is not None else ""
    return f"the provider '{context.step.source.type}' reported a failure{code}"
