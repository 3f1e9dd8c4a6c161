"""Images as objects of an S3 bucket. Type `s3`; URLs `s3://<host>/<bucket>/<id>` (over TLS `s3+https://`).

An object that does not fit into one part goes up as a multipart upload: a few parts at a time, each in memory once, and
nothing is visible under its name before the last is there. Whatever fails on the way aborts the upload.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from fanlight.errors import (
    BadStoreConfiguration,
    MalformedLocation,
    ObjectExists,
    ObjectNotFound,
    RangeNotSatisfiable,
    StoreError,
    StoreForbidden,
    StoreTimeout,
    StoreUnreachable,
)
from fanlight.stores.driver import Added, Context, Opened, Source, Store, leave_to_discard
from fanlight.stores.s3_address import SCHEMES, Address, is_host, is_name
from fanlight.stores.s3_errors import explained, is_taken, is_unknown
from fanlight.stores.s3_upload import MIB, Part, Sent, Upload, md5, next_part, part_size, told_md5
from fanlight.stores.transfer import trust

LOG = logging.getLogger(__name__)
BLOCK = 4 * MIB
"""Bytes read at a time."""
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
"""How long one answer, or the next bytes of one, may take."""
ATTEMPTS = 3
PAUSES = (0.5, 1.0, 2.0, 0.0)
"""Seconds after each look at an object that a first try may still be writing."""
MARK = "fanlight-upload"
"""Metadata by which an upload knows the object as its own: another's may be as long, and encryption hides the MD5."""
CONNECTIONS = 64
"""Connections that are kept."""
_AWS = re.compile(r"(?:https?://)?s3[.-]([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/*", re.IGNORECASE)
T = TypeVar("T")


class S3(Store):
    """One bucket. Endpoint and credentials are always the configuration's, bucket and key the URL's."""

    schemes = SCHEMES

    def configure(self) -> None:
        """Read the options and make the client; the server is not asked. Raises BadStoreConfiguration."""
        options = self.options
        host = _required(options, "s3_store_host")
        # Without a scheme the safe one is meant, not an error at each call.
        endpoint = host if re.match(r"https?://", host, re.IGNORECASE) else f"https://{host}"
        scheme, _, self._host = endpoint.rstrip("/").partition("://")
        self._scheme = "s3+https" if scheme.lower() == "https" else "s3"
        # TLS protects the body already; without it the signature is what shows a changed byte.
        self._signs = self._scheme == "s3"
        self._bucket = _required(options, "s3_store_bucket")
        aws = _AWS.fullmatch(host)
        self._region = options.get("s3_store_region_name") or (aws[1] if aws else "")
        if not is_host(self._host) or not is_name(self._bucket) or "/" in self._bucket:
            raise BadStoreConfiguration("s3_store_host and s3_store_bucket must be a host and a name.")
        self._client = self._made(endpoint)
        self._knows_conditions = True

    def configure_add(self) -> None:
        """Check what uploads need, and the bucket. A server that cannot be reached just now may come back."""
        options = self.options
        self._part = int(options.get("s3_store_large_object_chunk_size") or 10) * MIB
        threshold = options.get("s3_store_large_object_size")
        self._threshold = (100 if threshold is None else int(threshold)) * MIB
        self._threads = int(options.get("s3_store_thread_pools") or 10)
        self._create_bucket = bool(options.get("s3_store_create_bucket_on_put"))
        if self._part < 5 * MIB or self._threads < 1:
            raise BadStoreConfiguration("A part has 5 MiB at least, and there must be one thread at least.")
        try:
            self._head_bucket()
        except (StoreUnreachable, StoreTimeout) as error:
            LOG.warning("store %s: %s", self.id, error)
        except ObjectNotFound:
            if not self._create_bucket:
                raise BadStoreConfiguration(f"There is no bucket {self._bucket}.") from None
        except StoreError as error:
            raise BadStoreConfiguration(f"The bucket {self._bucket} cannot be used: {error}") from None

    # -- reading

    def open(self, url: str, offset: int = 0, length: int | None = None, context: Context | None = None) -> Opened:
        """One GET, of a range where one is asked for."""
        address = self._address(url)
        place: dict[str, Any] = {"Bucket": address.bucket, "Key": address.key}
        if length == 0:
            return _nothing_of(self._size_of(address), offset, 0)
        ranged: dict[str, Any] = {}
        if offset or length is not None:
            ranged["Range"] = f"bytes={offset}-{'' if length is None else offset + length - 1}"
        try:
            answer = self._ask(self._client.get_object, **place, **ranged)
        except RangeNotSatisfiable:
            return _nothing_of(self._size_of(address), offset, length)
        body = answer["Body"]
        try:
            count = _length_of(answer)
            if ranged:
                _require_range(answer, offset, count, length)
        except BaseException:
            body.close()
            raise
        return Opened(count, _blocks(body, count), body.close)

    def get_size(self, url: str, context: Context | None = None) -> int:
        """Size of the object."""
        return self._size_of(self._address(url))

    def check(self) -> str:
        """Whether the bucket can be reached."""
        self._head_bucket()
        return f"bucket {self._bucket} at {self._host}"

    def owns(self, url: str) -> bool:
        """Whether it is in our bucket at our host, whatever credentials it carries."""
        try:
            address = self._address(url)
        except MalformedLocation:
            return False
        return address.bucket == self._bucket and address.host.lower() == self._host.lower()

    def shown(self, url: str) -> str:
        """Without the credentials that URLs of old releases carry."""
        scheme, separator, rest = url.partition("://")
        return scheme + separator + rest.rpartition("@")[2]

    # -- writing

    def add(self, object_id: str, source: Source, size: int | None, context: Context | None = None) -> Added:
        """PUT what fits into one part, else a multipart upload. The server itself is told not to replace anything."""
        self._require_free(object_id)
        base = part_size(self._part, size, 1)
        # With room for one byte more a small object shows its end.
        first = next_part(source, base if size is None else min(base, size + 1))
        if not first.data or (first.is_last and len(first.data) < self._threshold):
            return Added(self._url(object_id), len(first.data), md5=self._put(object_id, first))
        return Added(self._url(object_id), self._put_parts(object_id, source, size, first))

    def delete(self, url: str, context: Context | None = None) -> None:
        """Remove the object. S3 does not say whether there was one, so it is looked at first."""
        address = self._address(url)
        self._size_of(address)
        self._ask(self._client.delete_object, Bucket=address.bucket, Key=address.key)

    def discard(self, object_id: str) -> None:
        """Abort uploads of this key that are still open, and remove the object."""
        try:
            self._abort_all(object_id)
            self._ask(self._client.delete_object, Bucket=self._bucket, Key=object_id)
        except ObjectNotFound:
            LOG.debug("store %s: there is nothing of %s", self.id, object_id)

    def planned_url(self, object_id: str) -> str | None:
        """Always known."""
        return self._url(object_id)

    def _address(self, url: str) -> Address:
        return Address.parse(url).within(self._host, self._bucket)

    def _url(self, object_id: str) -> str:
        return Address(self._scheme, self._host, self._bucket, object_id).url

    def _require_free(self, key: str) -> None:
        try:
            self._ask(self._client.head_object, writing=True, Bucket=self._bucket, Key=key)
        except ObjectNotFound:
            return
        raise ObjectExists

    def _put(self, key: str, part: Part) -> str | None:
        """The MD5 of what is stored then, as far as the server tells."""
        mark = uuid.uuid4().hex

        def put() -> str | None:
            with explained(writing=True):
                try:
                    return told_md5(
                        self._unless_there(
                            self._client.put_object, part.data, Bucket=self._bucket, Key=key, Metadata={MARK: mark}
                        )
                    )
                except self._client.exceptions.ClientError as error:
                    # A second try after a lost answer finds what the first has stored.
                    if not is_taken(error.response) or (stored := self._stored(key, mark, PAUSES)) is None:
                        raise
                    return told_md5(stored)

        return self._in_bucket(put)

    def _put_parts(self, key: str, source: Source, size: int | None, first: Part) -> int:
        mark = uuid.uuid4().hex
        place = {"Bucket": self._bucket, "Key": key, "Metadata": {MARK: mark}}
        begun = self._in_bucket(lambda: self._ask(self._client.create_multipart_upload, writing=True, **place))
        upload = Upload(
            lambda number, data: self._send(key, begun["UploadId"], number, data), self._part, size, self._threads
        )
        try:
            if begun["ResponseMetadata"].get("RetryAttempts"):
                # What was asked first may have begun one as well, and its answer was lost.
                self._abort_all(key, but=begun["UploadId"])
            tags = upload.run(source, first)
            self._require_free(key)
            self._complete(key, begun["UploadId"], tags, mark)
        except BaseException as error:
            self._abort_after(error, key, begun["UploadId"])
            raise
        return upload.written

    def _send(self, key: str, upload: str, number: int, data: bytes | bytearray) -> str:
        answer = self._ask(
            self._client.upload_part,
            writing=True,
            Bucket=self._bucket,
            Key=key,
            UploadId=upload,
            PartNumber=number,
            Body=Sent(data),
        )
        # Where the body is signed, the server itself has compared.
        if not self._signs and told_md5(answer) not in (None, md5(data)):
            raise StoreError("The S3 server has stored other bytes than were sent.")
        return str(answer["ETag"])

    def _complete(self, key: str, upload: str, tags: list[str], mark: str) -> None:
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
        try:
            self._ask(
                partial(self._unless_there, self._client.complete_multipart_upload),
                writing=True,
                Bucket=self._bucket,
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
            )
        except StoreError:
            # The answer may have been lost, and a second try then finds no upload any more.
            try:
                completed = self._stored(key, mark) is not None
            except StoreError:
                completed = False
            if not completed:
                raise

    def _unless_there(
        self, method: Callable[..., Any], data: bytes | bytearray | None = None, /, **arguments: Any
    ) -> Any:
        """Write, and let the server itself see to it that nothing is replaced.

        Some servers refuse what they do not know; there it is looked before, as everywhere, and no more.
        """

        def write(**condition: str) -> Any:
            # Each time from the first byte on: what was refused may have been sent.
            body = {} if data is None else {"Body": Sent(data) if data else b""}
            return method(**arguments, **body, **condition)

        if self._knows_conditions:
            try:
                return write(IfNoneMatch="*")
            except self._client.exceptions.ClientError as error:
                if not is_unknown(error.response):
                    raise
            LOG.warning("store %s: the server knows no If-None-Match, so two uploads of one id may meet", self.id)
            self._knows_conditions = False
        return write()

    def _stored(self, key: str, mark: str, pauses: Sequence[float] = (0.0,)) -> Mapping[str, Any] | None:
        """What HEAD says of the object, if it is the one with this mark. Raises StoreTimeout, StoreError."""
        for pause in pauses:
            try:
                found: Mapping[str, Any] = self._ask(self._client.head_object, Bucket=self._bucket, Key=key)
            except ObjectNotFound:
                time.sleep(pause)
            else:
                marks = {name.lower(): value for name, value in found.get("Metadata", {}).items()}
                return found if marks.get(MARK) == mark else None
        raise StoreTimeout("The S3 server says that the name is taken, but has no object of that name.")

    def _open_uploads(self, key: str) -> Iterator[str]:
        marker: dict[str, Any] = {}
        while True:
            page = self._ask(self._client.list_multipart_uploads, Bucket=self._bucket, Prefix=key, **marker)
            yield from (each["UploadId"] for each in page.get("Uploads", ()) if each["Key"] == key)
            if not page.get("IsTruncated"):
                return
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def _abort(self, key: str, upload: str) -> None:
        self._ask(self._client.abort_multipart_upload, Bucket=self._bucket, Key=key, UploadId=upload)

    def _abort_all(self, key: str, but: str | None = None) -> None:
        try:
            for upload in self._open_uploads(key):
                if upload != but:
                    # One that has ended meanwhile may have left the object.
                    with suppress(ObjectNotFound):
                        self._abort(key, upload)
        except StoreForbidden as error:
            # No reason to keep the object, or to refuse the image for ever.
            LOG.warning("store %s: uploads of %s that are still open stay: %s", self.id, key, error)

    def _abort_after(self, reason: BaseException, key: str, upload: str) -> None:
        """What cannot be aborted now is left to `discard`. Raises Leftovers."""
        try:
            self._abort(key, upload)
        except StoreError as error:
            LOG.warning("store %s: an upload of %s could not be aborted: %s", self.id, key, error)
            leave_to_discard(reason)

    # -- the server

    def _in_bucket(self, ask: Callable[[], T]) -> T:
        """Ask, and where the bucket is missing make it, if that is wanted, and ask again."""
        try:
            return ask()
        except ObjectNotFound:
            if not self._create_bucket:
                raise StoreError(f"There is no bucket {self._bucket}.") from None
        known = self._region and self._region != "us-east-1"
        place = {"CreateBucketConfiguration": {"LocationConstraint": self._region}} if known else {}
        # Another upload may have made it meanwhile, or our own first try, whose answer was lost.
        with explained(writing=True), suppress(self._client.exceptions.BucketAlreadyOwnedByYou):
            self._client.create_bucket(Bucket=self._bucket, **place)
        return ask()

    def _size_of(self, address: Address) -> int:
        return _length_of(self._ask(self._client.head_object, Bucket=address.bucket, Key=address.key))

    def _head_bucket(self) -> None:
        self._ask(self._client.head_bucket, Bucket=self._bucket)

    def _ask(self, method: Callable[..., Any], *, writing: bool = False, **arguments: Any) -> Any:
        with explained(writing=writing):
            return method(**arguments)

    def _made(self, endpoint: str) -> Any:
        """A client, which all threads share."""
        options = self.options
        try:
            from botocore.config import Config
            from botocore.session import Session
        except ImportError as error:
            raise BadStoreConfiguration("S3 needs boto3: pip install fanlight[s3]") from error
        style = (options.get("s3_store_bucket_url_format") or "auto").lower()
        if style not in ("auto", "virtual", "path"):
            raise BadStoreConfiguration("s3_store_bucket_url_format must be auto, virtual or path.")
        sums = bool(options.get("s3_store_enable_data_integrity_protection"))

        def checksum(name: str) -> str:
            return (options.get(f"s3_store_{name}") if sums else None) or "when_required"

        _hush()
        with explained():
            return Session().create_client(
                "s3",
                region_name=self._region or "us-east-1",
                endpoint_url=endpoint,
                aws_access_key_id=_required(options, "s3_store_access_key"),
                aws_secret_access_key=_required(options, "s3_store_secret_key"),
                verify=_authorities(options),
                config=Config(
                    signature_version="s3v4",
                    s3={"addressing_style": style, "payload_signing_enabled": self._signs},
                    request_checksum_calculation=checksum("request_checksum_calculation"),
                    response_checksum_validation=checksum("response_checksum_validation"),
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                    max_pool_connections=CONNECTIONS,
                    tcp_keepalive=True,
                ),
            )


def _authorities(options: Mapping[str, Any]) -> str | None:
    """The CA file, which botocore would look at with the first request only. Raises BadStoreConfiguration."""
    path = options.get("s3_store_cacert") or None
    if path:
        trust(path, False)
    return path


def _required(options: Mapping[str, Any], name: str) -> str:
    value = options.get(name)
    if not value or not isinstance(value, str) or not value.isprintable():
        raise BadStoreConfiguration(f"{name} is not set, or cannot be.")
    return value


def _length_of(answer: Mapping[str, Any]) -> int:
    """Bytes of an object, from the answer to HEAD or GET. Raises StoreError."""
    if "ContentLength" not in answer:
        raise StoreError("The server does not say how large the object is.")
    return int(answer["ContentLength"])


def _require_range(answer: Mapping[str, Any], offset: int, count: int, length: int | None) -> None:
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.get("ContentRange") or "")
    if not found or int(found[1]) != offset:
        raise StoreError("The server does not send the range that was asked for.")
    if length is not None and count < length:
        raise RangeNotSatisfiable(size=int(found[3]))


def _hush() -> None:
    """At DEBUG botocore writes headers with signatures, and the bodies of requests: the images."""
    for name in ("botocore", "boto3", "urllib3"):
        logger = logging.getLogger(name)
        if logger.level < logging.INFO:
            logger.setLevel(logging.INFO)


def _nothing_of(size: int, offset: int, length: int | None) -> Opened:
    """An empty part of an object: S3 has no such range."""
    if offset > size or (length or 0) > size - offset or (length is None and offset != size):
        raise RangeNotSatisfiable(size=size)
    return Opened(0, iter(()), lambda: None)


def _blocks(body: Any, count: int) -> Iterator[bytes]:
    while count:
        with explained():
            block: bytes = body.read(min(BLOCK, count))
            # botocore compares a checksum with what it has read when it meets the end.
            is_longer = len(block) == count and body.read(1)
        if not block or is_longer:
            raise StoreError("The stored data has another size than the server has told.")
        count -= len(block)
        yield block
