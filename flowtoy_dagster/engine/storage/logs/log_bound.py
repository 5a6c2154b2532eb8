"""How much of what a step prints is kept: the first part as it comes, and the last part."""

KEPT_FIRST = 1 << 20
"""Bytes at the beginning of a stream that are kept, up to the end of a line."""
KEPT_LAST = 1 << 20
"""Bytes at the end of a stream that are kept, from the beginning of a line."""
LONGEST_LINE = 1 << 16
"""Bytes for which the end of a line is looked for before the line is cut."""
MORE = b"... more was printed; the last part follows when the step has ended\n"


class LogBound:
    """Passes the first part of a stream on, and holds the last part until the end.

    A cut is between two lines, or between two characters where a line is longer than
    `LONGEST_LINE`. What is left out is reported in its place.

    Args:
        first: bytes of the first part.
        last: bytes of the last part.
    """

    def __init__(self, first: int = KEPT_FIRST, last: int = KEPT_LAST) -> None:
        self._left = first
        self._last = last
        self._is_first_part = True
        self._in_a_line = False
        self._tail = bytearray()
        self._omitted = 0

    def add(self, data: bytes) -> bytes:
        """Take in the next part of the stream; gives what is to be written of it now."""
        if not self._is_first_part:
            return self._keep(data)
        cut = self._end_of_first_part(data)
        self._left -= len(data)
        if cut is None:
            return data
        self._is_first_part = False
        self._in_a_line = not data[:cut].endswith(b"\n")
        return data[:cut] + self._keep(data[cut:])

    def close(self) -> bytes:
        """What is to be written at the end of the stream."""
        self._shorten()
        end = bytes(self._tail)
        self._tail.clear()
        if not self._omitted:
            return end
        return b"... %d bytes were left out here\n" % self._omitted + end

    def _end_of_first_part(self, data: bytes) -> int | None:
        """Where the first part ends; None where it goes on for the rest of a line."""
        limit = self._left + LONGEST_LINE
        end = data.find(b"\n", max(self._left - 1, 0), max(limit, 0))
        if end >= 0:
            return end + 1
        return _character_start(data, max(limit, 0)) if len(data) > limit else None

    def _keep(self, data: bytes) -> bytes:
        """Add to the last part; gives the remark that there is one, once."""
        if not data:
            return b""
        is_new = not self._tail
        self._tail += data
        if len(self._tail) > 2 * self._last + LONGEST_LINE:
            self._shorten()
        return (b"\n" + MORE if self._in_a_line else MORE) if is_new else b""

    def _shorten(self) -> None:
        """Leave out what is before the last part."""
        over = len(self._tail) - self._last
        if over <= 0:
            return
        end = self._tail.find(b"\n", over - 1, over + LONGEST_LINE)
        cut = end + 1 if end >= 0 else _character_start(self._tail, over)
        self._omitted += cut
        del self._tail[:cut]


def _character_start(data: bytes | bytearray, index: int) -> int:
    """The first place from `index` on that is not inside a UTF-8 character."""
    for place in range(index, min(index + 4, len(data))):
        if data[place] & 0xC0 != 0x80:
            return place
    return index
