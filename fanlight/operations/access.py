"""Who may do what with one image: the same few lines for every operation, whatever API called it.

Order of the decisions (Image API V2; facts "Who may do what on images"): the catalogue hides what the caller
may not see (ImageNotFound); then the policy rule decides; a refusal is 404 for those who may not even see the
image by policy, 403 for the others; last, only the owner or an administrator writes.
"""

from __future__ import annotations

from fanlight.catalog import Viewer
from fanlight.errors import Forbidden, ImageNotFound, PolicyDenied
from fanlight.model import Caller, Image
from fanlight.operations.policy import ImageTarget
from fanlight.operations.service import Service


def viewer(caller: Caller) -> Viewer:
    """How the catalogue sees `caller`: by project, or everything for an administrator."""
    return Viewer(project_id=caller.project_id, is_admin=caller.is_admin)


def require_writer(caller: Caller) -> None:
    """Refuse (Forbidden) callers that were let in for reading only."""
    if caller.read_only:
        raise Forbidden


def require(service: Service, caller: Caller, rule: str, image: Image) -> None:
    """Let `caller` pass `rule` for `image`, or raise PolicyDenied; ImageNotFound if it may not know of it."""
    target = ImageTarget(image, caller)
    if service.policy.allows(rule, caller, target):
        return
    if rule != "get_image" and service.policy.allows("get_image", caller, target):
        raise PolicyDenied(rule)
    raise ImageNotFound(image.id)


def require_change(service: Service, caller: Caller, rule: str, image: Image) -> None:
    """`require`, and that the caller owns the image or is an administrator (Forbidden).

    The catalogue's rule of Glance: policy may narrow who of the owning project writes, never widen it beyond.
    """
    require(service, caller, rule, image)
    require_owner(caller, image)


def require_owner(caller: Caller, image: Image) -> None:
    """Only an administrator or the owner goes on; an image without owner is an administrator's. Raises Forbidden."""
    if caller.is_admin:
        return
    if image.owner is None or image.owner != caller.project_id:
        raise Forbidden("You are not permitted to modify this image.")
