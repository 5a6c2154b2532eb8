"""What the graph must know of providers, outputs and executors, without knowing them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Protocol

from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.schema.models import OutputConfig


class Finding(NamedTuple):
    """Something wrong with a provider's configuration, or a warning about it.

    Attributes:
        path: keys and indexes within the configuration.
        message: what is wrong.
        hint: how to fix it.
        key: whether the key is wrong rather than its value.
        line: the line within a text, from 1.
        warning: whether it stands in no run's way.
    """

    path: KeyPath
    message: str
    hint: str | None = None
    key: bool = False
    line: int | None = None
    warning: bool = False


class ProviderCatalog(Protocol):
    """The providers that can be used."""

    def types(self) -> Collection[str]:
        """The names of all provider types."""

    def usual_name(self, type_name: str) -> str:
        """The type that other tools call so; the name itself where none is known."""

    def why_unusable(self, type_name: str) -> str | None:
        """Why a type that is listed can't be used, or None."""

    def request_keys(self, type_name: str) -> Collection[str] | None:
        """The keys of a request; None where the provider always gets a payload."""

    def payload_keys(self, type_name: str) -> Collection[str]:
        """The keys of a configuration that make a step's input a payload."""

    def template_names(
        self, type_name: str, configuration: Mapping[str, Any], complete: bool
    ) -> Collection[str] | None:
        """What a configuration's templates know besides the roots.

        Args:
            type_name: the provider's type, which may be unknown.
            configuration: the configuration, with its templates.
            complete: whether no step can add to it.

        Returns:
            The names; None where any may be missing.
        """

    def names_files(self, type_name: str) -> bool:
        """Whether a provider, which may be unknown, writes files that outputs can name."""

    def text_keys(self, type_name: str) -> Collection[str]:
        """The keys of a configuration below which all values become text."""

    def key_hint(self, name: str) -> str | None:
        """What to write for a key that people expect on a step, where a provider knows one."""

    def name_hint(self, name: str) -> str | None:
        """Which templates know a name that others don't."""

    def check(
        self, type_name: str, configuration: Mapping[str, Any], complete: bool
    ) -> list[Finding]:
        """What is wrong with a configuration as written, and what to warn of.

        Args:
            type_name: the provider's type.
            configuration: the configuration, with its templates.
            complete: whether the request is merged in, so that nothing may be missing.
        """


class OutputTraits(NamedTuple):
    """What outputs of a type may be.

    Attributes:
        can_be_secret: whether their value may be a secret.
        item_options: the options that must differ from item to item of a repeated step.
    """

    can_be_secret: bool = True
    item_options: Collection[str] = ()


class OutputCatalog(Protocol):
    """The types of outputs that can be used."""

    def type_for(self, value: Any) -> str:
        """The type of an output that names none."""

    def check(self, output: OutputConfig, names_files: bool) -> list[Finding]:
        """What is wrong with an output, as findings within it.

        Args:
            output: as written, with its type.
            names_files: whether the provider writes files that values name.
        """

    def templates(self, output: OutputConfig) -> list[tuple[KeyPath, str]]:
        """The templates in an output, each with its place in it."""

    def traits(self, type_name: str) -> OutputTraits:
        """What outputs of a type may be; it may be unknown."""

    def template_names(self, type_name: str) -> Collection[str] | None:
        """What these templates know besides the roots; None where any name may be missing."""


class ExecutorCatalog(Protocol):
    """The executors that can be used."""

    def check(self, name: str | None, options: Mapping[str, Any]) -> list[Finding]:
        """What is wrong with the name or the options, as findings within `runner`.

        Args:
            name: as written; None for the default.
            options: `executor_options`.
        """

    def has_queues(self, name: str) -> bool:
        """Whether a step may name the queue whose workers run it; so too where it is unknown."""


class Catalog(Protocol):
    """All that a flow may name and that other packages can bring."""

    @property
    def providers(self) -> ProviderCatalog:
        """What steps call."""

    @property
    def outputs(self) -> OutputCatalog:
        """How outputs are taken out of results."""

    @property
    def executors(self) -> ExecutorCatalog:
        """What runs the steps."""
