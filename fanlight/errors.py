"""Everything that can go wrong, as one tree. None of these knows HTTP: http/faults.py maps them.

FanlightError
├── Invalid                     the request says something that cannot be
│   ├── SizeMismatch            fewer or more bytes than announced
│   └── InvalidHeader
├── NotAuthenticated
├── Forbidden                   known caller, refused
│   └── PolicyDenied            by a policy rule (`rule` names it)
├── NotFound                    absent, or hidden from this caller
│   ├── ImageNotFound
│   ├── MemberNotFound
│   └── TagNotFound
├── Conflict
│   ├── Duplicate               an image, member or object of that name exists
│   ├── InvalidTransition       the status machine forbids it
│   └── PatchConflict           add of what exists, replace or remove of what does not
├── Gone                        the image vanished or changed under an upload
├── LimitExceeded               quota, cap or limit
├── UnsupportedMedia            media type, or content that is not what was declared
├── RangeNotSatisfiable
├── RequestIdTooLong
├── Busy                        no capacity now; `retry_after` seconds
├── ClientGone                  the peer closed or stalled in mid-body; nobody is left to answer
├── CatalogError
│   ├── CatalogConflict         deadlock or serialization failure: rolled back, safe to run again
│   └── CatalogUnavailable      the database cannot be reached
├── SettingsError               a wrong option; stops the start
└── StoreError
    ├── UnknownStore, UnknownScheme, MalformedLocation, BadStoreConfiguration
    ├── ObjectNotFound, ObjectDamaged, ObjectExists, ObjectInUse, ObjectHasSnapshot
    ├── StoreFull, StoreDenied, StoreForbidden, StoreTimeout, StoreUnreachable
    └── StoreReadOnly, StoreDeleteUnsupported, StoreReadUnsupported, RangeUnsupported, AclsUnsupported
"""

from __future__ import annotations


class FanlightError(Exception):
    """Root of the tree. `str(error)` is safe to show: it never holds a secret."""

    code = "error"
    message = "Something went wrong."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)


class Invalid(FanlightError):
    code = "invalid"
    message = "The request is not valid."


class SizeMismatch(Invalid):
    code = "size-mismatch"
    message = "The data is shorter or longer than announced."


class InvalidHeader(Invalid):
    code = "invalid-header"
    message = "A header of the request is not valid."


class NotAuthenticated(FanlightError):
    code = "not-authenticated"
    message = "You are not authenticated."


class Forbidden(FanlightError):
    code = "forbidden"
    message = "You are not authorized to complete this action."


class PolicyDenied(Forbidden):
    """A policy rule said no. `rule` is its name."""

    code = "policy-denied"

    def __init__(self, rule: str, message: str | None = None) -> None:
        super().__init__(message or f"You are not authorized to complete {rule} action.")
        self.rule = rule


class NotFound(FanlightError):
    code = "not-found"
    message = "The resource could not be found."


class ImageNotFound(NotFound):
    """There is no such image, or the caller may not know of it."""

    code = "image-not-found"

    def __init__(self, image_id: str) -> None:
        super().__init__(f"No image found with ID {image_id}")


class MemberNotFound(NotFound):
    """The image is not shared with that project, or the caller may not know."""

    code = "member-not-found"

    def __init__(self, image_id: str, member_id: str) -> None:
        super().__init__(f"{member_id} is not in the member list of the image {image_id}.")


class TagNotFound(NotFound):
    """The image does not have that tag."""

    code = "tag-not-found"


class Conflict(FanlightError):
    code = "conflict"
    message = "The request conflicts with the present state."


class Duplicate(Conflict):
    code = "duplicate"
    message = "It exists already."


class InvalidTransition(Conflict):
    """The image's status does not allow what was asked."""

    code = "invalid-transition"

    def __init__(self, current: str, wanted: str) -> None:
        super().__init__(f"Image status transition from {current} to {wanted} is not allowed")
        self.current, self.wanted = current, wanted


class PatchConflict(Conflict):
    """A JSON patch adds what exists, or replaces or removes what does not."""

    code = "patch-conflict"


class Gone(FanlightError):
    code = "gone"
    message = "The image was deleted or changed while its data was on the way."


class LimitExceeded(FanlightError):
    code = "limit-exceeded"
    message = "The request exceeds a limit."


class UnsupportedMedia(FanlightError):
    code = "unsupported-media"
    message = "The media type or the content is not supported."


class RangeNotSatisfiable(FanlightError):
    """`size` is the length of the whole object in bytes, where known."""

    code = "range-not-satisfiable"
    message = "The requested range cannot be satisfied."

    def __init__(self, message: str | None = None, size: int | None = None) -> None:
        super().__init__(message)
        self.size = size


class RequestIdTooLong(FanlightError):
    code = "request-id-too-long"
    message = "The request id is too long."


class Busy(FanlightError):
    """No capacity now; a client should come back after `retry_after` seconds."""

    code = "busy"
    message = "The service is busy; try again later."

    def __init__(self, message: str | None = None, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ClientGone(FanlightError):
    code = "client-gone"
    message = "The client closed the connection before the data was complete."


class CatalogError(FanlightError):
    code = "catalog-error"
    message = "The database refused the operation."


class CatalogConflict(CatalogError):
    code = "catalog-conflict"
    message = "Another transaction was in the way; try again."


class CatalogUnavailable(CatalogError):
    code = "catalog-unavailable"
    message = "The database cannot be reached."


class SettingsError(FanlightError):
    code = "settings"
    message = "An option has a wrong value."


class StoreError(FanlightError):
    code = "store-error"
    message = "The store failed."


class UnknownStore(StoreError):
    code = "unknown-store"
    message = "There is no such store."


class UnknownScheme(StoreError):
    code = "unknown-scheme"
    message = "No store serves locations of that scheme."


class MalformedLocation(StoreError):
    code = "malformed-location"
    message = "The location is malformed."


class BadStoreConfiguration(StoreError):
    code = "bad-store-configuration"
    message = "The store is not configured rightly."


class ObjectNotFound(StoreError):
    code = "object-not-found"
    message = "The image data is not in the store."


class ObjectDamaged(StoreError):
    """What is stored is not what was recorded."""

    code = "object-damaged"
    message = "The stored image data is not as it was recorded."


class ObjectExists(StoreError):
    code = "object-exists"
    message = "The store already has data of this image."


class ObjectInUse(StoreError):
    code = "object-in-use"
    message = "The image data is in use."


class ObjectHasSnapshot(StoreError):
    code = "object-has-snapshot"
    message = "The image data has a snapshot."


class StoreFull(StoreError):
    code = "store-full"
    message = "There is not enough space in the store."


class StoreDenied(StoreError):
    """No permission to write."""

    code = "store-denied"
    message = "The store does not permit writing."


class StoreForbidden(StoreError):
    """No permission for this object."""

    code = "store-forbidden"
    message = "The store refuses this operation on the image data."


class StoreTimeout(StoreError):
    code = "store-timeout"
    message = "The store did not answer in time."


class StoreUnreachable(StoreError):
    code = "store-unreachable"
    message = "The store cannot be reached."


class StoreReadOnly(StoreError):
    code = "store-read-only"
    message = "Adding to this store is disabled."


class StoreDeleteUnsupported(StoreError):
    code = "store-delete-unsupported"
    message = "Deleting from this store is not supported."


class StoreReadUnsupported(StoreError):
    code = "store-read-unsupported"
    message = "Reading from this store is not supported."


class RangeUnsupported(StoreReadUnsupported):
    code = "range-unsupported"
    message = "Reading a part of an object is not supported by this store."


class AclsUnsupported(StoreError):
    code = "acls-unsupported"
    message = "This store has no access control lists."
