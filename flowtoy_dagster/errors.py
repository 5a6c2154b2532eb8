"""Where errors come from, and the tree of them.

Every class carries its fields (not only a text), survives pickling between processes
and knows the exit code with which the command line ends::

    FlowtoyError                1
    ├── ConfigError             2   problems of a configuration, all of them at once
    ├── UsageError              2   the command line or an argument of the API is wrong
    │   └── HomeError           2   the home folder can't be used
    ├── RunError                1   the run could not be carried out
    │   ├── NoRunError          1   the home holds no such run
    │   └── RunInterrupted    130   Ctrl-C or SIGTERM
    ├── TemplateError           1   a template could not be rendered
    └── StepError               1   a step failed
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, NamedTuple


class Location(NamedTuple):
    """A place in a configuration file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


def system_reason(error: OSError) -> str:
    """Why a call of the operating system failed, as a part of a sentence: `permission denied`."""
    return (error.strerror or str(error)).lower()


ErrorKinds = type[BaseException] | tuple[type[BaseException], ...]
"""Classes of errors, as `isinstance` takes them."""


def met_by(error: BaseException, kinds: ErrorKinds) -> BaseException | None:
    """The error of some kinds that was on its way when another one was raised.

    A wait for a lock that an interrupt leaves may give back what it does not have: what is raised
    then tells nothing of the interrupt.

    Args:
        error: the one that arrived.
        kinds: what is looked for among those that it met.

    Returns:
        The newest of those kinds; None where there is none.
    """
    met, seen = error.__context__, {id(error)}
    while met is not None and not isinstance(met, kinds):
        seen.add(id(met))
        met = met.__context__ if id(met.__context__) not in seen else None
    return met


DEPENDENCIES_HEADING = "Flow configuration has invalid dependencies:"


class Problem(NamedTuple):
    """One thing that is wrong with a configuration, or that may not be as it is meant: a warning.

    Attributes:
        message: what is wrong, in one or a few plain lines.
        location: where; None where a configuration came from no file.
        hint: how to fix it, where that is likely.
        dependency: whether it is listed under the heading of invalid dependencies.
        order: position in reading order over all files; sorts the report.
    """

    message: str
    location: Location | None = None
    hint: str | None = None
    dependency: bool = False
    order: int = 0

    def lines(self) -> list[str]:
        """The problem as the lines that are printed for it."""
        if self.dependency:
            place = str(self.location) if self.location else ""
            note = ": ".join(part for part in (place, self.hint) if part)
            return [f"  {self.message}", *([f"    {note}"] if note else [])]
        return self._lines(self.message)

    def warning_lines(self) -> list[str]:
        """The same where nothing stands in the way of a run."""
        return self._lines(f"warning: {self.message}")

    def _lines(self, message: str) -> list[str]:
        place = f"{self.location}: " if self.location else ""
        return [f"{place}{message}", *([f"    {self.hint}"] if self.hint else [])]


class FlowtoyError(Exception):
    """The root of all errors that flowtoy raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[FlowtoyError], args: tuple[Any, ...], fields: dict[str, Any]) -> Any:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class ConfigError(FlowtoyError):
    """A configuration that can't run; `problems` holds everything that is wrong with it."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.order))
        dependency = [problem for problem in self.problems if problem.dependency]
        lines = [DEPENDENCIES_HEADING] if dependency else []
        for problem in (*dependency, *(p for p in self.problems if not p.dependency)):
            lines.extend(problem.lines())
        super().__init__("\n".join(lines))


class UsageError(FlowtoyError):
    """What was asked for can't be done as asked."""

    exit_code = 2


class HomeError(UsageError):
    """The home folder can't be created, read or written."""


class RunError(FlowtoyError):
    """A run could not be carried out."""


class NoRunError(RunError):
    """The home holds no such run, or none any more."""


class RunInterrupted(RunError):  # noqa: N818 - what happened
    """A run was ended by Ctrl-C or SIGTERM.

    Attributes:
        run: the run as it ended, a `FlowRun`.
    """

    exit_code = 130

    def __init__(self, message: str, run: Any = None) -> None:
        self.run = run
        super().__init__(message)


class TemplateError(FlowtoyError):
    """A template could not be rendered.

    Attributes:
        field: the field it stands in (`input.url`), where it is known.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        self.message = message
        self.field = field
        super().__init__(f"{field}: {message}" if field else message)


FailureKind = Literal[
    "configuration", "provider", "raised", "timeout", "crash", "items", "until"
]
"""What `retry` goes by; `configuration` and `until` are permanent: trying again can't help.
`items`, too: each item of the step was tried again by itself."""


class StepError(FlowtoyError):
    """A step failed.

    Attributes:
        message: one line: what went wrong.
        kind: what `retry` goes by.
    """

    def __init__(self, message: str, kind: FailureKind = "configuration") -> None:
        self.message = message
        self.kind = kind
        super().__init__(message)
