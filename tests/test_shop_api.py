"""The shop API of the examples, over real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest
import shop_api  # type: ignore[import-not-found]

EXAMPLES = Path(__file__).parent.parent / "examples"
SHOP_API = EXAMPLES / "shop_api.py"
MERGE = EXAMPLES / "merge.py"

direct = build_opener(ProxyHandler({}))


class Answer(NamedTuple):
    status: int
    body: Any
    headers: Any


def call(
    url: str, method: str = "GET", token: str | None = None, body: bytes | None = None
) -> Answer:
    headers = {} if token is None else {"Authorization": token}
    request = Request(url, method=method, headers=headers, data=body)
    try:
        with direct.open(request, timeout=60) as answer:
            return Answer(answer.status, json.load(answer), answer.headers)
    except HTTPError as error:
        with error:
            text = error.read()
            return Answer(error.code, json.loads(text) if text else None, error.headers)


def connect(api: Any) -> socket.socket:
    host, port = api.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


@pytest.fixture
def api() -> Iterator[Any]:
    with shop_api.ShopApi() as api:
        yield api


@pytest.fixture
def guarded() -> Iterator[Any]:
    with shop_api.ShopApi(require_token=True) as api:
        yield api


def run_wrapped(*command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SHOP_API), *options, "--", *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return run_wrapped(sys.executable, "-c", code)


def run_merge(address: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "SHOP_API"}
    environment |= {"no_proxy": "*"} | ({"SHOP_API": address} if address is not None else {})
    return subprocess.run(
        [sys.executable, str(MERGE)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# Endpoints


@pytest.mark.parametrize("path", ["/users", "/products", "/orders"])
def test_a_list_holds_objects_with_unique_ids(api: Any, path: str) -> None:
    answer = call(api.address + path)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert 3 <= len(answer.body) == len({item["id"] for item in answer.body})


def test_orders_refer_to_users_and_products_that_exist(api: Any) -> None:
    users, products, orders = (
        call(f"{api.address}/{name}").body for name in ("users", "products", "orders")
    )
    assert {order["user_id"] for order in orders} <= {user["id"] for user in users}
    assert {order["product_id"] for order in orders} <= {product["id"] for product in products}
    assert all(order["quantity"] > 0 for order in orders)


def test_a_query_string_does_not_change_the_path(api: Any) -> None:
    assert call(api.address + "/users?page=2").status == 200
    assert [request.path for request in api.requests] == ["/users?page=2"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_auth_issues_a_new_token_each_time(api: Any, method: str) -> None:
    first, second = (call(api.address + "/auth", method) for _ in range(2))
    assert (first.status, first.body["token_type"], first.body["expires_in"]) == (
        200,
        "bearer",
        3600,
    )
    assert first.body["access_token"] != second.body["access_token"]


def test_databases_and_schemas_count_up(api: Any) -> None:
    databases = [call(api.address + "/databases", "POST") for _ in range(2)]
    assert [(made.status, made.body["id"]) for made in databases] == [(201, "db-1"), (201, "db-2")]
    schemas = [call(api.address + "/databases/db-2/schema", "POST") for _ in range(2)]
    assert [(made.status, made.body) for made in schemas] == [
        (201, {"id": "schema-1", "database": "db-2"}),
        (201, {"id": "schema-2", "database": "db-2"}),
    ]


def test_a_database_takes_the_name_that_it_is_given(api: Any) -> None:
    made = call(api.address + "/databases", "POST", body=b'{"name": "reports"}')
    assert made.body == {"id": "db-1", "name": "reports"}


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"name": 3}'])
def test_a_database_is_refused_a_bad_body(api: Any, body: bytes) -> None:
    answer = call(api.address + "/databases", "POST", body=body)
    assert answer.status == 400
    assert "body" in answer.body["error"]


def test_a_schema_of_an_unknown_database_is_404(api: Any) -> None:
    answer = call(api.address + "/databases/db-1/schema", "POST")
    assert (answer.status, answer.body) == (404, {"error": "no such database: db-1"})


def test_the_root_lists_every_endpoint(guarded: Any) -> None:
    answer = call(guarded.address + "/")
    assert answer.status == 200
    assert [endpoint["path"] for endpoint in answer.body["endpoints"]] == [
        "/",
        "/auth",
        "/oauth/token",
        "/users",
        "/products",
        "/orders",
        "/changes",
        "/pages/<id>",
        "/credit/<id>",
        "/stock/<id>",
        "/reports",
        "/reports/<id>",
        "/reports/<id>/csv",
        "/files/<id>",
        "/messages",
        "/databases",
        "/databases/<id>/schema",
    ]


@pytest.mark.parametrize("path", ["/nothing", "/users/1", "/databases//schema"])
def test_an_unknown_path_is_404(guarded: Any, path: str) -> None:
    answer = call(guarded.address + path)
    assert (answer.status, answer.body) == (404, {"error": f"no such path: {path}"})


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/users", "GET"),
        ("GET", "/databases", "POST"),
        ("DELETE", "/auth", "GET, POST"),
        ("HEAD", "/databases/db-1/schema", "POST"),
    ],
)
def test_a_wrong_method_is_405_and_names_the_right_ones(
    api: Any, method: str, path: str, allowed: str
) -> None:
    answer = call(api.address + path, method)
    assert (answer.status, answer.headers["Allow"]) == (405, allowed)


def test_pages_lead_from_one_to_the_next(api: Any) -> None:
    first = call(f"{api.address}/pages/orders?limit=3").body
    rest = call(f"{api.address}/pages/orders?limit=3&after={first['next']}").body
    assert [*first["items"], *rest["items"]] == shop_api.ORDERS
    assert (rest["next"], rest["total"]) == (None, 5)


@pytest.mark.parametrize(("path", "status"), [("nothing", 404), ("users?limit=x", 400)])
def test_a_page_that_is_wrong_is_an_error(api: Any, path: str, status: int) -> None:
    assert call(f"{api.address}/pages/{path}").status == status


# Tokens


def test_a_token_opens_every_list(guarded: Any) -> None:
    token = call(guarded.address + "/auth").body["access_token"]
    for path in ("/users", "/products", "/orders"):
        assert call(guarded.address + path, token=f"Bearer {token}").status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/users"),
        ("GET", "/products"),
        ("GET", "/orders"),
        ("POST", "/databases"),
        ("POST", "/databases/db-1/schema"),
    ],
)
def test_data_without_a_token_is_401_where_one_is_required(
    guarded: Any, method: str, path: str
) -> None:
    answer = call(guarded.address + path, method)
    assert (answer.status, answer.body) == (401, {"error": "a token is required: see /auth"})
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Bearer made-up", "Bearer", "Bearer ", "Basic YTpi", ""])
def test_a_wrong_token_is_401_even_where_none_is_required(api: Any, header: str) -> None:
    answer = call(api.address + "/users", token=header)
    assert (answer.status, list(answer.body)) == (401, ["error"])


def test_a_token_needs_the_bearer_scheme(api: Any) -> None:
    token = call(api.address + "/auth").body["access_token"]
    assert call(api.address + "/users", token=f"Basic {token}").status == 401


def test_a_token_of_another_api_is_401(api: Any, guarded: Any) -> None:
    token = call(api.address + "/auth").body["access_token"]
    assert call(guarded.address + "/users", token=f"Bearer {token}").status == 401


def test_an_old_token_does_not_keep_anybody_from_a_new_one(guarded: Any) -> None:
    assert call(guarded.address + "/auth", token="Bearer expired").status == 200


# Connections and records


def test_requests_are_recorded_with_their_times_in_order() -> None:
    with shop_api.ShopApi(delay=0.01) as api:
        call(api.address + "/users")
        call(api.address + "/auth", "POST")
        call(api.address + "/nothing")
        recorded = api.requests
    assert [(request.method, request.path) for request in recorded] == [
        ("GET", "/users"),
        ("POST", "/auth"),
        ("GET", "/nothing"),
    ]
    times = [time for request in recorded for time in (request.started, request.ended)]
    assert times == sorted(times)


def test_the_record_is_a_copy(api: Any) -> None:
    api.requests.append("mine")
    assert api.requests == []


def test_one_connection_serves_many_requests(api: Any) -> None:
    """A body that no endpoint reads must not be taken for the next request."""
    connection = HTTPConnection(api.address.removeprefix("http://"), timeout=60)
    try:
        connection.connect()
        sock = connection.sock
        for method, path, body in [
            ("POST", "/users", b"unread"),
            ("HEAD", "/users", None),
            ("GET", "/users", None),
        ]:
            connection.request(method, path, body)
            text = connection.getresponse().read()
            assert connection.sock is sock
    finally:
        connection.close()
    assert json.loads(text) == shop_api.USERS


def test_an_answer_to_head_has_no_body(api: Any) -> None:
    with connect(api) as client:
        client.sendall(b"HEAD /users HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("header", ["Transfer-Encoding: chunked", "Content-Length: -1"])
def test_a_body_of_unknown_length_is_refused_and_ends_the_connection(api: Any, header: str) -> None:
    with connect(api) as client:
        client.sendall(f"POST /databases HTTP/1.1\r\nHost: shop\r\n{header}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 411 ")
    assert b"Connection: close\r\n" in answer


def test_stopping_ends_an_idle_connection() -> None:
    with shop_api.ShopApi() as api:
        connection = HTTPConnection(api.address.removeprefix("http://"), timeout=60)
        connection.request("GET", "/users")
        connection.getresponse().read()
        kept = connection.sock
    with kept:
        assert kept.recv(1) == b""


def test_stopping_ends_a_long_delay() -> None:
    with contextlib.ExitStack() as stack, shop_api.ShopApi(delay=3600) as api:
        client = stack.enter_context(connect(api))
        client.sendall(b"GET /users HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 100 ")  # it is being answered


# The command wrapper


def test_the_command_gets_the_address_and_can_use_it() -> None:
    done = run_python(
        "import os, urllib.request\n"
        "print(os.environ['SHOP_API'])\n"
        "print(urllib.request.urlopen(os.environ['SHOP_API'] + '/users').read().decode())\n"
    )
    address, users = done.stdout.splitlines()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
    assert json.loads(users) == shop_api.USERS
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_finds_this_python_first() -> None:
    done = run_python("import os; print(os.environ['PATH'].split(os.pathsep)[0])")
    assert done.stdout.strip() == os.path.dirname(sys.executable)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "127.0.0.1"),
        ({"NO_PROXY": "a.test"}, "a.test,127.0.0.1"),
        ({"no_proxy": "b.test"}, "b.test,127.0.0.1"),
    ],
    ids=["neither", "upper", "lower"],
)
def test_the_command_reaches_the_api_past_a_proxy(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: str
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    done = run_python(
        "import os, urllib.request\n"
        "urllib.request.urlopen(os.environ['SHOP_API'] + '/users')\n"
        "print(os.environ['no_proxy'], os.environ['NO_PROXY'])\n"
    )
    assert (done.stdout.split(), done.stderr) == ([expected, expected], "")


def test_the_exit_code_is_passed_on() -> None:
    assert run_python("raise SystemExit(7)").returncode == 7


def test_a_killed_command_gives_128_and_the_signal() -> None:
    done = run_python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == 128 + signal.SIGKILL


def test_arguments_after_the_command_are_its_own() -> None:
    code = "import sys; print(sys.argv[1:])"
    done = run_wrapped(sys.executable, "-c", code, "--port", "x", "--", "--delay")
    assert done.stdout.strip() == "['--port', 'x', '--', '--delay']"


def test_a_missing_command_is_one_line_and_127() -> None:
    done = run_wrapped("no-such-command-here")
    assert done.returncode == 127
    assert done.stderr == (
        "shop_api.py: cannot run 'no-such-command-here': No such file or directory\n"
    )


def test_a_file_that_is_not_a_program_is_one_line_and_126(tmp_path: Path) -> None:
    done = run_wrapped(str(tmp_path))
    assert done.returncode == 126
    assert done.stderr.count("\n") == 1


def test_options_reach_the_api() -> None:
    code = "import os, urllib.request; urllib.request.urlopen(os.environ['SHOP_API'] + '/users')"
    done = run_wrapped(sys.executable, "-c", code, options=("--require-token", "--delay", "0.01"))
    assert "HTTP Error 401" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--"], ["--port", "65536"], ["--delay", "nan"], ["flowtoy"]],
    ids=["no command", "port", "delay", "no dashes"],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(SHOP_API), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_line_and_exit_code_1(api: Any) -> None:
    port = api.address.rpartition(":")[2]
    done = run_wrapped(sys.executable, "-c", "", options=("--port", port))
    assert done.returncode == 1
    assert done.stderr.startswith(f"shop_api.py: cannot use port {port}: ")
    assert done.stderr.count("\n") == 1


def test_ctrl_c_is_the_commands_to_answer() -> None:
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(9))\n"
        "print('ready', flush=True)\n"
        "while True: signal.pause()\n"
    )
    command = [sys.executable, str(SHOP_API), "--", sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.wait(120) == 9


def test_without_a_command_it_serves_until_ctrl_c() -> None:
    command = [sys.executable, str(SHOP_API)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert call(address + "/users").body == shop_api.USERS
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0


# The program of mixed.yaml


def test_merge_joins_every_order(guarded: Any) -> None:
    done = run_merge(guarded.address)
    merged = json.loads(done.stdout)
    assert [item["order"] for item in merged] == [order["id"] for order in shop_api.ORDERS]
    assert merged[1] == {
        "order": 1002,
        "user": "Edsger Dijkstra",
        "product": "Notebook, dotted",
        "quantity": 6,
        "total": 43.5,
    }
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (None, "SHOP_API is not set"),
        ("", "SHOP_API is not set"),
        ("http://127.0.0.1:9", "cannot read http://127.0.0.1:9: [Errno"),
        ("shop", "cannot read shop: unknown url type"),
    ],
    ids=["unset", "empty", "unreachable", "not an address"],
)
def test_merge_fails_with_one_line(address: str | None, message: str) -> None:
    done = run_merge(address)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"merge.py: {message}")
    assert done.stderr.count("\n") == 1


def test_merge_names_the_status_that_it_gets(api: Any) -> None:
    done = run_merge(f"{api.address}/elsewhere")
    assert "HTTP Error 404" in done.stderr
    assert done.stderr.count("\n") == 1


def test_tokens_of_clients_expire() -> None:
    with shop_api.ShopApi(token_seconds=0) as api:
        url, form = f"{api.address}/oauth/token", b"grant_type=client_credentials&client_id=flows"
        assert call(url, "POST", body=form).body == {"error": "invalid_client"}
        issued = call(url, "POST", body=form + b"&client_secret=open-sesame").body
        assert issued["expires_in"] == 0
        shown = f"Bearer {issued['access_token']}"
        assert call(f"{api.address}/users", token=shown).body == {"error": "the token has expired"}
        assert call(url, "POST", body=b"").status == 400
