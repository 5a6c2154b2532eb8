"""Warnings of commands that only a shell knows, and of quotes that no program knows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flowtoy_dagster.datafiles.places import unreplaced_home
from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.providers.process.command import needs_shell

_WORDS = {
    "cd": "set the folder with 'cwd'",
    "pushd": "set the folder with 'cwd'",
    "export": "set variables with 'env'",
    "set": "set variables with 'env'",
    "unset": "set a variable to null in 'env'",
    "source": "write 'shell: true' and one text for the whole script",
    ".": "write 'shell: true' and one text for the whole script",
    "alias": "write 'shell: true' and one text for the whole script",
    "eval": "write 'shell: true' and one text for the whole script",
}
_OPERATORS = frozenset({"|", "||", "&&", ">", ">>", "<", "2>", "2>&1", "&>", ">/dev/null",
                        "2>/dev/null"})
_VARIABLE = re.compile(r"\$(?:([A-Z_][A-Z0-9_]*)|\{([A-Z_][A-Z0-9_]*)\})(?=\Z|/)")
_READERS = frozenset({
    "sh", "bash", "dash", "zsh", "ksh", "fish", "busybox", "ssh", "docker", "podman", "kubectl",
    "su", "xargs", "watch", "test", "[", "expr", "awk", "gawk", "envsubst", "tmux", "find",
})
"""Programs that give such words a meaning of their own, or have a shell read them."""
_QUOTES = "\u201c\u201d\u201e\u2018\u2019\u201a"


def word_findings(configuration: Mapping[str, Any]) -> Iterator[Finding]:
    """A warning where a command's first word is a shell's own, or has typographic quotes.

    Args:
        configuration: of a process, as written and valid.
    """
    command = configuration.get("command")
    for path, word in _words(command):
        if word[:1] in _QUOTES or word[-1:] in _QUOTES:
            message = f"{word[0] if word[0] in _QUOTES else word[-1]} is a typographic quote"
            yield Finding(path, message, "YAML and shells need plain ones: \" or '", warning=True)
            return
    path, first = next(_words(command), ((), ""))
    if configuration.get("shell", False) is False and not _is_script(command):
        for where, word in ((path, first), (("cwd",), str(configuration.get("cwd") or ""))):
            unreplaced = unreplaced_home(word)
            if unreplaced is not None:
                yield Finding(where, *unreplaced, warning=True)
    yield from _argument_findings(configuration)
    if first not in _WORDS or configuration.get("shell", False) is not False:
        return
    if _is_script(command):
        return
    yield Finding(path, f"'{first}' is a word of the shell, not a program", _WORDS[first],
                  warning=True)


def _argument_findings(configuration: Mapping[str, Any]) -> Iterator[Finding]:
    """A warning of each argument that looks as if a shell read it."""
    command, args = configuration.get("command"), configuration.get("args")
    if configuration.get("shell", False) is not False or _is_script(command):
        return
    words = list(_words(command))
    if not words or words[0][1].rpartition("/")[2] in _READERS:
        return
    more = enumerate(args) if isinstance(args, (list, tuple)) else ()
    words += [(("args", index), word) for index, word in more if isinstance(word, str)]
    for path, word in words[1:]:
        variable = _VARIABLE.match(word)
        if variable is not None:
            name = variable[1] or variable[2]
            hint = f"no shell reads this command: write {{{{ env.{name} }}}}"
            yield Finding(path, f"'{variable[0]}' is not replaced", hint, warning=True)
        elif word in _OPERATORS:
            message = f"'{word}' is an argument like others, for no shell reads this command"
            hint = "write the command as one text instead of a list"
            yield Finding(path, message, hint, warning=True)
        elif (unreplaced := unreplaced_home(word)) is not None:
            yield Finding(path, *unreplaced, warning=True)


def _is_script(command: Any) -> bool:
    return isinstance(command, str) and needs_shell(command)


def _words(command: Any) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(command, str):
        yield from ((("command",), word) for word in command.split())
    elif isinstance(command, (list, tuple)):
        for index, word in enumerate(command):
            if isinstance(word, str) and word:
                yield ("command", index), word
