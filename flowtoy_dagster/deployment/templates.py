"""The files of a deployment, as the package has them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

_FLOW = {"flows/hello.yaml": "shared/hello.yaml"}
_SECRETS = {
    ".gitignore": "shared/gitignore",
    "flows.env.example": "shared/flows.env.example",
}
_IMAGE = {
    "Dockerfile": "shared/Dockerfile",
    ".dockerignore": "shared/dockerignore",
    "workspace/workspace.yaml": "shared/workspace.yaml",
}
TARGETS: Mapping[str, Mapping[str, str]] = {
    "compose": {
        **_IMAGE, **_SECRETS, **_FLOW,
        "compose.yaml": "compose/compose.yaml",
        ".env.example": "compose/env.example",
        "workspace/dagster.yaml": "compose/dagster.yaml",
    },
    "systemd": {
        **_SECRETS, **_FLOW,
        "workspace.yaml": "shared/workspace.yaml",
        "storage.env.example": "systemd/storage.env.example",
        **{
            f"flowtoy-{name}.service": f"systemd/flowtoy-{name}.service"
            for name in ("code", "daemon", "webserver", "worker")
        },
    },
    "k8s": {
        **_IMAGE, **_SECRETS, **_FLOW,
        "workspace/dagster.yaml": "k8s/dagster.yaml",
        "storage.env.example": "k8s/storage.env.example",
        "kustomization.yaml": "k8s/kustomization.yaml",
        "flowtoy.yaml": "k8s/flowtoy.yaml",
        "values.yaml": "k8s/values.yaml",
    },
}
"""What each target has: the path of a file, and which template it is."""
FIRST: Mapping[str, str] = {
    "compose": "compose.yaml", "systemd": "storage.env.example", "k8s": "kustomization.yaml",
}
"""The file of each target that says what to do first."""


def files_of(target: str) -> Mapping[str, str]:
    """The files of a target: the path of each in its folder, and its text."""
    templates = files("flowtoy_dagster.deployment") / "template_files"
    return {
        path: templates.joinpath(*name.split("/")).read_text(encoding="utf-8")
        for path, name in TARGETS[target].items()
    }
