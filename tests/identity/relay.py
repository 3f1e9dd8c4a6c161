"""A relay in front of the real Keystone, which can be stopped or made to hang; the real one serves other tests too."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Relay:
    """Listens on a port of its own and passes requests on. `validations`: how often a token was asked about."""

    def __init__(self, keystone: str) -> None:
        self.target = urlsplit(keystone)
        self.validations = 0
        self.answering = threading.Event()
        self.answering.set()
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def handle_request(self) -> None:
                relay.answering.wait(60)
                if self.command == "GET" and self.path.startswith("/v3/auth/tokens"):
                    relay.validations += 1
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                connection = http.client.HTTPConnection(relay.target.netloc, timeout=30)
                connection.request(self.command, self.path, body, dict(self.headers.items()))
                answer = connection.getresponse()
                # Keystone names itself in its documents and catalogue; whoever follows must come back here.
                content = answer.read().replace(relay.target.netloc.encode(), relay.address.encode())
                connection.close()
                try:
                    self.send_response(answer.status)
                    for name in ("content-type", "x-subject-token", "www-authenticate", "vary"):
                        if name in answer.headers:
                            self.send_header(name, answer.headers[name])
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    # Whoever asked has given up, which is what these tests are about.
                    self.close_connection = True

            do_GET = do_POST = do_HEAD = do_DELETE = handle_request

            def log_message(self, format: str, *args: object) -> None:
                """The server's own log is of no use here."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.address}{self.target.path}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        """From now on connections are refused."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(10)

    def hang(self) -> None:
        """From now on connections are accepted, and nothing is answered."""
        self.answering.clear()

    def close(self) -> None:
        self.answering.set()
        self.stop()
