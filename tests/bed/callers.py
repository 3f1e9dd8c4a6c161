"""Clients of a server under test: httpx, with the few steps that almost every test begins with."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: for plain HTTP. To read the authorities that a default context trusts takes longer than a request."""


def identity_headers(flavor: str, user: str, project: str, roles: Sequence[str]) -> dict[str, str]:
    """What a client sends to be this caller, for a flavor that believes it."""
    mode = flavor.partition("+")[0]
    if mode == "fakeauth":
        return {"X-Auth-Token": f"{user}:{project}:{','.join(roles)}"}
    if mode == "trusted":
        return {
            "X-Identity-Status": "Confirmed",
            "X-User-Id": user,
            "X-Project-Id": project,
            "X-Roles": ",".join(roles),
        }
    raise ValueError(f"the flavor {flavor!r} does not believe its callers")


def request(method: str, url: str, **how: Any) -> httpx.Response:
    """One request on a connection of its own; `how` as for httpx."""
    return httpx.request(method, url, trust_env=False, verify=NO_TLS, **how)


def get(url: str, **how: Any) -> httpx.Response:
    return request("GET", url, **how)


def post(url: str, **how: Any) -> httpx.Response:
    return request("POST", url, **how)


class Client(httpx.Client):
    """Sends what it is told; proxies and settings of the environment have no say."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        super().__init__(base_url=url, headers=headers, timeout=30.0, trust_env=False, verify=NO_TLS)

    def create(self, **fields: Any) -> dict[str, Any]:
        """Make an image, raw and bare unless `fields` say otherwise, and return its document."""
        answer = self.post("/v2/images", json={"disk_format": "raw", "container_format": "bare", **fields})
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def upload(self, image_id: str, data: Any) -> httpx.Response:
        """Send an image's data; an iterator goes in chunks, without a length."""
        headers = {"Content-Type": "application/octet-stream"}
        return self.put(f"/v2/images/{image_id}/file", content=data, headers=headers)

    def create_active(self, data: bytes = b"some bytes", **fields: Any) -> dict[str, Any]:
        """Make an image, give it data, and return its document."""
        image = self.create(**fields)
        answer = self.upload(image["id"], data)
        assert answer.status_code == 204, answer.text
        return self.show(image["id"])

    def show(self, image_id: str) -> dict[str, Any]:
        answer = self.get(f"/v2/images/{image_id}")
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def change(self, image_id: str, *operations: Mapping[str, Any]) -> httpx.Response:
        """Send a JSON patch of version 2.1."""
        content_type = "application/openstack-images-v2.1-json-patch"
        return self.patch(f"/v2/images/{image_id}", json=[*operations], headers={"Content-Type": content_type})
