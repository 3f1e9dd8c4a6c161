"""The wired parts of the HTTP layer, as every request finds them. Built by application.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fanlight.http.access import AccessLog
from fanlight.http.body import Budget
from fanlight.http.call import Headers
from fanlight.http.cors import Cors
from fanlight.http.identity import Identity
from fanlight.http.negotiation import Versions
from fanlight.http.pools import Pools
from fanlight.http.v2.documents import DocumentOptions
from fanlight.http.v2.schemas import Schemas
from fanlight.operations.service import Service


@dataclass(frozen=True, slots=True)
class Edge:
    """What the pipeline and the handlers use. `start` and `stop` run in each worker process, once."""

    service: Service
    identity: Identity
    pools: Pools
    storing: frozenset[str | None]
    """What functions do (`Route.doing`) that may wait for a store, and so have threads of their own."""
    budget: Budget
    access_log: AccessLog
    cors: Cors
    versions: Versions
    schemas: Schemas
    documents: DocumentOptions
    create_headers: Headers
    max_json_body: int
    max_request_id_length: int
    start: Callable[[], None]
    stop: Callable[[], None]
