"""The sizes that keep the package readable: functions, files and folders."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import flowtoy_dagster

PACKAGE = Path(flowtoy_dagster.__file__).parent
FUNCTION = 45
FILE = 400
FOLDER = 12


def functions_of(path: Path) -> Iterator[tuple[str, int]]:
    """The functions of a file, each with its lines: from `def` to its end, whatever is in them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def test_functions_have_fewer_than_45_lines() -> None:
    counts = [
        (f"{path.relative_to(PACKAGE)}: {name} has {count}", count)
        for path in PACKAGE.rglob("*.py")
        for name, count in functions_of(path)
    ]
    assert len(counts) > 1000
    assert [told for told, count in counts if count >= FUNCTION] == []


def test_files_have_at_most_400_lines() -> None:
    counts = {path: len(path.read_text("utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    names = {path.relative_to(PACKAGE).as_posix(): count for path, count in counts.items()}
    assert [name for name, count in names.items() if count > FILE] == []


def test_folders_have_at_most_12_files() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    counts = {one.relative_to(PACKAGE).as_posix(): len(list(one.glob("*.py"))) for one in folders}
    assert [name for name, count in counts.items() if count > FOLDER] == []
