"""Commands as steps (language 11.3)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import BeforeValidator, Field

from flowtoy_dagster.errors import TemplateError
from flowtoy_dagster.flow.fields import Strict, Templated, Text, Timeout, Whole
from flowtoy_dagster.flow.templating import is_template, render_all, search, text
from flowtoy_dagster.providers.base import ProviderResult, live_output
from flowtoy_dagster.providers.command import CommandLine, check_command, prepare
from flowtoy_dagster.providers.subprocesses import Finished, run_command, signal_name

logger = logging.getLogger("flowtoy.process")

HIDDEN = "***"
_COMMAND_KEYS = ("command", "args", "shell")


def _check_command(value: Any) -> Any:
    if isinstance(value, str):
        check_command(value)
    elif isinstance(value, (list, tuple)):
        if not value:
            raise ValueError("the command is empty")
    elif not isinstance(value, CommandLine):
        raise ValueError("expected text or a list of arguments")
    return list(value) if isinstance(value, tuple) else value


Argument = Templated[Text]
Arguments = Templated[list[Argument]]
Command = Annotated[CommandLine | list[Argument] | str, BeforeValidator(_check_command)]
Codes = Annotated[
    Templated[list[Templated[Whole]]],
    BeforeValidator(lambda v: [v] if isinstance(v, int) and not isinstance(v, bool) else v),
]


class ProcessConfiguration(Strict):
    """The keys of a process source and of a request to it."""

    command: Command | None = None
    args: Arguments = Field(default_factory=list)
    stdin: Any = None
    env: Templated[dict[str, Templated[Text] | None]] = Field(default_factory=dict)
    cwd: Templated[str] | None = None
    shell: Templated[bool] = False
    pass_to: Templated[Literal["arg", "stdin", "template"]] = "arg"
    timeout: Templated[Timeout] | None = None
    template_strict: Templated[bool] = True
    log_full_command: Templated[bool] = False
    redact_args: Templated[list[Templated[Whole]]] | None = None
    redact_patterns: Templated[list[Templated[str]]] | None = None
    success_codes: Codes = Field(default_factory=lambda: [0])
    max_output_bytes: Templated[Annotated[Whole, Field(ge=1)]] = 256 * 1024 * 1024


class ProcessProvider:
    """Runs a command; gives `stdout`, `stderr`, `returncode` and, where stdout is JSON, `json`."""

    type_name: ClassVar[str] = "process"
    configuration_model: ClassVar[type[Strict]] = ProcessConfiguration
    request_keys: ClassVar[frozenset[str]] = frozenset(
        {"command", "args", "stdin", "env", "cwd", "shell", "timeout"}
    )

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.configuration = ProcessConfiguration.model_validate(configuration)
        if self.configuration.command is None:
            raise ValueError("a process needs a 'command'")

    @classmethod
    def missing(cls, configuration: Mapping[str, Any]) -> str | None:
        return None if configuration.get("command") is not None else "a process needs a 'command'"

    @classmethod
    def describe(cls, configuration: Mapping[str, Any]) -> str:
        command = configuration.get("command")
        words = command.split() if isinstance(command, str) else [str(w) for w in command or ()]
        more = len(words) - 1 + len(configuration.get("args") or ())
        return f"{words[0]} ({more} more)" if words and more else " ".join(words)

    @classmethod
    def render(
        cls, configuration: Mapping[str, Any], context: Mapping[str, Any], payload: Any
    ) -> dict[str, Any]:
        others = {k: v for k, v in configuration.items() if k not in ("command", "args")}
        rendered: dict[str, Any] = render_all(others, context)
        names = context
        if rendered.get("pass_to") == "template":
            names = {**context, **_payload_names(payload)}
        args = configuration.get("args") or []
        if is_template(args):
            args = render_all(args, names, "args")
        try:
            rendered["command"] = prepare(
                configuration["command"],
                args if isinstance(args, list) else [args],
                shell=rendered.get("shell") in (True, "true", "yes", "1"),
                context=names,
                lenient=rendered.get("template_strict") is False,
            )
        except TemplateError as error:
            raise TemplateError(error.message, error.field or "command") from None
        return rendered

    def call(self, input_payload: Any = None) -> dict[str, Any]:
        settings = self.configuration
        line = self._command_line()
        stdin = _as_input(settings.stdin)
        if input_payload is not None and settings.pass_to == "arg":
            line = _with_last_argument(line, text(input_payload))
        elif input_payload is not None and settings.pass_to == "stdin":
            stdin = _as_input(input_payload)
        logger.info("running %s", self._shown(line))
        try:
            finished = run_command(
                line.argv,
                stdin=stdin,
                variables={**{k: v or "" for k, v in settings.env.items()}, **line.variables},
                cwd=settings.cwd,
                timeout=settings.timeout,
                max_output_bytes=settings.max_output_bytes,
                tee=live_output.get(),
            )
        except OSError as error:
            note = _why_not_started(error, line, settings.cwd)
            return ProviderResult(False, None, (note,)).as_returned()
        logger.info("%s ended with code %s", _program(line), finished.returncode)
        return self._result(finished, line).as_returned()

    def _command_line(self) -> CommandLine:
        command = self.configuration.command
        if isinstance(command, CommandLine):
            return command
        shell = self.configuration.shell
        return prepare(command or "", self.configuration.args, shell=shell, context={})

    def _result(self, finished: Finished, line: CommandLine) -> ProviderResult:
        stdout = finished.stdout.decode("utf-8", "replace")
        stderr = finished.stderr.decode("utf-8", "replace")
        code = finished.returncode
        data: dict[str, Any] = {"stdout": stdout, "stderr": stderr, "returncode": code}
        note = None
        program = _program(line)
        if finished.ended_because is not None:
            note = f"{program} {finished.ended_because}"
        elif code not in self.configuration.success_codes:
            how = f"was killed by {signal_name(-code)}" if code < 0 else f"exited with code {code}"
            note = f"{program} {how}"
        if note is not None:
            lines = stderr.strip().splitlines()
            note = f"{note}: {lines[-1].strip()[:300]}" if lines else note
        else:
            _add_json(data, finished.stdout)
        return ProviderResult(note is None, code, (note,) if note else (), data, {"pid": finished.pid})

    def _shown(self, line: CommandLine) -> str:
        """The command as it may be logged."""
        settings = self.configuration
        arguments = list(line.argv)
        if settings.log_full_command:
            return " ".join(arguments)
        if settings.redact_args is None and settings.redact_patterns is None:
            count = len(arguments) - 1
            return f"{_program(line)} ({count} argument{'' if count == 1 else 's'})"
        hidden = settings.redact_args or []
        patterns = settings.redact_patterns or []
        return " ".join(
            HIDDEN if index in hidden or any(p in argument for p in patterns) else argument
            for index, argument in enumerate(arguments)
        )


def _payload_names(payload: Any) -> dict[str, Any]:
    parsed = payload
    if isinstance(payload, str):
        try:
            parsed = orjson.loads(payload)
        except orjson.JSONDecodeError:
            parsed = None
    return {
        "input": payload,
        "json": parsed,
        "raw": text(payload),
        "jmespath": lambda expression: None if parsed is None else search(expression, parsed),
    }


def _as_input(value: Any) -> bytes | None:
    return None if value is None else text(value).encode()


def _with_last_argument(line: CommandLine, value: str) -> CommandLine:
    if not line.script:
        return CommandLine((*line.argv, value))
    name = f"FLOWTOY_VALUE_{len(line.variables) + 1}"
    *start, script = line.argv
    variables = {**line.variables, name: value}
    return CommandLine((*start, f'{script} "${{{name}}}"'), variables, script=True)


def _program(line: CommandLine) -> str:
    return "the shell command" if line.script else line.argv[0]


def _add_json(data: dict[str, Any], stdout: bytes) -> None:
    try:
        data["json"] = orjson.loads(stdout)
    except orjson.JSONDecodeError:
        # orjson refuses integers of more than 64 bits, which JSON allows.
        if stdout.lstrip()[:1] in (b"{", b"[") and stdout.rstrip()[-1:] in (b"}", b"]"):
            try:
                data["json"] = json.loads(stdout, parse_constant=_refuse_constant)
            except ValueError:
                return


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _why_not_started(error: OSError, line: CommandLine, cwd: str | None) -> str:
    if cwd is not None and error.filename == cwd:
        return f"the working directory '{cwd}' can't be entered: {(error.strerror or '').lower()}"
    if isinstance(error, FileNotFoundError):
        return f"command not found: '{line.argv[0]}'"
    if isinstance(error, PermissionError):
        return f"'{line.argv[0]}' can't be executed: permission denied"
    reason = (error.strerror or str(error)).lower()
    if "too long" in reason:
        reason += " (pass large values by 'stdin')"
    return f"{_program(line)} could not be started: {reason}"
