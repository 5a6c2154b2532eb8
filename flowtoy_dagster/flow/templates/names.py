"""The names that templates see, and what stands for a name that is not there (language 6.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import jinja2

from flowtoy_dagster.flow.files.suggestions import nearest

ROOTS = ("flows", "steps", "sources", "params", "env", "run", "flow")
RUN = "run"
RUN_WORDS = ("id", "name", "started_at", "failed", "state")
"""What `run` has."""
END_WORDS = ("error", "ended_at", "seconds")
"""What it has, too, where the run has ended: in notifications."""
FLOW = "flow"
"""What templates know of the flow itself."""
FLOW_WORDS = ("dir",)
"""What `flow` has: the folder of the flow's first file."""
OUTPUT_NAMES = ("result", "status", "meta")
"""What templates of outputs know besides the roots."""
ITEM = "item"
"""What templates of a step with `for_each` call the item, where the step gives it no name."""
BATCH = "batch"
"""What they call the item, too, where it is a list of several."""
LOOP = "loop"
LOOP_WORDS = ("index", "index0", "length", "key")
"""What `loop` knows of the item."""
INCREMENTAL = "incremental"
"""What templates of a step with `incremental` know (language 22.1)."""
INCREMENTAL_WORDS = ("start_value", "last_value")
"""What `incremental` has."""
CURSOR_NAMES = ("records", "response")
"""What the template of a new cursor value knows besides what outputs see."""
ANSWER_NAMES = ("response", "headers", "status_code")
"""What conditions of `response_actions` know: the answer's data, its headers, its status."""
PAGE_NAMES = ("response", "records", "headers")
"""What expressions about a page know: its data, its records, the headers of the answer."""


def expression(root: str, *parts: str | None) -> str:
    """How a template writes a path: `flows['full load'].rows`; parts that are None are left out."""
    text = root
    for part in parts:
        if part is not None:
            text += f".{part}" if part.isidentifier() else f"[{part!r}]"
    return text


class SkippedNeed(str):
    """Why a name is missing, where that is because a step was skipped (language 19.2)."""

    __slots__ = ()


class Missing(jinja2.Undefined):
    """A name that is not there: may be tested, is an error when it is used (language 6.4).

    What is looked up in it is missing for the same reason.
    """

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is jinja2.utils.missing:
            name = str(self._undefined_name)
            return f"'{name}' is not a name; {nearest(name, ROOTS).hint}"
        kind = _kind(self._undefined_obj)
        return f"{kind} has no '{self._undefined_name}'"

    def _fail(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise jinja2.UndefinedError(self._undefined_message)

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        return self

    def __getitem__(self, key: Any) -> Any:
        return self

    __str__ = __iter__ = __len__ = __eq__ = __ne__ = __hash__ = _fail
    __contains__ = __call__ = __int__ = __float__ = __lt__ = __le__ = __gt__ = __ge__ = _fail
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _fail
    __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = _fail
    __neg__ = __pos__ = __complex__ = _fail

    def __bool__(self) -> bool:
        return False


class Names(Mapping[str, Any]):
    """A mapping that a template sees, whose absent names say why they are absent.

    Args:
        values: what is there; a value may be computed by giving `load`.
        why: from an absent name to the reason that an error gives.
        load: from a name and its entry in `values` to what the template gets.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        why: Callable[[str], str],
        load: Callable[[str, Any], Any] | None = None,
    ) -> None:
        self._values = values
        self._why = why
        self._load = load

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        return self._load(name, value) if self._load else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def why_missing(self, name: object) -> str:
        """Why `name` is not there."""
        return self._why(str(name))


def why_unset(variable: str) -> str:
    """Why an environment variable is missing."""
    return f"the environment variable '{variable}' is not set"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return {
        "str": "text", "int": "a number", "float": "a number", "bool": "true or false",
        "dict": "a mapping",
    }.get(type(value).__name__, f"a {type(value).__name__}")
