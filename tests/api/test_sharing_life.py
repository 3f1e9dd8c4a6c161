"""Members, tags and deactivation through their whole life."""

from __future__ import annotations

import time

import pytest

from tests.bed.servers import Server


def test_a_member_from_offer_to_return(service: Server, project: str) -> None:
    owner, member = service.as_member(project), service.as_member(project + "-m")
    image = owner.create_active(b"shared data")
    url, one = f"/v2/images/{image['id']}/members", f"/v2/images/{image['id']}/members/{project}-m"
    assert owner.get(url).json() == {"members": [], "schema": "/v2/schemas/members"}
    offered = owner.post(url, json={"member": project + "-m"})
    assert offered.status_code == 200
    document = offered.json()
    assert document == {
        "member_id": project + "-m",
        "image_id": image["id"],
        "status": "pending",
        "created_at": document["created_at"],
        "updated_at": document["updated_at"],
        "schema": "/v2/schemas/member",
    }
    assert owner.post(url, json={"member": project + "-m"}).status_code == 409
    # A pending member may use the image already; it is only not listed.
    assert member.get(f"/v2/images/{image['id']}/file").content == b"shared data"
    for status in ("accepted", "rejected", "pending", "accepted"):
        answer = member.put(one, json={"status": status})
        assert (answer.status_code, answer.json()["status"]) == (200, status)
        assert owner.get(one).json()["status"] == status
    for wrong in ({"status": "maybe"}, {"status": None}, {}, {"state": "accepted"}):
        assert member.put(one, json=wrong).status_code == 400
    assert member.delete(one).status_code == 403
    gone = owner.delete(one)
    assert (gone.status_code, gone.content) == (204, b"")
    assert owner.delete(one).status_code == 404
    assert member.get(f"/v2/images/{image['id']}").status_code == 404
    again = owner.post(url, json={"member": project + "-m"}).json()
    assert again["status"] == "pending"


def test_members_rest_while_an_image_is_not_shared(service: Server, project: str) -> None:
    owner, member = service.as_member(project), service.as_member(project + "-m")
    image = owner.create()
    url = f"/v2/images/{image['id']}/members"
    assert owner.post(url, json={"member": project + "-m"}).status_code == 200
    assert member.put(f"{url}/{project}-m", json={"status": "accepted"}).status_code == 200
    for visibility, status in (("private", 404), ("shared", 200)):
        operation = {"op": "replace", "path": "/visibility", "value": visibility}
        assert owner.change(image["id"], operation).status_code == 200
        assert member.get(f"/v2/images/{image['id']}").status_code == status
        assert owner.get(url).status_code == (200 if visibility == "shared" else 403)
        assert owner.get(f"{url}/{project}-m").status_code == status
        for named in (project + "-m", project + "-nobody"):
            expected = 403 if visibility == "private" or named == project + "-m" else 404
            assert owner.put(f"{url}/{named}", json={"status": "accepted"}).status_code == expected
        assert owner.post(url, json={"member": project + visibility}).status_code == (
            200 if visibility == "shared" else 403
        )
    assert {each["member_id"] for each in owner.get(url).json()["members"]} == {project + "-m", project + "shared"}


def test_an_administrator_shares_for_others(service: Server, project: str) -> None:
    image = service.as_member(project).create()
    admin = service.as_admin()
    url = f"/v2/images/{image['id']}/members"
    assert admin.post(url, json={"member": "m"}).status_code == 200
    assert admin.put(f"{url}/m", json={"status": "accepted"}).json()["status"] == "accepted"
    assert [each["member_id"] for each in admin.get(url).json()["members"]] == ["m"]
    assert admin.delete(f"{url}/m").status_code == 204


def test_deactivated_and_active_again(service: Server, project: str) -> None:
    owner, admin, other = service.as_member(project), service.as_admin(), service.as_member(project + "-o")
    image = owner.create_active(b"data")
    publish = {"op": "replace", "path": "/visibility", "value": "public"}
    assert admin.change(image["id"], publish).status_code == 200
    url = f"/v2/images/{image['id']}"
    for _ in range(2):
        assert owner.post(f"{url}/actions/deactivate").status_code == 204
    assert owner.show(image["id"])["status"] == "deactivated"
    for headers in ({}, {"Range": "bytes=0-1"}):
        assert owner.get(f"{url}/file", headers=headers).status_code == 403
        assert other.get(f"{url}/file", headers=headers).status_code == 403
        assert admin.get(f"{url}/file", headers=headers).status_code in (200, 206)
    assert other.show(image["id"])["status"] == "deactivated"
    assert "stores" not in owner.show(image["id"])
    # It is closed, not frozen: records change, data does not.
    assert owner.put(f"{url}/tags/t").status_code == 204
    assert owner.upload(image["id"], b"other").status_code == 409
    for action in ("deactivate", "reactivate"):
        assert other.post(f"{url}/actions/{action}").status_code == 403
        assert owner.post(f"{url}/actions/{action}", content=b"{}").status_code == 400
    for _ in range(2):
        assert owner.post(f"{url}/actions/reactivate").status_code == 204
    assert owner.get(f"{url}/file").content == b"data"
    assert owner.post(f"{url}/actions/deactivate").status_code == 204
    assert owner.delete(url).status_code == 204
    assert image["id"] not in service.files()


@pytest.mark.parametrize("action", ["deactivate", "reactivate"])
def test_only_data_can_be_closed(service: Server, project: str, action: str) -> None:
    owner = service.as_member(project)
    image = owner.create()
    assert owner.post(f"/v2/images/{image['id']}/actions/{action}").status_code == 403
    assert owner.show(image["id"])["status"] == "queued"


def test_tags(service: Server, project: str) -> None:
    owner = service.as_member(project)
    image = owner.create(tags=["a", "a", "ü"])
    assert sorted(image["tags"]) == ["a", "ü"]
    url = f"/v2/images/{image['id']}/tags"
    for name, status in (("b", 204), ("b", 204), ("x" * 255, 204), ("x" * 256, 400), ("%E2%82%AC", 204), ("a b", 204)):
        assert owner.put(f"{url}/{name}").status_code == status
    assert sorted(owner.show(image["id"])["tags"]) == sorted(["a", "ü", "b", "x" * 255, "€", "a b"])
    assert owner.put(f"{url}/c", content=b"{}").status_code == 400
    assert owner.get(f"{url}/a").status_code == 405
    assert owner.delete(f"{url}/a").status_code == 204
    assert owner.delete(f"{url}/a").status_code == 404
    assert owner.delete(f"{url}/A").status_code == 404
    assert owner.put(f"{url}/").status_code == 404
    answer = owner.change(image["id"], {"op": "replace", "path": "/tags", "value": ["n", "n", "m"]})
    assert sorted(answer.json()["tags"]) == ["m", "n"]


def test_a_protected_image_stays(service: Server, project: str) -> None:
    owner = service.as_member(project)
    image = owner.create_active(b"data", protected=True)
    for one in (owner, service.as_admin()):
        assert one.delete(f"/v2/images/{image['id']}").status_code == 403
    assert owner.get(f"/v2/images/{image['id']}/file").content == b"data"
    unprotect = {"op": "replace", "path": "/protected", "value": False}
    assert owner.change(image["id"], unprotect).status_code == 200
    assert owner.delete(f"/v2/images/{image['id']}").status_code == 204


def test_a_change_is_dated(service: Server, project: str) -> None:
    owner = service.as_member(project)
    image = owner.create()
    time.sleep(1.1)
    assert owner.change(image["id"]).json()["updated_at"] == image["updated_at"]
    changed = owner.change(image["id"], {"op": "add", "path": "/p", "value": "v"}).json()
    assert changed["updated_at"] > image["updated_at"]
    assert changed["created_at"] == image["created_at"]
