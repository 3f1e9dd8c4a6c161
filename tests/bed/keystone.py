"""The Keystone of the test bed: logins, and a place in its catalogue for the server under test."""

from __future__ import annotations

from typing import Any

import httpx

PASSWORDS = {"admin": "secret"}
"""Those that differ from the user's name."""
PROJECTS = {"glance": "service", "cinder": "service", "viewer": "demo"}
"""Those that differ from the user's name."""


class Keystone:
    """Asks Keystone's API v3 at `url`, which ends in `/v3`."""

    def __init__(self, url: str, memcached: str) -> None:
        self.url = url
        self.memcached = memcached
        self._http = httpx.Client(timeout=30.0, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def token(self, user: str, project: str | None = None) -> str:
        """A token of one of the users of the test bed, in their own project or in another."""
        password = {"user": {"name": user, "domain": {"id": "default"}, "password": PASSWORDS.get(user, user)}}
        scope = {"project": {"name": project or PROJECTS.get(user, user), "domain": {"id": "default"}}}
        wanted = {"auth": {"identity": {"methods": ["password"], "password": password}, "scope": scope}}
        answer = self._http.post(f"{self.url}/auth/tokens", json=wanted)
        assert answer.status_code == 201, answer.text
        return answer.headers["X-Subject-Token"]

    def configuration(self) -> dict[str, object]:
        """`[keystone_authtoken]` as an operator writes it."""
        return {
            "auth_type": "password",
            "auth_url": self.url,
            "www_authenticate_uri": self.url,
            "username": "glance",
            "password": "glance",
            "project_name": "service",
            "user_domain_id": "default",
            "project_domain_id": "default",
            "memcached_servers": self.memcached,
        }

    def environment(self, user: str, region: str) -> dict[str, str]:
        """The variables that the field's client programs log in with."""
        return {
            "OS_AUTH_URL": self.url,
            "OS_USERNAME": user,
            "OS_PASSWORD": PASSWORDS.get(user, user),
            "OS_PROJECT_NAME": PROJECTS.get(user, user),
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_IDENTITY_API_VERSION": "3",
            "OS_REGION_NAME": region,
        }

    def publish(self, url: str, region: str) -> None:
        """Make `url` the image service of a region. A region of one's own keeps tests that run at once apart."""
        # 409: another process of the test run made it in the meantime.
        if "error" in self._ask("GET", f"/regions/{region}", good=(200, 404)):
            self._ask("PUT", f"/regions/{region}", {"region": {"id": region}}, good=(201, 409))
        self._place("image", "glance", url, region)
        # `openstack` looks for projects in the region, too.
        self._place("identity", "keystone", self.url, region)

    def _place(self, kind: str, name: str, url: str, region: str) -> None:
        services = self._ask("GET", f"/services?type={kind}")["services"]
        service = services[0] if services else self._make("service", type=kind, name=name)
        for old in self._ask("GET", f"/endpoints?service_id={service['id']}&region_id={region}")["endpoints"]:
            self._ask("DELETE", f"/endpoints/{old['id']}")
        for interface in ("public", "internal", "admin"):
            self._make("endpoint", service_id=service["id"], interface=interface, url=url, region_id=region)

    def _make(self, kind: str, **fields: Any) -> Any:
        return self._ask("POST", f"/{kind}s", {kind: fields})[kind]

    def _ask(self, method: str, path: str, document: Any = None, good: tuple[int, ...] = (200, 201, 204)) -> Any:
        headers = {"X-Auth-Token": self.token("admin")}
        answer = self._http.request(method, self.url + path, json=document, headers=headers)
        assert answer.status_code in good, answer.text
        return answer.json() if answer.content else None
