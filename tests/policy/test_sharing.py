"""Who shares an image, and who answers: what policy decides, and what it cannot where the older defaults hold."""

from __future__ import annotations

import pytest

from tests.bed.callers import Client
from tests.bed.servers import Server
from tests.conftest import StartServer

# A server for nearly each test.
pytestmark = pytest.mark.slow

OLDER = {"oslo_policy": {"enforce_new_defaults": "false"}}
EVERYBODY = {"add_member": "@", "delete_member": "@", "modify_member": "@", "get_member": "@"}


def offered(one: Server) -> tuple[Client, Client, str]:
    """An owner, a member, and the place of the members of an image between them."""
    owner, member = one.as_member("p1"), one.as_member("p2")
    image = owner.create()
    url = f"/v2/images/{image['id']}/members"
    assert owner.post(url, json={"member": "p2"}).status_code == 200
    return owner, member, url


@pytest.mark.parametrize("policy", [None, EVERYBODY])
def test_with_the_older_defaults_no_owner_answers_for_members(
    server: StartServer, policy: dict[str, str] | None
) -> None:
    one = server(config=OLDER, policy=policy)
    owner, member, url = offered(one)
    assert owner.put(f"{url}/p2", json={"status": "accepted"}).status_code == 403
    assert owner.get(f"{url}/p2").json()["status"] == "pending"
    assert one.as_admin("p1").put(f"{url}/p2", json={"status": "rejected"}).status_code == 200
    assert member.put(f"{url}/p2", json={"status": "accepted"}).json()["status"] == "accepted"


@pytest.mark.parametrize("policy", [None, EVERYBODY])
def test_with_the_older_defaults_only_owners_share(server: StartServer, policy: dict[str, str] | None) -> None:
    one = server(config=OLDER, policy=policy)
    owner, member, url = offered(one)
    assert member.post(url, json={"member": "p3"}).status_code == 403
    assert member.delete(f"{url}/p2").status_code == 403
    assert one.as_admin("p9").post(url, json={"member": "p3"}).status_code == 200
    assert one.as_admin("p9").delete(f"{url}/p3").status_code == 204
    assert owner.delete(f"{url}/p2").status_code == 204


def test_policy_lets_others_share(server: StartServer) -> None:
    one = server(policy=EVERYBODY)
    owner, member, url = offered(one)
    assert member.post(url, json={"member": "p3"}).json()["status"] == "pending"
    # Whom else an image is shared with, is still not a member's to know, and so nor to end.
    assert member.delete(f"{url}/p3").status_code == 404
    assert member.put(f"{url}/p3", json={"status": "accepted"}).status_code == 404
    assert one.as_member("p4").post(url, json={"member": "p4"}).status_code == 404
    assert member.delete(f"{url}/p2").status_code == 204
    assert [each["member_id"] for each in owner.get(url).json()["members"]] == ["p3"]


def test_policy_lets_owners_answer(server: StartServer) -> None:
    owner, _, url = offered(server(policy=EVERYBODY))
    assert owner.put(f"{url}/p2", json={"status": "accepted"}).json()["status"] == "accepted"


def test_the_defaults_leave_sharing_to_owners(server: StartServer) -> None:
    one = server()
    owner, member, url = offered(one)
    assert member.post(url, json={"member": "p3"}).status_code == 403
    assert member.delete(f"{url}/p2").status_code == 403
    assert owner.put(f"{url}/p2", json={"status": "accepted"}).status_code == 403
    nobodys = one.as_admin().create(owner=None)
    url = f"/v2/images/{nobodys['id']}/members"
    for project in ("p3", "", "None"):
        assert one.as_member(project).post(url, json={"member": "p3"}).status_code in (401, 403)
        assert one.as_member(project).delete(f"{url}/p3").status_code in (401, 403, 404)


def test_a_list_has_only_members_that_one_may_see(server: StartServer) -> None:
    one = server(policy={"get_member": "role:admin"})
    owner = one.as_member("p1")
    image = owner.create(visibility="shared")
    members = f"/v2/images/{image['id']}/members"
    assert owner.post(members, json={"member": "p2"}).status_code == 200
    assert owner.get(members).json()["members"] == []
    assert [each["member_id"] for each in one.as_admin().get(members).json()["members"]] == ["p2"]
