"""The values of a flow's parameters: chosen when a run is made, seen by its steps."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from flowtoy_dagster.errors import ConfigError, Location, Problem, system_reason
from flowtoy_dagster.flow.compile.diagnostics import Diagnostics
from flowtoy_dagster.flow.compile.mistakes.plain_scalars import warn_of_plain_scalars_in_param
from flowtoy_dagster.flow.files.loading import NO_FILE, STDIN
from flowtoy_dagster.flow.files.nodes import Mark, Node, from_plain
from flowtoy_dagster.flow.files.suggestions import nearest, show
from flowtoy_dagster.flow.files.yaml_reader import MAX_FILE_BYTES, read_document
from flowtoy_dagster.flow.graph import Flow, Values
from flowtoy_dagster.flow.schema.params import Param
from flowtoy_dagster.json_text import JsonError, dumps, loads
from flowtoy_dagster.masking.mask import HIDDEN, texts_in

_IN_TEXT = re.compile(r"(.*?)(?: at line (\d+) column (\d+))?", re.DOTALL)
"""What is wrong with a JSON text, and where."""
_LOCATED = 1 << 16
"""Bytes of a JSON file up to which each value has a place of its own."""
_LOST = "had a value in the run, which is gone: its file was deleted, or can't be read"


def bind(
    flow: Flow,
    values: Mapping[str, Any] | None = None,
    *,
    texts: Sequence[str] = (),
    files: Sequence[str | Path] = (),
    before: Values | None = None,
    elsewhere: bool = False,
) -> Flow:
    """The flow with values for its parameters.

    A value comes from the first that has one: `texts`, `values`, `files` (the last one first),
    `before`, the parameter's environment variable, its default.

    Args:
        flow: whose parameters they are.
        values: by name, of the types that are declared.
        texts: `name=value`, as on a command line.
        files: YAML or JSON files with a mapping of values.
        before: the values of a run that is repeated; those that don't fit are left out.
        elsewhere: whether the steps run where the variables of secret parameters may be set,
            though they aren't here.

    Raises:
        ConfigError: with every value that is missing, unknown or of another type.
    """
    binder = _Binder(flow, elsewhere)
    for path in files:
        binder.read_file(path)
    binder.read_mapping({} if values is None else values)
    for text in texts:
        binder.read_text(text)
    warnings = (*flow.warnings, *binder.warnings)
    return replace(flow, values=binder.values(before), warnings=warnings)


def bound(flow: Flow) -> Flow:
    """The flow with values for its parameters; by default those that need not be given.

    Raises:
        ConfigError: some must be given.
    """
    return flow if flow.values is not None or not flow.params else bind(flow)


class _Binder:
    def __init__(self, flow: Flow, elsewhere: bool) -> None:
        self.flow = flow
        self.elsewhere = elsewhere
        self.given: dict[str, Any] = {}
        self.wrong: set[str] = set()
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def read_file(self, path: str | Path) -> None:
        try:
            root = _read(path)
        except ConfigError as error:
            self.problems += error.problems
            return
        diagnostics = Diagnostics(root)
        for name, node in root.value.items():
            self._take(name, node.plain(), node.key_mark or node.mark)
            if name in self.given:
                secret = self.flow.params[name].secret
                warn_of_plain_scalars_in_param(diagnostics, root, name, is_secret=secret)
        self.warnings += diagnostics.warnings

    def read_mapping(self, values: Mapping[str, Any]) -> None:
        if not isinstance(values, Mapping):
            self._refuse(f"expected a mapping of parameters, got {show(values)}")
            return
        try:
            root = from_plain(values, Mark(Location(NO_FILE, 0, 0), 0))
        except ValueError as error:
            self._refuse(f"the parameters can't be read: {error}")
            return
        for name, node in root.value.items():
            self._take(name, node.plain(), None)

    def read_text(self, text: str) -> None:
        name, separator, value = text.partition("=")
        param = self.flow.params.get(name)
        if not separator:
            self._refuse(f"'{name}' is not of the form NAME=VALUE")
        elif param is None:
            self._refuse_name(name, None)
        else:
            try:
                self.given[name] = param.read(value)
            except ValueError as error:
                self._refuse_value(param, str(error), param.mark)

    def _take(self, name: str, value: Any, mark: Mark | None) -> None:
        param = self.flow.params.get(name)
        if param is None:
            self._refuse_name(name, mark)
        elif (problem := param.why_not(value)) is not None:
            self._refuse_value(param, problem, mark or param.mark, param.config.hint_on(value))
        else:
            self.given[name] = value

    def values(self, before: Values | None) -> Values:
        """What all parameters are; raises ConfigError."""
        known = {**before.public, **before.secret} if before else {}
        lost = before.lost if before else frozenset()
        for param in self.flow.params.values():
            if param.name not in self.given and param.name not in self.wrong:
                if param.name in lost:
                    hint = f"give --param {param.name}=…"
                    self._refuse(f"the parameter '{param.name}' {_LOST}", param.mark, hint)
                else:
                    self._find(param, known)
        if self.problems:
            raise ConfigError(self.problems)
        params = self.flow.params
        return Values(
            {name: self.given[name] for name in params if not params[name].secret},
            {name: self.given[name] for name in params
             if params[name].secret and name in self.given},
        )

    def _find(self, param: Param, known: Mapping[str, Any]) -> None:
        """A value that nobody gave for this run."""
        variable = param.config.env
        if param.name in known and param.why_not(known[param.name]) is None:
            self.given[param.name] = known[param.name]
        elif variable is not None and variable in os.environ:
            try:
                value = param.read(os.environ[variable])
            except ValueError as error:
                self._refuse_value(param, f"the variable {variable}: {error}", param.mark)
                return
            if not param.secret:
                self.given[param.name] = value  # a secret is read again by the steps that need it
        elif param.secret and variable is not None and self.elsewhere:
            pass  # the step that needs it says what is missing
        elif not param.has_default:
            hint = f"give --param {param.name}=…" + (f", or set {variable}" if variable else "")
            self._refuse(f"the parameter '{param.name}' has no value", param.mark, hint)
        elif not param.secret:
            self.given[param.name] = param.config.default

    def _refuse_name(self, name: str, mark: Mark | None) -> None:
        known = self.flow.params
        hint = nearest(name, known).hint if known else "the flow declares none"
        self._refuse(f"there is no parameter '{name}'", mark, hint)

    def _refuse_value(
        self, param: Param, problem: str, mark: Mark, hint: str | None = None
    ) -> None:
        self.wrong.add(param.name)
        self._refuse(f"the parameter '{param.name}': {problem}", mark, hint)

    def _refuse(self, message: str, mark: Mark | None = None, hint: str | None = None) -> None:
        place = mark.location if mark and mark.location.line else None
        self.problems.append(Problem(message, place, hint, order=mark.order if mark else 0))


def _read(path: str | Path) -> Node:
    """The tree of a file of values; `-` is standard input."""
    name = "<stdin>" if str(path) == STDIN else str(path)
    start = Mark(Location(name, 1, 1), 0)
    try:
        data = sys.stdin.buffer.read() if str(path) == STDIN else Path(path).read_bytes()
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"larger than {MAX_FILE_BYTES // 2**20} MiB")
        if name.endswith(".json"):
            root = _of_json(data, start)
        else:
            root = read_document(data.decode("utf-8-sig"), name)
    except OSError as error:
        reason = system_reason(error)
        raise ConfigError([Problem(f"can't read the parameters '{path}': {reason}")]) from None
    except UnicodeDecodeError:
        problem = Problem("not UTF-8 text", start.location, "save the file as UTF-8")
        raise ConfigError([problem]) from None
    except ValueError as error:
        words, line, column = _IN_TEXT.fullmatch(str(error)).groups()  # type: ignore[union-attr]
        place = Location(name, int(line or 1), int(column or 1))
        raise ConfigError([Problem(f"not readable: {words}", place)]) from None
    if not isinstance(root.value, dict):
        raise ConfigError([Problem("expected a mapping of parameters", start.location)])
    return root


def _of_json(data: bytes, start: Mark) -> Node:
    """The tree of a JSON text, with the places of its values where YAML reads it as JSON does."""
    try:
        value = loads(data, unique_keys=True)
    except JsonError:
        with contextlib.suppress(JsonError):
            loads(data)  # else a key is there twice, of which YAML's reader has the place
            read_document(data.decode("utf-8-sig"), start.location.file)
        raise
    if len(data) <= _LOCATED:
        with contextlib.suppress(ValueError, ConfigError):
            root = read_document(data.decode("utf-8-sig"), start.location.file)
            if dumps(root.plain()) == dumps(value):
                return root
    return from_plain(value, start)


class SeenParams(NamedTuple):
    """What a step sees of the parameters.

    Attributes:
        values: by name.
        missing: for each that has none, why.
        secrets: the texts that are secret among the values.
        public: those that are none, as their parameters say with `secret: false`.
    """

    values: Mapping[str, Any] = {}
    missing: Mapping[str, str] = {}
    secrets: frozenset[str] = frozenset()
    public: frozenset[str] = frozenset()

    def why_missing(self, name: str) -> str:
        """Why a parameter has no value."""
        return self.missing.get(name, f"there is no parameter '{name}'")


def see_params(flow: Flow, environment: Mapping[str, str]) -> SeenParams:
    """The parameters as the steps of a run see them.

    Args:
        flow: with the values that the run was made with.
        environment: of the process that runs the step; has the secret ones that were not given.
    """
    values = flow.values or Values({})
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for param in flow.params.values():
        value, problem = _seen(param, values, environment)
        if problem is None:
            found[param.name] = value
        else:
            missing[param.name] = f"the parameter '{param.name}' {problem}"
    secret = [value for name, value in found.items() if flow.params[name].secret]
    public = [v for name, v in found.items() if flow.params[name].config.secret is False]
    hidden = frozenset(text for value in secret for text in texts_in(value))
    shown = frozenset(text for value in public for text in texts_in(value))
    return SeenParams(found, missing, hidden, shown - hidden)


def _seen(
    param: Param, values: Values, environment: Mapping[str, str]
) -> tuple[Any, str | None]:
    """A parameter's value, and why it has none."""
    given = values.secret if param.secret else values.public
    if param.name in values.lost:
        return None, _LOST
    if param.name in given:
        problem = param.why_not(given[param.name])
        return param.native(given[param.name]), problem and f"is wrong: {problem}"
    variable = param.config.env if param.secret else None
    if variable is not None and variable in environment:
        try:
            return param.read(environment[variable]), None
        except ValueError as error:
            return None, f"is wrong: the variable {variable}: {error}"
    if param.has_default:
        return param.config.default, None
    return None, "has no value" + (f": the variable {variable} is not set" if variable else "")


def shown_params(flow: Flow) -> dict[str, Any]:
    """The values of a flow's parameters for people to see, without those that are secret."""
    public = flow.values.public if flow.values else {}
    return {
        name: HIDDEN if param.secret else public.get(name, param.config.default)
        for name, param in flow.params.items()
    }
