"""The S3 servers of the test bed: buckets of one's own, and a look at everything in them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config

from tests.bed.databases import needed


class Bucket:
    """A bucket that may not be there yet. `style`: how the store under test addresses it."""

    def __init__(self, endpoint: str, key: str, secret: str, style: str = "path") -> None:
        self.endpoint, self.key, self.secret, self.style = endpoint, key, secret, style
        self.name = f"t-{uuid.uuid4().hex[:20]}"
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )

    @contextmanager
    def made(self) -> Iterator[Bucket]:
        """Make it; afterwards it is empty, or it cannot be removed, which fails the test."""
        self.client.create_bucket(Bucket=self.name)
        try:
            yield self
        finally:
            self.client.delete_bucket(Bucket=self.name)
            self.client.close()

    def options(self) -> dict[str, Any]:
        """Options of a store here."""
        return {
            "s3_store_host": self.endpoint,
            "s3_store_access_key": self.key,
            "s3_store_secret_key": self.secret,
            "s3_store_bucket": self.name,
            "s3_store_bucket_url_format": self.style,
        }

    def contents(self) -> list[str]:
        """Objects and open uploads."""
        objects = self.client.list_objects_v2(Bucket=self.name).get("Contents", ())
        uploads = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", ())
        return sorted([each["Key"] for each in objects] + [f"{each['Key']} (open)" for each in uploads])


def swift() -> Bucket:
    """On Swift's S3 API, as a user of its own."""
    return Bucket(
        needed("FANLIGHT_TEST_S3_SWIFT"), needed("FANLIGHT_TEST_S3_SWIFT_KEY"), needed("FANLIGHT_TEST_S3_SWIFT_SECRET")
    )


def gateway(key: str | None = None, secret: str | None = None, style: str = "path") -> Bucket:
    """On Ceph's gateway; virtual-hosted addresses need a name, not a number."""
    endpoint = needed("FANLIGHT_TEST_RGW")
    if style == "virtual":
        endpoint = endpoint.replace("127.0.0.1", needed("FANLIGHT_TEST_RGW_HOST_NAME"))
    return Bucket(
        endpoint,
        key or needed("FANLIGHT_TEST_RGW_ACCESS_KEY"),
        secret or needed("FANLIGHT_TEST_RGW_SECRET_KEY"),
        style,
    )
