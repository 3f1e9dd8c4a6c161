"""What every operation is given: the parts that application.py wired together, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from fanlight.catalog import Catalog
from fanlight.operations.filtering import UrlFilter
from fanlight.operations.keeper import Keeper
from fanlight.operations.policy import Policy
from fanlight.settings import Settings
from fanlight.stores import Stores


@dataclass(frozen=True, slots=True)
class Service:
    """The service below HTTP: settings, catalogue, stores, policy, the keeper of leases, and the filter of URLs."""

    settings: Settings
    catalog: Catalog
    stores: Stores
    policy: Policy
    keeper: Keeper
    url_filter: UrlFilter
