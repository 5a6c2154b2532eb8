"""A function of Dagster's in which some names stand for something else.

Dagster creates what schedules a run inside long functions, by global names, and has no hook for it.
Where a subclass or a public hook would do, it is used; where this is, a line says what is missing.
Nothing of Dagster is changed for anybody else.
"""

import types
from collections.abc import Callable
from typing import Any


def rebound(function: Callable[..., Any], **names: Any) -> Callable[..., Any]:
    """The same function, in which some global names stand for something else."""
    assert isinstance(function, types.FunctionType)
    return types.FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
