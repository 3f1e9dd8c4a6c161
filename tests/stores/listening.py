"""Small servers of a test's own: one that writes down who asks for what, one that is a proxy."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

BODY = b"a body"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listener

    def do_GET(self) -> None:
        self.server.requests.append((self.requestline, {name.lower(): value for name, value in self.headers.items()}))
        place = self.server.redirects.get(self.path)
        self.send_response(302 if place else 200)
        if place:
            self.send_header("Location", place)
        self.send_header("Content-Length", "0" if place else str(len(BODY)))
        self.end_headers()
        if not place and self.command != "HEAD":
            self.wfile.write(BODY)

    do_HEAD = do_OPTIONS = do_GET

    def do_CONNECT(self) -> None:
        """Lead to where the client says: a tunnel, as of a proxy."""
        self.server.requests.append((self.requestline, {name.lower(): value for name, value in self.headers.items()}))
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=20) as other:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(other, self.connection))
            back.start()
            _pump(self.connection, other)
            back.join()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: `requests` has it."""


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(1 << 16):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)


class Listener(ThreadingHTTPServer):
    """Answers everything with BODY, or redirects; in a `with` block it listens, on a port of its own."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__((host, port), _Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.redirects: dict[str, str] = {}
        self.host, self.port = host, int(self.server_address[1])
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust our certificate hangs up: that is no news."""
