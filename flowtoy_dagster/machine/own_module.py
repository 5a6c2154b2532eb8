"""A module of this package as a process of its own."""

from __future__ import annotations

import sys

_RUN = (
    "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module, whatever files the working directory has.

    `python -m` looks for modules there first: a `queue.py` or `calendar.py` that is beside a flow
    would take the place of Python's own.

    Args:
        module: its full name.
        arguments: what it finds in `sys.argv`, behind its own name.
    """
    return [sys.executable, "-c", _RUN, module, *arguments]
