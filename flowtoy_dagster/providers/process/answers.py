"""What commands gave, as plain data: tests and recordings stand in for commands (`Exchanges`)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from flowtoy_dagster.flow.schema.fields import Strict, Text, Whole
from flowtoy_dagster.json_text import dumps
from flowtoy_dagster.providers.base import CallContext
from flowtoy_dagster.providers.subprocesses import Finished


class Base64(Strict):
    """Octets that are not UTF-8."""

    base64: str

    @field_validator("base64")
    @classmethod
    def _check(cls, value: str) -> str:
        try:
            base64.b64decode(value, validate=True)
        except ValueError:
            raise ValueError("it is not base64") from None
        return value


Octets = Text | Base64


class NotStartedError(Exception):
    """The command could not be started; says why."""


class ProcessAnswer(Strict):
    """How a command ended.

    Attributes:
        json_: what it printed, as data.
        files: what it wrote into `$FLOWTOY_OUTPUTS`, by name.
        failure: `timeout`, or `start` where it never began; `message` says why.
    """

    exit: Whole = 0
    stdout: Octets = ""
    stderr: Octets = ""
    json_: Any = Field(default=None, alias="json")
    files: dict[str, Octets] = Field(default_factory=dict, examples=['{report.csv: "a,b"}'])
    failure: Literal["timeout", "start"] | None = None
    message: Text | None = None

    @model_validator(mode="after")
    def _one_stdout(self) -> ProcessAnswer:
        if {"stdout", "json_"} <= self.model_fields_set:
            raise ValueError("write 'stdout' or 'json', not both")
        for name in self.files:
            if Path(name).name != name:
                raise ValueError(f"'{name}' is not the name of a file")
        return self

    def as_finished(self, folder: Path | None) -> Finished:
        """The same as the provider takes it, with its files in a folder.

        Raises:
            NotStartedError: the command never began.
        """
        if self.failure == "start":
            raise NotStartedError(self.message or "the command could not be started")
        if folder is not None:
            for name, content in self.files.items():
                (folder / name).write_bytes(_octets(content))
        printed = dumps(self.json_) if "json_" in self.model_fields_set else _octets(self.stdout)
        reason = (self.message or "timed out") if self.failure == "timeout" else None
        return Finished(0, self.exit, printed, _octets(self.stderr), reason)


def exchanged(context: CallContext, make: Callable[[], Finished]) -> Finished:
    """How a command ended, wherever that comes from.

    Args:
        context: the attempt, which has `exchanges`.
        make: really runs the command; raises NotStartedError.

    Raises:
        NotStartedError: the command never began.
    """
    assert context.exchanges is not None
    folder = context.outputs_folder
    given = context.exchanges.exchange(context, {}, lambda: _made(make, folder))
    return ProcessAnswer.model_validate(dict(given)).as_finished(folder)


def _made(make: Callable[[], Finished], folder: Path | None) -> dict[str, Any]:
    try:
        finished = make()
    except NotStartedError as error:
        return {"failure": "start", "message": str(error)}
    facts: dict[str, Any] = {"exit": finished.returncode, "stdout": _plain(finished.stdout),
                             "stderr": _plain(finished.stderr)}
    if finished.ended_because is not None:
        facts |= {"failure": "timeout", "message": finished.ended_because}
    if folder is not None:
        found = sorted(path for path in folder.iterdir() if path.is_file())
        facts["files"] = {path.name: _plain(path.read_bytes()) for path in found}
    return facts


def _plain(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _octets(value: str | Base64) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return base64.b64decode(value.base64)
