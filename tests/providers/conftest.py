"""Servers on loopback for tests of providers."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from module_files import load

from flowtoy_dagster.providers.rest.network import transport as rest_transport

load(Path(__file__).with_name("loopback.py"))
load(Path(__file__).with_name("paged.py"))
load(Path(__file__).with_name("token_api.py"))
load(Path(__file__).with_name("dlt_apis.py"))
from loopback import Server, serving  # noqa: E402
from paged import PagedApi, paged_api  # noqa: E402

# Made for these tests alone: self-signed, for 127.0.0.1.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgaQlEHk9V8D3HOy3T
gn0Zmd0ISCGagJQwJKm8WxsUDFGhRANCAAQ76h6N6X6gDlj26uBN4NzWMWbgdPTC
7eoN7sFeXajRVEZwr0e9z04BArPEBwa/eYzZxjgi4IkuUzhsx0uroVzd
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBczCCARqgAwIBAgIBATAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1mbG93dG95
IHRlc3RzMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAYMRYwFAYD
VQQDDA1mbG93dG95IHRlc3RzMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEO+oe
jel+oA5Y9urgTeDc1jFm4HT0wu3qDe7BXl2o0VRGcK9Hvc9OAQKzxAcGv3mM2cY4
IuCJLlM4bMdLq6Fc3aNTMFEwDwYDVR0RBAgwBocEfwAAATAPBgNVHRMBAf8EBTAD
AQH/MA4GA1UdDwEB/wQEAwIChDAdBgNVHQ4EFgQUNHpaNyqzcbL7FJKJbFsZ6pqU
hbwwCgYIKoZIzj0EAwIDRwAwRAIgaoLCHSNI+Cigucx/XqT4lIQaszs7TjyRqZcH
zkiblxwCICQtz3+mX7A/rtxkQrkC/DS6gHyDD0R+L6xiNBH2oCD/
-----END CERTIFICATE-----
"""



@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxies of the machine's; no connection outlives its test."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    yield
    rest_transport._adapter.cache_clear()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def certificate(tmp_path: Path) -> str:
    path = tmp_path / "certificate.pem"
    path.write_text(CERTIFICATE)
    return str(path)


@pytest.fixture
def tls_server(certificate: str) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(context) as server:
        yield server


@pytest.fixture
def refusing() -> Iterator[str]:
    """An address that is taken, but where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(scope="module")
def running_api() -> Iterator[PagedApi]:
    """A server of lists in pages, for the tests of one module."""
    with paged_api() as api:
        yield api


@pytest.fixture
def api(running_api: PagedApi) -> PagedApi:
    """The server of lists in pages, as it is at first."""
    running_api.reset()
    return running_api
