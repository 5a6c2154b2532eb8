"""Words of other tools, and what the language calls the same."""

from __future__ import annotations

from collections.abc import Iterator

_CALLED = {
    "args": "arguments parameters_list",
    "command": "cmd argv exec script",
    "continue": "ignore ignored proceed",
    "cwd": "workdir working_directory working_dir directory",
    "depends_on": "needs after requires upstream dependencies",
    "env": "environment environ variables vars",
    "fail": "abort stop error",
    "flow": "steps tasks jobs stages pipeline",
    "for_each": "loop matrix with_items foreach map",
    "headers": "header",
    "input": "inputs with",
    "json": "payload",
    "max_workers": "workers parallelism max_parallel threads",
    "on_error": "continue_on_error allow_failure",
    "output": "outputs result results",
    "params": "query query_params querystring parameters",
    "retry": "retries attempts",
    "schedule": "cron schedules on",
    "sources": "connections providers",
    "timeout": "timeout_seconds timeout_minutes",
    "url": "uri endpoint",
    "when": "if condition only_if",
}
_CALLED_BY = {name: frozenset(words.split()) for name, words in _CALLED.items()}


def meanings(word: str) -> Iterator[str]:
    """The names for which other tools have that word."""
    wanted = word.lower().replace("-", "_")
    yield from (name for name, words in _CALLED_BY.items() if wanted in words)
