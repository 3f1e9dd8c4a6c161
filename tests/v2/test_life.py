"""The life of two images against a running service: every step's status, and what is left at the end."""

from __future__ import annotations

from .conftest import Client
from .life import LIFE


def test_life(client: Client) -> None:
    places: dict[str, str] = {}
    wrong = []
    for number, step in enumerate(LIFE):
        path, body = step.path, step.body
        for name, identifier in places.items():
            path = path.replace(name, identifier)
            body = body and body.replace(name, identifier)
        reply = client.ask(step.method, path, body, dict(step.headers), who=step.who)
        if number < 2:
            places["{one}" if number == 0 else "{two}"] = reply.json()["id"]
        if reply.status != step.status:
            wrong.append((number, step, reply))
    assert wrong == []
    assert len(places) == 2
    shown = client.ask("GET", "/v2/images?visibility=all&os_hidden=false&name=in:new,pub,two", who="admin").json()
    assert not {image["id"] for image in shown["images"]} & set(places.values())
