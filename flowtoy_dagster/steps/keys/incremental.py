"""`incremental`: a step begins where an earlier run ended, and notes how far it came."""

from __future__ import annotations

from typing import Any

from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.flow.schema.incremental import IncrementalConfig, read_lag
from flowtoy_dagster.flow.templates.names import INCREMENTAL, INCREMENTAL_WORDS, Names
from flowtoy_dagster.flow.templates.references import free_names
from flowtoy_dagster.flow.templates.render import is_template, render, text
from flowtoy_dagster.masking.mask import texts_in
from flowtoy_dagster.outputs.kinds import OUTPUTS
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.kinds import PROVIDERS
from flowtoy_dagster.steps.chain import Next, Outcome
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.needs import failure_of
from flowtoy_dagster.steps.scope import with_names
from flowtoy_dagster.steps.state.cursor_values import CursorError, Scalar, behind, cursor_value
from flowtoy_dagster.steps.state.cursors import (
    NEVER_STORED,
    CursorReader,
    CursorTracker,
    CursorUse,
    StoredCursor,
)
from flowtoy_dagster.steps.state.records import records_in


def begin_at_cursor(context: StepContext, following: Next) -> Outcome:
    """Read what is stored of the cursor of the step, or of the item; give it to the templates."""
    config = context.step.incremental
    if config is None:
        return following(context)
    key = _key(config, context)
    return _begin(context, config, _use(config, _stored(context, key), key, context), following)


def begin_again(context: StepContext, earlier: CursorUse | None, following: Next) -> Outcome | None:
    """Begin where an item began that has succeeded before.

    Returns:
        None where somebody else has moved its cursor since: then it begins there.
    """
    config = context.step.incremental
    if config is None:
        return following(context)
    key = _key(config, context)
    if earlier is None or key != earlier.key:
        return None
    stored = _stored(context, key)
    version = stored.version if stored is not None else NEVER_STORED
    # A run that has stored it, and died before it could say so, goes on.
    is_own = (
        stored is not None
        and stored.value == earlier.value
        and stored.run_id in context.loop.runs
    )
    if version != earlier.version and not is_own:
        return None
    return _begin(context, config, earlier, following)


def _begin(
    context: StepContext, config: IncrementalConfig, use: CursorUse, following: Next
) -> Outcome:
    context.work.cursor = use
    if config.secret:
        context.mask.learn([*texts_in(use.last_value), *texts_in(use.start_value)])
    values = {"start_value": use.start_value, "last_value": use.last_value}
    words = " and ".join(f"'{word}'" for word in INCREMENTAL_WORDS)
    names = Names(values, lambda name: f"'{INCREMENTAL}' has no '{name}': it has {words}")
    # An initial value only says where to begin: the new value need not go beyond it.
    before = None if use.is_initial else use.last_value
    return following(
        context.having(
            scope=with_names(context.scope, {INCREMENTAL: names}),
            tracker=CursorTracker(config, before) if config.value is None else None,
        )
    )


def _key(config: IncrementalConfig, context: StepContext) -> str:
    key = _rendered(config.key, context, "key")
    key = "" if key is None else text(key)
    if config.key is not None and not key:
        raise StepError("incremental.key: must not be empty")
    if context.mask.text(key) != key:
        raise StepError("incremental.key: must not hold a secret; it names what is stored")
    if context.item is not None and context.mask.text(context.item.key) != context.item.key:
        raise StepError(
            "for_each.key: must not hold a secret in a step with 'incremental'; it names what is "
            "stored"
        )
    return key


def _stored(context: StepContext, key: str) -> StoredCursor | None:
    if context.cursors is None:
        return None
    item = context.item.key if context.item is not None else None
    stored = context.cursors.read(context.run.name, context.step.name, key, item)
    if stored is None and (item is None or context.loop.told.is_first("values of its other form")):
        _warn_of_other_form(context, context.cursors, key)
    return stored


def _warn_of_other_form(context: StepContext, cursors: CursorReader, key: str) -> None:
    """Say that values are not used which the step has stored with, or without, its `for_each`."""
    place = context.run.name, context.step.name, key
    has_items, told = cursors.has_items(*place), ""
    if context.item is None:
        if has_items:
            told = "items of it, from when it had 'for_each', and none for the step as a whole"
    elif not has_items and (whole := cursors.read(*place)) is not None and whole.value is not None:
        told = "the step as a whole, from before it had 'for_each', and none for its items"
    if told:
        what = "it begins" if context.item is None else "they begin"
        context.warn_at(
            f"incremental: values are stored for {told}: {what} at the initial value; "
            "'flowtoy state' shows and sets values", ("incremental",),
        )


def _use(
    config: IncrementalConfig, stored: StoredCursor | None, key: str, context: StepContext
) -> CursorUse:
    version = stored.version if stored is not None else NEVER_STORED
    if stored is None or stored.value is None:
        first = _rendered(config.initial_value, context, "initial_value")
        try:
            first = cursor_value(first) if first is not None else None
        except CursorError as error:
            raise StepError(f"incremental.initial_value: {error}") from None
        return CursorUse(key, version, first, first, secret=config.secret, is_initial=True)
    try:
        lag = read_lag(_rendered(config.lag, context, "lag"))
        start = behind(stored.value, lag, -1 if config.order == "max" else 1)
    except (CursorError, ValueError) as error:
        raise StepError(f"incremental.lag: {error}") from None
    return CursorUse(key, version, stored.value, start, secret=config.secret or stored.secret)


def note_cursor(context: StepContext, following: Next) -> Outcome:
    """Note the new value of the cursor: the one of all records, or what a template gives."""
    config, use, result = context.step.incremental, context.work.cursor, context.work.result
    if config is None or use is None or result is None:
        return following(context)
    if context.tracker is not None:
        value = context.tracker.value
        doubt = context.tracker.doubt
        if doubt is not None and (
            context.item is None or context.loop.told.is_first("doubtful order")
        ):
            told = f"incremental: {doubt}"
            context.warn_at(told, ("incremental", "cursor_path"))
    else:
        value = _computed(config.value or "", context, result)
        if not use.is_initial and value == use.last_value:
            value = None
    context.work.cursor = use._replace(value=value)
    if config.secret:
        context.mask.learn(texts_in(value))
    return following(context)


def _computed(written: str, context: StepContext, result: ProviderResult) -> Scalar | None:
    view = PROVIDERS[context.step.source.type].view(result)
    names: dict[str, Any] = {"response": view.content}
    if "records" in free_names(written):
        if not context.keeps_records:
            raise StepError(
                "incremental.value: 'records' is not known: they go into a file, page by page"
            )
        names["records"] = found.records if (found := records_in(view)) is not None else []
    try:
        value = OUTPUTS["template"].extract(written, view, {**context.scope, **names})
        return cursor_value(value) if value is not None else None
    except TemplateError as error:
        raise failure_of(error, f"incremental.value: {error.message}") from None
    except CursorError as error:
        raise StepError(f"incremental.value: {error}") from None


def _rendered(value: Any, context: StepContext, field: str) -> Any:
    if not is_template(value):
        return value
    try:
        return render(value, context.scope)
    except TemplateError as error:
        raise failure_of(error, f"incremental.{field}: {error.message}") from None
