"""A wire that breaks: a TCP relay in front of a real server, which cuts connections after so many bytes."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


class Wire:
    """`url` is the server's, by way of a port of our own."""

    def __init__(self, url: str, server: socket.socket) -> None:
        parts = urlsplit(url)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self.url = parts._replace(netloc=f"127.0.0.1:{server.getsockname()[1]}").geturl()
        self.down: list[int] = []
        """Bytes of an answer after which connections are cut, the first answers with so many, one after the other."""
        self.up: list[int] = []
        """The same for requests."""
        self.cuts = 0
        self._lock = threading.Lock()

    @classmethod
    @contextmanager
    def made(cls, url: str) -> Iterator[Wire]:
        """Until the end of the context."""
        threads: list[threading.Thread] = []
        with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
            wire = cls(url, server)

            def take() -> None:
                while True:
                    try:
                        one = server.accept()[0]
                    except OSError:
                        return
                    threads.append(threading.Thread(target=wire._carry, args=(one,), daemon=True))
                    threads[-1].start()

            taking = threading.Thread(target=take, daemon=True)
            taking.start()
            yield wire
            server.shutdown(socket.SHUT_RDWR)
            taking.join()
            wire._over = True
            for thread in threads:
                thread.join()

    _over = False

    def _carry(self, client: socket.socket) -> None:
        carried = {"up": 0, "down": 0}
        with client, socket.create_connection(self._target) as server, selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, ("up", server))
            ready.register(server, selectors.EVENT_READ, ("down", client))
            while not self._over:
                for key, _ in ready.select(0.1):
                    way, other = key.data
                    try:
                        data = key.fileobj.recv(65_536)  # type: ignore[union-attr]
                        if not data:
                            return
                        other.sendall(data)
                    except OSError:
                        return
                    # An answer ends a request, and the other way round: connections serve several.
                    carried = {"up": 0, "down": 0, way: carried[way] + len(data)}
                    if self._cut_now(way, carried[way]):
                        return

    def _cut_now(self, way: str, carried: int) -> bool:
        limits = self.up if way == "up" else self.down
        with self._lock:
            if limits and carried >= limits[0]:
                limits.pop(0)
                self.cuts += 1
                return True
        return False
