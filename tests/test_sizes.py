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


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """The lines of a function that have code.

    Its signature, its docstring, comments and empty lines don't count: a command has a line
    for each of its options, and a good docstring makes no function harder to read.
    """
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    if not body:
        return 0
    assert function.end_lineno is not None
    written = lines[body[0].lineno - 1 : function.end_lineno]
    return sum(1 for line in written if line.strip() and not line.strip().startswith("#"))


def functions_of(path: Path) -> Iterator[tuple[str, int]]:
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, code_lines(node, text.splitlines())


def test_functions_have_fewer_than_45_lines_of_code() -> None:
    long = [
        f"{path.relative_to(PACKAGE)}: {name} has {count}"
        for path in PACKAGE.rglob("*.py")
        for name, count in functions_of(path)
        if count >= FUNCTION
    ]
    assert long == []


def test_files_have_at_most_400_lines() -> None:
    counts = {path: len(path.read_text("utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    names = {path.relative_to(PACKAGE).as_posix(): count for path, count in counts.items()}
    assert [name for name, count in names.items() if count > FILE] == []


def test_folders_have_at_most_12_files() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    counts = {one.relative_to(PACKAGE).as_posix(): len(list(one.glob("*.py"))) for one in folders}
    assert [name for name, count in counts.items() if count > FOLDER] == []


def test_only_code_counts() -> None:
    text = '''
def one(
    a: int,
) -> int:
    """Says.

    More.
    """
    # why

    return (
        a
    )
'''
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert code_lines(function, text.splitlines()) == 3
