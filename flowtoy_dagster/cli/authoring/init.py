"""`flowtoy init`."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from flowtoy_dagster.cli.shared.options import Debug, folder_of
from flowtoy_dagster.errors import UsageError, system_reason
from flowtoy_dagster.terminal import say

SCHEMA = ".flowtoy/schema.json"
FLOW = f"""\
# yaml-language-server: $schema={SCHEMA}
# Check it:      flowtoy validate flow.yaml
# See its order: flowtoy plan flow.yaml
# Run it:        flowtoy run flow.yaml
name: hello

# Values that can be chosen when a run starts: flowtoy run flow.yaml --param name=Ada
params:
  name: world

flow:
  # A step calls a source. This one runs a command, whose output is JSON.
  - name: numbers
    source: process
    input:
      command: [echo, '{{"rows": [{{"id": 1, "price": 20}}, {{"id": 2, "price": 22}}]}}']
    # Outputs are for other steps. A value in JMESPath takes a part of the JSON.
    output:
      - {{name: prices, value: "rows[].price"}}

  # This step waits for 'numbers', because its template names an output of it.
  - name: report
    source: process
    input:
      command: [echo, "Hello {{{{ params.name }}}}: {{{{ flows.numbers.prices | sum }}}}"]
    output:
      - {{name: text, value: stdout}}

  # An API is called in the same way:
  #
  # - name: users
  #   source:
  #     type: rest
  #     url: https://api.example.com/users
  #     auth: {{bearer: "{{{{ env.API_TOKEN }}}}"}}
  #   output:
  #     - {{name: rows, value: "[]"}}
"""
GITIGNORE = """\
# Variables with secrets, and outputs
.env
*.env
outputs.json
"""
SETTINGS = {
    "yaml.schemas": {SCHEMA: ["flow.yaml", "*.flow.yaml"]},
    "[yaml]": {
        "editor.tabSize": 2,
        "editor.insertSpaces": True,
        "editor.quickSuggestions": {"other": True, "strings": True},
    },
}
EXTENSIONS = {"recommendations": ["redhat.vscode-yaml"]}


def init(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", parser=folder_of,
                       help="The folder; it is made if it does not exist."),
    ] = Path(),
    debug: Debug = False,
) -> None:
    """Write a first flow and settings for editors; existing files stay as they are.

    The first line of the flow names its JSON Schema, which editors with yaml-language-server read.
    After an upgrade of flowtoy, `flowtoy schema > .flowtoy/schema.json` renews it.
    """
    from flowtoy_dagster.json_schema.flow_schema import flow_schema

    files = {
        "flow.yaml": FLOW,
        ".gitignore": GITIGNORE,
        SCHEMA: _json(flow_schema()),
        ".vscode/settings.json": _json(SETTINGS),
        ".vscode/extensions.json": _json(EXTENSIONS),
    }
    for name, text in files.items():
        is_new = _write(folder / name, text)
        say(f"{'wrote' if is_new else 'kept, it exists:'} {folder / name}")
    run = "flowtoy run flow.yaml"
    say(f"run it: {run if folder == Path() else f'cd {_quoted(folder)} && {run}'}")


def _quoted(folder: Path) -> str:
    """A folder as an argument of `cd` in a shell."""
    path = str(folder)
    return shlex.quote(f"./{path}" if path.startswith("-") else path)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> bool:
    """Write a file that does not exist; whether it was written.

    Raises:
        UsageError: it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Links, even to nothing, are files that exist.
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        if path.parent.is_dir():
            return False
        raise UsageError(f"can't write {path}: '{path.parent}' is a file") from None
    except OSError as error:
        reason = system_reason(error)
        raise UsageError(f"can't write {path}: {reason}") from None
    with os.fdopen(opened, "w", encoding="utf-8") as file:
        file.write(text)
    return True
