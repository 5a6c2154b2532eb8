"""No code asks for the name of a kind, but the kind's own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import flowtoy_dagster
from flowtoy_dagster.engine.executors.kinds import EXECUTORS
from flowtoy_dagster.outputs.kinds import OUTPUTS
from flowtoy_dagster.providers.kinds import PROVIDERS

HOUSE = Path(flowtoy_dagster.__file__).parent
NAMES = [frozenset(kinds.builtin) for kinds in (PROVIDERS, OUTPUTS, EXECUTORS)]
ROOMS = ("providers/rest/", "providers/process/", "providers/env.py", "outputs/raw.py",
         "datafiles/", "outputs/file/", "outputs/json.py", "outputs/jmespath.py",
         "outputs/template.py",
         "engine/executors/warm/", "engine/executors/multiprocess.py",
         "engine/executors/in_process.py")  # fmt: skip
TABLES = ("providers/kinds.py", "outputs/kinds.py", "engine/executors/kinds.py")
OTHER_MEANINGS = {
    # The variables of the environment, as templates name them.
    ("flow/places.py", "env"),
    ("flow/secrets_of_flow.py", "env"),
    # The scheme of a URL.
    ("store/shared/shared_files.py", "file"),
    ("store/store.py", "file"),
    # A key of a `dagster.yaml`.
    ("engine/storage/address.py", "env"),
}


def branches(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Comparisons with names of kinds, and tables and types that list several of one group."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            for side in (node.left, *node.comparators):
                yield from _names_in(side, least=1)
        elif isinstance(node, ast.MatchValue):
            yield from _names_in(node.value, least=1)
        elif isinstance(node, ast.Dict):
            keys = [key for key in node.keys if key is not None]
            yield from _names_in(ast.Tuple(keys, ast.Load()), least=2)
        elif isinstance(node, ast.Subscript):
            yield from _names_in(node.slice, least=2)


def _names_in(node: ast.expr, least: int) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Call) and node.args:
        node = node.args[0]
    items = node.elts if isinstance(node, (ast.Tuple, ast.List, ast.Set)) else [node]
    found = [
        (item.lineno, item.value)
        for item in items
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    ]
    for names in NAMES:
        named = [(line, name) for line, name in found if name in names]
        if len(named) >= least:
            yield from named


@pytest.mark.parametrize(
    "code",
    [
        "if kind == 'rest': pass",
        "x = source.type in ('process', 'other')",
        "if executor not in (None, 'warm'): pass",
        "x = {'json': 1, 'raw': 2}[kind]",
        "Kind = Literal['raw', 'json']",
        "match kind:\n    case 'in_process': pass",
        "x = kind in frozenset({'env'})",
    ],
)
def test_a_branch_on_a_name_is_found(code: str) -> None:
    assert list(branches(ast.parse(code)))


def test_no_code_outside_of_a_kind_asks_for_its_name() -> None:
    found = []
    for path in sorted(HOUSE.rglob("*.py")):
        name = path.relative_to(HOUSE).as_posix()
        if name.startswith(ROOMS) or name in TABLES:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [
            f"{name}:{line}: '{kind}'"
            for line, kind in branches(tree)
            if (name, kind) not in OTHER_MEANINGS
        ]
    assert found == []
