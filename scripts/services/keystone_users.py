"""Gives a fresh Keystone the users that tests log in as. Usage: keystone_users.py URL

Each password is the user's name, but that of `admin` is `secret`. Running it again changes nothing.
"""

from __future__ import annotations

import sys
from typing import Any

from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from keystoneclient.v3 import client

GRANTS = [
    ("glance", "service", ("admin", "service")),
    ("cinder", "service", ("admin", "service")),
    ("swift", "service", ("admin", "service")),
    ("demo", "demo", ("member",)),
    ("viewer", "demo", ("reader",)),
    ("other", "other", ("member",)),
]
"""User, project, roles of the user in the project."""


def named(collection: Any, name: str, **fields: Any) -> Any:
    """The user or project of that name; made if there is none."""
    found = collection.list(domain="default", name=name)
    return found[0] if found else collection.create(name, domain="default", **fields)


def main(url: str) -> None:
    login = v3.Password(
        url,
        username="admin",
        password="secret",
        project_name="admin",
        user_domain_id="default",
        project_domain_id="default",
    )
    keystone = client.Client(session=Session(auth=login))
    roles = {role.name: role for role in keystone.roles.list()}
    for user, project, granted in GRANTS:
        account = named(keystone.users, user, password=user)
        place = named(keystone.projects, project)
        for role in granted:
            keystone.roles.grant(roles[role], user=account, project=place)


if __name__ == "__main__":
    main(sys.argv[1])
