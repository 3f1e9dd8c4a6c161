"""The contract of a store: what a back end implements, and what it may rely on.

A driver does only what is different about its back end. The portable part (`Stores` in this package) chooses the store,
counts and hashes what passes, holds sizes against caps and announcements, checks ranges, and undoes. So a
driver may rely on this:

- Object ids are plain: letters, digits, `.`, `_`, `-`; never empty, never with a leading dot, at most 255 characters.
- `offset` and `length` lie within the object's recorded size.
- The source of `add` raises when too few or too many bytes come, or the client is gone: the driver then removes
  what it has written and lets the exception through. A driver that knows the size may stop there: what comes after it
  is looked at outside.
- What it cannot remove then is removed later, with `discard`, if it raises `Leftovers` from that exception.
- The first block of an open object is asked for at once: it is early enough to find out then that it cannot be read.
- Hashing, counting, caps and the metadata `store` are done outside: `add` moves bytes and tells where they are.

Each driver's module has a frozen `Address`: `Address.parse(url)` (MalformedLocation), `address.url` is the canonical
form, and `parse(address.url) == address`. Its `repr` shows no credential. The SDK is imported inside functions, so that
a driver costs nothing where it is not configured; a missing one is a BadStoreConfiguration that names the extra.

Every exception of the back end's own library leaves the driver as a `StoreError`; whatever else it raises is a defect.
No message may hold a credential.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from fanlight.errors import AclsUnsupported, ObjectExists, StoreDeleteUnsupported, StoreReadOnly, StoreUnreachable


class Source(Protocol):
    """Bytes on their way in: `read(n)` gives at most n of them (any number for n < 0), empty at the clean end.

    A block stays valid while it is referred to; hold no more than two at a time.
    """

    def read(self, size: int = -1, /) -> bytes | memoryview: ...


class Context(Protocol):
    """Who asks, for back ends that act in the caller's name. `model.Caller` is one. None: the service itself."""

    @property
    def user_id(self) -> str | None: ...
    @property
    def project_id(self) -> str | None: ...
    @property
    def roles(self) -> Collection[str]: ...
    @property
    def token(self) -> str | None:
        """The caller's token of Keystone: a secret."""

    @property
    def service_catalog(self) -> str | None:
        """What Keystone put into `X-Service-Catalog`: a JSON list of services with their endpoints."""


class Leftovers(StoreUnreachable):
    """An upload has failed, and what it left in the store could not be removed.

    Raised from what ended the upload: that is what whoever sent the data is told.
    """

    code = "store-leftovers"
    message = "What a failed upload left in the store could not be removed yet."


def leave_to_discard(reason: BaseException) -> None:
    """Raise Leftovers from what ended an upload; not where the name was taken: `discard` would take what is others'."""
    if not isinstance(reason, ObjectExists):
        raise Leftovers from reason


class Traits(Struct, frozen=True):
    """What a store can do. What it cannot is answered by the portable part; the driver is not asked."""

    add: bool = True
    delete: bool = True
    ranges: bool = True
    acls: bool = False
    """Whether `set_acls` does something."""


class Option(Struct, frozen=True, kw_only=True):
    """An option that a package's driver declares: from the text in the configuration file to a typed value."""

    name: str
    kind: Literal["text", "whole", "number", "switch", "list"] = "text"
    """A list is separated by commas; a switch is `true` or `false`."""
    default: Any = None
    secret: bool = False
    """Whether its value must not show where it is wrong."""


class Added(Struct, frozen=True):
    """An object that was stored: where it is, how many bytes it has, and metadata for its location."""

    url: str
    size: int
    metadata: Mapping[str, Any] = {}
    md5: str | None = None
    """What the back end says is the MD5 of what it has, in hex, where it says so. It is compared outside: another one
    than that of the bytes that came fails the upload."""


class Opened(Struct):
    """An object open for reading: `size` bytes will come from `blocks`; `close` ends it early or late, once or twice.

    `file`: a descriptor and the place of the first byte in it, where the bytes lie in a local file.
    """

    size: int
    blocks: Iterator[bytes | memoryview]
    close: Any
    file: tuple[int, int] | None = None


class Store(ABC):
    """One configured store. Made once per process and used from many threads at a time."""

    schemes: tuple[str, ...] = ()
    """URL schemes of its locations; the first is the one that `add` writes."""
    traits: Traits = Traits()
    declares: Sequence[Option] = ()
    """Options of a package's driver. Those that are not declared come as text, or not at all. (Ours are declared in
    settings/drivers.py and come typed.)"""

    def __init__(self, store_id: str, options: Mapping[str, Any]) -> None:
        self.id = store_id
        self.options = options

    def configure(self) -> None:
        """Read the options and reach the back end as far as reading needs.

        Raises BadStoreConfiguration for options that are wrong: that stops the start if new images go here. Raises
        StoreUnreachable or StoreTimeout for a back end that does not answer: the service starts without it. In both
        cases it is called again later, when somebody asks for the store.
        """
        return

    def configure_add(self) -> None:
        """Prepare for writing. Raises as `configure` does; the store then stays readable."""
        return

    @abstractmethod
    def open(self, url: str, offset: int = 0, length: int | None = None, context: Context | None = None) -> Opened:
        """Open `length` bytes (None: all) from `offset`. Raises ObjectNotFound, MalformedLocation, StoreUnreachable."""

    @abstractmethod
    def get_size(self, url: str, context: Context | None = None) -> int:
        """Size of an object in bytes. Raises ObjectNotFound, MalformedLocation, StoreUnreachable."""

    def add(self, object_id: str, source: Source, size: int | None, context: Context | None = None) -> Added:
        """Store everything `source` gives, durably, under `object_id`. `size`: what was announced, None if unknown.

        Never touches an object that exists (ObjectExists). On any failure nothing stays behind, or it is `Leftovers`.
        Raises StoreFull, StoreDenied, StoreUnreachable, and what `source` raises.
        """
        raise StoreReadOnly

    def delete(self, url: str, context: Context | None = None) -> None:
        """Remove an object. Raises ObjectNotFound, ObjectInUse, ObjectHasSnapshot, StoreForbidden."""
        raise StoreDeleteUnsupported

    def discard(self, object_id: str) -> None:
        """Remove whatever an `add` that was killed has left of `object_id`: parts and whole. Nothing there is fine.

        Raises StoreDeleteUnsupported where the driver cannot, StoreError.
        """
        raise StoreDeleteUnsupported

    def planned_url(self, object_id: str) -> str | None:
        """The URL that `add` will give, where it is known before."""
        return None

    def set_acls(
        self,
        url: str,
        public: bool,
        readers: Collection[str],
        writers: Collection[str],
        context: Context | None = None,
    ) -> None:
        """Say which projects may read and write an object in the back end. Raises AclsUnsupported, StoreError."""
        raise AclsUnsupported

    def check(self) -> str:
        """Reach the back end and tell in one line how it is, for operators. Changes nothing. Raises StoreError."""
        return "can be used"

    def details(self) -> Mapping[str, Any]:
        """What operators may read about the store besides its options (GET /v2/info/stores/detail), as far as it is
        known without asking the back end.
        """
        return {}

    def owns(self, url: str) -> bool:
        """Whether `url` is one of this store's, as far as its text tells."""
        return url.partition("://")[0].lower() in self.schemes

    def may_be_named(self, url: str) -> bool:
        """Whether a client may name this URL, of those that we own: not where it would lead us to a server that the
        configuration does not name."""
        return True

    def shown(self, url: str) -> str:
        """The URL of a location as clients may see it."""
        return url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"
