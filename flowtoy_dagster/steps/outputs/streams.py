"""Outputs that take what a call reads as it comes (language 20.1)."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from flowtoy_dagster.datafiles.places import scheme_of
from flowtoy_dagster.errors import StepError, TemplateError
from flowtoy_dagster.flow.graph import Step
from flowtoy_dagster.flow.schema.models import OutputConfig
from flowtoy_dagster.flow.templates.render import render_all
from flowtoy_dagster.outputs.kind import OutputKind
from flowtoy_dagster.outputs.sink import Sink, SinkTask
from flowtoy_dagster.providers.kinds import kind_of
from flowtoy_dagster.steps.chain import Next, Outcome, Succeeded
from flowtoy_dagster.steps.context import StepContext
from flowtoy_dagster.steps.needs import failure_of
from flowtoy_dagster.steps.outputs.extraction import output_kind
from flowtoy_dagster.steps.words import one_line

logger = logging.getLogger("flowtoy.step")


def stream_outputs(context: StepContext, following: Next) -> Outcome:
    """Open what takes records, and let it be seen where all that follows has succeeded.

    Raises:
        StepError: one of them can't be opened, or put in its place.
    """
    streamed = {o.name: (o, output_kind(o)) for o in context.step.outputs if _streams(o)}
    if not streamed:
        return following(context)
    sinks: dict[str, Sink] = {}
    claims = _Claims(context)
    folders = _Folders(context)
    try:
        for name, (output, kind) in streamed.items():
            sinks[name] = _opened(context, output, kind, folders, claims)
        outcome = following(
            context.having(
                sinks=sinks,
                takers=(*context.takers, *(_Taker(context, o, sinks[o.name])
                                           for o, _ in streamed.values())),
                keeps_records=context.keeps_records and _needs_all(context, set(streamed)),
                outputs_folder=folders.written,
            )
        )
        if isinstance(outcome, Succeeded):
            for name in list(sinks):
                with _its_own_words(context, name):
                    sinks[name].commit()
                del sinks[name]
                claims.keep(name)
        return outcome
    finally:
        for sink in sinks.values():
            with contextlib.suppress(Exception):
                sink.discard()
        claims.free()
        folders.remove()


def has_places(step: Step) -> bool:
    """Whether outputs of a step say where they write."""
    with contextlib.suppress(StepError):
        return any(
            output.options.get(key) is not None
            for output in step.outputs
            for key in output_kind(output).item_options
        )
    return False


def _streams(output: OutputConfig) -> bool:
    return output_kind(output).streams


def _needs_all(context: StepContext, streamed: set[str]) -> bool:
    """Whether anything looks at all records at once."""
    step = context.step
    others = any(output.name not in streamed for output in step.outputs)
    # Without a tracker, a template computes the cursor of all records.
    computed = step.incremental is not None and context.tracker is None
    return others or step.keep_result or step.until is not None or computed


def _opened(
    context: StepContext,
    output: OutputConfig,
    kind: OutputKind,
    folders: _Folders,
    claims: _Claims,
) -> Sink:
    names_files = kind_of(context.step.source).names_files
    try:
        options = render_all(dict(output.options), context.scope)
        value = render_all(output.value, context.scope) if names_files else output.value
    except TemplateError as error:
        raise failure_of(error, f"output '{output.name}': {error}") from None
    task = SinkTask(
        output.name,
        value,
        options,
        names_files,
        folders.own,
        folders.for_call,
        lambda place: claims.take(place, output.name),
        context.redirect or partial(_below, context.folder),
        folders.url(),
    )
    with _its_own_words(context, output.name):
        return kind.open(task)


def _below(folder: Path | None, place: str) -> str:
    """A place that an output names, as a path that starts where it should."""
    if folder is None or not place or scheme_of(place) is not None:
        return place
    return os.path.join(folder, place)


@contextlib.contextmanager
def _its_own_words(context: StepContext, name: str) -> Iterator[None]:
    """Make a StepError of what a type raises that is none."""
    try:
        yield
    except StepError:
        raise
    except Exception as error:
        logger.debug("output '%s' raised", name, exc_info=True)
        reason = one_line(error, context.mask.text)
        raise StepError(f"output '{name}': its type raised {reason}") from None


class _Taker:
    """Hands the records of a call to a sink."""

    def __init__(self, context: StepContext, output: OutputConfig, sink: Sink) -> None:
        self._context = context
        self._name = output.name
        self._sink = sink
        self.takes_body = sink.takes_body

    def take(self, records: list[Any]) -> None:
        with _its_own_words(self._context, self._name):
            self._sink.take(records)

    def take_body(self, piece: bytes) -> None:
        with _its_own_words(self._context, self._name):
            self._sink.take_body(piece)


class _Claims:
    """The places to which one attempt writes; those of outputs that come to nothing are freed."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._taken: dict[str, str] = {}

    def take(self, place: str, output: str) -> None:
        """Note that an output writes to a place; raises StepError where another one does."""
        context = self._context
        context.loop.claims.take(place, context.item, output)
        if context.places is None:
            return
        other = context.places.take(place, context.step.name)
        if other is not None:
            raise StepError(
                f"output '{output}': the step '{other}' of this run writes to '{place}' already; "
                "give each step a file of its own"
            )
        self._taken[output] = place

    def keep(self, output: str) -> None:
        """The output's file is in its place."""
        self._taken.pop(output, None)

    def free(self) -> None:
        """The others wrote nothing: another step may, in place of this one."""
        for place in self._taken.values():
            assert self._context.places is not None
            with contextlib.suppress(OSError):
                self._context.places.free(place, self._context.step.name)


class _Folders:
    """The folders of one attempt, made when they are asked for."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self.written: Path | None = None

    def own(self) -> Path:
        """Where the run keeps what the attempt writes."""
        files, item = self._context.files, self._context.item
        if files is None:
            raise StepError("there is no folder for the step's files; give each a 'path'")
        return files(item.key if item is not None else None)

    def url(self) -> str | None:
        """Where the run keeps it instead, if it does."""
        item = self._context.item
        return self._context.files_url(item.key if item is not None else None)

    def for_call(self) -> Path:
        """Into which the call writes files."""
        if self.written is None:
            self.written = Path(tempfile.mkdtemp(prefix="outputs-", dir=self.own()))
        return self.written

    def remove(self) -> None:
        """Remove what nobody needs any more."""
        if self.written is not None:
            shutil.rmtree(self.written, ignore_errors=True)
