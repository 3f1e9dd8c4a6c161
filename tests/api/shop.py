"""A store of the tests' own, installed as a vendor's package would be: a folder whose objects clients may name.

An object `NAME` can be read, and removed unless a file beside it says otherwise: `NAME.used` (in use), `NAME.away` (the
store cannot be reached), `NAME.slow` (whoever opens or removes it waits while the file is there).
"""

from __future__ import annotations

from pathlib import Path

from tests.bed.packages import install_store

MODULE = """
import time
from pathlib import Path

from fanlight.errors import ObjectInUse, ObjectNotFound, StoreUnreachable
from fanlight.stores.driver import Opened, Option, Store, Traits


class Shop(Store):
    schemes = ("shop",)
    traits = Traits(add=False)
    declares = (Option(name="shop_folder"),)

    def _path(self, url):
        path = Path(self.options["shop_folder"]) / url.removeprefix("shop://")
        if path.with_suffix(".away").exists():
            raise StoreUnreachable
        if not path.exists():
            raise ObjectNotFound
        return path

    def open(self, url, offset=0, length=None, context=None):
        path = self._path(url)
        while path.with_suffix(".slow").exists():
            time.sleep(0.02)
        data = path.read_bytes()[offset:]
        data = data if length is None else data[:length]
        return Opened(len(data), iter([data]), lambda: None)

    def get_size(self, url, context=None):
        return self._path(url).stat().st_size

    def delete(self, url, context=None):
        path = self._path(url)
        while path.with_suffix(".slow").exists():
            time.sleep(0.02)
        if path.with_suffix(".used").exists():
            raise ObjectInUse
        path.unlink()
"""


def install(folder: Path) -> tuple[Path, str]:
    """The folder of the objects, and the PYTHONPATH under which a service finds the store's type `shop`."""
    objects = folder / "shop"
    objects.mkdir()
    return objects, install_store(folder / "site", "shop", MODULE)
