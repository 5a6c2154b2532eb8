"""Commands as steps (language 11.3)."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
)

from flowtoy_dagster.flow.files.suggestions import show
from flowtoy_dagster.flow.schema.fields import Strict, Templated, Text, Timeout, Whole
from flowtoy_dagster.flow.templates.jinja import search
from flowtoy_dagster.flow.templates.values import text
from flowtoy_dagster.json_text import loads
from flowtoy_dagster.providers.base import CallContext, ProviderResult, first_part
from flowtoy_dagster.providers.process.answers import NotStartedError, exchanged
from flowtoy_dagster.providers.process.command import CommandLine, check_command, prepare
from flowtoy_dagster.providers.process.not_started import called, why_not_started
from flowtoy_dagster.providers.process.shell import VALUE_PREFIX, with_argument
from flowtoy_dagster.providers.subprocesses import Finished, run_command, signal_name
from flowtoy_dagster.terminal import plain

logger = logging.getLogger("flowtoy.process")

HIDDEN = "***"
OUTPUTS_FOLDER = "FLOWTOY_OUTPUTS"
"""The variable that names the folder for files that outputs take."""
_SHOWN_LINE = 300


def _check_command(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, str):
        # What a template will say is not known yet, nor what a step adds to a source.
        unknown = bool(info.context and info.context.get("partial"))
        check_command(value, shell=unknown or info.data.get("shell", False) is not False)
    elif isinstance(value, (list, tuple)):
        if not value:
            raise ValueError("the command is empty")
    elif not isinstance(value, CommandLine):
        raise ValueError(f"expected text or a list of arguments, got {show(value)}")
    return list(value) if isinstance(value, tuple) else value


def _command_form(value: Any) -> str:
    if isinstance(value, CommandLine):
        return "<ready>"
    return "<list>" if isinstance(value, list) else "<text>"


Argument = Templated[Text]
Arguments = Templated[list[Argument]]
Command = Annotated[
    Annotated[CommandLine, Tag("<ready>")]
    | Annotated[list[Argument], Tag("<list>")]
    | Annotated[str, Tag("<text>")],
    Discriminator(_command_form),
    BeforeValidator(_check_command),
]
Codes = Annotated[
    Templated[list[Templated[Whole]]],
    BeforeValidator(lambda v: [v] if isinstance(v, int) and not isinstance(v, bool) else v),
]


class ProcessConfiguration(Strict):
    """The keys of a process source and of a request to it.

    Attributes:
        command: what to run: a list of words, or a text for a shell.
        args: appended to the command; each is one argument.
        stdin: standard input: text as it is, other values as JSON.
        env: variables that are added to the environment.
        cwd: the working directory.
        shell: whether /bin/sh runs a text without shell operators, too.
        pass_to: what becomes of a payload.
        timeout: after which the command is ended.
        template_strict: whether missing names in the command's templates are errors.
        log_full_command: whether the command is logged with its arguments.
        redact_args: places of arguments that are masked in the log; the program is 0.
        redact_patterns: arguments that contain one of these are masked in the log.
        success_codes: the exit codes that are a success.
        max_output_bytes: the most that stdout and stderr may each have.
    """

    # Before the command, which is checked by it.
    shell: Templated[bool] = False
    command: Command | None = None
    args: Arguments = Field(default_factory=list, examples=["[one, two]"])
    stdin: Any = None
    env: Templated[dict[str, Templated[Text] | None]] = Field(
        default_factory=dict, examples=["{NAME: value}"]
    )
    cwd: Templated[str] | None = None
    pass_to: Templated[Literal["arg", "stdin", "template"]] = "arg"  # noqa: S105
    timeout: Templated[Timeout] | None = None
    template_strict: Templated[bool] = True
    log_full_command: Templated[bool] = False
    redact_args: Templated[list[Templated[Whole]]] | None = None
    redact_patterns: Templated[list[Templated[str]]] | None = None
    success_codes: Codes = Field(default_factory=lambda: [0])
    max_output_bytes: Templated[Annotated[Whole, Field(ge=1)]] = 256 * 1024 * 1024


class ProcessProvider:
    """Runs a command; gives `stdout`, `stderr`, `returncode` and, where stdout is JSON, `json`."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.configuration = ProcessConfiguration.model_validate(configuration)
        if self.configuration.command is None:
            raise ValueError("a process needs a 'command'")

    def call(
        self, input_payload: Any = None, context: CallContext | None = None
    ) -> dict[str, Any]:
        """Run the command."""
        settings = self.configuration
        line = self._command_line(input_payload)
        stdin = _as_input(settings.stdin)
        if input_payload is not None and settings.pass_to == "arg":  # noqa: S105
            line = _with_last_argument(line, text(input_payload))
        elif input_payload is not None and settings.pass_to == "stdin":  # noqa: S105
            stdin = _as_input(input_payload)
        logger.info("running %s", self._shown(line))
        try:
            if context is None or context.exchanges is None:
                finished = self._run(line, stdin, context)
            else:
                finished = exchanged(context, lambda: self._run(line, stdin, context))
        except NotStartedError as error:
            return ProviderResult(False, None, (str(error),)).as_returned()
        logger.info("%s ended with code %s", called(line), finished.returncode)
        result = self._result(finished, line, context)
        if result.success and context is not None and context.parts is not None:
            context.parts.take_body(finished.stdout)
        return result.as_returned()

    def _run(
        self, line: CommandLine, stdin: bytes | None, context: CallContext | None
    ) -> Finished:
        settings = self.configuration
        cwd, variables = _directory(settings.cwd, context), self._variables(context)
        try:
            if "" in variables:
                raise ValueError("a variable without a name")
            return run_command(
                line.argv,
                stdin=stdin,
                variables={**variables, **line.variables},
                cwd=cwd,
                timeout=settings.timeout,
                max_output_bytes=settings.max_output_bytes,
                tee=context.output if context else None,
                deadline=context.deadline if context else None,
                processes=context.processes if context else None,
            )
        except (OSError, ValueError) as error:
            raise NotStartedError(why_not_started(error, line, cwd, variables)) from None

    def _variables(self, context: CallContext | None) -> dict[str, str]:
        """What the configuration sets, and where files for outputs are to be written."""
        own = {name: value or "" for name, value in self.configuration.env.items()}
        folder = context.outputs_folder if context is not None else None
        return own if folder is None else {**own, OUTPUTS_FOLDER: str(folder)}

    def _command_line(self, payload: Any) -> CommandLine:
        settings = self.configuration
        if isinstance(settings.command, CommandLine):
            return settings.command
        # Used from Python, without a flow: the payload's names are all there is.
        names = payload_names(payload) if settings.pass_to == "template" else {}  # noqa: S105
        command = settings.command or ""
        return prepare(command, settings.args, shell=settings.shell, context=names)

    def _result(
        self, finished: Finished, line: CommandLine, context: CallContext | None
    ) -> ProviderResult:
        stdout = finished.stdout.decode("utf-8", "replace")
        stderr = finished.stderr.decode("utf-8", "replace")
        code = finished.returncode
        data: dict[str, Any] = {"stdout": stdout, "stderr": stderr, "returncode": code}
        note = None
        program = called(line)
        if finished.ended_because is not None:
            note = f"{program} {finished.ended_because}"
        elif code not in self.configuration.success_codes:
            how = f"was killed by {signal_name(-code)}" if code < 0 else f"exited with code {code}"
            note = f"{program} {how}"
        if note is not None:
            # What draws a progress bar ends with what removes it.
            last = next((line for line in reversed(stderr.splitlines()) if plain(line).strip()), "")
            if last:
                note += f": {first_part(last.strip(), _SHOWN_LINE, context)}"
        else:
            with contextlib.suppress(ValueError):
                data["json"] = loads(finished.stdout)
        notes = (note,) if note else ()
        meta: dict[str, Any] = {"pid": finished.pid}
        if (finished.ended_because or "").startswith("timed out"):
            meta["failure"] = "timeout"
        return ProviderResult(note is None, code, notes, data, meta)

    def _shown(self, line: CommandLine) -> str:
        """The command as it may be logged."""
        settings = self.configuration
        arguments = list(line.argv)
        if settings.log_full_command:
            return " ".join(arguments)
        if settings.redact_args is None and settings.redact_patterns is None:
            count = len(arguments) - 1
            return f"{called(line)} ({count} argument{'' if count == 1 else 's'})"
        hidden = settings.redact_args or []
        patterns = settings.redact_patterns or []
        return " ".join(
            HIDDEN if index in hidden or any(p in argument for p in patterns) else argument
            for index, argument in enumerate(arguments)
        )


def payload_names(payload: Any) -> dict[str, Any]:
    """The payload under the names by which templates of a command take it."""
    parsed = payload
    if isinstance(payload, str):
        try:
            parsed = loads(payload)
        except ValueError:
            parsed = None
    return {
        "input": payload,
        "json": parsed,
        "raw": text(payload),
        "jmespath": lambda expression: None if parsed is None else search(expression, parsed),
    }


def _directory(written: str | None, context: CallContext | None) -> str | None:
    """The working directory of a command; None for that of this process."""
    base = context.folder if context is not None else None
    return written if base is None else os.path.join(base, written or "")


def _as_input(value: Any) -> bytes | None:
    return None if value is None else text(value).encode()


def _with_last_argument(line: CommandLine, value: str) -> CommandLine:
    if not line.script:
        return CommandLine((*line.argv, value))
    name = f"{VALUE_PREFIX}{len(line.variables) + 1}"
    *start, script = line.argv
    variables = {**line.variables, name: value}
    return CommandLine((*start, with_argument(script, f'"${{{name}}}"')), variables, script=True)
