"""/v2/images/{image_id}/members: who an image is shared with. Each function translates one operation."""

from __future__ import annotations

from fanlight.errors import Invalid
from fanlight.http.call import Answer, Call, json_answer
from fanlight.http.v2.documents import member_document, members_document
from fanlight.operations import sharing


def list_members(call: Call) -> Answer:
    """GET /v2/images/{image_id}/members"""
    return json_answer(members_document(sharing.list_members(call.service, call.caller, call.params["image_id"])))


def add(call: Call) -> Answer:
    """POST /v2/images/{image_id}/members"""
    member_id = _text(call, "member")
    return json_answer(member_document(sharing.add(call.service, call.caller, call.params["image_id"], member_id)))


def show(call: Call) -> Answer:
    """GET /v2/images/{image_id}/members/{member_id}"""
    member = sharing.show(call.service, call.caller, call.params["image_id"], call.params["member_id"])
    return json_answer(member_document(member))


def set_status(call: Call) -> Answer:
    """PUT /v2/images/{image_id}/members/{member_id}"""
    status = _text(call, "status")
    params = call.params
    member = sharing.set_status(call.service, call.caller, params["image_id"], params["member_id"], status)
    return json_answer(member_document(member))


def remove(call: Call) -> Answer:
    """DELETE /v2/images/{image_id}/members/{member_id}"""
    sharing.remove(call.service, call.caller, call.params["image_id"], call.params["member_id"])
    # This 204, unlike the others, carries neither a type nor a length (Image API V2 as served by Glance).
    return Answer(204, [])


def _text(call: Call, name: str) -> str:
    value = call.json_object().get(name)
    if not isinstance(value, str) or not value:
        raise Invalid(f"The body must be an object with the text {name!r}.")
    return value
