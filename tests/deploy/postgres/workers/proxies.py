"""A proxy between a machine and the database: stands for a network that can be cut."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator


class Proxy:
    """Passes bytes between its port and a server's, as long as it is told to.

    Args:
        port: of the server, on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._passes = threading.Event()
        self._passes.set()
        self._refuses = False
        self._keeps_answers = False
        self._forgets = False
        self._pause = 0.0
        self._servers: set[socket.socket] = set()
        self._ends = False
        self._thread = threading.Thread(target=self._serve, name="proxy")
        self._thread.start()

    def silence(self) -> None:
        """Pass nothing on: whoever is connected, or connects, gets no answer and no error."""
        self._passes.clear()

    def keep_answers(self) -> None:
        """Pass on what clients send, and nothing that the server sends; of new ones, neither."""
        self._keeps_answers = True

    def forget(self) -> None:
        """Pass nothing on of those who are connected, without an error; new ones are served."""
        self._forgets = True

    def slow_down(self) -> None:
        """Wait after each part that is passed on."""
        self._pause = 0.02

    def refuse(self) -> None:
        """Break all connections, and each new one."""
        self._refuses = True

    def restore(self) -> None:
        """Pass bytes again; what was silent before goes on where it was."""
        self._refuses = self._keeps_answers = False
        self._passes.set()

    def close(self) -> None:
        """End it, and all connections."""
        self._ends = True
        self._thread.join()

    def _serve(self) -> None:
        peers: dict[socket.socket, socket.socket] = {}
        forgotten: dict[socket.socket, socket.socket] = {}
        with self._listener:
            while not self._ends:
                if self._forgets:
                    forgotten.update(peers)
                    peers.clear()
                    self._forgets = False
                if self._refuses:
                    self._break(peers, list(peers))
                # One that is silent reads nothing: what is sent to it waits in its buffers.
                watched = [self._listener, *peers] if self._passes.is_set() else []
                if self._keeps_answers:
                    watched = [each for each in watched if each not in self._servers]
                for ready in select.select(watched, [], [], 0.02)[0]:
                    if ready is self._listener:
                        self._accept(peers)
                    elif ready in peers:
                        self._pass_on(peers, ready)
            self._break(peers, list(peers))
            self._break(forgotten, list(forgotten))

    def _accept(self, peers: dict[socket.socket, socket.socket]) -> None:
        client, _ = self._listener.accept()
        if self._refuses:
            client.close()
            return
        server = socket.create_connection(self._server)
        peers[client], peers[server] = server, client
        self._servers.add(server)

    def _pass_on(self, peers: dict[socket.socket, socket.socket], ready: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if part := ready.recv(1 << 16):
                peers[ready].sendall(part)
                time.sleep(self._pause)
                return
        self._break(peers, [ready])

    def _break(
        self, peers: dict[socket.socket, socket.socket], ends: list[socket.socket]
    ) -> None:
        for end in ends:
            for each in (end, peers.pop(end, None)):
                if each is not None:
                    peers.pop(each, None)
                    self._servers.discard(each)
                    each.close()


@contextlib.contextmanager
def running_proxy(port: int) -> Iterator[Proxy]:
    """A proxy in front of a server's port, gone at the end of the block."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
