"""The folder of a flow, where something of the flow depends on it (language 6.3, 10.6)."""

from __future__ import annotations

import re
from typing import Any

from flowtoy_dagster.flow.compile.validate import Draft
from flowtoy_dagster.flow.schema.models import RunnerConfig
from flowtoy_dagster.flow.templates.names import FLOW
from flowtoy_dagster.flow.templates.references import TemplateMistake, references, words_of
from flowtoy_dagster.flow.templates.render import is_template

_IN_EXPRESSION = re.compile(rf"\b{FLOW}(\.\w|\[)")
"""How an expression without braces, such as `stop_when`, uses the name."""


def folder_of(draft: Draft, runner: RunnerConfig) -> str | None:
    """The folder of the first file; None where neither `runner.cwd` nor a template needs it.

    A folder that is not used is not kept: equal flows in several folders are one configuration.
    """
    document = draft.document
    if runner.cwd != "flow" and not _names_flow(document.root.plain()):
        return None
    folder = document.folder
    if folder is None:
        draft.problems.error((), "the working directory does not exist any more")
        return None
    try:
        folder.encode()
    except UnicodeEncodeError:
        hint = "rename it, or leave out 'runner.cwd: flow' and 'flow.dir'"
        draft.problems.error((), "the name of the flow's folder is not UTF-8", hint)
    return folder


def _names_flow(value: Any) -> bool:
    """Whether some text of a configuration may use the name `flow`."""
    if isinstance(value, dict):
        return any(_names_flow(item) for item in value.values())
    if isinstance(value, list):
        return any(_names_flow(item) for item in value)
    if not isinstance(value, str) or FLOW not in value:
        return False
    if not is_template(value):
        return _IN_EXPRESSION.search(value) is not None
    try:
        references(value)  # it is a template
    except TemplateMistake:
        return False
    return FLOW in words_of(value)
