"""Who may touch what: other projects' images (OSSA-2012-017, OSSN 0005 and 0015, "Member enumeration, 403 vs 404").

An image that one may not see is answered like one that does not exist: same status, same body (but for the id).
"""

from __future__ import annotations

import uuid

import httpx
import pytest

from tests.bed.callers import Client
from tests.bed.servers import Server
from tests.conftest import StartServer

OTHERS = "another-project"
OCTETS = {"Content-Type": "application/octet-stream"}
PATCH_21 = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
RENAME = b'[{"op": "replace", "path": "/name", "value": "stolen"}]'
CALLS: tuple[tuple[str, str, dict[str, str], bytes | None], ...] = (
    ("GET", "", {}, None),
    ("PATCH", "", PATCH_21, RENAME),
    ("PATCH", "", PATCH_21, b"[]"),
    ("DELETE", "", {}, None),
    ("GET", "/file", {}, None),
    ("GET", "/file", {"Range": "bytes=0-1"}, None),
    ("PUT", "/file", OCTETS, b"replaced"),
    ("GET", "/members", {}, None),
    ("POST", "/members", {}, b'{"member": "another-project"}'),
    ("GET", "/members/another-project", {}, None),
    ("PUT", "/members/another-project", {}, b'{"status": "accepted"}'),
    ("DELETE", "/members/another-project", {}, None),
    ("PUT", "/tags/taken", {}, None),
    ("DELETE", "/tags/kept", {}, None),
    ("POST", "/actions/deactivate", {}, None),
    ("POST", "/actions/reactivate", {}, None),
)


def told(answer: httpx.Response, image_id: str) -> tuple[int, str, dict[str, str]]:
    """All that an answer says, without what differs anyway: the id asked for, its request id, the clock, and whether
    the connection ends (which hangs on how much of a refused body had come by then, not on the image)."""
    differs = ("date", "x-openstack-request-id", "connection")
    kept = {name: value for name, value in answer.headers.items() if name not in differs}
    return answer.status_code, answer.text.replace(image_id, "ID"), kept


@pytest.mark.parametrize("visibility", ["private", "shared"])
@pytest.mark.parametrize(("method", "rest", "headers", "body"), CALLS)
def test_hidden_is_like_missing(
    service: Server, project: str, visibility: str, method: str, rest: str, headers: dict[str, str], body: bytes | None
) -> None:
    owner, stranger = service.as_member(project), service.as_member(OTHERS)
    image = owner.create_active(b"secret bytes", visibility=visibility, tags=["kept"])
    before = owner.show(image["id"])
    missing = str(uuid.uuid4())
    asked = {
        each: stranger.request(method, f"/v2/images/{each}{rest}", content=body, headers=headers)
        for each in (image["id"], missing)
    }
    assert asked[missing].status_code == 404
    assert told(asked[image["id"]], image["id"]) == told(asked[missing], missing)
    assert owner.show(image["id"]) == before
    assert owner.get(f"/v2/images/{image['id']}/file").content == b"secret bytes"


@pytest.mark.parametrize("visibility", ["public", "community", "shared"])
def test_ossa_2012_017_others_cannot_delete_what_they_see(service: Server, project: str, visibility: str) -> None:
    owner, other = service.as_member(project), service.as_member(OTHERS)
    image = owner.create_active(b"mine")
    if visibility == "shared":
        assert owner.post(f"/v2/images/{image['id']}/members", json={"member": OTHERS}).status_code == 200
    else:
        _set_visibility(service.as_admin(), image["id"], visibility)
    before = owner.show(image["id"])
    url = f"/v2/images/{image['id']}"
    assert other.get(url).status_code == 200
    answers = [
        other.delete(url),
        other.patch(url, content=RENAME, headers=PATCH_21),
        other.put(f"{url}/tags/x"),
        other.post(f"{url}/actions/deactivate"),
        other.put(f"{url}/file", content=b"y", headers=OCTETS),
    ]
    assert [answer.status_code for answer in answers] == [403] * len(answers)
    assert owner.show(image["id"]) == before
    assert service.files()[image["id"]] == 4


def test_ossn_0005_shared_is_not_listed_before_it_is_accepted(service: Server, project: str) -> None:
    owner, member = service.as_member(project), service.as_member(project + "-b")
    image = owner.create_active(b"gift")

    def listed(**query: str) -> bool:
        answer = member.get("/v2/images", params={"limit": "1000", **query})
        return image["id"] in [each["id"] for each in answer.json()["images"]]

    assert not listed(member_status="all")
    assert owner.post(f"/v2/images/{image['id']}/members", json={"member": project + "-b"}).status_code == 200
    assert not listed()
    assert not listed(visibility="shared")
    assert listed(member_status="pending")
    url = f"/v2/images/{image['id']}/members/{project}-b"
    # The owner cannot accept in the member's place.
    assert owner.put(url, json={"status": "accepted"}).status_code == 403
    assert not listed()
    assert member.put(url, json={"status": "accepted"}).status_code == 200
    assert listed()
    assert member.put(url, json={"status": "rejected"}).status_code == 200
    assert not listed()


def test_a_member_sees_only_itself(service: Server, project: str) -> None:
    owner, one = service.as_member(project), service.as_member(project + "-1")
    image = owner.create()
    for name in ("-1", "-2"):
        assert owner.post(f"/v2/images/{image['id']}/members", json={"member": project + name}).status_code == 200
    url = f"/v2/images/{image['id']}/members"
    assert [each["member_id"] for each in one.get(url).json()["members"]] == [project + "-1"]
    other, nobody = f"{project}-2", f"{project}-3"
    for method, body in (("GET", None), ("PUT", {"status": "accepted"}), ("DELETE", None)):
        known = one.request(method, f"{url}/{other}", json=body)
        unknown = one.request(method, f"{url}/{nobody}", json=body)
        assert told(known, other)[:2] == (unknown.status_code, unknown.text.replace(nobody, "ID")), method


def test_ossn_0015_publishing_needs_an_administrator(service: Server, project: str) -> None:
    member = service.as_member(project)
    assert member.post("/v2/images", json={"visibility": "public"}).status_code == 403
    image = member.create()
    publish = {"op": "replace", "path": "/visibility", "value": "public"}
    add = {"op": "add", "path": "/visibility", "value": "public"}
    for operations in ([publish], [add], [{**publish, "value": "private"}, publish]):
        assert member.change(image["id"], *operations).status_code == 403
    assert member.show(image["id"])["visibility"] == "shared"
    assert service.as_admin().change(image["id"], publish).status_code == 200


def test_an_owner_is_not_changed_by_members(service: Server, project: str) -> None:
    member = service.as_member(project)
    assert member.post("/v2/images", json={"owner": OTHERS}).status_code == 403
    assert member.post("/v2/images", json={"owner": None}).status_code == 403
    image = member.create()
    for op in ("add", "replace"):
        answer = member.change(image["id"], {"op": op, "path": "/owner", "value": OTHERS})
        assert answer.status_code == 403
    assert member.show(image["id"])["owner"] == project


def test_who_has_no_role_writes_nothing(service: Server, project: str) -> None:
    image = service.as_member(project).create_active(b"data")
    url = f"/v2/images/{image['id']}"
    for one in (service.as_reader(project), service.as_caller(project, ("nothing",))):
        answers = [
            one.post("/v2/images", json={}),
            one.delete(url),
            one.patch(url, content=RENAME, headers=PATCH_21),
            one.put(f"{url}/tags/x"),
            one.post(f"{url}/members", json={"member": "m"}),
            one.post(f"{url}/actions/deactivate"),
            one.get(f"{url}/file"),
        ]
        assert {answer.status_code for answer in answers} <= {403, 404}
    assert service.as_member(project).show(image["id"]) == image


def test_ossa_2013_027_denied_downloads_in_every_form(server: StartServer) -> None:
    one = server(policy={"download_image": "role:admin"})
    member = one.as_member("p")
    image = member.create_active(b"0123456789")
    url = f"/v2/images/{image['id']}/file"
    for headers in ({}, {"Range": "bytes=0-3"}, {"Range": "bytes=-1"}, {"Content-Range": "bytes 0-3/10"}):
        answer = member.get(url, headers=headers)
        assert answer.status_code == 403
        assert b"0123" not in answer.content
    assert member.head(url).status_code in (403, 405)
    assert member.get(url, params={"prefer": "local"}).status_code in (400, 403)
    assert one.as_admin().get(url).content == b"0123456789"


def test_ossn_0075_a_deleted_id_is_not_used_again(service: Server, project: str) -> None:
    owner, thief = service.as_member(project), service.as_member(OTHERS)
    image = owner.create_active(b"old")
    assert owner.delete(f"/v2/images/{image['id']}").status_code == 204
    for one in (owner, thief, service.as_admin()):
        answer = one.post("/v2/images", json={"id": image["id"]})
        assert answer.status_code == 409
        assert one.get(f"/v2/images/{image['id']}").status_code == 404


def test_an_id_in_use_tells_nothing_but_that(service: Server, project: str) -> None:
    image = service.as_member(project).create(name="very secret name", visibility="private")
    answer = service.as_member(OTHERS).post("/v2/images", json={"id": image["id"]})
    assert answer.status_code == 409
    assert "secret" not in answer.text
    assert project not in answer.text


def _set_visibility(admin: Client, image_id: str, visibility: str) -> None:
    answer = admin.change(image_id, {"op": "replace", "path": "/visibility", "value": visibility})
    assert answer.status_code == 200, answer.text
