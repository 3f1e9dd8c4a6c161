"""A relay of bytes in front of a real server, for one test alone: cut, it is a server that has died; with a
certificate, a front that ends TLS; with `change`, a way on which bytes are spoiled. Forgetful, it loses one answer.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

Change = Callable[[bytes], bytes]


def certificate_in(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that is its own CA; the key beside it."""
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=here"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key.pem")]
    subprocess.run([*words, "-out", str(folder / "cert.pem")], check=True, capture_output=True, timeout=60)
    return folder / "cert.pem"


def serving(certificate: Path) -> ssl.SSLContext:
    """How a server shows a certificate of `certificate_in`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


class Relay:
    """Listens on a port of its own and leads every connection to `url`, in a `with` block.

    `certificate`: it speaks TLS. `change`: is given what the client has sent, block by block, and gives what arrives.
    """

    def __init__(self, url: str, certificate: Path | None = None, change: Change = bytes) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 80)
        self._tls = serving(certificate) if certificate else None
        self._change = change
        self._server: socket.socket | None = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._port = int(self._server.getsockname()[1])
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self._port}"

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        server, self._server = self._server, None
        if server is not None:
            _end(server)
        while self._threads:
            # The first accepts, and adds others as long as it runs.
            for one in self._open:
                _end(one)
            self._threads.pop(0).join()
        self._open.clear()

    def mend(self) -> None:
        """Be there again, on the same port."""
        self._server = socket.create_server(("127.0.0.1", self._port), backlog=64)
        self._listen(self._server)

    def _listen(self, server: socket.socket) -> None:
        self._start(self._accept, server)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self, server: socket.socket) -> None:
        with closing(server), suppress(OSError):
            while True:
                self._open.append(server.accept()[0])
                self._start(self._lead, self._open[-1])

    def _lead(self, near: socket.socket) -> None:
        """One thread for both ways: two may not use one TLS connection at a time."""
        with (
            suppress(OSError),
            closing(self._tls.wrap_socket(near, server_side=True) if self._tls else near) as client,
            closing(socket.create_connection(self._target, timeout=20)) as far,
        ):
            far.settimeout(None)
            self._open += [client, far]
            _pump(client, far, *self._ways())

    def _ways(self) -> tuple[Change, Change]:
        """What becomes of a block on the way there and on the way back, of one connection."""
        return self._change, bytes

    def __enter__(self) -> Relay:
        assert self._server is not None
        self._listen(self._server)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()


def _end(one: socket.socket) -> None:
    """Wake up whoever waits for it."""
    with suppress(OSError):
        socket.socket.shutdown(one, socket.SHUT_RDWR)


def _pump(near: socket.socket, far: socket.socket, there: Change, back: Change) -> None:
    """Lead bytes both ways until both ends have said that nothing more comes."""
    with selectors.DefaultSelector() as ready:
        for one in (near, far):
            ready.register(one, selectors.EVENT_READ)
        while ready.get_map():
            for key, _ in ready.select():
                source = near if key.fileobj is near else far
                sink = far if source is near else near
                block = source.recv(1 << 16)
                while isinstance(source, ssl.SSLSocket) and source.pending():
                    block += source.recv(1 << 16)
                if block:
                    sink.sendall((there if source is near else back)(block))
                else:
                    ready.unregister(source)
                    socket.socket.shutdown(sink, socket.SHUT_WR)


class Forgetful(Relay):
    """Cuts the connection instead of the first answer to `method`; at the end there must have been one."""

    def __init__(self, url: str, method: bytes) -> None:
        super().__init__(url)
        self._method = method
        self._forgotten = threading.Event()

    def _ways(self) -> tuple[Change, Change]:
        asked = b""

        def there(block: bytes) -> bytes:
            nonlocal asked
            if block.split(b" ", 1)[0] in (b"PUT", b"POST", b"GET", b"HEAD", b"DELETE"):
                asked = block
            return block

        def back(block: bytes) -> bytes:
            is_answer = block.startswith(b"HTTP/1.1 ") and not block.startswith(b"HTTP/1.1 100")
            if is_answer and asked.startswith(self._method) and not self._forgotten.is_set():
                self._forgotten.set()
                raise ConnectionResetError
            return block

        return there, back

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        assert error is not None or self._forgotten.is_set(), "nothing was asked that could be forgotten"
