"""`flowtoy step` and `flowtoy eval`: one step, or one expression, by itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from flowtoy_dagster.cli.completion.words import complete_runs, complete_steps
from flowtoy_dagster.cli.shared import collect_garbage_again
from flowtoy_dagster.cli.shared.options import (
    Config,
    Debug,
    EnvFile,
    Level,
    LogLevel,
    Param,
    ParamsFile,
    begin,
    flow_of,
)
from flowtoy_dagster.errors import FlowtoyError, StepError, TemplateError, UsageError
from flowtoy_dagster.terminal import plain, plain_lines, print_json, say

if TYPE_CHECKING:
    from flowtoy_dagster.flow.graph import Flow, Step
    from flowtoy_dagster.masking.mask import Mask
    from flowtoy_dagster.steps.attempts import StepOutcome
    from flowtoy_dagster.testing.single import Before


StepName = Annotated[
    str, typer.Argument(help="The step's name.", metavar="NAME", autocompletion=complete_steps)
]
Item = Annotated[
    Optional[str],  # noqa: UP045 - Typer reads these at run time
    typer.Option("--item", metavar="KEY",
                 help="Of a step with for_each, run only the item with this key."),
]
WithOutputsOf = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--with", metavar="RUN", autocompletion=complete_runs,
                 help="Use the outputs that other steps have in this run: an id or its"
                      " beginning, `last`, `failed`, or `last:FLOW`."),
]
Dry = Annotated[
    bool, typer.Option("--dry", help="Show the call, secrets masked, and send nothing.")
]
Suggest = Annotated[
    bool,
    typer.Option("--suggest",
                 help="Send the first request, and print paginator and selector to write."),
]


def step(
    name: StepName,
    config: Config,
    item: Item = None,
    with_run: WithOutputsOf = None,
    dry: Dry = False,
    suggest: Suggest = False,
    env_file: EnvFile = None,
    param: Param = None,
    params_file: ParamsFile = None,
    log_level: Level = LogLevel.warning,
    debug: Debug = False,
) -> None:
    """Run one step of a flow by itself, or show what it would call.

    It prints the step's outputs. `--dry` prints the rendered call instead. `--suggest` sends the
    first request, and prints the paginator and selector to write. Nothing is stored: the history
    has no such run, and cursors stay as they are. The exit code is 0 if the step succeeded or was
    skipped, and 1 if it failed.
    """
    if dry and suggest:
        raise UsageError("--suggest sends a request, and --dry sends none: give one of them")
    begin(env_file, log_level)
    flow = flow_of(config, param, params_file)
    chosen = _chosen(flow, name)
    if item is not None and chosen.for_each is None:
        raise UsageError(f"step '{name}' has no items: only steps with 'for_each' have")
    if chosen.dependencies and with_run is None:
        needed = ", ".join(f"'{before}'" for before in chosen.upstream)
        raise UsageError(f"step '{name}' depends on {needed}\n    give --with RUN, such as last")
    before = _before(flow, with_run, chosen.upstream)
    collect_garbage_again()
    does = _print_suggestion if suggest else _print_call if dry else _print_trial
    does(flow, chosen, before, item)


def _print_trial(flow: Flow, chosen: Step, before: Before, item: str | None) -> None:
    from flowtoy_dagster.testing.single import try_step

    _print_outcome(chosen.name, try_step(flow, chosen, before, item))


def _print_call(flow: Flow, chosen: Step, before: Before, item: str | None) -> None:
    from flowtoy_dagster.testing.single import Rendered, render_step

    shown = render_step(flow, chosen, before, item)
    if not isinstance(shown, Rendered):
        _print_outcome(chosen.name, shown)
        return
    of_item = f" (item '{shown.item}')" if shown.item is not None else ""
    say(f"{shown.described}{of_item}")
    print_json(shown.facts)


def _print_suggestion(flow: Flow, chosen: Step, before: Before, item: str | None) -> None:
    import yaml

    from flowtoy_dagster.providers.kind import Suggestion
    from flowtoy_dagster.testing.single import mask_of, suggest_for

    found = suggest_for(flow, chosen, before, item)
    if not isinstance(found, Suggestion):
        _print_outcome(chosen.name, found)
        return
    mask = mask_of(flow, before)
    if not found.usable:
        raise StepError(mask.text(f"nothing can be suggested: {'; '.join(found.notes)}"))
    for note in found.notes:
        print(plain(mask.text(f"# {note}")))
    if found.keys:
        block = yaml.safe_dump({"input": mask.data(dict(found.keys))}, sort_keys=False,
                               default_flow_style=None, width=100, allow_unicode=True)
        print(plain_lines(block.rstrip("\n")))


def _chosen(flow: Flow, name: str) -> Step:
    from flowtoy_dagster.flow.files.suggestions import nearest

    found = flow.by_name.get(name)
    if found is None:
        raise UsageError(f"there is no step '{name}'\n    {nearest(name, flow.by_name).hint}")
    return found


def _before(flow: Flow, run: str | None, names: tuple[str, ...]) -> Before:
    """What a run has left of some steps."""
    from flowtoy_dagster.testing.single import Before

    if run is None:
        return Before()
    from flowtoy_dagster.runs.history import History

    with History() as history:
        return _left_by(history, history.find(run), flow, names)


def _left_by(history: Any, run: Any, flow: Flow, names: tuple[str, ...]) -> Before:
    from flowtoy_dagster.engine.jobs.dagster_names import step_keys
    from flowtoy_dagster.flow.secrets_of_flow import secret_outputs
    from flowtoy_dagster.testing.run import Ended
    from flowtoy_dagster.testing.single import Before

    ran = history.flow(run)
    keys, origins = step_keys(step.name for step in ran.steps), history.origins(run)
    ended = history.status(run, ran).steps
    upstream: dict[str, Any] = {}
    secrets: set[str] = set()
    for name in names:
        is_due = name in keys and ended[name].state == "succeeded"
        record = history.record(origins, keys[name], is_due=is_due) if name in keys else None
        if record is None:
            upstream[name] = Ended("skipped", f"it did not run in run {run.run_id[:8]}", ran=False)
            continue
        upstream[name] = record
        secrets |= record.secrets_with(secret_outputs(flow, name) & record.outputs.keys())
    return Before(upstream, frozenset(secrets), run.run_id)


def _print_outcome(name: str, outcome: StepOutcome) -> None:
    if outcome.skipped is not None:
        say(f"step '{name}' is skipped: {outcome.skipped}")
        return
    if outcome.error is not None:
        for line in outcome.stderr.splitlines():
            say(f"    {line}")
        raise StepError(f"step '{name}' failed: {outcome.error}")
    mask = outcome.mask.including(outcome.secrets)
    print_json(outcome.shown(outcome.outputs, mask))


def evaluate(
    expression: Annotated[
        str,
        typer.Argument(metavar="EXPR", help="A template ({{ … }}), or JMESPath: STEP.OUTPUT."),
    ],
    run: Annotated[
        str, typer.Option("--run", metavar="RUN", autocompletion=complete_runs,
                          help="The run: an id or its beginning, `last`, `failed`, or"
                               " `last:FLOW`.")
    ] = "last",
    env_file: EnvFile = None,
    debug: Debug = False,
) -> None:
    """Print what a template or a JMESPath expression gives for the outputs of a run.

    Secrets are masked. The exit code is 1 if the expression fails, and 2 if it is malformed.
    """
    from flowtoy_dagster.flow.templates.jinja import search
    from flowtoy_dagster.flow.templates.render import is_template, render
    from flowtoy_dagster.flow.templates.values import native
    from flowtoy_dagster.runs.history import History
    from flowtoy_dagster.testing.single import mask_of, scope_of

    _check_expression(expression)
    begin(env_file, LogLevel.warning)
    with History() as history:
        found = history.find(run)
        flow = history.flow(found)
        before = _left_by(history, found, flow, tuple(flow.by_name))
        try:
            if is_template(expression):
                value = native(render(expression, scope_of(flow, before)))
            else:
                outputs = {
                    name: dict(one.outputs) if one.state == "succeeded" else None
                    for name, one in before.upstream.items()
                }
                value = search(expression, outputs)
                _tell_if_nothing(expression, outputs, value, mask_of(flow, before))
        except TemplateError as error:
            raise FlowtoyError(mask_of(flow, before).text(str(error))) from None
    print_json(hide_all(value, mask_of(flow, before)))


def _check_expression(expression: str) -> None:
    """Raise UsageError where no run could make sense of an expression."""
    from flowtoy_dagster.flow.templates.jinja import check_jmespath
    from flowtoy_dagster.flow.templates.references import TemplateMistake, references
    from flowtoy_dagster.flow.templates.render import is_template

    hint: str | None = None
    try:
        if is_template(expression):
            references(expression)
        else:
            hint = "a template has {{ ... }} in it"
            check_jmespath(expression)
    except TemplateMistake as mistake:
        told = f"\n    {mistake.hint}" if mistake.hint else ""
        raise UsageError(f"{mistake}{told}") from None
    except ValueError as error:
        raise UsageError(f"{error}\n    {hint}") from None


def _tell_if_nothing(
    expression: str, outputs: Mapping[str, Any], value: Any, mask: Mask
) -> None:
    """Say on stderr why JMESPath finds nothing; it may have been meant as a template."""
    from flowtoy_dagster.flow.templates.names import ROOTS
    from flowtoy_dagster.outputs.kinds import OUTPUTS
    from flowtoy_dagster.providers.base import ProviderResult
    from flowtoy_dagster.providers.kind import ResultView

    view = ResultView(ProviderResult(True, data=outputs), outputs, outputs)
    told = OUTPUTS["jmespath"].doubt(expression, view, value)
    if told is not None:
        say(mask.text(told))
        if re.split(r"\W", expression.strip(), maxsplit=1)[0] in ROOTS:
            say(mask.text(f"    for a template write '{{{{ {expression} }}}}'"))


def hide_all(value: Any, mask: Mask) -> Any:
    """A value without the secrets in it, numbers and keys included."""
    from flowtoy_dagster.masking.mask import HIDDEN

    if isinstance(value, dict):
        return {mask.text(str(key)): hide_all(item, mask) for key, item in value.items()}
    if isinstance(value, list):
        return [hide_all(item, mask) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value if mask.text(str(value)) == str(value) else HIDDEN
    return mask.data(value)
