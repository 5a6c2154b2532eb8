"""What the graph must know of providers, without knowing them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flowtoy_dagster.flow.files.nodes import KeyPath


@dataclass(frozen=True)
class Finding:
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


class Catalog(Protocol):
    """The providers that can be used."""

    def types(self) -> Collection[str]:
        """The names of all provider types."""

    def why_unusable(self, type_name: str) -> str | None:
        """Why a type that is listed can't be used, or None."""

    def request_keys(self, type_name: str) -> Collection[str] | None:
        """The keys of a request; None where the provider always gets a payload."""

    def check(
        self, type_name: str, configuration: Mapping[str, Any], complete: bool
    ) -> list[Finding]:
        """What is wrong with a configuration as written, and what to warn of.

        Args:
            type_name: the provider's type.
            configuration: the configuration, with its templates.
            complete: whether the request is merged in, so that nothing may be missing.
        """
