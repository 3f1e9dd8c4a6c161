"""Who is calling: the stage between routing and the handler, one of five modes chosen at start.

`open_identity` builds the mode that the settings name; `identify` then turns the head of each request into a
`Caller` or raises. It is plain synchronous code and runs in the metadata pool's threads: keystone and http_basic may
block.
"""

from __future__ import annotations

from fanlight.http.identity.head import RequestHead
from fanlight.http.identity.opening import MODES, open_identity
from fanlight.http.identity.parts import AdminRule, Challenged, Identity

__all__ = [
    "MODES",
    "AdminRule",
    "Challenged",
    "Identity",
    "RequestHead",
    "open_identity",
]
