"""/v2/info and /v2/schemas: what this service offers. No operation behind them, only settings and stores."""

from __future__ import annotations

from fanlight.http.call import Answer, Call, json_answer
from fanlight.http.v2 import discovery


def image_schema(call: Call) -> Answer:
    """GET /v2/schemas/image"""
    return json_answer(call.edge.schemas.documents["image"])


def images_schema(call: Call) -> Answer:
    """GET /v2/schemas/images"""
    return json_answer(call.edge.schemas.documents["images"])


def member_schema(call: Call) -> Answer:
    """GET /v2/schemas/member"""
    return json_answer(call.edge.schemas.documents["member"])


def members_schema(call: Call) -> Answer:
    """GET /v2/schemas/members"""
    return json_answer(call.edge.schemas.documents["members"])


def task_schema(call: Call) -> Answer:
    """GET /v2/schemas/task"""
    return json_answer(call.edge.schemas.documents["task"])


def tasks_schema(call: Call) -> Answer:
    """GET /v2/schemas/tasks"""
    return json_answer(call.edge.schemas.documents["tasks"])


def import_methods(call: Call) -> Answer:
    """GET /v2/info/import"""
    return json_answer(discovery.import_info(call.service.settings))


def usage(call: Call) -> Answer:
    """GET /v2/info/usage: nothing, as of a Glance without `use_keystone_limits`."""
    return json_answer({"usage": {}})


def stores(call: Call) -> Answer:
    """GET /v2/info/stores"""
    return json_answer(discovery.stores_info(call.service.settings, call.service.stores))


def stores_detail(call: Call) -> Answer:
    """GET /v2/info/stores/detail"""
    document = discovery.stores_detail(call.service.settings, call.service.stores)
    call.service.policy.require("stores_info_detail", call.caller, {})
    return json_answer(document)
