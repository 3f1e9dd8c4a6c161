"""Tests of the stores, and the suite that every driver passes against its real back end: conformance.py."""

import pytest

# Modules of the suite are not test modules by their names, and their assertions shall tell as much.
for name in ("conformance", "faults", "place", "reading", "writing"):
    pytest.register_assert_rewrite(f"{__name__}.{name}")
