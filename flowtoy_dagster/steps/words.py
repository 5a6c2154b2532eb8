"""An exception in words."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """The type and the text of an exception in one line, whatever its own methods do."""
    name = type(error).__name__
    try:
        message = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - the text of an exception of others can raise, too
        return name
    return f"{name}: {message}" if message else name
