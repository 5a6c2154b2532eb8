"""Everything that a page shows is loaded, run or compared; what is not says why.

A comment before a code block, or several, tell what becomes of it:

- `<!-- file: NAME -->`: it is written to that file in the page's folder.
- `<!-- run -->`: this flow is run and succeeds; `<!-- run: shop -->`: the shop API of the
  examples is what its `https://api.example.com` stands for.
- `<!-- exit: 2 -->`: these commands end with that code, not with 0.
- `<!-- not run: REASON -->`: these commands can't be run here.
- `<!-- wrong -->`: this flow has mistakes.
- `<!-- example: PATH -->`: it is that file of the project, whose own tests run it.
- `<!-- package: NAME -->`: it is a file of that package of the tests, which is installed and used
  in tests/kinds/.

`<!-- with: PATH -->` or `<!-- with: PATH as NAME -->`, anywhere, copies a file or folder of the
project to the page's folder.

Flows are YAML with a `flow:` key, and all of them are loaded; tests of flows are `*.test.yaml`.
Shell and Python blocks are run in
the order of the page, with its files in one folder and the shop's address in `SHOP_API`. In a
`console` block, what follows a command must be among what it prints, but for times and ids.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import shop_api  # type: ignore[import-not-found]
from module_files import load

from flowtoy_dagster.errors import ConfigError
from flowtoy_dagster.loader import load_flow
from flowtoy_dagster.providers.kinds import PROVIDERS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SHOP = ROOT / "examples" / "shop_api.py"
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted(DOCS.rglob("*.md"))]
COMMANDS = ("bash", "console", "python")
SHOWN_ONLY = ("text", "json", "toml")
HOST = re.compile(r"https://api\.example\.com(.*)")
_BLOCK = re.compile(r"(?P<comments>(?:<!--[^\n]*-->\n+)*)```(?P<language>\w*)\n(?P<text>.*?)^```$",
                    re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!-- (file|run|exit|not run|wrong|with|package|example)(?:: (.+?))? -->")
_PLAIN = re.compile(r"flowtoy [^|&;<>$`*?()~\\\n]*")
"""A command for which a shell does nothing but split it."""
_CHANGING = (
    (re.compile(r"\d\d:\d\d:\d\d\.\d{3}"), "<time>"),
    (re.compile(r"\d+\.\d s\b"), "<span>"),
    (re.compile(r"runs show [0-9a-f]{8}\b"), "runs show <id>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:<port>"),
)


@dataclass
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    line: int
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def is_flow(self) -> bool:
        """Whether it is a whole configuration."""
        has_flow = re.search(r"^flow:", self.text, re.MULTILINE) is not None
        return self.language == "yaml" and has_flow and not self.is_test

    @property
    def is_test(self) -> bool:
        """Whether it is a file with tests of a flow, which something else runs."""
        name = self.notes.get("file", "") or self.notes.get("example", "")
        return name.endswith(".test.yaml")


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        notes = {key: value or "" for key, value in _COMMENT.findall(match["comments"])}
        line = text.count("\n", 0, match.start("language")) + 1
        found.append(Block(match["language"], match["text"], line, notes))
    return found


def all_blocks() -> list[Any]:
    """Every block of every page, with the place as its name in the report."""
    return [
        pytest.param(block, id=f"{page.relative_to(ROOT)}:{block.line}")
        for page in PAGES
        for block in blocks_of(page)
    ]


def of(condition: Callable[[Block], bool]) -> list[Any]:
    """The blocks that meet a condition."""
    return [parameter for parameter in all_blocks() if condition(parameter.values[0])]


def prepare(page: Path, folder: Path) -> None:
    """Put into a folder what a page says is in it."""
    text = page.read_text(encoding="utf-8")
    for key, value in _COMMENT.findall(text):
        if key == "with":
            source, _, name = value.partition(" as ")
            target = folder / (name or Path(source).name)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target, dirs_exist_ok=True)
            else:
                shutil.copy(ROOT / source, target)
    for block in blocks_of(page):
        if "file" in block.notes:
            (folder / block.notes["file"]).write_text(block.text, encoding="utf-8")


Shell = Callable[[list[str]], subprocess.CompletedProcess[str]]


def with_shop(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command while the shop serves; its PATH has this Python's commands first."""
    return subprocess.run(
        [sys.executable, str(SHOP), "--", *command],
        capture_output=True, text=True, cwd=folder, env=os.environ, timeout=500,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def forked(flowtoy: Callable[..., Any]) -> Callable[..., Any]:
    """Runs `flowtoy` with the shop, as `with_shop` does, without starting three processes."""

    def run(*arguments: str) -> Any:
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        with shop_api.ShopApi() as api:
            return flowtoy(
                *arguments,
                env={"SHOP_API": api.address, "PATH": path, "NO_PROXY": shop_api.HOST,
                     "no_proxy": shop_api.HOST},
            )

    return run


@pytest.fixture
def shell(forked: Callable[..., Any], tmp_path: Path) -> Shell:
    """Runs commands in the page's folder; those that need no shell get none."""

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        lines = [line for line in command[-1].splitlines() if line.strip()]
        if command[0] != "bash" or not all(map(_PLAIN.fullmatch, lines)):
            return with_shop(command, tmp_path)
        stdout = stderr = ""
        code = 0
        for line in lines:
            if code == 0:
                done = forked(*shlex.split(line)[1:])
                code, stdout, stderr = done.code, stdout + done.stdout, stderr + done.stderr
        return subprocess.CompletedProcess(command, code, stdout, stderr)

    return run


def steady(text: str) -> str:
    """A text without what differs from run to run."""
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return text


def commands_of(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Each `$ command` of a console block, and the lines that follow it."""
    command: list[str] = []
    shown: list[str] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            if command:
                yield "\n".join(command), shown
            command, shown = [line[2:]], []
        elif command and line.startswith("> ") and not shown:
            command.append(line[2:])
        elif line.strip():
            shown.append(line)
    yield "\n".join(command), shown


def run_console(block: Block, shell: Shell) -> None:
    """Run each command and look for what the page shows of it."""
    for command, shown in commands_of(block):
        done = shell(["bash", "-c", command])
        printed = steady(done.stdout + done.stderr)
        assert done.returncode == int(block.notes.get("exit", 0)), printed
        lines = [line.rstrip() for line in printed.splitlines()]
        for line in shown:
            assert steady(line).rstrip() in lines, f"{command}\ndid not print\n{line}\n\n{printed}"


@pytest.mark.usefixtures("made_home")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_do_what_it_says(
    page: Path, tmp_path: Path, shell: Shell
) -> None:
    prepare(page, tmp_path)
    for block in blocks_of(page):
        if block.language not in COMMANDS or {"not run", "example"} & block.notes.keys():
            continue
        if block.language == "console":
            run_console(block, shell)
            continue
        program = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": ["python", "-c"]}
        done = shell([*program[block.language], block.text])
        assert done.returncode == int(block.notes.get("exit", 0)), done.stdout + done.stderr


@pytest.mark.parametrize(
    "block", of(lambda block: block.is_flow and "package" not in block.notes)
)
def test_a_flow_in_the_docs_is_valid_unless_it_says_otherwise(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(block.text, encoding="utf-8")
    if "wrong" in block.notes:
        with pytest.raises(ConfigError):
            load_flow(path)
    else:
        assert load_flow(path).steps


@pytest.mark.parametrize("block", of(lambda block: "package" in block.notes))
def test_what_is_shown_of_a_package_is_in_it(block: Block) -> None:
    folder = ROOT / "tests" / "packages" / block.notes["package"]
    assert block.text in [path.read_text("utf-8") for path in folder.rglob("*.*") if path.is_file()]


@pytest.mark.parametrize("block", of(lambda block: "example" in block.notes))
def test_what_is_shown_of_an_example_is_the_file(block: Block) -> None:
    assert block.text == (ROOT / block.notes["example"]).read_text(encoding="utf-8")


@pytest.mark.usefixtures("made_home")
@pytest.mark.parametrize("block", of(lambda block: "run" in block.notes))
def test_a_flow_in_the_docs_runs(
    block: Block, tmp_path: Path, forked: Callable[..., Any]
) -> None:
    text = block.text
    if block.notes["run"] == "shop":
        text = HOST.sub(r'"{{ env.SHOP_API }}\1"', text)
        assert text != block.text
        shutil.copy(ROOT / "examples" / "merge.py", tmp_path)
    (tmp_path / "flow.yaml").write_text(text, encoding="utf-8")
    done = forked("run", "flow.yaml", "-j")
    assert done.code == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_code_block_of_a_page_is_seen(page: Path) -> None:
    fences = re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(blocks_of(page)), "a block stands at the left margin"


@pytest.mark.parametrize("block", all_blocks())
def test_nothing_in_a_page_is_unchecked_without_a_reason(block: Block) -> None:
    if block.language == "yaml":
        assert block.is_flow or block.is_test, "show whole flows, so that they can be loaded"
    else:
        assert block.language in (*COMMANDS, *SHOWN_ONLY), f"what is a '{block.language}' block?"
    if block.language in SHOWN_ONLY:
        assert not re.search(r"^\$ |^flowtoy run (?!\[OPTIONS)", block.text, re.MULTILINE)
    assert block.notes.get("not run", "a reason")
    if block.language == "console":
        assert block.text.startswith("$ ")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_in_a_page_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings have."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
            for heading in headings}


def test_the_reference_of_the_command_line_is_up_to_date() -> None:
    page = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    assert page == load(DOCS / "generate_cli.py").page(), "run: python docs/generate_cli.py"


def commands_in_reference() -> list[str]:
    """`flowtoy`, `flowtoy run`, …: the commands that have a section."""
    page = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    return re.findall(r"^## `(.+)`$", page, re.MULTILINE)


@pytest.mark.parametrize("name", commands_in_reference())
def test_the_reference_has_every_option_that_help_shows(
    name: str, flowtoy: Callable[..., Any]
) -> None:
    page = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    section = page.partition(f"## `{name}`\n")[2].partition("\n## ")[0]
    wide = {"COLUMNS": "200", "NO_COLOR": "1"}
    help_text = flowtoy(*name.split()[1:], "--help", env=wide).stdout
    shown = help_text.partition(" Options ")[2].partition("Example")[0]
    options = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", shown))
    assert {"--help", "-h"} <= options
    assert options <= set(re.findall(r"--?[a-z][a-z-]*", section))


@pytest.mark.parametrize("name", ["rest", "process", "env"])
def test_a_providers_page_has_every_key(name: str) -> None:
    page = (DOCS / "reference" / "providers" / f"{name}.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    provider = PROVIDERS[name]
    assert provider.configuration_model is not None
    fields = provider.configuration_model.model_fields.items()
    assert documented == {item.alias or key for key, item in fields}
    requests = page.partition("**Request keys** (in a step's `input`):")[2].partition("\n\n")[0]
    if name == "rest":
        assert "all of them" in requests
    else:
        assert set(re.findall(r"`(\w+)`", requests)) == set(provider.request_keys)


def test_the_reference_of_the_language_keeps_its_rule_numbers() -> None:
    text = (DOCS / "reference" / "language.md").read_text(encoding="utf-8")
    numbers = re.findall(r"^\*\*(\d+\.\d+)\*\*", text, re.MULTILINE)
    assert numbers == sorted(numbers, key=lambda n: [int(part) for part in n.split(".")])
    assert len(set(numbers)) == len(numbers)
    for chapter, rules in {1: 7, 3: 3, 4: 3, 5: 5, 6: 5, 7: 4, 8: 4, 9: 7, 10: 5, 11: 3}.items():
        for rule in range(1, rules + 1):
            assert f"{chapter}.{rule}" in numbers


def test_what_a_tutorial_has_people_write_replaces_no_example() -> None:
    examples = {path.name for path in (ROOT / "examples").iterdir()}
    for page in (DOCS / "tutorial").glob("*.md"):
        written = {block.notes["file"] for block in blocks_of(page) if "file" in block.notes}
        assert written
        assert not written & examples
