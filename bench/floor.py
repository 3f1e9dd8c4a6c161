"""The floors: what a bare Starlette route costs that does the same work below and nothing above.

`show`, `list` and `create` replay, with the ids of the request, exactly the statements that Fanlight's own catalogue
sends, through the catalogue's own engine and transactions, one hop away from the event loop; the answer is the rows
as JSON. No identity, policy, document, log. `upload` runs both hashes and the writer in a thread each
and answers when the file and its folder are durable. Started by uvicorn as a factory, once a worker.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import os
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import event
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench import data
from fanlight.catalog import Catalog, Viewer, images, open_catalog
from fanlight.model import Image, ImageQuery
from fanlight.settings import DatabaseSettings

THREADS = 4
"""Threads for the hop of metadata: the fastest of 1, 4 and 8."""
BLOCK = 4 * 1024 * 1024
AHEAD = 3
"""Blocks of an upload that may wait for the slowest lane."""
WRITE_BACK = 16 * 1024 * 1024
"""Bytes after which the writer makes the disk begin, so that the last sync finds little left."""


class Statement:
    """One statement as the catalogue gave it to SQLAlchemy, with its parameters: one set, or several."""

    def __init__(self, clause: Any, parameters: dict[str, Any] | list[dict[str, Any]]) -> None:
        self.clause, self.parameters = clause, parameters

    def replay(self, connection: Any) -> list[tuple[Any, ...]]:
        """Runs it again as it was; gives its rows."""
        return rows_of(connection.execute(self.clause, self.parameters))

    def about(self, old: str) -> Callable[[Any, str], list[tuple[Any, ...]]]:
        """How to run it for another id in place of `old`."""
        clause, sets = self.clause, self.parameters if isinstance(self.parameters, list) else [self.parameters]
        names = [name for name, value in sets[0].items() if value == old]

        def run(connection: Any, new: str) -> list[tuple[Any, ...]]:
            changed = [{**one, **dict.fromkeys(names, new)} for one in sets]
            return rows_of(connection.execute(clause, changed if len(changed) > 1 else changed[0]))

        return run


def rows_of(result: Any) -> list[tuple[Any, ...]]:
    """All rows of a result, as plain tuples: the least that JSON can be made of."""
    return [tuple(row) for row in result] if result.returns_rows else []


def recorded(connection: Any, work: Callable[[Any], Any]) -> list[Statement]:
    """What `work` sends over the connection."""
    heard: list[Statement] = []

    def hear(_: Any, clause: Any, many: Sequence[Any], one: Any, options: Any) -> None:
        heard.append(Statement(clause, list(many) or dict(one)))

    event.listen(connection, "before_execute", hear)
    try:
        work(connection)
    finally:
        event.remove(connection, "before_execute", hear)
    return heard


class Metadata:
    """The three metadata floors over one catalogue; every method runs in a worker thread."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        admin = Viewer("0" * 32, True)
        sample = data.image_ids(1)[0]
        query = ImageQuery(limit=26)
        now = datetime.datetime(2025, 6, 1)
        image = Image(
            id=str(uuid.uuid4()), status="queued", created_at=now, updated_at=now, owner="0" * 32, name="made",
            disk_format="raw", container_format="bare", tags=("made",), properties={"os_distro": "debian"},
        )  # fmt: skip
        with catalog.read() as connection:
            shown = recorded(connection, lambda c: images.fetch(c, sample, admin))
            self.of_list = recorded(connection, lambda c: images.list_page(c, query, admin))
        with catalog.write() as connection:
            created = recorded(connection, lambda c: images.insert(c, image))
        self.of_show = [part.about(sample) for part in shown]
        self.of_create = [part.about(image.id) for part in created]

    def show(self, image_id: str) -> bytes:
        with self.catalog.read() as connection:
            rows = [run(connection, image_id) for run in self.of_show]
        return msgspec.json.encode({"parts": rows})

    def list(self) -> bytes:
        with self.catalog.read() as connection:
            rows = [part.replay(connection) for part in self.of_list]
        return msgspec.json.encode({"images": rows[0][:25], "parts": rows[1:]})

    def create(self, body: bytes) -> bytes:
        msgspec.json.decode(body)
        image_id = str(uuid.uuid4())
        with self.catalog.write() as connection:
            for run in self.of_create:
                run(connection, image_id)
        return msgspec.json.encode({"id": image_id})


class Upload:
    """The lanes of one upload: each a thread of its own that takes the blocks in order."""

    def __init__(self, path: Path) -> None:
        self.path, self.partial = path, path.with_name(f".{path.name}.part")
        self.handle = os.open(self.partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        self.written = self.begun = 0
        self.hashes = [hashlib.md5(), hashlib.sha512()]
        works: list[Callable[[bytearray], Any]] = [*(part.update for part in self.hashes), self.write]
        self.lanes = [(ThreadPoolExecutor(1), work) for work in works]

    def take(self, block: bytearray) -> list[Future[Any]]:
        return [lane.submit(work, block) for lane, work in self.lanes]

    def write(self, block: bytearray) -> None:
        view = memoryview(block)
        while view:
            view = view[os.write(self.handle, view) :]
        self.written += len(block)
        if self.written - self.begun >= WRITE_BACK:
            os.fdatasync(self.handle)
            self.begun = self.written

    def finish(self) -> bytes:
        """Makes file and folder durable; gives the answer."""
        os.fsync(self.handle)
        os.close(self.handle)
        os.rename(self.partial, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        for lane, _ in self.lanes:
            lane.shutdown(wait=False)
        return self.hashes[1].hexdigest().encode()


async def receive(request: Request, upload: Upload) -> None:
    """Gathers the body into blocks and keeps the slowest lane at most a few behind."""
    block, waiting = bytearray(), deque[list[Future[Any]]]()
    async for chunk in request.stream():
        block += chunk
        if len(block) >= BLOCK:
            waiting.append(upload.take(block))
            block = bytearray()
            if len(waiting) > AHEAD:
                await asyncio.gather(*map(asyncio.wrap_future, waiting.popleft()))
    waiting.append(upload.take(block))
    for lanes in waiting:
        await asyncio.gather(*map(asyncio.wrap_future, lanes))


def make() -> Starlette:
    """The application of one worker, from FLOOR_DATABASE (a URL) and FLOOR_IMAGES (a folder)."""
    metadata = Metadata(open_catalog(DatabaseSettings(connection=os.environ["FLOOR_DATABASE"]), migrate=False))
    folder, pool = Path(os.environ["FLOOR_IMAGES"]), ThreadPoolExecutor(THREADS)

    async def hop(work: Callable[[], bytes], status: int = 200) -> Response:
        body = await asyncio.get_running_loop().run_in_executor(pool, work)
        return Response(body, status, media_type="application/json")

    async def show(request: Request) -> Response:
        return await hop(partial(metadata.show, request.path_params["id"]))

    async def listing(request: Request) -> Response:
        return await hop(metadata.list)

    async def create(request: Request) -> Response:
        return await hop(partial(metadata.create, await request.body()), 201)

    async def put(request: Request) -> Response:
        upload = Upload(folder / request.path_params["id"])
        await receive(request, upload)
        await asyncio.get_running_loop().run_in_executor(pool, upload.finish)
        return Response(status_code=204)

    async def delete(request: Request) -> Response:
        (folder / request.path_params["id"]).unlink()
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/v2/images", listing, methods=["GET"]),
            Route("/v2/images", create, methods=["POST"]),
            Route("/v2/images/{id}", show, methods=["GET"]),
            Route("/v2/images/{id}", delete, methods=["DELETE"]),
            Route("/v2/images/{id}/file", put, methods=["PUT"]),
        ]
    )
