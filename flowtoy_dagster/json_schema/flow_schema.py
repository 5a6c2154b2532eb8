"""The JSON Schema of a flow, with the keys of the providers and outputs that are installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowtoy_dagster.engine.executors.kinds import EXECUTORS
from flowtoy_dagster.entry_points import Kinds
from flowtoy_dagster.flow.schema.models import OUTPUT_KEYS, SOURCE_KEYS, FlowConfig
from flowtoy_dagster.json_schema.writer import Schema, schema_of
from flowtoy_dagster.outputs.kinds import OUTPUTS
from flowtoy_dagster.providers.kinds import PROVIDERS

DIALECT = "http://json-schema.org/draft-07/schema#"
_NOTES = "^x-"


def flow_schema(*, partial: bool = False) -> Schema:
    """The schema of a configuration.

    Args:
        partial: for a file that is merged over another: nothing at its top is required, and neither
            is the `type` of a source.
    """
    schema = schema_of(FlowConfig)
    parts = schema.pop("$defs")
    schema["required"] = [] if partial else ["flow"]  # the name is the file's by default
    source = parts["SourceConfig"]
    if partial:
        source["required"] = []
    source["properties"]["type"] = {**source["properties"]["type"], "enum": _usable(PROVIDERS)}
    source["allOf"] = [
        _where("type", name, _source_keys(name, parts)) for name in _usable(PROVIDERS)
    ]
    rules = list(_input_rules(parts))
    for part in (parts["StepConfig"], parts["NotifyConfig"]):
        part["allOf"] = rules
    override = parts["SourceReference"]["properties"]["override"]
    override["allOf"] = [_keys_of("any_override", _usable(PROVIDERS), parts, all_keys=True)]
    output = parts["OutputConfig"]
    _choose(output["properties"], "type", _usable(OUTPUTS))
    del output["properties"]["options"]  # each type's own keys stand at this level
    output["allOf"] = [_where("type", name, _output_keys(name, parts)) for name in _usable(OUTPUTS)]
    _choose(parts["RunnerConfig"]["properties"], "executor", _usable(EXECUTORS))
    for key, value in schema["properties"].items():
        if key == "flow":
            continue
        about = value.pop("description", "")
        schema["properties"][key] = {"anyOf": [value, {"type": "null"}], "description": about}
    sections = {key: schema["properties"][key]["anyOf"][0] for key in ("sources", "params")}
    for section in sections.values():
        section["patternProperties"] = {_NOTES: {}}
    sections["params"]["additionalProperties"] = {
        "anyOf": [{"$ref": "#/$defs/ParamConfig"},
                  {"type": ["string", "number", "boolean", "array"]}]
    }
    return {"$schema": DIALECT, "title": "A flow of flowtoy", **schema, "$defs": parts}


def _choose(properties: Schema, key: str, names: list[str]) -> None:
    about = properties[key].get("description", "")
    properties[key] = {"enum": [*names, None], "description": about}


def _usable(kinds: Kinds[Any]) -> list[str]:
    return [name for name in kinds.names() if kinds.why_unusable(name) is None]


def _where(key: str, value: str, then: Schema | None) -> Schema:
    """What holds where a key has a value."""
    return {"if": {"properties": {key: {"const": value}}, "required": [key]}, "then": then or {}}


def _source_keys(name: str, parts: Schema) -> Schema | None:
    """The keys of a source of a type; None where its kind does not say."""
    properties = _provider_keys(name, parts)
    if properties is None:
        return None
    configuration = {
        "type": "object", "properties": properties, "patternProperties": {_NOTES: {}},
        "additionalProperties": False,
    }
    return {
        "properties": {**properties, "configuration": configuration},
        "propertyNames": _only([*SOURCE_KEYS, *properties]),
    }


def _input_rules(parts: Schema) -> Iterator[Schema]:
    """The keys that a step's input may have, by what its source is.

    Any other input is a payload, so these complete and describe keys, and reject none.
    """
    types = _usable(PROVIDERS)
    for name in types:
        keys = _keys_of(f"{name}_input", [name], parts)
        yield {"if": _has_source(_of_type(name)), "then": {"properties": {"input": keys}}}
    named = {"not": {"anyOf": [_of_type(name) for name in types]}}
    keys = _keys_of("any_input", types, parts)
    yield {"if": _has_source(named), "then": {"properties": {"input": keys}}}


def _has_source(source: Schema) -> Schema:
    return {"properties": {"source": source}, "required": ["source"]}


def _of_type(name: str) -> Schema:
    """A source that is a provider's type, or an inline one of that type."""
    inline = {"type": "object", "properties": {"type": {"const": name}}, "required": ["type"]}
    return {"anyOf": [{"const": name}, inline]}


def _keys_of(part: str, names: list[str], parts: Schema, *, all_keys: bool = False) -> Schema:
    """The request keys of providers, or all of their keys, besides anything else.

    Args:
        part: the name under which the keys are added to the parts.
        names: of the providers.
        parts: what the schema is made of.
        all_keys: not only those of a step's input.
    """
    known: Schema = {}
    for name in names:
        kind = PROVIDERS[name]
        for key, value in (_provider_keys(name, parts) or {}).items():
            if all_keys or key in (kind.request_keys or ()):
                known.setdefault(key, value)
    if not known:
        return {}
    parts[part] = {"anyOf": [{"type": "object", "properties": known}, {}]}
    return {"$ref": f"#/$defs/{part}"}


def _provider_keys(name: str, parts: Schema) -> Schema | None:
    """The keys of a provider; what they may be is added to the parts, once."""
    model = PROVIDERS[name].configuration_model
    if model is None:
        return None
    keys = _properties(schema_of(model), parts)
    parts |= {f"{name}.{key}": value for key, value in keys.items()}
    return {key: {"$ref": f"#/$defs/{name}.{key}"} for key in keys}


def _output_keys(name: str, parts: Schema) -> Schema | None:
    model = OUTPUTS[name].options_model
    properties = _properties(schema_of(model), parts) if model is not None else {}
    return {"properties": properties, "propertyNames": _only([*OUTPUT_KEYS, *properties])}


def _properties(schema: Schema, parts: Schema) -> Schema:
    """The properties of a model; what they are made of is added to the parts."""
    for name, part in schema.get("$defs", {}).items():
        parts.setdefault(name, part)
    found: Schema = schema.get("properties", {})
    return found


def _only(names: list[str]) -> Schema:
    return {"anyOf": [{"enum": names}, {"pattern": _NOTES}]}
