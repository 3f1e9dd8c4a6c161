"""The catalogue: what images there are, who may see them, and what is on its way. SQL lives here and only here.

Operations open `Catalog.read()` or `Catalog.write()` and pass the connection to the functions of `images`, `locations`,
`members` and `leases`; each of those is one step of a transaction.
"""

from __future__ import annotations

from fanlight.catalog.engine import Catalog, DatabaseSettings, make_engine, retried
from fanlight.catalog.rows import Viewer
from fanlight.catalog.schema import require_current, sync

__all__ = ["Catalog", "DatabaseSettings", "Viewer", "make_engine", "open_catalog", "retried"]


def open_catalog(settings: DatabaseSettings, *, migrate: bool) -> Catalog:
    """Open the database; make and migrate it where `migrate`, else require that it is current.

    Raises SettingsError (URL), CatalogUnavailable, CatalogError (not our layout, or not current) with what to do.
    """
    catalog = Catalog(make_engine(settings))
    if migrate:
        sync(catalog)
    else:
        require_current(catalog)
    return catalog
