"""Puts Swift into Keystone's catalogue and prints a key pair for its S3 API. Usage: swift_catalogue.py KEYSTONE SWIFT

The key pair is that of user `demo` in project `demo`: access key, space, secret key. Running it again changes nothing,
unless Swift's URL is another one.
"""

from __future__ import annotations

import sys
from typing import Any

from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from keystoneclient.v3 import client


def login(keystone: str, user: str, password: str, project: str) -> Session:
    """A session of that user."""
    domains = {"user_domain_id": "default", "project_domain_id": "default"}
    return Session(auth=v3.Password(keystone, username=user, password=password, project_name=project, **domains))


def register(admin: Any, url: str) -> None:
    """Make the service and its endpoints, or correct them."""
    services = admin.services.list(type="object-store", name="swift")
    service = services[0] if services else admin.services.create("swift", "object-store")
    have = {endpoint.interface: endpoint for endpoint in admin.endpoints.list(service=service)}
    wanted = url + "/v1/KEY_$(project_id)s"
    for interface in ("public", "internal", "admin"):
        if interface not in have:
            admin.endpoints.create(service, wanted, interface, region="RegionOne")
        elif have[interface].url != wanted:
            admin.endpoints.update(have[interface], url=wanted)


def key_pair(keystone: str) -> tuple[str, str]:
    """Access key and secret key of `demo`; made if there is none."""
    session = login(keystone, "demo", "demo", "demo")
    demo = client.Client(session=session)
    pairs = demo.ec2.list(session.get_user_id())
    pair = pairs[0] if pairs else demo.ec2.create(session.get_user_id(), session.get_project_id())
    return pair.access, pair.secret


def main(keystone: str, swift: str) -> None:
    register(client.Client(session=login(keystone, "admin", "secret", "admin")), swift)
    sys.stdout.write(" ".join(key_pair(keystone)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
