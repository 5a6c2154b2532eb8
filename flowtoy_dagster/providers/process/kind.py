"""The provider type `process`: what is checked, rendered and shown of a command (language 11.3)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.templates.render import is_template, render_all
from flowtoy_dagster.flow.templates.values import text
from flowtoy_dagster.providers.base import ProviderResult
from flowtoy_dagster.providers.kind import ProviderKind, ResultView
from flowtoy_dagster.providers.process.answers import ProcessAnswer
from flowtoy_dagster.providers.process.code_warnings import code_findings
from flowtoy_dagster.providers.process.command import (
    CommandLine,
    needs_shell,
    prepare,
    take_out_templates,
)
from flowtoy_dagster.providers.process.provider import (
    ProcessConfiguration,
    ProcessProvider,
    payload_names,
)
from flowtoy_dagster.providers.process.shell_only import word_findings

PAYLOAD_NAMES = ("input", "json", "raw", "jmespath")
"""What templates of a command know besides the roots, where it takes its payload by them."""
DATA_NAMES = frozenset({"stdout", "stderr", "returncode", "json"})
_SWITCH = TypeAdapter(bool)
_HOLE = re.compile("\0([0-9]+)\0")
_OF_PAYLOADS = "only templates of a command with 'pass_to: template' have it"

_ON_A_STEP = "write 'source: process' and 'input: {command: ...}'"


class ProcessKind(ProviderKind):
    """The provider type `process`."""

    provider = ProcessProvider
    configuration_model = ProcessConfiguration
    request_keys = frozenset({"command", "args", "stdin", "env", "cwd", "shell", "timeout"})
    payload_keys = frozenset({"pass_to"})
    template_hints = dict.fromkeys(PAYLOAD_NAMES, _OF_PAYLOADS)
    text_keys = frozenset({"command", "args", "env"})
    key_hints = dict.fromkeys(("run", "script", "cmd", "command", "shell", "bash"), _ON_A_STEP)
    copies_input = False
    gives_json = True
    names_files = True
    answer_model = ProcessAnswer
    makes_exchanges = True

    def missing(self, configuration: Mapping[str, Any]) -> str | None:
        """That there is no command."""
        return None if configuration.get("command") is not None else "a process needs a 'command'"

    def warnings(self, configuration: Mapping[str, Any]) -> list[Finding]:
        """Templates whose values a program would read as code."""
        return [*word_findings(configuration), *code_findings(configuration)]

    def template_names(
        self, configuration: Mapping[str, Any], complete: bool
    ) -> Collection[str] | None:
        """The payload's names, where the command takes it by them."""
        if configuration.get("template_strict", True) is not True:
            return None
        mode = configuration.get("pass_to")
        # A step may say that its payload has names in these templates.
        by_names = not complete or mode == "template" or is_template(mode)
        return PAYLOAD_NAMES if by_names else ()

    def describe(self, configuration: Mapping[str, Any]) -> str:
        """The program, and how many arguments it gets; of a shell's script, the first word."""
        command = configuration.get("command")
        if isinstance(command, str):
            pieces, templates = take_out_templates(command)
            words = [_HOLE.sub(lambda hole: templates[int(hole[1])], one) for one in pieces.split()]
            is_script = needs_shell(pieces) or _is_switched(configuration.get("shell"), to=True)
            if is_script and len(words) > 1:
                return f"shell command: {words[0]} …"
        else:
            words = [text(word) for word in command or ()]
        more = len(words) - 1 + len(configuration.get("args") or ())
        told = f"{more} argument{'' if more == 1 else 's'}"
        return f"{words[0]} ({told})" if words and more else " ".join(words)

    def describe_call(self, written: Mapping[str, Any], rendered: Mapping[str, Any]) -> str:
        """The program with its values; of a script, what is written."""
        command = rendered.get("command")
        if not isinstance(command, CommandLine):
            return self.describe(rendered)
        return self.describe(written if command.script else {"command": list(command.argv)})

    def render(
        self, configuration: Mapping[str, Any], scope: Mapping[str, Any], payload: Any
    ) -> dict[str, Any]:
        """The configuration with its templates rendered, and the command ready to be run."""
        others = {k: v for k, v in configuration.items() if k not in ("command", "args")}
        rendered: dict[str, Any] = render_all(others, scope)
        if isinstance(rendered.get("env"), dict):
            # A variable is text, whatever its template gave.
            rendered["env"] = {
                name: _variable(name, value) for name, value in rendered["env"].items()
            }
        names = scope
        if rendered.get("pass_to") == "template":
            names = {**scope, **payload_names(payload)}
        lenient = _is_switched(rendered.get("template_strict"), to=False)
        args = render_all(configuration.get("args") or [], names, "args", lenient=lenient)
        try:
            rendered["command"] = prepare(
                configuration["command"],
                args if isinstance(args, list) else [args],
                shell=_is_switched(rendered.get("shell"), to=True),
                context=names,
                lenient=lenient,
            )
        except TemplateError as error:
            raise TemplateError(error.message, error.field or "command") from None
        return rendered

    def call_facts(
        self, configuration: Mapping[str, Any], payload: Any, part: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The arguments, or the script with its values in variables."""
        command = configuration.get("command")
        if not isinstance(command, CommandLine):
            return super().call_facts(configuration, payload, part)
        argv = list(command.argv)
        own = {**configuration, "command": argv[-1] if command.script else argv}
        if command.variables:
            own["env"] = {**(configuration.get("env") or {}), **command.variables}
        return super().call_facts(own, payload, part)

    def view(self, result: ProviderResult) -> ResultView:
        """The JSON that the command printed, where an expression does not name the data's keys."""
        data = result.data
        if not isinstance(data, dict) or "stdout" not in data:
            return super().view(result)
        printed = data.get("json")
        text_of = None if "json" in data else "stdout"
        return ResultView(result, data.get("json", data["stdout"]), printed, DATA_NAMES, text_of)


def _variable(name: str, value: Any) -> str:
    try:
        return text(value)
    except TemplateError as error:
        raise TemplateError(error.message, f"env.{name}") from None


def _is_switched(value: Any, *, to: bool) -> bool:
    """Whether a switch is set to `to`; what is no switch is reported later."""
    try:
        return _SWITCH.validate_python(value) is to
    except ValidationError:
        return False
