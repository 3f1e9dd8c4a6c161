"""A web server for locations: `/N` and everything below it is N bytes, anything else is not there."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


class Web(BaseHTTPRequestHandler):
    """One request. What was asked is written down."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        size = re.match(r"/(\d+)", self.path)
        self.send_response(200 if size else 404)
        self.send_header("Content-Length", size[1] if size else "0")
        self.end_headers()
        if size and self.command == "GET":
            self.wfile.write(b"w" * int(size[1]))

    do_HEAD = do_GET

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[str]:
    """Its URL while it runs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
