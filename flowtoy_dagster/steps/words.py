"""An exception in words."""

from __future__ import annotations

from collections.abc import Callable

from flowtoy_dagster.errors import FlowtoyError


def whole_text(text: str) -> str:
    """A text with a mark for each half of a character, as names of files that are not UTF-8 have.

    Nothing that stores a text could keep such a half.
    """
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def one_line(error: BaseException, hide: Callable[[str], str] = str) -> str:
    """The type and the text of an exception in one line, whatever its own methods do.

    The text of one of ours says all.

    Args:
        error: the exception.
        hide: hides secrets, before white space in them is made one.
    """
    name = type(error).__name__
    try:
        message = " ".join(hide(str(error)).split())
    except Exception:  # noqa: BLE001 - the text of an exception of others can raise, too
        return name
    if message and isinstance(error, FlowtoyError):
        return message
    return f"{name}: {message}" if message else name
