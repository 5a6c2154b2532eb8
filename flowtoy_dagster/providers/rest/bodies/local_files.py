"""Paths of files that a request needs, as they start from the flow's folder (language 10.6)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

from flowtoy_dagster.datafiles.places import scheme_of
from flowtoy_dagster.providers.rest.bodies.contents import RequestContents

S = TypeVar("S", bound=RequestContents)


def below(settings: S, folder: Path | None) -> S:
    """A configuration whose relative paths are made absolute.

    Args:
        settings: with the files of the body, and `verify` and `cert`.
        folder: what they start from; None for the working directory, as they are.
    """
    if folder is None:
        return settings

    def placed(path: str) -> str:
        return path if scheme_of(path) is not None else os.path.join(folder, path)

    change: dict[str, Any] = {}
    if settings.files is not None:
        change["files"] = {
            name: tuple(each.model_copy(update={"path": placed(each.path)}) for each in uploads)
            for name, uploads in settings.files.items()
        }
    if settings.body is not None:
        change["body"] = settings.body.model_copy(update={"file": placed(settings.body.file)})
    verify, cert = getattr(settings, "verify", True), getattr(settings, "cert", None)
    if isinstance(verify, str):
        change["verify"] = placed(verify)
    if cert is not None:
        change["cert"] = placed(cert) if isinstance(cert, str) else tuple(map(placed, cert))
    return settings.model_copy(update=change) if change else settings
