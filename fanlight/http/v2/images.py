"""/v2/images: the record of an image, its tags, its deactivation. Each function translates one operation."""

from __future__ import annotations

from fanlight.http.call import Answer, Call, empty_answer, json_answer
from fanlight.http.v2 import patch, query
from fanlight.http.v2.documents import image_document, images_document
from fanlight.model import Image
from fanlight.operations import changes, images, locations


def create(call: Call) -> Answer:
    """POST /v2/images"""
    document = call.json_object()
    fields = {"owner": call.caller.project_id, **call.edge.schemas.image_fields(document)}
    created = images.create(call.service, call.caller, images.new_image(fields), asked=frozenset(document))
    location = f"{call.edge.versions.base_url(call.head)}/v2/images/{created.id}".encode()
    return json_answer(_document(call, created), 201, (b"location", location), *call.edge.create_headers)


def list_images(call: Call) -> Answer:
    """GET /v2/images"""
    asked = query.parse_list_query(call.head.query, call.service.settings)
    page = images.list_page(call.service, call.caller, asked)
    options, parameters = call.edge.documents, call.head.query
    return json_answer(images_document(page.images, options, call.caller, parameters, page.next_marker))


def show(call: Call) -> Answer:
    """GET /v2/images/{image_id}"""
    return json_answer(_document(call, images.show(call.service, call.caller, call.params["image_id"])))


def update(call: Call) -> Answer:
    """PATCH /v2/images/{image_id}"""
    operations = patch.parse(call.head.get("content-type"), call.body, call.edge.schemas)
    run = locations.update if changes.location_operations(operations) else images.update
    return json_answer(_document(call, run(call.service, call.caller, call.params["image_id"], operations)))


def delete(call: Call) -> Answer:
    """DELETE /v2/images/{image_id}"""
    images.delete(call.service, call.caller, call.params["image_id"])
    return empty_answer()


def deactivate(call: Call) -> Answer:
    """POST /v2/images/{image_id}/actions/deactivate"""
    images.deactivate(call.service, call.caller, call.params["image_id"])
    return empty_answer()


def reactivate(call: Call) -> Answer:
    """POST /v2/images/{image_id}/actions/reactivate"""
    images.reactivate(call.service, call.caller, call.params["image_id"])
    return empty_answer()


def add_tag(call: Call) -> Answer:
    """PUT /v2/images/{image_id}/tags/{tag}"""
    images.add_tag(call.service, call.caller, call.params["image_id"], call.params["tag"])
    return empty_answer()


def remove_tag(call: Call) -> Answer:
    """DELETE /v2/images/{image_id}/tags/{tag}"""
    images.remove_tag(call.service, call.caller, call.params["image_id"], call.params["tag"])
    return empty_answer()


def _document(call: Call, image: Image) -> dict[str, object]:
    return image_document(image, call.edge.documents, call.caller)
