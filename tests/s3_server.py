"""An S3 server on loopback, and the variables by which clients find it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

SECRET = "testing-s3cret"


@contextlib.contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """A server without buckets.

    Yields:
        the variables of its clients.
    """
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    try:
        yield {
            "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1",
            "AWS_ENDPOINT_URL": address, "FSSPEC_S3_ENDPOINT_URL": address,
        }
    finally:
        server.stop()
