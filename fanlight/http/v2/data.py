"""/v2/images/{image_id}/file: the bytes. Coroutines, since bodies stream; what they do is operations/data.py."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fanlight.errors import Invalid, InvalidHeader, UnsupportedMedia
from fanlight.http import body
from fanlight.http.call import Answer, Call, Headers, empty_answer
from fanlight.http.ranges import Wanted, wanted
from fanlight.operations import data

if TYPE_CHECKING:
    from fanlight.http.pipeline import Exchange

OCTETS = "application/octet-stream"


async def upload(call: Call, exchange: Exchange) -> Answer:
    """PUT /v2/images/{image_id}/file"""
    head = call.head
    media_type = (head.get("content-type") or "").partition(";")[0].strip().lower()
    if media_type != OCTETS:
        raise UnsupportedMedia(f"The data of an image is sent as {OCTETS}.")
    store_id = _store(call)
    source = body.upload(exchange.scope, call.edge.budget, _announced(head.get("x-openstack-image-size")))
    try:
        await call.edge.pools.transfer(
            data.upload, call.service, call.caller, call.params["image_id"], source, source.size, store_id
        )
    finally:
        source.close()
    return empty_answer(204)


async def download(call: Call, exchange: Exchange) -> Answer | None:
    """GET /v2/images/{image_id}/file"""
    pools = call.edge.pools
    ranged, other = call.head.get("range"), call.head.get("content-range")

    def choose(size: int | None) -> Wanted:
        """Looked at when the image has been found: whoever may not see it learns nothing else."""
        of_range = wanted(ranged, other)
        return (0, None) if of_range is None else of_range(size)

    found = await pools.metadata(
        data.find_download, call.service, call.caller, call.params["image_id"], choose, partial(_preferred, call)
    )
    sending = pools.sending(found.store if found else "")
    opened = await sending.begin(data.open_download, call.service, call.caller, found) if found else None
    if opened is None:
        return Answer(204, [])
    status = 200 if ranged is None and other is None else 206
    headers = _headers(opened, status)
    await body.download(
        exchange.scope, sending, status, exchange.started(status, headers), opened.reader, opened.length
    )
    return None


def _headers(opened: data.Download, status: int) -> Headers:
    headers: Headers = [(b"content-type", OCTETS.encode()), (b"content-length", b"%d" % opened.length)]
    if opened.image.checksum:
        headers.append((b"content-md5", opened.image.checksum.encode()))
    if status == 206:
        last = opened.offset + opened.length - 1
        headers.append((b"content-range", b"bytes %d-%d/%d" % (opened.offset, last, opened.image.size or 0)))
    return headers


def _announced(header: str | None) -> int | None:
    """The size that a client announces beside (or instead of) Content-Length. Raises InvalidHeader."""
    if header is None:
        return None
    if not header.isascii() or not header.isdigit() or len(header) > 19:
        raise InvalidHeader("x-openstack-image-size must be a whole number of bytes.")
    return int(header)


def _store(call: Call) -> str | None:
    """The store that the client names; the header has no meaning where stores have no names. Raises Invalid."""
    name = call.head.get("x-image-meta-store")
    if not name or not call.service.settings.stores.multi_store:
        return None
    if name not in call.service.stores.ids():
        raise Invalid(f"There is no store {name}.")
    return name


def _preferred(call: Call) -> tuple[str, ...]:
    """`prefer=store1,store2` of the query. Raises Invalid for stores that are not there."""
    values = [value for name, value in call.query() if name == "prefer"]
    names = tuple(name.strip() for name in ",".join(values).split(",") if name.strip())
    if not names:
        return ()
    if not call.service.settings.stores.multi_store:
        raise Invalid("Stores can be preferred only where several are configured.")
    for name in names:
        if name not in call.service.stores.ids():
            raise Invalid(f"There is no store {name}.")
    return names
