"""A client of yaml-language-server, over the language server protocol."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from pathlib import Path
from typing import Any

WAIT = 120
"""Seconds after which an answer is missed."""


class LanguageServer:
    """A server in a process of its own, with flows' schema for each document."""

    def __init__(self, command: list[str], schema: Path) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._schema = schema
        self._number = 0
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._problems: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.request("initialize", {
            "processId": None, "rootUri": None,
            "capabilities": {"textDocument": {"hover": {"contentFormat": ["plaintext"]}}},
        })  # fmt: skip
        self.notify("initialized", {})

    def close(self) -> None:
        """End the server."""
        self.request("shutdown", None)
        self.notify("exit", None)
        with self._process:  # which closes its pipes
            self._process.wait(WAIT)
            self._reader.join(WAIT)

    def open(self, name: str, text: str) -> str:
        """Open a document with its first line as `flowtoy init` writes it; give its URI."""
        uri = f"file:///flows/{name}"
        document = {"uri": uri, "languageId": "yaml", "version": 1,
                    "text": f"# yaml-language-server: $schema={self._schema.as_uri()}\n{text}"}
        self.notify("textDocument/didOpen", {"textDocument": document})
        return uri

    def problems(self, uri: str) -> list[dict[str, Any]]:
        """What the server reports of a document."""
        while True:
            found = self._problems.get(timeout=WAIT)
            if found["uri"] == uri:
                return list(found["diagnostics"])

    def completions(self, uri: str, line: int, column: int) -> set[str]:
        """What may be written at a place; line 0 is that of the schema."""
        found = self._at("completion", uri, line, column)
        return {item["label"] for item in found["items"]}

    def hover(self, uri: str, line: int, column: int) -> str:
        """What is shown of the word at a place."""
        found = self._at("hover", uri, line, column)
        contents = found["contents"] if found else ""
        return contents["value"] if isinstance(contents, dict) else str(contents)

    def _at(self, what: str, uri: str, line: int, column: int) -> Any:
        place = {"line": line, "character": column}
        return self.request(
            f"textDocument/{what}", {"textDocument": {"uri": uri}, "position": place}
        )

    def request(self, method: str, params: Any) -> Any:
        """Send a request and wait for its answer."""
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        while True:
            answer = self._answers.get(timeout=WAIT)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def notify(self, method: str, params: Any) -> None:
        """Send what has no answer."""
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        while line := stream.readline():
            length = 0
            while line.strip():
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
                line = stream.readline()
            self._take(json.loads(stream.read(length)))

    def _take(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method is None:
            self._answers.put(message)
        elif method == "textDocument/publishDiagnostics":
            self._problems.put(message["params"])
        elif "id" in message:  # it asks for settings and the like
            wanted = message.get("params") or {}
            result = [None for _ in wanted.get("items", [])] if isinstance(wanted, dict) else None
            self._send({"id": message["id"], "result": result})
