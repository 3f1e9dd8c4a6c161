"""The suite that every driver passes against its real back end. A driver's test module is its back end and this:

    class Swift(Backend):
        type = "swift"
        ...                                    # place.py says what

    @pytest.fixture(scope="module")
    def backend() -> Iterator[Backend]:
        yield Swift(needed("FANLIGHT_TEST_SWIFT"))

    class TestSwift(Conformance):
        pass

What a store cannot do, and faults that cannot be made for it, are asserted answers: `scripts/stores` prints them in its
table of store and check.
"""

from __future__ import annotations

from tests.stores.faults import Faults, closed_port, silent_port
from tests.stores.place import REASONS, Backend, Place
from tests.stores.reading import Reading
from tests.stores.writing import Writing

__all__ = ["REASONS", "Backend", "Conformance", "Place", "ReadingConformance", "closed_port", "silent_port"]


class ReadingConformance(Reading, Faults):
    """For drivers that cannot add."""


class Conformance(Reading, Writing, Faults):
    """For all others."""
