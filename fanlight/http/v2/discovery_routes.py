"""/v2/info and /v2/schemas: what this service offers. No operation behind them, only settings and stores."""

from __future__ import annotations

from fanlight.errors import NotFound
from fanlight.http.call import Answer, Call, json_answer
from fanlight.http.v2 import discovery


def schema(call: Call) -> Answer:
    """GET /v2/schemas/{name}"""
    document = call.edge.schemas.documents.get(call.params["name"])
    if document is None:
        raise NotFound
    return json_answer(document)


def import_methods(call: Call) -> Answer:
    """GET /v2/info/import"""
    return json_answer(discovery.import_info(call.service.settings))


def stores(call: Call) -> Answer:
    """GET /v2/info/stores"""
    return json_answer(discovery.stores_info(call.service.settings, call.service.stores))


def stores_detail(call: Call) -> Answer:
    """GET /v2/info/stores/detail"""
    document = discovery.stores_detail(call.service.settings, call.service.stores)
    call.service.policy.require("stores_info_detail", call.caller, {})
    return json_answer(document)
