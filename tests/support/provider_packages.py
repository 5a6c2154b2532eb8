"""Packages with a provider, as pip would install them."""

from __future__ import annotations

import os
from pathlib import Path


def install_provider(site: Path, name: str, class_name: str, source: str) -> str:
    """Write a package with one module and one provider, both of its name.

    Args:
        site: the folder that packages are installed in; it is made.
        name: of the package, its module and its provider.
        class_name: the provider's class.
        source: the module.

    Returns:
        what `PYTHONPATH` must be for processes to find it.
    """
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{name}.py").write_text(source)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[flowtoy.providers]\n{name} = {name}:{class_name}\n"
    )
    return os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
