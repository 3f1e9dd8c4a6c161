"""The catalogue: what images there are, who may see them, and what is on its way. SQL lives here and only here.

Operations open `Catalog.read()` or `Catalog.write()` and pass the connection to the functions of `images`, `locations`,
`members` and `leases`; each of those is one step of a transaction.
"""

from __future__ import annotations

from contextlib import closing

from fanlight.catalog.engine import Catalog, DatabaseSettings, make_engine, retried
from fanlight.catalog.rows import Viewer
from fanlight.catalog.schema import require_current, sync

__all__ = ["Catalog", "DatabaseSettings", "Viewer", "make_engine", "open_catalog", "patient_catalog", "retried"]


def open_catalog(settings: DatabaseSettings, *, migrate: bool) -> Catalog:
    """Open the database; make and migrate it where `migrate`, else require that it is current.

    Raises SettingsError (URL), CatalogUnavailable, CatalogError (not our layout, or not current) with what to do.
    """
    catalog = Catalog(make_engine(settings))
    if migrate:
        with closing(patient_catalog(settings)) as patient:
            sync(patient)
    else:
        require_current(catalog)
    return catalog


def patient_catalog(settings: DatabaseSettings) -> Catalog:
    """For migrations and purges, whose statements may take hours. That the server answers at all is found out before.

    Raises SettingsError (URL), CatalogUnavailable.
    """
    first = Catalog(make_engine(settings))
    if first.engine.dialect.name == "sqlite":
        return first
    with closing(first):
        first.describe()
    return Catalog(make_engine(settings, patient=True))
