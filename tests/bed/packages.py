"""Packages with stores of the tests' own, installed as a vendor's would be."""

from __future__ import annotations

from pathlib import Path

from tests.bed.servers import ROOT


def install_store(site: Path, name: str, module: str) -> str:
    """A package whose `module` (its text) has the store type `name`, in the class of that name with a capital.

    Returns the PYTHONPATH under which a service finds it.
    """
    package = site / f"{name}-1.dist-info"
    package.mkdir(parents=True)
    (site / f"{name}.py").write_text(module)
    (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (package / "entry_points.txt").write_text(f"[fanlight.stores]\n{name} = {name}:{name.capitalize()}\n")
    return f"{site}:{ROOT}"
