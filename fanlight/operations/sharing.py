"""Sharing an image with other projects: the members of a shared image and what they answer.

Existence and `get_image` come first (ImageNotFound), then whether the image is shared at all, then the rule of the
call. By default the owner adds and removes members, and a member accepts or rejects for itself; policy may say
otherwise. Where the older defaults hold, which let everybody do it, it is so whatever policy says (facts: V2 10.3).
"""

from __future__ import annotations

from fanlight.catalog import images, members, retried
from fanlight.errors import Forbidden, ImageNotFound, Invalid, LimitExceeded, MemberNotFound, PolicyDenied
from fanlight.model import MEMBER_STATUSES, Caller, Image, Member
from fanlight.operations import acls
from fanlight.operations.access import require, require_owner, require_writer, viewer
from fanlight.operations.policy import ImageTarget
from fanlight.operations.service import Service


@retried
def list_members(service: Service, caller: Caller, image_id: str) -> list[Member]:
    """Members that `caller` may see: all for owner and administrator, itself for a member; by `get_member`, too."""
    with service.catalog.read() as connection:
        image = images.fetch(connection, image_id, viewer(caller))
        require(service, caller, "get_image", image)
        require(service, caller, "get_members", image)
        _require_shared(image)
        found = members.list_members(connection, image_id)
    may = service.policy.allows("get_member", caller, ImageTarget(image, caller))
    return [member for member in found if may and _sees(caller, image, member.member_id)]


@retried
def show(service: Service, caller: Caller, image_id: str, member_id: str) -> Member:
    """One member. Everything that is refused is a MemberNotFound: nobody may probe for members."""
    try:
        with service.catalog.read() as connection:
            image = images.fetch(connection, image_id, viewer(caller))
            require(service, caller, "get_image", image)
            require(service, caller, "get_member", image)
            _require_shared(image)
            if not _sees(caller, image, member_id):
                raise MemberNotFound(image_id, member_id)
            return members.fetch(connection, image_id, member_id)
    except (ImageNotFound, PolicyDenied, Forbidden):
        raise MemberNotFound(image_id, member_id) from None


@retried
def add(service: Service, caller: Caller, image_id: str, member_id: str) -> Member:
    """Share with one more project, as `pending`. Raises Invalid, Duplicate, LimitExceeded (`image_member_quota`)."""
    require_writer(caller)
    with service.catalog.write() as connection:
        image = images.fetch(connection, image_id, viewer(caller), lock=True)
        require(service, caller, "get_image", image)
        _require_shared(image)
        if not service.settings.policy.enforce_new_defaults:
            require_owner(caller, image)
        require(service, caller, "add_member", image)
        if len(member_id) > 255:
            raise Invalid("The id of a member has at most 255 characters.")
        limit = service.settings.api.image_member_quota
        member = members.add(connection, image_id, member_id)
        if 0 <= limit < members.count(connection, image_id):
            raise LimitExceeded(f"The limit of {limit} members for one image is exceeded.")
    acls.tell(service, caller, image_id)
    return member


@retried
def set_status(service: Service, caller: Caller, image_id: str, member_id: str, status: str) -> Member:
    """Accept or reject (or set back to pending) for the member's own project. `status`: one of MEMBER_STATUSES.

    Raises ImageNotFound, MemberNotFound (also where the caller may not see it), PolicyDenied, Forbidden, Invalid.
    """
    require_writer(caller)
    with service.catalog.write() as connection:
        image = images.fetch(connection, image_id, viewer(caller), lock=True)
        require(service, caller, "get_image", image)
        _require_shared(image)
        if not service.settings.policy.enforce_new_defaults:
            _require_not_the_owner(caller, image)
        require(service, caller, "get_member", image)
        if not _sees(caller, image, member_id):
            raise MemberNotFound(image_id, member_id)
        members.fetch(connection, image_id, member_id)
        require(service, caller, "modify_member", image)
        if status not in MEMBER_STATUSES:
            raise Invalid("The member status must be one of: " + ", ".join(MEMBER_STATUSES))
        member = members.set_status(connection, image_id, member_id, status)
    acls.tell(service, caller, image_id)
    return member


@retried
def remove(service: Service, caller: Caller, image_id: str, member_id: str) -> None:
    """Stop sharing with one project. Raises MemberNotFound."""
    require_writer(caller)
    with service.catalog.write() as connection:
        image = images.fetch(connection, image_id, viewer(caller), lock=True)
        require(service, caller, "get_image", image)
        _require_shared(image)
        if not service.settings.policy.enforce_new_defaults:
            require_owner(caller, image)
        require(service, caller, "get_member", image)
        if not _sees(caller, image, member_id):
            raise MemberNotFound(image_id, member_id)
        require(service, caller, "delete_member", image)
        members.remove(connection, image_id, member_id)
    acls.tell(service, caller, image_id)


def _sees(caller: Caller, image: Image, member_id: str) -> bool:
    return caller.is_admin or (caller.project_id is not None and caller.project_id in (image.owner, member_id))


def _require_shared(image: Image) -> None:
    if image.visibility != "shared":
        raise Forbidden("Only images with visibility 'shared' have members.")


def _require_not_the_owner(caller: Caller, image: Image) -> None:
    """Nobody accepts an image in the name of those whom it is offered to (OSSN-0005)."""
    if not caller.is_admin and caller.project_id == image.owner:
        raise Forbidden("You are not permitted to change the status of this member.")
