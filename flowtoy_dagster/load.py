"""The door for configurations: files or a mapping to a checked flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flowtoy_dagster.flow.building import build_flow
from flowtoy_dagster.flow.graph import Flow
from flowtoy_dagster.flow.loading import Document, read_files, read_mapping
from flowtoy_dagster.providers.registry import InstalledProviders

Config = str | Path | Sequence[str | Path] | Mapping[str, Any]


def load_flow(config: Config, name: str | None = None) -> Flow:
    """Read a configuration and check all of it.

    Args:
        config: a path, several paths (merged left to right) or a mapping.
        name: the flow's name where the configuration gives none; by default the first
            file's stem.

    Raises:
        ConfigError: with every problem there is.
    """
    if isinstance(config, Mapping):
        document = read_mapping(config)
    else:
        document = read_files([config] if isinstance(config, (str, Path)) else config)
    if name is not None:
        document = Document(document.root, name)
    return build_flow(document, InstalledProviders())
