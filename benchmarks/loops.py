"""10,000 calls of a local server: a loop of a flow against `requests` in a pool of threads.

`python benchmarks/loops.py [ITEMS]` prints seconds of both, and the most memory of all processes of
the run. The bars: at most 1.5 times the time, and 500 MB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import requests  # noqa: TID251 - what is compared with

THREADS = 16


class Answer(BaseHTTPRequestHandler):
    """Answers with the path, as JSON."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        body = json.dumps({"path": self.path}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve() -> None:
    """Serve in this process, and print the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


def by_hand(url: str, items: int) -> float:
    """Seconds of the calls in one process."""
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=THREADS))
    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda n: session.get(f"{url}/items/{n}").json()["path"], range(items)))
    return time.perf_counter() - began


def by_flow(url: str, items: int, folder: Path) -> tuple[float, float]:
    """Seconds of the step, and the most megabytes of all processes of the run."""
    each = {"in": f"{{{{ range({items}) | list }}}}", "concurrency": THREADS}
    step = {
        "name": "loop", "for_each": each, "source": "api", "input": {"url": "/items/{{ item }}"},
        "output": [{"name": "path", "value": "path"}],
    }  # fmt: skip
    sources = {"api": {"type": "rest", "base_url": url}}
    (folder / "loop.json").write_text(json.dumps({"sources": sources, "flow": [step]}))
    env = {**os.environ, "FLOWTOY_HOME": str(folder / "home")}
    flowtoy = [sys.executable, "-m", "flowtoy_dagster"]
    command = [*flowtoy, "run", str(folder / "loop.json"), "-q"]
    run = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    most = 0
    while run.poll() is None:
        try:
            main = psutil.Process(run.pid)
            processes = [main, *main.children(recursive=True)]
            most = max(most, sum(process.memory_info().rss for process in processes))
        except psutil.Error:
            pass
        time.sleep(0.2)
    assert run.returncode == 0
    show = [*flowtoy, "runs", "show", "last", "--json"]
    told = json.loads(subprocess.run(show, env=env, capture_output=True, check=True).stdout)
    step_status = told["steps"]["loop"]
    return step_status["ended_at"] - step_status["started_at"], most / 1e6


def main() -> None:
    """Measure both against the same server."""
    items = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    server = subprocess.Popen(
        [sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        hand = by_hand(url, items)
        with tempfile.TemporaryDirectory() as folder:
            flow, memory = by_flow(url, items, Path(folder))
    finally:
        server.kill()
    print(f"requests in {THREADS} threads  {hand:.1f} s")
    print(f"a step with for_each      {flow:.1f} s, {flow / hand:.2f} times, {memory:.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        main()
