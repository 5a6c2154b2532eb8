"""Write docs/reference/cli.md from what the commands say of themselves.

`python docs/generate_cli.py` after a change of the command line; a test compares.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from typer.models import OptionInfo

from flowtoy_dagster.cli.app import make_app

app = make_app()
PAGE = Path(__file__).parent / "reference" / "cli.md"

HEAD = """\
# The command line

<!-- Written by docs/generate_cli.py; change the help texts or that file, not this one. -->

`flowtoy` is installed as `flowtoy-dagster` too, and `python -m flowtoy_dagster` is the same
command.

- stdout carries the result and nothing else. Progress, logs and errors go to stderr, so the
  outputs can always be piped on.
- Exit codes:

  | code | meaning |
  |---|---|
  | 0 | success |
  | 1 | the run failed; a test failed; `flowtoy doctor` found a fault |
  | 2 | the configuration or the command line is wrong; nothing was run |
  | 130 | interrupted by Ctrl-C |

- Nothing that you can get wrong shows a Python traceback. `--debug` shows one.
- `--help`, `--version` and every configuration error answer without waiting for Dagster to be
  imported.
- Runs are kept in the home folder: `$DAGSTER_HOME` where it is set, else `$FLOWTOY_HOME`, else the
  user's data folder (`~/.local/share/flowtoy` on Linux). It is made on first use, for its owner
  alone, with a `dagster.yaml` in which telemetry is off.
"""
COMPLETION = """\
`--install-completion` and `--show-completion` install completion for your shell, or show it.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_group("flowtoy", app)])


def _group(name: str, group: typer.Typer, text: str | None = None) -> Iterator[str]:
    """The section of a command that has others, and theirs."""
    own = group.registered_callback
    assert own is not None
    optional = "[COMMAND]" if group.info.invoke_without_command is True else "COMMAND"
    yield from _command(name, optional, text or group.info.help, group.info.epilog, own.callback)
    if group is app:
        yield COMPLETION
    for command in group.registered_commands:
        callback = command.callback
        assert callback is not None
        called = command.name or callback.__name__.replace("_", "-")
        help_text = command.help or inspect.getdoc(callback)
        yield from _command(f"{name} {called}", "", help_text, command.epilog, callback)
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from _group(f"{name} {inner.name}", inner.typer_instance)


def _command(name: str, group: str, text: Any, epilog: Any, callback: Any) -> Iterator[str]:
    parameters = list(_parameters(callback))
    arguments = [names[0] for names, info, _, _ in parameters if not isinstance(info, OptionInfo)]
    yield f"## `{name}`\n"
    yield f"```text\n{' '.join(filter(None, [name, group, '[OPTIONS]', *arguments]))}\n```\n"
    yield f"{(text or '').strip()}\n"
    if epilog:
        head, *shown = epilog.split("\n\n")
        yield f"{head}\n\n" + "\n".join(shown) + "\n"
    yield "| option | what it does |\n|---|---|"
    for names, info, value, default in parameters:
        shown = ", ".join(f"`{name} {value}`" if value else f"`{name}`" for name in names)
        more = f" Default: `{default}`." if default is not None else ""
        more = " Required." if default is inspect.Parameter.empty else more
        yield f"| {shown} | {info.help}{more} |"
    yield "| `--help`, `-h` | Show this message and exit. |\n"


def _parameters(callback: Any) -> Iterator[tuple[list[str], Any, str, Any]]:
    """Of each parameter: its names, Typer's description of it, its value and its default."""
    hints = get_type_hints(callback, include_extras=True)
    for name, parameter in inspect.signature(callback).parameters.items():
        kind, *described = get_args(hints[name]) or (None,)
        if not described:
            continue  # Typer's own context
        info = described[0]
        if not isinstance(info, OptionInfo):
            shown = str(info.metavar or name.upper())
            shown = shown if parameter.default is inspect.Parameter.empty else f"[{shown}]"
            many = "list" in str(kind)
            yield [f"{shown}..." if many else shown], info, "", None
            continue
        # In Annotated, Typer takes the first name for the default.
        names = [str(info.default), *(info.param_decls or ())]
        choices = [choice.value for choice in kind] if isinstance(kind, type(Enum)) else []
        plain = info.metavar or getattr(kind, "__name__", "VALUE").upper()
        value = "" if bool in (kind, *get_args(kind)) else "\\|".join(choices) or plain
        default = getattr(parameter.default, "value", parameter.default)
        is_said = info.show_default is False or default is False
        yield names, info, value, None if is_said else default


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
