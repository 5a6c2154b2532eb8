"""A flow's parameters in Dagster: a resource whose configuration the Launchpad shows.

Its configuration is kept with the run, so secret parameters are not part of it: what was given
for them is in the store of the run's records, for its owner alone. Values with mappings in them are
there, too: Dagster sorts the keys of a configuration that it stores.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import dagster as dg

from flowtoy_dagster.engine.tags import GIVEN_TAG
from flowtoy_dagster.flow.graph import Flow, Values
from flowtoy_dagster.flow.schema.params import Param
from flowtoy_dagster.flow.templates.values import to_json
from flowtoy_dagster.masking.mask import Mask
from flowtoy_dagster.store.records import records_of

PARAMS = "params"
"""The key of the resource."""
_TYPES: Mapping[str, Any] = {
    "string": dg.String,
    "integer": dg.Int,
    "number": dg.Float,
    "boolean": dg.Bool,
    "list": dg.Array(dg.Noneable(dg.Any)),
    "object": dg.Permissive(),
}


def params_resource(flow: Flow, job_name: str, mask: Mask) -> dict[str, dg.ResourceDefinition]:
    """The resource of a flow's parameters under its key; nothing where it has none.

    Args:
        flow: whose parameters they are.
        job_name: makes the names of configuration types unique in a code location.
        mask: hides the flow's secrets in descriptions.
    """
    if not flow.params:
        return {}
    schema = {
        param.name: _field(param, f"{job_name}___{param.name}", mask)
        for param in flow.params.values()
        if not param.secret
    }

    def open_params(context: dg.InitResourceContext) -> Callable[[], Flow]:
        run, instance = context.run, context.instance
        given = _config_of(run) if run is not None else {}
        public = {
            name: _exact(flow.params[name], value, given)
            for name, value in context.resource_config.items()
        }

        def load() -> Flow:
            if run is None or instance is None:
                return replace(flow, values=Values(public))
            return _with_values(flow, public, run, instance)

        # The op calls it: what goes wrong is a failure of the step, with its reason.
        return load

    description = "The values that can be chosen when the flow is started."
    return {PARAMS: dg.ResourceDefinition(open_params, schema, description)}


def _field(param: Param, type_name: str, mask: Mask) -> dg.Field:
    config = param.config
    kind, notes = _TYPES[config.type], [mask.text(config.description or "")]
    if config.enum is not None and config.type == "string":
        kind = dg.Enum(type_name, [dg.EnumValue(value) for value in config.enum])
    elif config.enum is not None:
        notes.append(f"One of {', '.join(map(to_json, config.enum))}.")
    if param.may_be_null:
        kind = dg.Noneable(kind)
    description = " ".join(filter(None, notes)) or None
    if param.has_default:
        return dg.Field(
            kind, default_value=config.default, is_required=False, description=description
        )
    return dg.Field(kind, is_required=True, description=description)


def params_config(flow: Flow) -> dict[str, Any]:
    """The part of a run's configuration, in Dagster's sense, that has the flow's values."""
    if not flow.values or not flow.params:
        return {}
    return {"resources": {PARAMS: {"config": dict(flow.values.public)}}}


def keep_given(flow: Flow, run_id: str, instance: dg.DagsterInstance) -> dict[str, str]:
    """Keep what of a run's values its configuration can't have as it is, for its owner alone.

    Returns:
        the run's tag that says what was kept.
    """
    if flow.values is None:
        return {}
    ordered = {name: value for name, value in flow.values.public.items() if _has_keys(value)}
    kept = {**ordered, **flow.values.secret}
    if not kept:
        return {}
    records_of(instance.storage_directory()).keep_given(run_id, kept)
    return {GIVEN_TAG: ",".join(kept)}


def with_values_of(flow: Flow, run: dg.DagsterRun, instance: dg.DagsterInstance) -> Flow:
    """A flow with the values that a run was made with."""
    if not flow.params:
        return flow
    return _with_values(flow, _config_of(run), run, instance)


def _config_of(run: dg.DagsterRun) -> Mapping[str, Any]:
    """What a run was given for its parameters, as it was written."""
    resources: Any = run.run_config.get("resources") or {}
    return (resources.get(PARAMS) or {}).get("config") or {}


def _exact(param: Param, value: Any, given: Mapping[str, Any]) -> Any:
    """A value with all its digits: Dagster makes a float of every number of a type with fractions.

    Args:
        param: whose value it is.
        value: as Dagster has it.
        given: what the run was given, by the names of parameters.
    """
    written = given.get(param.name, param.config.default)
    is_whole = isinstance(written, int) and not isinstance(written, bool)
    return written if is_whole and isinstance(value, float) else value


def _with_values(
    flow: Flow, public: Mapping[str, Any], run: dg.DagsterRun, instance: dg.DagsterInstance
) -> Flow:
    """A flow with its values.

    Args:
        flow: the flow.
        public: those that the run's configuration has; keys of mappings may be in another order.
        run: the run.
        instance: where it is stored.
    """
    params = flow.params
    if not any(one.secret for one in params.values()) and not any(map(_has_keys, public.values())):
        return replace(flow, values=Values(public))
    given = _given(run, instance)
    ordered = {
        name: given[name] if name in given and _same(given[name], value) else value
        for name, value in public.items()
    }
    secret = {name: given[name] for name, param in params.items() if param.secret and name in given}
    kept = set(filter(None, run.tags.get(GIVEN_TAG, "").split(",")))
    lost = frozenset((kept & params.keys()) - given.keys())
    return replace(flow, values=Values(ordered, secret, lost))


def _same(one: Any, other: Any) -> bool:
    """Whether values differ at most in the order of keys; 1, 1.0 and true are three values."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _has_keys(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_keys, value))
    return isinstance(value, Mapping)


def _given(run: dg.DagsterRun, instance: dg.DagsterInstance) -> Mapping[str, Any]:
    """What was kept for a run, or for the one that it runs again."""
    records = records_of(instance.storage_directory())
    current: dg.DagsterRun | None = run
    while current is not None:
        found = records.given(current.run_id)
        if found is not None:
            return found
        parent = current.parent_run_id
        current = instance.get_run_by_id(parent) if parent else None
    return {}
