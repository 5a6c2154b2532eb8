"""The output type `file`: what it takes, and what is wrong with it (language 20)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from flowtoy_dagster.datafiles.facts import why_changed
from flowtoy_dagster.datafiles.places import (
    missing_package,
    scheme_of,
    unreplaced_home,
    why_unusable,
)
from flowtoy_dagster.errors import StepError
from flowtoy_dagster.flow.compile.catalog import Finding
from flowtoy_dagster.flow.compile.diagnostics import first_mistake
from flowtoy_dagster.flow.files.nodes import KeyPath
from flowtoy_dagster.flow.schema.fields import Name, Strict, Templated, Text
from flowtoy_dagster.flow.templates.jinja import check_jmespath
from flowtoy_dagster.flow.templates.render import is_template
from flowtoy_dagster.outputs.file.sink import BodySink, FileSink, RecordSink
from flowtoy_dagster.outputs.file.taken import TakenFileSink, why_no_file_name
from flowtoy_dagster.outputs.kind import OutputKind
from flowtoy_dagster.outputs.sink import Sink, SinkTask

Columns = Annotated[tuple[Templated[Name], ...], Field(min_length=1)]


class FileOptions(Strict):
    """The keys of an output of type `file`."""

    format: Literal["jsonl", "csv", "parquet", "raw"] | None = None
    path: Templated[Annotated[Text, Field(min_length=1)]] | None = None
    columns: Columns | None = None


class FileOutput(OutputKind):
    """A file; its value is a mapping that says where it is and what it holds."""

    needs_value = False
    options_model = FileOptions
    item_options = ("path",)
    can_be_secret = False
    streams = True

    def templates(self, value: Any) -> Iterable[tuple[KeyPath, str]]:
        """The value, where it is the name of a file that is made by a template."""
        return [((), value)] if isinstance(value, str) and "{{" in value else []

    def check_options(
        self, value: Any, options: Mapping[str, Any], names_files: bool
    ) -> list[Finding]:
        """What no run could write."""
        format_ = options.get("format")
        found = list(_place_findings(options.get("path")))
        if value is not None and names_files:
            return found + _name_findings(value, options)
        if format_ is None:
            found.append(Finding((), "the key 'format' is required"))
        else:
            found += _selection_findings(value, format_)
        if options.get("columns") is not None and format_ not in ("csv", "parquet"):
            message = "'columns' are those of the formats 'csv' and 'parquet'"
            found.append(Finding(("columns",), message))
        found += _repeated_columns(options.get("columns"))
        if format_ == "parquet":
            missing = missing_package("files of the format 'parquet'", "pyarrow", "parquet")
            found += [Finding(("format",), *missing)] if missing else []
        return found

    def open(self, task: SinkTask) -> Sink:
        """What writes the file."""
        try:
            options = FileOptions.model_validate(dict(task.options))
        except ValidationError as error:
            place, message = first_mistake(error)
            raise StepError(f"output '{task.name}': {place}: {message}") from None
        if task.value is not None and task.names_files:
            return TakenFileSink(task, options.path, options.format)
        format_ = options.format or "raw"
        kind: type[FileSink] = BodySink if format_ == "raw" else RecordSink
        return kind(task, options.path, format_, options.columns)

    def why_stale(self, value: Any) -> str | None:
        """That the file is missing, or is not what it was."""
        return why_changed(value)


def _repeated_columns(columns: Any) -> Iterable[Finding]:
    """A file has one column of a name."""
    names = columns if isinstance(columns, (list, tuple)) else ()
    for place, name in enumerate(names):
        if name in names[:place]:
            yield Finding(("columns", place), f"the column '{name}' is listed twice")


def _place_findings(path: Any) -> Iterable[Finding]:
    if not isinstance(path, str):
        return
    # Of a template, its beginning may be known.
    known = path.partition("{{")[0].partition("{%")[0] if is_template(path) else path
    if scheme_of(known) is None:
        unreplaced = unreplaced_home(known)
        if unreplaced is not None:
            yield Finding(("path",), *unreplaced)
            return
        if not is_template(path) and path.endswith(os.sep):
            yield Finding(("path",), "the path is a folder's, and must be a file's")
        return
    unusable = why_unusable(known)
    if unusable is not None:
        yield Finding(("path",), *unusable)


def _name_findings(value: Any, options: Mapping[str, Any]) -> list[Finding]:
    found = []
    reason = None if "{{" in value else why_no_file_name(value)
    if reason is not None:
        hint = "it is the name of a file that the command writes into $FLOWTOY_OUTPUTS"
        found.append(Finding(("value",), reason, hint))
    if options.get("columns") is not None:
        message = "a file that the command has written is taken as it is: it has no 'columns'"
        found.append(Finding(("columns",), message))
    return found


def _selection_findings(value: Any, format_: str) -> list[Finding]:
    if value is None:
        return []
    if format_ == "raw":
        message = "the format 'raw' is the body as it is: it takes no 'value'"
        return [Finding(("value",), message)]
    if "{{" in value:
        hint = "'value' selects records by JMESPath"
        return [Finding(("value",), "'value' of a file is not a template", hint)]
    try:
        check_jmespath(value)
    except ValueError as error:
        return [Finding(("value",), str(error))]
    return []
