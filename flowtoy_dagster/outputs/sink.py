"""What an output of a streaming type is, while its step runs: `Sink`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flowtoy_dagster.providers.kind import ResultView


class SinkTask(NamedTuple):
    """What an output is to become, in one attempt of its step.

    Attributes:
        name: the output's name.
        value: what the output's `value` gives.
        options: the type's own keys, rendered.
        names_files: whether the value names a file in `outputs_folder`.
        folder: makes the folder in which the run keeps what this attempt writes, and gives it.
        outputs_folder: makes the folder into which the call writes files, and gives it.
        claim: notes that this output writes to a place; raises StepError where another of the
            step's does.
        kept_at: the URL below which the run keeps files instead of in `folder`; None for none.
        redirect: gives the place that is written to instead of one that the output names.
    """

    name: str
    value: Any
    options: Mapping[str, Any]
    names_files: bool
    folder: Callable[[], Path]
    outputs_folder: Callable[[], Path]
    claim: Callable[[str], None]
    redirect: Callable[[str], str] = str
    kept_at: str | None = None


class Sink(ABC):
    """Takes what a call reads as it comes, and becomes the value of an output.

    Nothing of it is seen before `commit`. All methods but `discard` raise StepError where it can't
    be done.

    Attributes:
        takes_body: whether it takes the body of an answer as it is, in place of records.
    """

    takes_body: bool = False

    @abstractmethod
    def take(self, records: list[Any]) -> None:
        """Take the records of a page; they must not be changed."""

    def take_body(self, piece: bytes) -> None:  # noqa: B027 - most take none
        """Take a piece of the body, in the order of the body."""

    @abstractmethod
    def finish(self, result: ResultView, is_read: bool) -> Any:
        """Everything has come: make it durable.

        Args:
            result: what the call gave.
            is_read: whether the call has handed over what it read; else it is in the result.

        Returns:
            the value of the output.
        """

    @abstractmethod
    def commit(self) -> None:
        """The step has succeeded: let it be seen."""

    @abstractmethod
    def discard(self) -> None:
        """The step has failed: let nothing of it remain. Called for each sink without a commit."""
