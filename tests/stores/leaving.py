"""The part of the suite about uploads that fail and cannot be undone: what they leave is owed, see `Leftovers`."""

from __future__ import annotations

from typing import ClassVar

import pytest

from fanlight.errors import ClientGone, StoreUnreachable
from fanlight.stores.driver import Leftovers
from tests.stores.place import STORE, Failing, Place, new_id, pattern


class Leaving:
    """Needs a fixture `place`. For drivers whose server cannot be made to go at just that moment."""

    removal: ClassVar[str]
    """The method of the driver, or of one of its parts, that takes away what a failed upload has written."""
    leaves: ClassVar[bool] = True
    """Whether the server keeps what it has of an upload that breaks off."""

    def test_what_cannot_be_undone_is_owed(self, place: Place) -> None:
        *way, method = self.removal.split(".")
        part = place.driver
        for name in way:
            part = getattr(part, name)

        def refuse(*_args: object, **_more: object) -> None:
            raise StoreUnreachable

        object_id, gone = new_id(), ClientGone()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(part, method, refuse)
            with pytest.raises(Leftovers) as raised:
                place.put(Failing(pattern(3 * place.backend.block + 7), gone), None, object_id)
        assert raised.value.__cause__ is gone
        assert bool(place.leftovers()) == self.leaves
        place.stores.discard_partial(STORE, object_id)
        assert place.leftovers() == []
