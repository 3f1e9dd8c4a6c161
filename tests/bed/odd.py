"""A web server that misbehaves as the path of a request tells it to: for stores that read from servers of others.

    odd.py FOLDER PORT

    /files/NAME        as it should be: one Range, HEAD, Content-Length
    /chunked/NAME      no Content-Length
    /cut/N/NAME        announces everything, closes after N bytes
    /stall/N/NAME      announces everything, says nothing more after N bytes
    /reset/N/NAME      announces everything, resets the connection after N bytes
    /long/NAME         sends five bytes more than it announced
    /mute              takes the request and never answers
    /garbage           answers with something that is no HTTP
    /shifted/NAME      206 with the bytes one place after those that were asked for
    /norange/NAME      206 without a Content-Range
    /fewer/NAME        206 with one byte less than was asked for
    /packed/NAME       says that the bytes, sent as they are, are compressed with gzip
    /blind/NAME        knows no HEAD (405)
    /status/CODE       that status, and nothing else; from 400 on with a page that repeats the path
    /redirect/N/NAME   N times 302 to itself, then the file
    /nolocation        302 that leads nowhere
    /to/CODE?URL       that status, with the rest as its Location

It logs every request on standard error, and needs nothing but Python.
"""

from __future__ import annotations

import re
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

BLOCK = 1 << 18
EXTRA = 5
FOREVER = 3600.0
NO_LINGER = struct.pack("ii", 1, 0)


class Odd(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    folder: ClassVar[Path]

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        kind, *words = path.strip("/").split("/")
        way = WAYS.get(kind)
        if way is None:
            self._head(404)
        else:
            way(self, words, query)

    do_HEAD = do_GET

    # -- ways to answer ------------------------------------------------------------------------------------------

    def files(self, words: list[str], query: str) -> None:
        self._serve(words[-1])

    def chunked(self, words: list[str], query: str) -> None:
        path = self._path(words[-1])
        if path is None:
            return self._head(404)
        self._head(200, {"Transfer-Encoding": "chunked"}, sized=False)
        if self.command != "HEAD":
            with path.open("rb") as file:
                while block := file.read(BLOCK):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
            self.wfile.write(b"0\r\n\r\n")
        return None

    def cut(self, words: list[str], query: str) -> None:
        self._serve(words[-1], most=int(words[0]))
        self.close_connection = True

    def stall(self, words: list[str], query: str) -> None:
        self._serve(words[-1], most=int(words[0]))
        self.wfile.flush()
        time.sleep(FOREVER)

    def reset(self, words: list[str], query: str) -> None:
        self._serve(words[-1], most=int(words[0]))
        self.wfile.flush()
        # What was sent has to arrive, or the reset would overtake it.
        time.sleep(0.2)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.connection.close()
        self.close_connection = True

    def long(self, words: list[str], query: str) -> None:
        self._serve(words[-1], announced=-EXTRA)
        self.close_connection = True

    def mute(self, words: list[str], query: str) -> None:
        time.sleep(FOREVER)

    def garbage(self, words: list[str], query: str) -> None:
        self.wfile.write(b"\x00\x01 what is this?\r\n\r\n")
        self.close_connection = True

    def shifted(self, words: list[str], query: str) -> None:
        self._serve(words[-1], shift=1)

    def norange(self, words: list[str], query: str) -> None:
        self._serve(words[-1], told=False)

    def fewer(self, words: list[str], query: str) -> None:
        self._serve(words[-1], less=1)

    def packed(self, words: list[str], query: str) -> None:
        self._serve(words[-1], more={"Content-Encoding": "gzip"})

    def blind(self, words: list[str], query: str) -> None:
        if self.command == "HEAD":
            self._head(405)
        else:
            self._serve(words[-1])

    def status(self, words: list[str], query: str) -> None:
        status = int(words[0])
        self._head(status, page=f"refused: {self.path}\n".encode() if status >= 400 else b"")

    def redirect(self, words: list[str], query: str) -> None:
        left = int(words[0])
        if left:
            self._head(302, {"Location": f"/redirect/{left - 1}/{words[-1]}"})
        else:
            self._serve(words[-1])

    def nolocation(self, words: list[str], query: str) -> None:
        self._head(302)

    def to(self, words: list[str], query: str) -> None:
        self._head(int(words[0]), {"Location": query})

    # -- parts of an answer --------------------------------------------------------------------------------------

    def _serve(
        self,
        name: str,
        *,
        most: int | None = None,
        announced: int = 0,
        shift: int = 0,
        less: int = 0,
        told: bool = True,
        more: dict[str, str] | None = None,
    ) -> None:
        """A file or the range of it that was asked for; the arguments say what is wrong about it."""
        path = self._path(name)
        if path is None:
            return self._head(404)
        size = path.stat().st_size
        start, stop, status, headers = 0, size, 200, dict(more or {})
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            start = int(wanted[1]) + shift
            stop = (min(size, int(wanted[2]) + 1 + shift) if wanted[2] else size) - less
            if start >= size:
                return self._head(416, {"Content-Range": f"bytes */{size}"})
            status = 206
            if told:
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        headers["Content-Length"] = str(stop - start + announced)
        self._head(status, headers, sized=False)
        if self.command != "HEAD":
            self._send(path, start, stop if most is None else min(stop, start + most))
        return None

    def _send(self, path: Path, start: int, stop: int) -> None:
        with path.open("rb") as file:
            file.seek(start)
            while start < stop:
                block = file.read(min(BLOCK, stop - start))
                start += len(block)
                self.wfile.write(block)

    def _head(
        self, status: int, headers: dict[str, str] | None = None, *, page: bytes = b"", sized: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if sized:
            self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if page and self.command != "HEAD":
            self.wfile.write(page)

    def _path(self, name: str) -> Path | None:
        path = self.folder / Path(name).name
        return path if path.is_file() else None

    def handle(self) -> None:
        # A client that has seen enough hangs up: that is no error here.
        with suppress(ConnectionError):
            super().handle()

    def finish(self) -> None:
        # After a reset there is nothing left to flush or close.
        with suppress(OSError, ValueError):
            super().finish()


WAYS: dict[str, Callable[[Odd, list[str], str], None]] = {
    "files": Odd.files,
    "chunked": Odd.chunked,
    "cut": Odd.cut,
    "stall": Odd.stall,
    "reset": Odd.reset,
    "long": Odd.long,
    "mute": Odd.mute,
    "garbage": Odd.garbage,
    "shifted": Odd.shifted,
    "norange": Odd.norange,
    "fewer": Odd.fewer,
    "packed": Odd.packed,
    "blind": Odd.blind,
    "status": Odd.status,
    "redirect": Odd.redirect,
    "nolocation": Odd.nolocation,
    "to": Odd.to,
}
"""THE table: first word of a path -> how it is answered."""


def main(folder: str, port: str) -> None:
    Odd.folder = Path(folder)
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", int(port)), Odd).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
