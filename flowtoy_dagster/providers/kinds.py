"""Which providers there are, and what they say of a configuration."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from flowtoy_dagster.entry_points import Kinds, KindUnusable
from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.compile.model_check import model_findings
from flowtoy_dagster.flow.graph import Source
from flowtoy_dagster.flow.schema.models import SOURCE_KEYS
from flowtoy_dagster.providers.kind import ProviderKind, provider_kind_of

logger = logging.getLogger("flowtoy.providers")

PROVIDERS: Kinds[ProviderKind] = Kinds(
    "flowtoy.providers",
    "provider",
    {
        "rest": "flowtoy_dagster.providers.rest.provider:RestKind",
        "process": "flowtoy_dagster.providers.process.kind:ProcessKind",
        "env": "flowtoy_dagster.providers.env:EnvKind",
    },
    provider_kind_of,
)


def kind_of(source: Source) -> ProviderKind:
    """The kind of a source; one of which nothing is known where it can't be used."""
    try:
        return PROVIDERS[source.type]
    except (KeyError, KindUnusable):
        unknown = ProviderKind()
        unknown.name = source.type
        return unknown


def describe(source: Source) -> str:
    """What a step calls as written, in a few words."""
    return _described(source, lambda kind: kind.describe(source.configuration))


def describe_call(source: Source, rendered: Mapping[str, Any]) -> str:
    """What a step calls with this rendered configuration, in a few words."""
    return _described(source, lambda kind: kind.describe_call(source.configuration, rendered))


def _described(source: Source, words: Callable[[ProviderKind], object]) -> str:
    try:
        return str(words(kind_of(source)))
    except Exception:  # a description must not fail what it describes
        logger.debug("the provider '%s' can't describe a call", source.type, exc_info=True)
        return f"the provider '{source.type}'"


def modules_for_calls(sources: Iterable[Source]) -> tuple[str, ...]:
    """What the first calls of these sources would import."""
    modules = (module for source in sources for module in kind_of(source).call_modules)
    return tuple(sorted(set(modules)))


_ALSO_CALLED = {
    **dict.fromkeys(("http", "https", "api", "web", "request", "webhook"), "rest"),
    **dict.fromkeys(("shell", "bash", "sh", "command", "exec", "subprocess", "script"), "process"),
    **dict.fromkeys(("environment", "dotenv", "secrets", "variables"), "env"),
}
"""Words of other tools for what a provider calls."""


class InstalledProviders:
    """The providers of this Python, as `flow.compile.catalog` asks for them."""

    def types(self) -> Collection[str]:
        """The names of all provider types."""
        return PROVIDERS.names()

    def usual_name(self, type_name: str) -> str:
        """The type that other tools call so; the name itself where none is known."""
        return _ALSO_CALLED.get(type_name.lower(), type_name)

    def why_unusable(self, type_name: str) -> str | None:
        """Why a type that is listed can't be used, or None."""
        return PROVIDERS.why_unusable(type_name)

    def request_keys(self, type_name: str) -> Collection[str] | None:
        """The keys of a request; None where the input is always a payload."""
        return PROVIDERS[type_name].request_keys

    def payload_keys(self, type_name: str) -> Collection[str]:
        """The keys of a configuration that make a step's input a payload."""
        return PROVIDERS[type_name].payload_keys

    def template_names(
        self, type_name: str, configuration: Mapping[str, Any], complete: bool
    ) -> Collection[str] | None:
        """What a configuration's templates know; None where any name may be missing."""
        try:
            return PROVIDERS[type_name].template_names(configuration, complete)
        except (KeyError, KindUnusable):
            return None
        except Exception:  # noqa: BLE001 - `check` reports it
            return None

    def names_files(self, type_name: str) -> bool:
        """Whether a provider writes files that outputs can name."""
        try:
            return PROVIDERS[type_name].names_files
        except (KeyError, KindUnusable):
            return False

    def text_keys(self, type_name: str) -> Collection[str]:
        """The keys of a configuration below which all values become text."""
        try:
            return PROVIDERS[type_name].text_keys
        except (KeyError, KindUnusable):
            return ()

    def key_hint(self, name: str) -> str | None:
        """What to write instead of a key on a step, where a built-in provider knows it."""
        hints = (PROVIDERS[kind].key_hints.get(name) for kind in PROVIDERS.builtin)
        return next(filter(None, hints), None)

    def name_hint(self, name: str) -> str | None:
        """Which templates know a name, where it is one of a built-in provider's."""
        hints = (PROVIDERS[kind].template_hints.get(name) for kind in PROVIDERS.builtin)
        return next(filter(None, hints), None)

    def check(
        self, type_name: str, configuration: Mapping[str, Any], complete: bool
    ) -> list[Finding]:
        """What a provider says of a configuration."""
        try:
            kind = PROVIDERS[type_name]
        except (KeyError, KindUnusable):
            return []  # reported by name
        try:
            return list(_findings(kind, configuration, complete))
        except Exception as error:
            # A model may raise on what is no mistake of the configuration's.
            logger.debug("the provider '%s' can't check", type_name, exc_info=True)
            reason = f"{type(error).__name__}: {error}"
            return [Finding((), f"the provider '{type_name}' can't check this: {reason}")]


def _findings(
    kind: ProviderKind, configuration: Mapping[str, Any], complete: bool
) -> Iterator[Finding]:
    wrong = _wrong(kind, configuration, complete)
    yield from wrong
    if wrong:
        return
    kind.template_names(configuration, complete)
    if not complete:
        return
    lacking = kind.missing(configuration)
    if lacking:
        yield Finding((), str(lacking))
        return
    for finding in kind.warnings(configuration):
        if not isinstance(finding, Finding):
            raise TypeError(f"'warnings' must give Findings, got {finding!r}")
        yield finding


def _wrong(kind: ProviderKind, written: Mapping[str, Any], complete: bool) -> list[Finding]:
    model = kind.configuration_model
    return [] if model is None else model_findings(model, written, complete, SOURCE_KEYS)
