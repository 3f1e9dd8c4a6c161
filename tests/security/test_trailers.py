"""Trailer fields of chunked bodies are no headers: what a front end strips from heads cannot come in behind the body.

RFC 9110, 6.5.1.
"""

from __future__ import annotations

import socket

import pytest

from tests.bed.servers import Server
from tests.conftest import StartServer
from tests.edge.raw import Answer, read_answer

BODY = b'{"visibility": "public"}'


def ask(server: Server, headers: list[bytes], trailers: list[bytes]) -> Answer:
    head = b"\r\n".join([b"POST /v2/images HTTP/1.1", *headers, b"Transfer-Encoding: chunked", b"", b""])
    body = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(head + body + b"".join(trailer + b"\r\n" for trailer in trailers) + b"\r\n")
        return read_answer(connection)


def test_roles_of_a_trusted_caller(server: StartServer) -> None:
    one = server(flavor="trusted")
    caller = [b"Host: x", b"X-Identity-Status: Confirmed", b"X-User-Id: u", b"X-Project-Id: p"]
    assert ask(one, [*caller, b"X-Roles: admin"], []).status == 201
    assert ask(one, [*caller, b"X-Roles: member"], []).status == 403
    assert ask(one, [*caller, b"X-Roles: member"], [b"X-Roles: admin,member"]).status == 403
    assert ask(one, caller, [b"X-Roles: admin,member"]).status == 403


def test_a_token(service: Server) -> None:
    assert ask(service, [b"Host: x", b"X-Auth-Token: root:p:admin"], []).status == 201
    assert ask(service, [b"Host: x"], [b"X-Auth-Token: root:p:admin"]).status == 401


@pytest.mark.parametrize("head", [[], [b"Host: evil.example"]])
def test_the_host_of_a_local_caller(server: StartServer, head: list[bytes]) -> None:
    one = server(flavor=None)
    assert ask(one, [b"Host: localhost"], []).status == 201
    assert ask(one, head, [b"Host: localhost"]).status in (400, 403)
