"""Test files: found, read, and checked against their flows, with a place for every error."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowtoy_dagster.errors import ConfigError, Problem, UsageError
from flowtoy_dagster.flow.compile.diagnostics import Diagnostics
from flowtoy_dagster.flow.compile.model_check import model_findings
from flowtoy_dagster.flow.files.loading import read_files
from flowtoy_dagster.flow.files.nodes import KeyPath, Node
from flowtoy_dagster.flow.files.suffixes import OF_TESTS, is_special
from flowtoy_dagster.flow.files.suggestions import nearest, show
from flowtoy_dagster.flow.graph import Flow, Step
from flowtoy_dagster.flow.param_values import bind
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.providers.kinds import kind_of
from flowtoy_dagster.testing.environment import TestEnvironment
from flowtoy_dagster.testing.mocks import Mock
from flowtoy_dagster.testing.models import CaseConfig, CaseFileConfig


@dataclass(frozen=True)
class Case:
    """A test, ready to be run.

    Attributes:
        file: as it is printed.
        index: its place in the file.
        node: the tree of the file.
        flow: what is tested, with the test's parameters.
        mocks: by step.
    """

    file: str
    index: int
    node: Node
    config: CaseConfig
    flow: Flow
    mocks: Mapping[str, Mock]

    @property
    def path(self) -> KeyPath:
        """Where it is in its file."""
        return ("tests", self.index)


def find_files(paths: Sequence[str]) -> list[str]:
    """The test files in files and folders.

    Raises:
        UsageError: a path does not exist, or there are no tests.
    """
    found: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            found += sorted(_in_folder(path))
        elif path.endswith(OF_TESTS):
            found.append(path)
        else:
            raise UsageError(f"'{path}' is neither a folder nor a test file: '*.test.yaml'")
    if not found:
        places = ", ".join(f"'{path}'" for path in paths)
        raise UsageError(
            f"there are no tests ('*.test.yaml') in {places}\n"
            "    flowtoy test --record NAME flow.yaml makes one of a real run"
        )
    return list(dict.fromkeys(found))


def _in_folder(folder: str) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[:1] != "." and name != "node_modules")
        for name in names:
            path = os.path.normpath(os.path.join(place, name))
            if name.endswith(OF_TESTS) and name[:1] != "." and not is_special(path):
                yield path


class CaseReader:
    """Reads test files; each flow is loaded once."""

    def __init__(self) -> None:
        self._flows: dict[tuple[str, ...], Flow] = {}

    def read(self, file: str) -> list[Case]:
        """The tests of a file.

        Raises:
            ConfigError: with all that is wrong with it, or with the flow.
        """
        root = read_files([file]).root
        errors = Diagnostics(root)
        written = root.plain()
        for finding in model_findings(CaseFileConfig, written):
            errors.error(finding.path, finding.message, finding.hint, key=finding.key)
        if errors.errors:
            raise ConfigError(errors.errors)
        config = CaseFileConfig.model_validate(written)
        flow = self._flow(file, config, errors)
        seen: set[str] = set()
        cases = []
        for index, test in enumerate(config.tests):
            if test.name in seen:
                errors.error(("tests", index, "name"), f"two tests have the name '{test.name}'")
            seen.add(test.name)
            cases.append(_Checker(file, root, errors, flow, index, test).case())
        if errors.errors:
            raise ConfigError(errors.errors)
        return cases

    def _flow(self, file: str, config: CaseFileConfig, errors: Diagnostics) -> Flow:
        folder = Path(file).parent
        paths = tuple(os.path.normpath(folder / path) for path in config.flow)
        for index, path in enumerate(paths):
            if not os.path.exists(path):
                hint = "the path is relative to the test file"
                errors.error(("flow", index), f"there is no flow '{path}'", hint)
        if errors.errors:
            raise ConfigError(errors.errors)
        if paths not in self._flows:
            self._flows[paths] = load_flow(list(paths))
        return self._flows[paths]


class _Checker:
    """One test against its flow."""

    def __init__(
        self,
        file: str,
        root: Node,
        errors: Diagnostics,
        flow: Flow,
        index: int,
        config: CaseConfig,
    ) -> None:
        self._file = file
        self._root = root
        self._errors = errors
        self._flow = flow
        self._index = index
        self._config = config
        self._at: KeyPath = ("tests", index)

    def case(self) -> Case:
        """The test; what is wrong with it is noted."""
        config = self._config
        mocks = {}
        for name, written in config.mock.items():
            step = self._step(name, ("mock", name), key=True)
            if step is not None:
                mocks[name] = self._mock(step, written)
        for index, name in enumerate(config.real):
            self._step(name, ("real", index), key=False)
            if name in config.mock:
                message = f"the step '{name}' has a mock, and is real"
                self._error(("real", index), message, "keep one of the two")
        self._check_steps()
        self._check_outputs()
        return Case(self._file, self._index, self._root, config, self._bound(), mocks)

    def _error(
        self, path: KeyPath, message: str, hint: str | None = None, *, key: bool = False
    ) -> None:
        self._errors.error((*self._at, *path), message, hint, key=key)

    def _step(self, name: str, path: KeyPath, *, key: bool) -> Step | None:
        found = self._flow.by_name.get(name)
        if found is None:
            hint = nearest(name, self._flow.by_name).hint
            self._error(path, f"there is no step '{name}'", hint, key=key)
        return found

    def _check_steps(self) -> None:
        for name, expected in self._config.expect.steps.items():
            place = ("expect", "steps", name)
            step = self._step(name, place, key=True)
            if step is not None and step.for_each is None and expected.counts is not None:
                message = f"the step '{name}' has no items: it has no 'for_each'"
                self._error((*place, "counts"), message, key=True)

    def _check_outputs(self) -> None:
        expect = self._config.expect
        listed: list[tuple[str, Mapping[str, Mapping[str, Any] | None]]] = [
            ("outputs", expect.outputs), ("outputs_match", expect.outputs_match),
        ]
        for field, by_step in listed:
            for name, outputs in by_step.items():
                step = self._step(name, ("expect", field, name), key=True)
                known = [output.name for output in step.outputs] if step is not None else []
                for output in (outputs or ()) if step is not None else ():
                    if output not in known:
                        message = f"the step '{name}' has no output '{output}'"
                        place = ("expect", field, name, output)
                        self._error(place, message, nearest(output, known).hint, key=True)

    def _mock(self, step: Step, written: Any) -> Mock:
        path: KeyPath = ("mock", step.name)
        if step.for_each is not None and isinstance(written, dict) and "items" in written:
            for key in written:
                if key != "items":
                    hint = "a mock has either 'items' or the answer of all items"
                    message = f"'{key}' can't be used together with 'items'"
                    self._error((*path, key), message, hint, key=True)
            by_key = written["items"]
            if not isinstance(by_key, dict):
                message = f"expected a mapping of answers by key, got {show(by_key)}"
                self._error((*path, "items"), message, "write items: {\"1\": {…}, \"*\": {…}}")
                return Mock()
            return Mock(items={
                str(key): self._answers(step, value, (*path, "items", key))
                for key, value in by_key.items()
            })
        return Mock(self._answers(step, written, path))

    def _answers(self, step: Step, written: Any, path: KeyPath) -> Any:
        if isinstance(written, list):
            return [
                self._answer(step, one, (*path, index)) for index, one in enumerate(written)
            ]
        return self._answer(step, written, path)

    def _answer(self, step: Step, written: Any, path: KeyPath) -> Mapping[str, Any]:
        kind = kind_of(step.source)
        if not isinstance(written, dict):
            message = f"expected what '{kind.name}' gives, as a mapping, got {show(written)}"
            example = ", ".join(list(kind.answer_model.model_fields)[:3]).replace("_", "")
            self._error(path, message, f"its keys are {example}, …")
            return {}
        for finding in model_findings(kind.answer_model, written):
            hint = finding.hint
            if finding.path == ("items",):
                hint = "only the mock of a step with 'for_each' has 'items'"
            self._error((*path, *finding.path), finding.message, hint, key=finding.key)
        return written

    def _bound(self) -> Flow:
        """The flow with the test's parameters."""
        try:
            with TestEnvironment(self._config.env).set():
                return bind(self._flow, values=self._config.params)
        except ConfigError as error:
            for problem in error.problems:
                self._errors.error(*self._place_of(problem))
        return self._flow

    def _place_of(self, problem: Problem) -> tuple[KeyPath, str, str | None]:
        for name in self._config.params:
            if f"'{name}'" in problem.message:
                return (*self._at, "params", name), problem.message, problem.hint
        hint = "write it in the test's 'params'" if "has no value" in problem.message else None
        return (*self._at, "name"), problem.message, hint
