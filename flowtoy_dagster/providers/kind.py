"""What flowtoy asks of a provider type: `ProviderKind`, the base of all of them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, Field

from flowtoy_dagster.entry_points import KindUnusable, instance_of, text_tuple
from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.schema.fields import Strict, Text, Whole, without_notes
from flowtoy_dagster.providers.base import (
    Provider,
    ProviderClass,
    ProviderResult,
    render_configuration,
)


class ResultAnswer(Strict):
    """A provider's result as plain data, where its kind has no model of its own for that."""

    success: bool = True
    code: Whole | None = None
    notes: tuple[Text, ...] = Field(default=(), examples=["[the reason]"])
    data: Any = None
    meta: dict[Any, Any] = Field(default_factory=dict)


class ResultView(NamedTuple):
    """A result as the expressions of outputs see it.

    Attributes:
        result: what the provider gave.
        json: what an output of type `json` is.
        content: what a JMESPath expression is applied to.
        own_names: where `content` is not the data itself: the names in the data by which an
            expression means the data.
        text_of: where the call gave text that is not JSON: what has this text, such as `stdout`.
    """

    result: ProviderResult
    json: Any
    content: Any
    own_names: frozenset[str] = frozenset()
    text_of: str | None = None


class Suggestion(NamedTuple):
    """What to write for a call, by the looks of its answer.

    Attributes:
        keys: for the step's `input`.
        notes: what speaks for them.
        usable: whether the answer could be looked at.
    """

    keys: Mapping[str, Any]
    notes: tuple[str, ...]
    usable: bool = True


class ProviderKind:
    """A provider type. Subclass it and name the class in the entry point group `flowtoy.providers`.

    All attributes and methods but `provider` have a default. Methods must not change what they are
    given.

    Attributes:
        name: what flows call it: the name of the entry point.
        provider: the class whose instances are called.
        configuration_model: checks a configuration before the run; None where nothing is known.
        request_keys: the keys that a step may give in `input` instead of a payload; None where the
            input is always a payload.
        payload_keys: the keys of a configuration that say how a payload is passed. Where one is
            set, a step's input is a payload.
        call_modules: the modules that the first call would import; they are imported before
            processes are forked off for steps.
        text_keys: keys of the configuration below which all values become text.
        key_hints: keys that people write on a step for a call of this kind, with what to write.
        template_hints: names that only some templates of this kind know, with the reason to give
            where another template uses one.
        copies_input: whether a call gets copies of configuration and payload, because it may
            change them.
        gives_json: whether results are always data that JSON can hold, and need no check.
        names_files: whether a call writes files into the context's `outputs_folder`, of which an
            output may name one.
        answer_model: what tests may write for a call, and what recordings hold of one.
        reaches_out: whether a call looks at or changes anything outside of this process.
        makes_exchanges: whether the provider asks the context's `exchanges` by itself, for each of
            the requests that a call consists of.
    """

    name: str = ""
    provider: ClassVar[type[Provider] | None] = None
    configuration_model: ClassVar[type[BaseModel] | None] = None
    request_keys: Collection[str] | None = None
    payload_keys: Collection[str] = ()
    call_modules: Collection[str] = ()
    template_hints: ClassVar[Mapping[str, str]] = {}
    text_keys: ClassVar[frozenset[str]] = frozenset()
    key_hints: ClassVar[Mapping[str, str]] = {}
    copies_input: bool = True
    gives_json: bool = False
    names_files: bool = False
    answer_model: ClassVar[type[BaseModel]] = ResultAnswer
    reaches_out: bool = True
    makes_exchanges: bool = False

    def make(self, configuration: dict[str, Any]) -> Provider:
        """The provider of a rendered configuration; raises where that is wrong."""
        provider = self.provider
        assert provider is not None, "checked when the kind was loaded"
        return provider(configuration)

    def missing(self, configuration: Mapping[str, Any]) -> str | None:
        """What a complete configuration as written lacks to make a call, or None."""
        return None

    def warnings(self, configuration: Mapping[str, Any]) -> list[Finding]:
        """What to warn of in a complete and valid configuration as written."""
        return []

    def template_names(
        self, configuration: Mapping[str, Any], complete: bool
    ) -> Collection[str] | None:
        """The names that the configuration's templates know besides `flows`, `steps` and so on.

        Args:
            configuration: as written.
            complete: whether no step can add to it.

        Returns:
            The names; None where any may be missing.
        """
        return ()

    def describe(self, configuration: Mapping[str, Any]) -> str:
        """What a step with this configuration, as written, calls; a few words."""
        return f"the provider '{self.name}'"

    def describe_call(self, written: Mapping[str, Any], rendered: Mapping[str, Any]) -> str:
        """What is called with a rendered configuration; a few words."""
        return self.describe(rendered)

    def render(
        self, configuration: Mapping[str, Any], scope: Mapping[str, Any], payload: Any
    ) -> dict[str, Any]:
        """The configuration with its templates rendered; raises TemplateError."""
        model = self.configuration_model
        # Notes (`x-…`) are no keys of the model.
        keys = configuration if model is None else without_notes(dict(configuration))
        return render_configuration(keys, scope)

    def call_facts(
        self, configuration: Mapping[str, Any], payload: Any, part: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What is called, as plain data: for tests and recordings.

        Args:
            configuration: rendered.
            payload: rendered; None where there is none.
            part: how a request differs from the call, as the provider's exchange has it.
        """
        facts = {key: plain_data(value) for key, value in {**configuration, **part}.items()}
        return facts if payload is None else {**facts, "input": plain_data(payload)}

    def suggest(
        self, configuration: Mapping[str, Any], answer: Mapping[str, Any]
    ) -> Suggestion | None:
        """What to write for a call, by the looks of one answer; None where nothing is known.

        Args:
            configuration: rendered.
            answer: with the keys of `answer_model`.
        """
        return None

    def why_not_repeated(
        self, configuration: Mapping[str, Any], result: ProviderResult | None
    ) -> str | None:
        """Why a call must not be made again by the step's `retry`, or None.

        Args:
            configuration: rendered, or as written where it was not rendered.
            result: what came of the call; None where that is not known, as it was ended.
        """
        return None

    def view(self, result: ProviderResult) -> ResultView:
        """A result as expressions see it."""
        return ResultView(result, result.data, result.data)

    def source_values(
        self, name: str, configuration: Mapping[str, Any], render: Callable[[Any], Any]
    ) -> Mapping[str, Any] | None:
        """What templates see as `sources.<name>`; None for the configuration.

        Args:
            name: the source's name.
            configuration: as written.
            render: renders a part of it.
        """
        return None


def plain_data(value: Any) -> Any:
    """A value as JSON could hold it; objects of others are named by their type."""
    if isinstance(value, Mapping):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_data(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain_data(what_counts(value))
    return f"<{type(value).__name__}>"


def what_counts(value: Any) -> Any:
    """What makes a dataclass equal to another one, by field; of a single field its value.

    An expression about an answer is its text: the variables and outputs that it may use are no part
    of the call.
    """
    fields = [field.name for field in dataclasses.fields(value) if field.compare]
    if len(fields) == 1:
        return getattr(value, fields[0])
    return {name: getattr(value, name) for name in fields}


class _ClassKind(ProviderKind):
    """A class with the two methods of a provider; nothing else is known of it."""

    def __init__(self, make: ProviderClass) -> None:
        self._make = make

    def make(self, configuration: dict[str, Any]) -> Provider:
        return self._make(configuration)


def provider_kind_of(name: str, loaded: Any) -> ProviderKind:
    """The kind in what an entry point holds: a ProviderKind, or a class with the two methods.

    Raises:
        KindUnusable: it is neither, or an attribute has a wrong type.
    """
    kind = instance_of(ProviderKind, loaded)
    if kind is None:
        if not callable(loaded):
            raise KindUnusable("is neither a class with a method 'call' nor a ProviderKind")
        kind = _ClassKind(loaded)
    else:
        kind = copy.copy(kind)
        _check_attributes(kind)
    kind.name = name
    return kind


def _check_attributes(kind: ProviderKind) -> None:
    if not isinstance(kind.provider, type) and type(kind).make is ProviderKind.make:
        raise KindUnusable("has no 'provider': name the class whose instances are called")
    model = kind.configuration_model
    if model is not None and not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise KindUnusable(f"has a 'configuration_model' that is not a pydantic model: {model!r}")
    if kind.request_keys is not None:
        kind.request_keys = text_tuple(kind.request_keys, "request_keys")
    kind.payload_keys = text_tuple(kind.payload_keys, "payload_keys")
    kind.call_modules = text_tuple(kind.call_modules, "call_modules")
