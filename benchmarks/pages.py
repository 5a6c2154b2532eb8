"""Pages of records into a JSON Lines file: memory of the worker, records a second, and dlt's.

    python benchmarks/pages.py [--records 200000] [--pages 2000] [--dlt PYTHON]

`--dlt` names a Python in whose environment dlt is installed: it reads the same pages.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

DLT = """
import sys, time, dlt
from dlt.sources.rest_api import rest_api_source
from dlt.destinations import filesystem
url, folder, pages = sys.argv[1], sys.argv[2], int(sys.argv[3])
paginator = {"type": "page_number", "base_page": 0, "maximum_page": pages, "total_path": None}
source = rest_api_source({
    "client": {"base_url": url},
    "resources": [{"name": "rows", "endpoint": {
        "path": "rows", "paginator": paginator, "data_selector": "$"}}],
})
started = time.perf_counter()
pipeline = dlt.pipeline("pages", pipelines_dir=folder, destination=filesystem(folder),
                        dataset_name="out")
pipeline.run(source, loader_file_format="jsonl")
print(time.perf_counter() - started)
"""


def serve(records: int, pages: int) -> ThreadingHTTPServer:
    """A server of pages, all made before."""
    each = records // pages
    made = [
        json.dumps(
            [{"id": n, "name": f"customer {n}", "total": n / 7, "tags": ["a", "b"]}
             for n in range(page * each, (page + 1) * each)]
        ).encode()
        for page in range(pages)
    ]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            number = int(self.path.rpartition("page=")[2] or 0)
            body = made[number] if number < pages else b"[]"
            head = (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            self.wfile.write(head.encode() + body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def watch(process: subprocess.Popen[str], marks: list[tuple[float, float]]) -> None:
    """Note the largest worker's memory, in MB, until a process has ended."""
    started = time.perf_counter()
    while process.poll() is None:
        sizes = [0.0]
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(process.pid).children(recursive=True)
            sizes += [child.memory_full_info().uss / 1e6 for child in children]
        marks.append((time.perf_counter() - started, max(sizes)))
        time.sleep(0.25)


def run_flowtoy(url: str, folder: Path, pages: int) -> None:
    """Read the pages as a flow, and print what it took."""
    paginator = {"type": "page_number", "base_page": 0, "maximum_page": pages - 1}
    source = {"type": "rest", "url": f"{url}/rows", "paginator": paginator}
    output = {"name": "rows", "type": "file", "format": "jsonl", "path": str(folder / "rows.jsonl")}
    flow = {"flow": [{"name": "rows", "source": source, "output": [output]}]}
    (folder / "flow.yaml").write_text(json.dumps(flow))
    environment = {**os.environ, "FLOWTOY_HOME": str(folder / "home"), "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "flowtoy_dagster", "run", str(folder / "flow.yaml"), "-j"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    marks: list[tuple[float, float]] = []
    watch(process, marks)
    took = time.perf_counter() - started
    assert process.stdout is not None
    value = json.loads(process.stdout.read())["rows"]["rows"]
    third = len(marks) // 3
    print(f"flowtoy: {value['records']:,} records, {value['bytes'] / 1e6:.1f} MB in {took:.1f} s "
          f"with the run's start: {value['records'] / took:,.0f} records/s")
    print(f"  largest process (USS): {max(size for _, size in marks):.0f} MB; in the middle third "
          f"{max(s for _, s in marks[third:2 * third]):.0f} MB, in the last "
          f"{max(s for _, s in marks[2 * third:]):.0f} MB")


def run_dlt(python: str, url: str, folder: Path, pages: int) -> None:
    """Read the pages with dlt, and print what it took."""
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "RUNTIME__DLTHUB_TELEMETRY": "false"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [python, "-c", DLT, url, str(folder), str(pages - 1)],
        stdout=subprocess.PIPE, text=True, env=environment, cwd=folder,
    )
    most = 0.0
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            most = max(most, psutil.Process(process.pid).memory_full_info().uss / 1e6)
        time.sleep(0.25)
    took = time.perf_counter() - started
    assert process.stdout is not None
    inner = process.stdout.read().strip()
    print(f"dlt: {took:.1f} s with its imports, {inner} s in the pipeline; {most:.0f} MB (USS)")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--pages", type=int, default=2_000)
    parser.add_argument("--dlt", help="a Python that has dlt")
    given = parser.parse_args()
    server = serve(given.records, given.pages)
    url = f"http://127.0.0.1:{server.server_port}"
    with tempfile.TemporaryDirectory() as folder:
        run_flowtoy(url, Path(folder), given.pages)
    if given.dlt:
        with tempfile.TemporaryDirectory() as folder:
            run_dlt(given.dlt, url, Path(folder), given.pages)
    server.shutdown()


if __name__ == "__main__":
    main()
